package binlog_test

import (
	"bytes"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"rowfall/binlog"
)

const (
	uuidA = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	uuidB = "8e683c28-e5fb-11f1-b363-02fc00000001"
)

func set(t testing.TB, s string) binlog.GTIDSet {
	t.Helper()
	g, err := binlog.ParseGTIDSet(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestParseGTIDSet(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{" \n", ""},
		{uuidA + ":1-5", uuidA + ":1-5"},
		{uuidA + ":7", uuidA + ":7"},
		{strings.ToUpper(uuidA) + ":3-5:1-2", uuidA + ":1-5"},
		{strings.ReplaceAll(uuidA, "-", "") + ":1", uuidA + ":1"},
		{uuidA + ":1-5:10-20:6,\n" + uuidB + ":1", uuidA + ":1-6:10-20," + uuidB + ":1"},
		{uuidB + " : 1 , " + uuidA + ":1 - 2", uuidA + ":1-2," + uuidB + ":1"},
		{uuidA + ":1-2:tag_one:1:3:B:7", uuidA + ":1-2:b:7:tag_one:1:3"},
		{uuidA + ":t:1," + uuidA + ":1-3", uuidA + ":1-3:t:1"},
		{"0-1-5", "0-1-5"},
		{"1-2-7, 0-1-5", "0-1-5,1-2-7"},
		{"0-1-5,0-2-9,0-3-7", "0-2-9"},
		{
			"4294967295-4294967295-18446744073709551615",
			"4294967295-4294967295-18446744073709551615",
		},
	} {
		g, err := binlog.ParseGTIDSet(test.in)
		if err != nil || g.String() != test.want || g.IsZero() != (test.want == "") {
			t.Errorf("%q: %q, %v, want %q", test.in, g, err, test.want)
		}
		if again := set(t, g.String()); !again.Equal(g) {
			t.Errorf("%q does not read back", g)
		}
	}
	for _, bad := range []string{
		",", "x", uuidA, uuidA + ":", uuidA + ":0", uuidA + ":5-3", uuidA + ":1-", uuidA + ":tag",
		uuidA + ":1:tag",
		uuidA + ":a:b:1", uuidA + ":1,", uuidA + ":9223372036854775807", uuidA[1:] + ":1",
		"z" + uuidA[1:] + ":1",
		uuidA + ":" + strings.Repeat("t", 33) + ":1", uuidA + ":1,0-1-5", "0-1", "0-1-x",
		"4294967296-1-1", "0-4294967296-1", "-1-1-1",
	} {
		if g, err := binlog.ParseGTIDSet(bad); err == nil {
			t.Errorf("%q: %q, want an error", bad, g)
		}
	}
}

func TestGTIDSetContains(t *testing.T) {
	for _, test := range []struct {
		a, b        string
		aInB, equal bool
	}{
		{"", "", true, true},
		{"", uuidA + ":1", true, false},
		{uuidA + ":1", "", false, false},
		{uuidA + ":2-3:5", uuidA + ":1-5", true, false},
		{uuidA + ":2-3:7", uuidA + ":1-5", false, false},
		{uuidA + ":1-5", uuidA + ":1-2:4-5", false, false},
		{uuidA + ":1-2:4-5", uuidA + ":1-2:4-5", true, true},
		{uuidA + ":t:1", uuidA + ":1-5", false, false},
		{uuidB + ":1", uuidA + ":1-5", false, false},
		{"0-1-5", "0-2-6", true, false},
		{"0-1-5", "0-1-4", false, false},
		{"0-1-5", "0-1-5,1-1-1", true, false},
		{"1-1-1", "0-1-5", false, false},
	} {
		a, b := set(t, test.a), set(t, test.b)
		if got := b.Contains(a); got != test.aInB {
			t.Errorf("%q contains %q: %t", test.b, test.a, got)
		}
		if got := a.Equal(b); got != test.equal {
			t.Errorf("%q equals %q: %t", test.a, test.b, got)
		}
	}
}

// Adding in any order yields the set that parsing yields, and copies stay as
// they were.
func TestGTIDSetAdd(t *testing.T) {
	uuids := [2][16]byte{{1}, {2}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var g binlog.GTIDSet
		have := map[[2]int]map[uint64]bool{}
		for range 200 {
			u, tag, n := r.IntN(2), r.IntN(2), uint64(r.IntN(100)) // 0 is no sequence
			before := g
			text := before.String()
			g.Add(uuids[u], []string{"", "tag"}[tag], n)
			if before.String() != text {
				t.Fatalf("a copy changed: %q, was %q", before, text)
			}
			if n > 0 {
				if have[[2]int{u, tag}] == nil {
					have[[2]int{u, tag}] = map[uint64]bool{}
				}
				have[[2]int{u, tag}][n] = true
			}
		}
		var want binlog.GTIDSet
		for k, m := range have {
			for n := range m {
				want.Add(uuids[k[0]], []string{"", "tag"}[k[1]], n)
			}
		}
		if parsed := set(t, g.String()); !parsed.Equal(g) || !want.Equal(g) ||
			want.String() != g.String() {
			t.Fatalf("added %q, parsed %q, want %q", g, parsed, want)
		}
	}
	var g binlog.GTIDSet
	g.AddMariaDB(1, 2, 7)
	g.AddMariaDB(0, 1, 5)
	g.AddMariaDB(1, 3, 8)
	if g.String() != "0-1-5,1-3-8" {
		t.Errorf("domains %q", g)
	}
}

// Copies of a set grow apart, and every method sees the transactions that were added last.
func TestGTIDSetCopies(t *testing.T) {
	sources := [3]struct {
		uuid [16]byte
		tag  string
	}{{[16]byte{1}, ""}, {[16]byte{1}, "tag"}, {[16]byte{2}, ""}}
	first := hex.EncodeToString(sources[0].uuid[:])
	r := rand.New(rand.NewPCG(3, 4))
	copies := []binlog.GTIDSet{{}}
	held := []map[[2]uint64]bool{{}} // of each copy: the source and the sequence
	for range 3000 {
		i := r.IntN(len(copies))
		if len(copies) < 20 || r.IntN(20) == 0 {
			c, h := copies[i], maps.Clone(held[i])
			if i = len(copies); i < 20 {
				copies, held = append(copies, c), append(held, h)
			} else {
				i = r.IntN(20)
				copies[i], held[i] = c, h
			}
		}
		g, u := &copies[i], uint64(r.IntN(3))
		n := uint64(r.IntN(60) + 1)
		if r.IntN(4) > 0 { // mostly the next one
			for n = 1; held[i][[2]uint64{u, n}]; n++ {
			}
		}
		src := sources[u]
		isNew := !held[i][[2]uint64{u, n}]
		previous := g.String()
		g.Add(src.uuid, src.tag, n)
		held[i][[2]uint64{u, n}] = true
		gtid := binlog.GTID{UUID: src.uuid, Tag: src.tag, Sequence: n}
		before, ok := g.Before(&binlog.Evidence{GTID: gtid})
		if isNew && (!ok || before.String() != previous) {
			t.Fatalf("before %d it was %s, want %s", n, &before, previous)
		}

		var want binlog.GTIDSet
		for k := range held[i] {
			want.Add(sources[k[0]].uuid, sources[k[0]].tag, k[1])
		}
		parsed := set(t, want.String())
		rest, back := g.Subtract(&parsed), parsed.Subtract(g)
		switch {
		case g.String() != want.String() || !g.Equal(parsed) || !parsed.Equal(*g):
			t.Fatalf("%s, want %s", g, &want)
		case !g.Contains(parsed) || !parsed.Contains(*g) || !rest.IsZero() || !back.IsZero():
			t.Fatalf("%s and the equal set that was parsed differ by %s and %s", g, &rest, &back)
		case g.Of(first).String() != parsed.Of(first).String():
			t.Fatalf("of %s: %s, want %s", first, g.Of(first), parsed.Of(first))
		case !bytes.Equal(g.AppendBinary(nil), parsed.AppendBinary(nil)):
			t.Fatalf("%s has another binary form than the equal set that was parsed", g)
		}
		for n := range uint64(62) {
			if g.Has(src.uuid, src.tag, n) != held[i][[2]uint64{u, n}] {
				t.Fatalf("%s: Has of %d is %t", g, n, !held[i][[2]uint64{u, n}])
			}
		}
	}
	var g binlog.GTIDSet
	g.AddMariaDB(0, 1, 5)
	before := g
	g.AddMariaDB(0, 1, 6)
	g.AddMariaDB(1, 1, 1)
	if before.String() != "0-1-5" || g.String() != "0-1-6,1-1-1" {
		t.Errorf("a copy of a MariaDB set is %s, and the set %s", before, g)
	}
}

// The tagged bytes are those of a Previous_gtids event of MySQL 9.7.
func TestGTIDSetAppendBinary(t *testing.T) {
	for _, test := range []struct{ set, want string }{
		{"", "0000000000000000"},
		{uuidB + ":1-2:5", "0100000000000000" + "8e683c28e5fb11f1b36302fc00000001" +
			"0200000000000000" + "01000000000000000300000000000000" +
			"05000000000000000600000000000000"},
		{uuidB + ":1-2:b:1:tag_one:1", "0103000000000001" +
			"8e683c28e5fb11f1b36302fc00000001" + "00" + "0100000000000000" +
			"01000000000000000300000000000000" +
			"8e683c28e5fb11f1b36302fc00000001" + "0262" + "0100000000000000" +
			"01000000000000000200000000000000" +
			"8e683c28e5fb11f1b36302fc00000001" + "0e7461675f6f6e65" +
			"0100000000000000" + "01000000000000000200000000000000"},
	} {
		g := set(t, test.set)
		if got := hex.EncodeToString(g.AppendBinary(nil)); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.set, got, test.want)
		}
	}
}

func TestPosition(t *testing.T) {
	for _, s := range []string{
		"gtid:" + uuidA + ":1-5", "gtid:0-1-5", "binlog.000003:154",
		"a:b.000001:4",
	} {
		p, err := binlog.ParsePosition(s)
		if err != nil || p.String() != s || p.IsZero() {
			t.Errorf("%q: %q, %v", s, p, err)
		}
	}
	for _, s := range []string{
		"", "gtid:", "gtid:x", "binlog.000003", ":4", "binlog.000003:",
		"binlog.000003:x", "binlog.000003:3", "binlog.000003:-1",
	} {
		if p, err := binlog.ParsePosition(s); err == nil {
			t.Errorf("%q: %q, want an error", s, p)
		}
	}
	if p := (binlog.Position{}); p.String() != "" || !p.IsZero() {
		t.Errorf("zero position: %q", p)
	}
}

func TestCompareFile(t *testing.T) {
	order := []binlog.Position{
		{},
		{File: "binlog.000009", Offset: 200},
		{File: "binlog.000010", Offset: 4},
		{File: "binlog.000010", Offset: 5 << 30},
		{File: "binlog.999999", Offset: 4},
		{File: "binlog.1000000", Offset: 4},
	}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.CompareFile(b); got != want {
				t.Errorf("%v, %v: %d, want %d", a, b, got, want)
			}
		}
	}
}

func FuzzGTIDSet(f *testing.F) {
	for _, s := range []string{
		"", uuidA + ":1-5:7:tag:1-3," + uuidB + ":2", "0-1-5,1-2-7",
		uuidA + ":1,0-1-5",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := binlog.ParseGTIDSet(s)
		if err != nil {
			return
		}
		text := g.AppendText(nil)
		again, err := binlog.ParseGTIDSet(string(text))
		if err != nil || !again.Equal(g) || !g.Contains(again) ||
			!bytes.Equal(again.AppendText(nil), text) {
			t.Errorf("%q reads back as %q, %v", text, again, err)
		}
		g.AppendBinary(nil)
		if p, err := binlog.ParsePosition("gtid:" + s); err == nil && !p.GTID.Equal(g) {
			t.Errorf("position %q, set %q", p, g)
		}
	})
}

// A position is printed as it can be read, and two have one order.
func FuzzPosition(f *testing.F) {
	for _, s := range []string{
		"binlog.000001:4", "gtid:" + uuidA + ":1-5", "a:b:157",
		"binlog.999999:18446744073709551615", ":4", "x.1:3",
	} {
		f.Add(s, "binlog.1000000:4")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		p, err := binlog.ParsePosition(s)
		if err != nil {
			return
		}
		again, err := binlog.ParsePosition(p.String())
		if err != nil || again.String() != p.String() || again.CompareFile(p) != 0 || p.IsZero() {
			t.Errorf("%q reads back as %q, %v", p, again, err)
		}
		if o, err := binlog.ParsePosition(other); err == nil &&
			p.CompareFile(o) != -o.CompareFile(p) {
			t.Errorf("%q and %q have no order", p, o)
		}
	})
}

func BenchmarkGTIDSetAdd(b *testing.B) {
	g := set(b, uuidA+":1-100,"+uuidB+":1-5:7-9")
	one := set(b, uuidA+":1")
	u := [16]byte(one.AppendBinary(nil)[8:24])
	n := uint64(100)
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		n++
		g.Add(u, "", n)
		buf = g.AppendText(buf[:0])
	}
}
