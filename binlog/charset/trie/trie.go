// Package trie holds conversion tables of character sets, and their packed form.
package trie

import (
	"sort"
	"unicode/utf8"
)

// Table is a trie over the bytes of a character. It is immutable once it is in use.
type Table struct {
	// Pages are the nodes; the first is the root.
	Pages []*Page
	// Four are the characters of gb18030 that have four bytes, in the order of Run.First.
	Four []Run
}

// Page is a node. The entry of a byte is the code point of the character that ends with this byte,
// or one of the codes below, which are surrogates and therefore no characters.
type Page [256]uint16

// The codes.
const (
	// Node plus k: the character continues in page k.
	Node = 0xd800
	// Four: a character of four bytes, whose code point is in Table.Four.
	Four = 0xdffd
	// Illegal: the first byte begins no character.
	Illegal = 0xdfff

	lastCode = 0xdfff
)

// empty is the page in which every byte is illegal. Tables share it.
var empty = func() *Page {
	p := new(Page)
	for i := range p {
		p[i] = Illegal
	}
	return p
}()

// Run is a range of characters of four bytes whose numbers and code points both increase by one.
type Run struct {
	// First is the number of the first character; see FourBytes.
	First int
	// Rune is the code point of the first character. If it is '?', no character of the run is
	// assigned.
	Rune rune
}

// FourCount is the number of sequences that FourBytes returns.
const FourCount = 126 * 10 * 126 * 10

// FourBytes returns the bytes of a character by its number.
func FourBytes(n int) []byte {
	return []byte{
		0x81 + byte(n/12600), '0' + byte(n/1260%10), 0x81 + byte(n/10%126), '0' + byte(n%10),
	}
}

// fourNumber is the inverse of FourBytes. ok is false if text does not begin with such a character.
func fourNumber(text []byte) (n int, ok bool) {
	a, b, c, d := text[0]-0x81, text[1]-'0', text[2]-0x81, text[3]-'0'
	return ((int(a)*10+int(b))*126+int(c))*10 + int(d), a < 126 && b < 10 && c < 126 && d < 10
}

// Next returns the first character of text, and the number of its bytes, which is 0 if text ends
// within the character. For bytes without a character, r is '?'.
func (t *Table) Next(text []byte) (r rune, n int) {
	p := t.Pages[0]
	for i, b := range text {
		switch c := p[b]; {
		case c < Node || c > lastCode:
			return rune(c), i + 1
		case c == Illegal:
			return '?', 1
		case c == Four:
			return t.nextFour(text)
		default:
			p = t.Pages[c-Node]
		}
	}
	return '?', 0
}

func (t *Table) nextFour(text []byte) (rune, int) {
	if len(text) < 4 {
		return '?', 0
	}
	n, ok := fourNumber(text)
	if !ok {
		return '?', 1
	}
	k := sort.Search(len(t.Four), func(k int) bool { return t.Four[k].First > n }) - 1
	if k < 0 || t.Four[k].Rune == '?' {
		return '?', 4
	}
	return t.Four[k].Rune + rune(n-t.Four[k].First), 4
}

// IsASCIISuperset reports whether the bytes below 0x80 are those of ASCII.
func (t *Table) IsASCIISuperset() bool {
	for b := range utf8.RuneSelf {
		if t.Pages[0][b] != uint16(b) {
			return false
		}
	}
	return true
}

// EachRune calls f for every character of the table, for some more than once.
func (t *Table) EachRune(f func(rune)) {
	for _, p := range t.Pages {
		for _, c := range p {
			if c < Node || c > lastCode {
				f(rune(c))
			}
		}
	}
	for i, run := range t.Four {
		end := FourCount
		if i+1 < len(t.Four) {
			end = t.Four[i+1].First
		}
		if run.Rune != '?' {
			for r := run.Rune; r < run.Rune+rune(end-run.First); r++ {
				f(r)
			}
		}
	}
}
