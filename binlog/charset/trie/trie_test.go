package trie_test

import (
	"reflect"
	"testing"

	"rowfall/binlog/charset/trie"
)

// small returns a table with a character of one, two and three bytes, and one of four.
func small() *trie.Table {
	root, second, third := new(trie.Page), new(trie.Page), new(trie.Page)
	for b := range root {
		root[b], second[b], third[b] = uint16(b), trie.Illegal, trie.Illegal
	}
	root[0x81], second['a'], second['b'], third['c'] = trie.Node+1, 0x6f22, trie.Node+2, 0x5b57
	second['0'] = trie.Four
	return &trie.Table{
		Pages: []*trie.Page{root, second, third},
		Four:  []trie.Run{{First: 0, Rune: 0x80}, {First: 5, Rune: '?'}, {First: 9, Rune: 0x10000}},
	}
}

func TestNext(t *testing.T) {
	for _, test := range []struct {
		text string
		r    rune
		n    int
	}{
		{"a", 'a', 1},
		{"\x81a", 0x6f22, 2},
		{"\x81bc", 0x5b57, 3},
		{"\x81x", '?', 1},
		{"\x81b", '?', 0},
		{"\x81", '?', 0},
		{"\x81bd", '?', 1},
		{"\x810\x810", 0x80, 4},
		{"\x810\x816", '?', 4},
		{"\x810\x819", 0x10000, 4},
		{"\x810\x81", '?', 0},
		{"\x810\x80\x30", '?', 1},
	} {
		if r, n := small().Next([]byte(test.text)); r != test.r || n != test.n {
			t.Errorf("%q: %U, %d, want %U, %d", test.text, r, n, test.r, test.n)
		}
	}
}

func TestPack(t *testing.T) {
	base, other := small(), small()
	other.Pages[1]['z'], other.Pages[0][0x81], other.Pages[0][0x82] = 'z', 0x20ac, trie.Node+1
	for _, of := range []*trie.Table{nil, base} {
		for _, want := range []*trie.Table{base, other} {
			packed, err := trie.Pack(want, of)
			if err != nil {
				t.Fatal(err)
			}
			got, err := trie.Unpack(packed, of)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d pages, %v; want %d", len(got.Pages), err, len(want.Pages))
			}
			for n := range packed {
				if _, err := trie.Unpack(packed[:n], of); err == nil {
					t.Errorf("%d of %d bytes: no error", n, len(packed))
				}
			}
		}
	}
}

func TestFourBytes(t *testing.T) {
	for _, n := range []int{0, 1, 12600, trie.FourCount - 1} {
		table := &trie.Table{Pages: small().Pages, Four: []trie.Run{{First: 0, Rune: 0}}}
		table.Pages[0] = &trie.Page{}
		b := trie.FourBytes(n)
		table.Pages[0][b[0]], table.Pages[1][b[1]] = trie.Node+1, trie.Four
		if r, size := table.Next(b); r != rune(n) || size != 4 {
			t.Errorf("% x: number %d, %d bytes, want %d", b, r, size, n)
		}
	}
}

// FuzzUnpack checks that bytes that Pack has not written cause no panic.
func FuzzUnpack(f *testing.F) {
	packed, err := trie.Pack(small(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(t *testing.T, packed []byte) {
		if table, err := trie.Unpack(packed, small()); err == nil {
			table.Next([]byte("\x81bc"))
			table.Next([]byte("\x810\x810"))
		}
	})
}
