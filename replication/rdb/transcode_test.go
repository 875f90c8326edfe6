package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

// history matches the numbers of a stream that an old type does not store.
var history = regexp.MustCompile(` deleted [0-9-]+ added \d+`)

// plain returns the dump that is expected after Transcode.
func plain(all map[string]string) map[string]string {
	for key, s := range all {
		if strings.HasPrefix(s, "stream ") {
			n := strings.Count(s, "entry ")
			all[key] = history.ReplaceAllString(s, fmt.Sprintf(" deleted 0-0 added %d", n))
		}
	}
	return all
}

func transcode(t testing.TB, b []byte) []byte {
	t.Helper()
	var to bytes.Buffer
	must(t, copyPlain(&to, bytes.NewReader(b)))
	return to.Bytes()
}

func copyPlain(w io.Writer, r io.Reader) error {
	_, err := rdb.Transcode(w, r)
	return err
}

// A plain copy cannot store the numbers of a stream that a server cannot compute. Transcode returns
// the number of such streams, so that the loss can be reported.
func TestTranscodeCountsLossyStreams(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	id := keyspace.StreamID{Ms: 1, Seq: 1}
	for key, info := range map[string]keyspace.StreamInfo{
		"whole":   {Last: id, Added: 1},
		"deleted": {Last: id, Added: 1, MaxDeleted: keyspace.StreamID{Ms: 1}},
		"trimmed": {Last: id, Added: 2},
	} {
		must(
			t,
			k.Loader().
				Stream([]byte(key), 0, func(
					add func(keyspace.StreamID, [][]byte) error,
				) (keyspace.StreamInfo, error) {
					return info, add(id, [][]byte{[]byte("f"), []byte("v")})
				}),
		)
	}
	var file bytes.Buffer
	s := k.Snapshot()
	defer s.Close()
	must(t, rdb.Write(&file, rdb.Aux{}, s))
	if lossy, err := rdb.Transcode(io.Discard, &file); err != nil || lossy != 2 {
		t.Errorf("%d streams lose something, want 2: %v", lossy, err)
	}
}

func TestTranscode(t *testing.T) {
	k := sample(t)
	b := write(t, k, aux)
	to := transcode(t, b)
	again := keyspace.New(keyspace.Options{})
	a, err := rdb.Read(bytes.NewReader(to), again.Loader())
	if err != nil || a != aux || !maps.Equal(dump(t, again), plain(dump(t, k))) {
		t.Fatalf("%+v, %v", a, err)
	}
	for name, r := range map[string]io.Reader{
		"halves":        iotest.HalfReader(bytes.NewReader(b)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		var same bytes.Buffer
		if err := copyPlain(&same, r); err != nil || !bytes.Equal(same.Bytes(), to) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for limit := 0; limit < len(to); limit += len(to)/10 + 1 {
		if err := copyPlain(&limited{limit}, bytes.NewReader(b)); !errors.Is(err,
			io.ErrShortWrite) {
			t.Errorf("after %d bytes: %v", limit, err)
		}
	}
}

// TestTranscodeGolden pins the copies of the types that Redis 6.2 does not know.
func TestTranscodeGolden(t *testing.T) {
	for name, c := range map[string]struct {
		load func(l *keyspace.Loader) error
		want string
	}{
		"hash": {
			func(l *keyspace.Loader) error {
				return l.Hash([]byte("k"), byteSlices("id", "4711", "n", "x"), 9)
			},
			"\xfe\x00\xfb\x01\x01" + "\xfc\x09\x00\x00\x00\x00\x00\x00\x00" + "\x04\x01k\x02" +
				"\x02id\xc1\x67\x12" + "\x01n\x01x",
		},
		"sorted set": {
			func(l *keyspace.Loader) error {
				return l.SortedSet([]byte("k"), byteSlices("a", "7"), []float64{1.5, -2}, 0)
			},
			"\xfe\x00\xfb\x01\x00" + "\x05\x01k\x02" + "\xc0\x07\x00\x00\x00\x00\x00\x00\x00\xc0" +
				"\x01a\x00\x00\x00\x00\x00\x00\xf8\x3f",
		},
		"stream": {
			func(l *keyspace.Loader) error {
				return addStream(
					l, "k", 0,
					keyspace.StreamInfo{Last: keyspace.StreamID{Ms: 5, Seq: 7}, Added: 3}, "f", "v",
				)
			},
			"\xfe\x00\xfb\x01\x00" + "\x0f\x01k\x01" +
				"\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02" +
				"\x1d\x1d\x00\x00\x00\x0a\x00" + "\x01\x01\x00\x01\x01\x01\x81f\x02\x00\x01" +
				"\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01" + "\xff" +
				"\x01\x05\x07" + "\x00",
		},
	} {
		k := keyspace.New(keyspace.Options{})
		must(t, c.load(k.Loader()))
		got := transcode(t, write(t, k, rdb.Aux{}))
		if want := "REDIS0009" + "\xfa\x0aredis-bits\xc0\x40" + c.want + "\xff"; string(
			got[:len(got)-8],
		) != want {
			t.Errorf("%s:\n got %q\nwant %q", name, got[:len(got)-8], want)
		}
	}
}

// TestTranscodeRefused: an error ends the copy before the checksum is written.
func TestTranscodeRefused(t *testing.T) {
	b := write(t, sample(t), aux)
	damaged := bytes.Clone(b)
	damaged[len(damaged)-30] ^= 1
	for name, c := range map[string]struct{ file, want string }{
		"nothing":    {"", "EOF"},
		"newer":      {file("REDIS0010", ""), "want \"REDIS0009\""},
		"cut short":  {string(b[:len(b)-9]), "EOF"},
		"no trailer": {string(b[:len(b)-3]), "EOF"},
		"damaged":    {string(damaged), ""},
		"other type": {file("REDIS0009", "\x14\x01k\x01v"), "type 20"},
		"compressed": {file("REDIS0009", "\x00\x01k\xc3\x07\x09\x01ab\x80\x01\x00c"), "form 3"},
		"odd hash": {
			file("REDIS0009", "\x10\x01k\x09\x09\x00\x00\x00\x01\x00\x05\x01\xff"),
			"listpack is damaged",
		},
		"no score": {
			file("REDIS0009", "\x11\x01k\x0c\x0c\x00\x00\x00\x02\x00\x05\x01\x81x\x02\xff"),
			"not a number",
		},
		"consumer group": {
			file("REDIS0009", "\x13\x01k\x00\x00\x05\x06\x00\x00\x00\x00\x00\x01\x02gr"),
			"consumer groups",
		},
		"too many nodes": {"REDIS0009\x13\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff", "EOF"},
	} {
		var to bytes.Buffer
		err := copyPlain(&to, strings.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if _, err := rdb.Read(&to, keyspace.New(keyspace.Options{}).Loader()); err == nil {
			t.Errorf("%s: what was written is a whole file", name)
		}
	}
}

// TestTranscodeMemory: one large value is copied without being held in memory.
func TestTranscodeMemory(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	must(t, k.Loader().String([]byte("k"), make([]byte, 64<<20), 0))
	must(t, addEntries(k.Loader(), "s", 3000))
	b := write(t, k, aux)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	must(t, copyPlain(io.Discard, bytes.NewReader(b)))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes for a file of %d", n, len(b))
	}
}

// TestTranscodedLoads loads the copy in old servers.
func TestTranscodedLoads(t *testing.T) {
	k := sample(t)
	b := transcode(t, write(t, k, aux))
	want := plain(dump(t, k))
	for _, kind := range caches {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "ours.rdb"), b, 0o600))
			s := servertest.Cache(
				t, kind,
				servers.CacheOptions{
					Dir:  dir,
					Args: []string{"--dbfilename", "ours.rdb", "--sanitize-dump-payload", "yes"},
				},
			)
			compare(t, dumpServer(t, connect(t, s)), want)
		})
	}
}

// FuzzTranscode: for any input Transcode ends, and a finished copy holds the same data as its
// original.
func FuzzTranscode(f *testing.F) {
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	must(f, l.Hash([]byte("h"), byteSlices("id", "1", "name", "x"), 7))
	must(f, l.SortedSet([]byte("z"), byteSlices("a", "b"), []float64{1, 2.5}, 0))
	must(f, l.List([]byte("l"), byteSlices("a", "1"), 0))
	must(f, addEntries(l, "s", 9))
	b := write(f, k, aux)
	f.Add(b[:len(b)-8])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(bytes.Clone(b), make([]byte, 8)...)
		var to bytes.Buffer
		began := allocated()
		err := copyPlain(&to, bytes.NewReader(b))
		if got := allocated() - began; got > bound(b) {
			t.Fatalf("%d bytes of input took %d of memory", len(b), got)
		}
		if err != nil {
			return
		}
		one, two := keyspace.New(keyspace.Options{}), keyspace.New(keyspace.Options{})
		a, err := rdb.Read(bytes.NewReader(b), one.Loader())
		if err != nil {
			return // Transcode does not look into everything
		}
		a2, err := rdb.Read(&to, two.Loader())
		if err != nil || a != a2 || !maps.Equal(plain(dump(t, one)), dump(t, two)) {
			t.Fatalf("%+v became %+v, %v, %q became %q", a, a2, err, dump(t, one), dump(t, two))
		}
	})
}
