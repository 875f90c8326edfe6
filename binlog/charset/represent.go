package charset

import (
	"unicode/utf8"

	"rowfall/binlog/charset/trie"
)

// runeSet is a set of characters below 0x10000.
type runeSet [0x10000 / 8]byte

func (s *runeSet) add(r rune)      { s[r>>3] |= 1 << (r & 7) }
func (s *runeSet) has(r rune) bool { return s[r>>3]>>(r&7)&1 != 0 }

func newRuneSet(t *trie.Table) *runeSet {
	s := new(runeSet)
	t.EachRune(func(r rune) {
		if r < 0x10000 {
			s.add(r)
		}
	})
	return s
}

// Represent returns a text as the server prints it after it was stored in this character set: with
// a question mark for every character that the character set does not have.
func (d *Decoder) Represent(text string) string {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if !d.represents(r) {
			r = question
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

func (d *Decoder) represents(r rune) bool {
	switch d.form {
	case formTable:
		if r < 0x10000 {
			return d.runes().has(r)
		}
		return len(d.table.Four) > 0
	case formASCII:
		return r < utf8.RuneSelf
	case formUTF8mb3, formUCS2:
		return r < 0x10000
	}
	return true
}
