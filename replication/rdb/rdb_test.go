package rdb_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

func TestRoundTrip(t *testing.T) {
	k := sample(t)
	b := write(t, k, aux)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(b), "halves": iotest.HalfReader(bytes.NewReader(b)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		t.Run(name, func(t *testing.T) {
			again := keyspace.New(keyspace.Options{})
			a, err := rdb.Read(r, again.Loader())
			if err != nil || a != aux {
				t.Fatalf("%+v, %v", a, err)
			}
			want, got := dump(t, k), dump(t, again)
			if !maps.Equal(want, got) {
				for key := range want {
					if want[key] != got[key] {
						t.Errorf("%s: got %.200s, want %.200s", key, got[key], want[key])
					}
				}
				t.Fatalf("%d keys, want %d", len(got), len(want))
			}
		})
	}
}

func TestReadByteByByte(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	must(t, l.String([]byte("s"), []byte("4711"), 4_000_000_000_000))
	must(t, l.Hash([]byte("h"), byteSlices("f", strings.Repeat("x", 20_000)), 0))
	must(t, l.SortedSet([]byte("z"), byteSlices(strings.Repeat("m", 65)), []float64{2.5}, 0))
	again := keyspace.New(keyspace.Options{})
	a, err := rdb.Read(iotest.OneByteReader(bytes.NewReader(write(t, k, aux))), again.Loader())
	if err != nil || a != aux || !maps.Equal(dump(t, k), dump(t, again)) {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestEmpty(t *testing.T) {
	b := write(t, keyspace.New(keyspace.Options{}), rdb.Aux{})
	want := "REDIS0009" + "\xfa\x0aredis-bits\xc0\x40" + "\xff"
	if got := string(b[:len(b)-8]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	k := keyspace.New(keyspace.Options{})
	if a, err := rdb.Read(bytes.NewReader(b), k.Loader()); a != (rdb.Aux{}) || err != nil ||
		k.Len() != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestGolden pins the bytes of each type.
func TestGolden(t *testing.T) {
	long := strings.Repeat("v", 65)
	for name, c := range map[string]struct {
		load func(l *keyspace.Loader) error
		want string
	}{
		"string": {
			func(l *keyspace.Loader) error { return l.String([]byte("k"), []byte("text"), 0) },
			"\xfe\x00\xfb\x01\x00" + "\x00\x01k\x04text",
		},
		"string with expiry": {
			func(l *keyspace.Loader) error {
				return l.String([]byte("k"), []byte("-300"), 0x0102030405)
			},
			"\xfe\x00\xfb\x01\x01" + "\xfc\x05\x04\x03\x02\x01\x00\x00\x00" +
				"\x00\x01k\xc1\xd4\xfe",
		},
		"integer key": {
			func(l *keyspace.Loader) error { return l.String([]byte("12"), []byte("100000"), 0) },
			"\xfe\x00\xfb\x01\x00" + "\x00\xc0\x0c\xc2\xa0\x86\x01\x00",
		},
		"hash": {
			func(l *keyspace.Loader) error {
				return l.Hash([]byte("k"), byteSlices("id", "4711"), 0)
			},
			"\xfe\x00\xfb\x01\x00" + "\x10\x01k\x0f" + "\x0f\x00\x00\x00\x02\x00" + "\x82id\x03" +
				"\xf1\x67\x12\x03" + "\xff",
		},
		"hash with a long value": {
			func(l *keyspace.Loader) error { return l.Hash([]byte("k"), byteSlices("f", long), 0) },
			"\xfe\x00\xfb\x01\x00" + "\x04\x01k\x01" + "\x01f" + "\x40\x41" + long,
		},
		"set": {
			func(l *keyspace.Loader) error { return l.Set([]byte("k"), byteSlices("m"), 0) },
			"\xfe\x00\xfb\x01\x00" + "\x02\x01k\x01\x01m",
		},
		"set of integers": {
			func(l *keyspace.Loader) error { return l.Set([]byte("k"), byteSlices("3", "-1"), 0) },
			"\xfe\x00\xfb\x01\x00" + "\x0b\x01k\x0c" + "\x02\x00\x00\x00\x02\x00\x00\x00" +
				"\xff\xff\x03\x00",
		},
		"sorted set": {
			func(l *keyspace.Loader) error {
				return l.SortedSet([]byte("k"), byteSlices("a", "b"), []float64{1.5, -2}, 0)
			},
			"\xfe\x00\xfb\x01\x00" + "\x11\x01k\x15" + "\x15\x00\x00\x00\x04\x00" +
				"\x81b\x02" + "\xdf\xfe\x02" + "\x81a\x02" + "\x831.5\x04" + "\xff",
		},
		"list": {
			func(l *keyspace.Loader) error { return l.List([]byte("k"), byteSlices("a", "-1"), 0) },
			"\xfe\x00\xfb\x01\x00" + "\x01\x01k\x02\x01a\xc0\xff",
		},
		"empty stream": {
			func(l *keyspace.Loader) error {
				return addStream(
					l, "k", 0,
					keyspace.StreamInfo{
						Last:       keyspace.StreamID{Ms: 5, Seq: 7},
						MaxDeleted: keyspace.StreamID{Ms: 4, Seq: 3}, Added: 2,
					},
				)
			},
			"\xfe\x00\xfb\x01\x00" + "\x13\x01k\x00" + "\x00\x05\x07" + "\x00\x00\x04\x03\x02" +
				"\x00",
		},
		"sorted set with a long member": {
			func(l *keyspace.Loader) error {
				return l.SortedSet([]byte("k"), byteSlices(long), []float64{1}, 0)
			},
			"\xfe\x00\xfb\x01\x00" + "\x05\x01k\x01\x40\x41" + long +
				"\x00\x00\x00\x00\x00\x00\xf0\x3f",
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := keyspace.New(keyspace.Options{})
			must(t, c.load(k.Loader()))
			got := write(t, k, rdb.Aux{})
			head := "REDIS0009" + "\xfa\x0aredis-bits\xc0\x40"
			if want := head + c.want + "\xff"; string(got[:len(got)-8]) != want {
				t.Errorf("\n got %q\nwant %q", got[:len(got)-8], want)
			}
		})
	}
	b := write(t, keyspace.New(keyspace.Options{}), aux)
	want := "REDIS0009" + "\xfa\x09redis-ver\x057.4.1" + "\xfa\x0aredis-bits\xc0\x40" +
		"\xfa\x05ctime\xc2\x00\xf1\x53\x65" + "\xfa\x08used-mem\xc2\x00\x00\x10\x00" +
		"\xfa\x0erepl-stream-db\xc0\x00" +
		"\xfa\x07repl-id\x280123456789abcdef0123456789abcdef01234567" +
		"\xfa\x0brepl-offset\x0b98765432109" + "\xff"
	if string(b[:len(b)-8]) != want {
		t.Errorf("aux:\n got %q\nwant %q", b[:len(b)-8], want)
	}
}

// file puts a body between a header and a trailer without a checksum.
func file(version, body string) string {
	return version + body + "\xff" + strings.Repeat("\x00", 8)
}

// TestReadEncodings reads encodings that Write does not write.
func TestReadEncodings(t *testing.T) {
	unhex := func(s string) string {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		must(t, err)
		return string(b)
	}
	for name, c := range map[string]struct{ file, want string }{
		"LZF": {
			file("REDIS0011", "\x00\x01k\xc3\x07\x09\x01ab\x80\x01\x00c"), "string 0 ababababc",
		},
		"seconds":            {"REDIS0003\xfd\x02\x00\x00\x00\x00\x01k\x01v\xff", "string 2000 v"},
		"idle and frequency": {file("REDIS0009", "\xf8\x05\xf9\x07\x00\x01k\x01v"), "string 0 v"},
		"long lengths": {
			file("REDIS0009", "\x00\x80\x00\x00\x00\x01k\x81\x00\x00\x00\x00\x00\x00\x00\x01v"),
			"string 0 v",
		},
		// once rejected because of its number alone
		"newer":     {file("REDIS0016", "\x00\x01k\x01v"), "string 0 v"},
		"slot info": {file("REDIS0012", "\xf4\x01\x02\x03\x00\x01k\x01v"), "string 0 v"},
		"valkey":    {file("VALKEY080", "\x00\x01k\x01v"), "string 0 v"},
		"expiry of 0": {
			file("REDIS0009", "\xfc\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v"), "string 1 v",
		},
		"sorted set as text": {
			file("REDIS0006", "\x03\x01k\x03\x01a\x031.5\x01b\xfe\x01c\xff"),
			`zset 0 "a"=3ff8000000000000 "b"=7ff0000000000000 "c"=fff0000000000000`,
		},
		"hash as ziplist": {
			file(
				"REDIS0006",
				"\x0d\x01k\x16"+unhex("16000000 12000000 0400 00 0161 03 f3 02 0162 03 fe80 ff"),
			),
			`hash 0 "a"="2" "b"="-128"`,
		},
		"hash as listpack": {
			file("REDIS0010", "\x10\x01k\x0d"+unhex("0d000000 ffff 8161 02 dfff 02 ff")),
			`hash 0 "a"="-1"`,
		},
		"set as listpack": {
			file("REDIS0011", "\x14\x01k\x0c"+unhex("0c000000 0200 8161 02 05 01 ff")),
			`set 0 "5" "a"`,
		},
		"set of integers, 64": {
			file("REDIS0006", "\x0b\x01k\x10"+unhex("08000000 01000000 ffffffffffffffff")),
			`set 0 "-1"`,
		},
		"list of ziplist": {
			file("REDIS0006", "\x0a\x01k\x12"+unhex("12000000 0d000000 0200 00 0161 03 c0e803 ff")),
			`list 0 "a" "1000"`,
		},
		"list of ziplists": {
			file(
				"REDIS0007",
				"\x0e\x01k\x02"+strings.Repeat(
					"\x12"+unhex("12000000 0d000000 0200 00 0161 03 c0e803 ff"), 2,
				),
			),
			`list 0 "a" "1000" "a" "1000"`,
		},
		"list of listpacks": {
			file(
				"REDIS0010",
				"\x12\x01k\x02\x02\x0c"+unhex("0c000000 0200 8161 02 05 01 ff")+"\x01\x02bb",
			),
			`list 0 "a" "5" "bb"`,
		},
		"stream": {
			file("REDIS0009", "\x0f\x01k\x01\x10"+
				unhex("0000000000000005 0000000000000006")+"\x37"+unhex("37000000 1600"+
				"0201 0101 0101 816602 0001"+ // two entries, one deleted, field f
				"0201 0001 0001 817602 0401"+ // 5-6 f v
				"0301 0001 0101 0701 0401"+ // 5-7, deleted
				"0001 0101 dffa02 0101 816702 0801 0601 ff")+"\x02\x09\x0a\x00"),
			`stream 0 entry 5-6 "f"="v" entry 6-0 "g"="8" last 9-10 deleted 0-0 added 2`,
		},
		"sorted set ziplist": {
			file("REDIS0006", "\x0c\x01k\x12"+unhex("12000000 0d000000 0200 00 0161 03 c0e803 ff")),
			`zset 0 "a"=408f400000000000`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := keyspace.New(keyspace.Options{})
			if _, err := rdb.Read(strings.NewReader(c.file), k.Loader()); err != nil {
				t.Fatal(err)
			}
			if got := dump(t, k)["k"]; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestEmptyCollections: empty collections are left out and counted, with their expiry, as Redis
// does since 6.2. They must not end the link to a server that has saved one.
func TestEmptyCollections(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	body := "\xfc\x05\x00\x00\x00\x00\x00\x00\x00" + "\x01\x01a\x00" + "\x02\x01b\x00" +
		"\x04\x01c\x00" + "\x05\x01d\x00" + "\x12\x01e\x00" +
		"\x10\x01f\x07\x07\x00\x00\x00\x00\x00\xff" + "\x11\x01g\x07\x07\x00\x00\x00\x00\x00\xff" +
		"\x12\x01h\x01\x02\x07\x07\x00\x00\x00\x00\x00\xff" + "\x00\x01k\x01v"
	a, err := rdb.Read(strings.NewReader(file("REDIS0010", body)), k.Loader())
	if got := dump(t, k); err != nil || a.Empty != 8 || len(got) != 1 || got["k"] != "string 0 v" {
		t.Errorf("%+v, %v: %q", a, err, got)
	}
}

func TestWriteFails(t *testing.T) {
	k := sample(t)
	n := len(write(t, k, aux))
	for limit := 0; limit < n; limit += n/10 + 1 {
		s := k.Snapshot()
		if err := rdb.Write(&limited{limit}, aux, s); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("after %d bytes: %v", limit, err)
		}
		s.Close()
	}
}

// TestWriteGathersLittle: collections of numbers are written in blocks, too, and not first encoded
// in memory as a whole.
func TestWriteGathersLittle(t *testing.T) {
	const n = 100_000
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	var ints, pairs [][]byte
	scores := make([]float64, n)
	for i := range n {
		ints = append(ints, []byte(strconv.Itoa(i)))
		pairs = append(pairs, ints[i], ints[i])
	}
	must(t, l.Set([]byte("set"), ints, 0))
	must(t, l.List([]byte("list"), ints, 0))
	must(t, l.Hash([]byte("hash"), pairs, 0))
	must(t, l.SortedSet([]byte("sorted"), ints, scores, 0))
	s := k.Snapshot()
	defer s.Close()
	var w largest
	must(t, rdb.Write(&w, aux, s))
	if w > 80<<10 {
		t.Errorf("%d bytes were written at once", w)
	}
}

// largest is a writer that records the length of the longest write.
type largest int

func (l *largest) Write(p []byte) (int, error) {
	*l = max(*l, largest(len(p)))
	return len(p), nil
}

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return l.left, io.ErrShortWrite
	}
	l.left -= len(p)
	return len(p), nil
}

// allocated returns the total number of bytes allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// bound returns the memory that reading b may take, independent of lengths that b claims. LZF
// expands one byte to at most 88, and the smallest element has a slice of its own.
func bound(b []byte) uint64 { return 16<<20 + 1024*uint64(len(b)) }

// FuzzRead: for any input, the memory used is bounded by the input's length, and an accepted file
// can be written and read again.
func FuzzRead(f *testing.F) {
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	must(f, l.String([]byte("s"), []byte("value"), 5))
	must(f, l.Hash([]byte("h"), byteSlices("id", "1", "name", "x"), 0))
	must(f, l.Set([]byte("set"), byteSlices("a", "b"), 0))
	must(f, l.Set([]byte("ints"), byteSlices("1", "2"), 0))
	must(f, l.SortedSet([]byte("z"), byteSlices("a", "b"), []float64{1, 2.5}, 0))
	must(f, l.List([]byte("l"), byteSlices("a", "1"), 0))
	must(f, addEntries(l, "stream", 9))
	b := write(f, k, aux)
	f.Add(b[:len(b)-8])
	for _, body := range []string{
		"\x0d\x01k\x15\x15\x00\x00\x00\x0f\x00\x00\x00\x04\x00\x00\x01a\x03\xf3\x02\x01b\x03" +
			"\xfe\x80\xff",
		"\x00\x01k\xc3\x05\x0a\x01ab\xc0\x01",
		"\x12\x01k\x02\x02\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x05\x01\xff\x01\x02bb",
		"\x0f\x01k\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06" +
			"\x37\x37\x00\x00\x00\x16\x00\x02\x01\x01\x01\x01\x01\x81f\x02\x00\x01\x02\x01\x00" +
			"\x01\x00\x01\x81v\x02\x04\x01" +
			"\x03\x01\x00\x01\x01\x01\x07\x01\x04\x01\x00\x01\x01\x01\xdf\xfa\x02\x01\x01\x81" +
			"g\x02\x08\x01\x06\x01\xff\x02\x09\x0a\x00",
		"\x14\x01k\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x05\x01\xff",
		"\x03\x01k\x03\x01a\x031.5\x01b\xfe\x01c\xff",
		"\xfe\x00\xfb\x01\x01\xfc\x05\x04\x03\x02\x01\x00\x00\x00\x00\x01k\xc1\xd4\xfe",
	} {
		f.Add([]byte("REDIS0011" + body + "\xff"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k := keyspace.New(keyspace.Options{})
		began := allocated()
		a, err := rdb.Read(bytes.NewReader(append(bytes.Clone(b), make([]byte, 8)...)), k.Loader())
		if got := allocated() - began; got > bound(b) || k.Memory().Mapped > int64(bound(b)) {
			t.Fatalf("%d bytes of input took %d of memory, and hold %d", len(b), got,
				k.Memory().Mapped)
		}
		if err != nil {
			return
		}
		again := keyspace.New(keyspace.Options{})
		a2, err := rdb.Read(bytes.NewReader(write(t, k, a)), again.Loader())
		if err != nil {
			t.Fatalf("reading what was written: %v", err)
		}
		if a.ReplID != "" && a2 != a || !maps.Equal(dump(t, k), dump(t, again)) {
			t.Fatalf("%+v became %+v, or %q became %q", a, a2, dump(t, k), dump(t, again))
		}
	})
}
