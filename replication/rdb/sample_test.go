package rdb_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

var aux = rdb.Aux{
	ReplID: "0123456789abcdef0123456789abcdef01234567", Offset: 98765432109,
	Version: "7.4.1", CTime: 1700000000, UsedMem: 1 << 20,
}

// dump returns the contents of a keyspace: key to kind, expiry and elements.
func dump(t testing.TB, k *keyspace.Keyspace) map[string]string {
	t.Helper()
	s := k.Snapshot()
	defer s.Close()
	all := map[string]string{}
	if err := s.Each(func(e keyspace.Entry) error {
		var parts []string
		switch e.Value.Kind() {
		case keyspace.String:
			parts = []string{string(e.Value.Bytes())}
		case keyspace.Hash:
			e.Value.Fields(func(f, v []byte) bool {
				parts = append(parts, fmt.Sprintf("%q=%q", f, v))
				return true
			})
		case keyspace.Set:
			e.Value.Members(func(m []byte) bool {
				parts = append(parts, fmt.Sprintf("%q", m))
				return true
			})
		case keyspace.SortedSet:
			e.Value.Scores(func(m []byte, score float64) bool {
				parts = append(parts, fmt.Sprintf("%q=%x", m, math.Float64bits(score)))
				return true
			})
		case keyspace.List:
			e.Value.Items(func(item []byte) bool {
				parts = append(parts, fmt.Sprintf("%q", item))
				return true
			})
		case keyspace.Stream:
			e.Value.Entries(func(s keyspace.StreamEntry) bool {
				entry := "entry " + s.ID.String()
				for f, v := range s.Pairs {
					entry += fmt.Sprintf(" %q=%q", f, v)
				}
				parts = append(parts, entry)
				return true
			})
			i := e.Value.Stream()
			parts = append(
				parts, fmt.Sprintf("last %s deleted %s added %d", i.Last, i.MaxDeleted, i.Added),
			)
		}
		if e.Value.Kind() != keyspace.List {
			slices.Sort(parts)
		}
		all[string(e.Key)] = fmt.Sprintf(
			"%v %d %s", e.Value.Kind(), e.ExpireAt, strings.Join(parts, " "),
		)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t testing.TB, k *keyspace.Keyspace, a rdb.Aux) []byte {
	t.Helper()
	s := k.Snapshot()
	defer s.Close()
	var b bytes.Buffer
	if err := rdb.Write(&b, a, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func byteSlices(s ...string) (b [][]byte) {
	for _, s := range s {
		b = append(b, []byte(s))
	}
	return b
}

// packBoundary is the length of a string whose element in a listpack takes 16383 bytes. Servers
// write the length after such an element in different ways.
const packBoundary = 16378

// texts are strings that encodings treat differently: integers of every width and their neighbours,
// strings that only look like integers, and lengths around limits.
func texts() []string {
	all := []string{
		"", "-", "-0", "+1", "01", " 1", "1.0", "x", "9223372036854775808",
		"-9223372036854775809", "18446744073709551616", "\x00\xff",
	}
	for bits := range 64 {
		for _, d := range []int64{-2, -1, 0, 1, 2} {
			all = append(all, strconv.FormatInt(1<<bits+d, 10), strconv.FormatInt(-1<<bits+d, 10))
		}
	}
	for _, n := range []int{
		31, 32, 63, 64, 65, 127, 128, 4095, 4096, packBoundary - 1, packBoundary, packBoundary + 1,
		16383, 16384, 65536, 65537,
	} {
		all = append(all, strings.Repeat("a", n))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sample fills a keyspace with every kind of value in every size class.
func sample(t testing.TB) *keyspace.Keyspace {
	t.Helper()
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, s := range texts() {
		at := int64(0)
		if i%3 == 0 {
			at = 4_000_000_000_000 + int64(i)
		}
		must(t, l.String([]byte("string:"+strconv.Itoa(i)), []byte(s), at))
		must(t, l.Hash([]byte("one:"+strconv.Itoa(i)), byteSlices(s, s), at))
		must(t, l.Set([]byte("member:"+strconv.Itoa(i)), byteSlices(s), at))
		must(
			t, l.SortedSet([]byte("scored:"+strconv.Itoa(i)), byteSlices(s), []float64{float64(i)},
				at),
		)
		must(t, l.List([]byte("item:"+strconv.Itoa(i)), byteSlices(s, s), at))
		if len(s) == packBoundary {
			continue // see TestServersLoadBoundary
		}
		must(
			t, addStream(l, "entry:"+strconv.Itoa(i), at,
				keyspace.StreamInfo{Last: keyspace.StreamID{Ms: 5, Seq: 7}, Added: 3}, s, s),
		)
	}
	for _, n := range []int{1, 2, 100, 127, 128, 129, 511, 512, 513, 3000} {
		var pairs, members, ints [][]byte
		var scores []float64
		for i := range n {
			pairs = append(pairs, []byte("field"+strconv.Itoa(i)),
				[]byte(strconv.Itoa(rnd.IntN(1<<(i%40)+1))))
			members = append(members, []byte("member"+strconv.Itoa(i)))
			ints = append(ints, []byte(strconv.Itoa(i-n/2)))
			scores = append(
				scores,
				[]float64{
					float64(rnd.IntN(10)), rnd.NormFloat64(), -rnd.ExpFloat64() * 1e300,
					float64(i) * 1e15,
				}[i%4],
			)
		}
		must(t, l.Hash([]byte("hash:"+strconv.Itoa(n)), pairs, 0))
		must(t, l.Set([]byte("set:"+strconv.Itoa(n)), members, 0))
		must(t, l.Set([]byte("ints:"+strconv.Itoa(n)), ints, 0))
		must(t, l.SortedSet([]byte("sorted:"+strconv.Itoa(n)), members, scores, 0))
		must(t, l.List([]byte("list:"+strconv.Itoa(n)), pairs, 0))
		must(t, addEntries(l, "stream:"+strconv.Itoa(n), n))
	}
	must(t, addStream(l, "empty stream", 0, keyspace.StreamInfo{
		Last: keyspace.StreamID{
			Ms:  math.MaxUint64,
			Seq: math.MaxUint64,
		}, MaxDeleted: keyspace.StreamID{Ms: 3, Seq: math.MaxUint64}, Added: 99,
	}))
	must(t, l.Set([]byte("ints32"), byteSlices("1", "-40000", "7"), 0))
	must(t, l.Set([]byte("ints64"), byteSlices("9223372036854775807", "-9223372036854775808"), 0))
	must(t, l.SortedSet(
		[]byte("extremes"), byteSlices("a", "b", "c", "d", "e", "f", "g"),
		[]float64{
			math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1,
			1 << 53, 0,
		},
		0,
	))
	must(t, l.String([]byte("first ms"), []byte("x"), 4_000_000_000_001))
	return k
}

// addStream adds a stream with one entry, 1-2, or with none.
func addStream(l *keyspace.Loader, key string, at int64, i keyspace.StreamInfo,
	pairs ...string,
) error {
	return l.Stream(
		[]byte(key), at,
		func(add func(keyspace.StreamID, [][]byte) error) (keyspace.StreamInfo, error) {
			if len(pairs) == 0 {
				return i, nil
			}
			return i, add(keyspace.StreamID{Ms: 1, Seq: 2}, byteSlices(pairs...))
		},
	)
}

// addEntries adds a stream with equal and different field names in its entries, one name twice, and
// ids that wrap around.
func addEntries(l *keyspace.Loader, key string, n int) error {
	return l.Stream(
		[]byte(key), 0,
		func(add func(keyspace.StreamID, [][]byte) error) (i keyspace.StreamInfo, err error) {
			i.Last = keyspace.StreamID{Ms: 1000, Seq: math.MaxUint64 - 3}
			for n := range n {
				pairs := byteSlices("id", strconv.Itoa(n), "name", strings.Repeat("x", n%50))
				switch n % 7 {
				case 3:
					pairs = byteSlices("id", "1", "id", "2", "", "")
				case 5:
					pairs = pairs[:2]
				}
				if n%3 == 0 {
					i.Last.Ms, i.Last.Seq = i.Last.Ms+uint64(n*n), 0
				}
				i.Last.Seq += uint64(n%5) + 1
				i.Added++
				if err := add(i.Last, pairs); err != nil {
					return i, err
				}
			}
			i.MaxDeleted = keyspace.StreamID{Ms: 999, Seq: 1}
			i.Added += 5
			return i, nil
		},
	)
}
