package template

import "rowfall/binlog"

// byteSet is a set of byte values.
type byteSet [4]uint64

func setOf(text string) (s byteSet) {
	for i := range len(text) {
		s[text[i]>>6] |= 1 << (text[i] & 63)
	}
	return s
}

func (s byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

func (s byteSet) union(o byteSet) byteSet {
	for i := range s {
		s[i] |= o[i]
	}
	return s
}

func (s byteSet) without(c byte) byteSet {
	s[c>>6] &^= 1 << (c & 63)
	return s
}

func (s byteSet) intersects(o byteSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

const (
	digitText = "0123456789"
	upperText = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lowerText = "abcdefghijklmnopqrstuvwxyz"
)

var (
	anyByte     = byteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	digits      = setOf(digitText)
	letters     = setOf(upperText + lowerText)
	percent     = setOf("%")
	lowerHex    = setOf(digitText + "abcdef")
	uuidBytes   = setOf(digitText + "abcdef-")
	unreserved  = setOf(digitText + upperText + lowerText + "-._~")
	urlencoded  = unreserved.union(percent)
	base64Bytes = setOf(digitText + upperText + lowerText + "+/=")
)

// columnAlphabet returns the bytes that a column's text can contain, and those that
// it can contain behind the first.
func columnAlphabet(c *binlog.Column) (all, tail byteSet) {
	allBytes, tailBytes := c.Alphabet()
	if allBytes == "" {
		return anyByte, anyByte
	}
	return setOf(allBytes), setOf(tailBytes)
}

// Overlap reports whether some text fits both templates: a walk over the pairs
// of places in the two.
func Overlap(a, b *Template) bool {
	// Most pairs differ in their literal beginnings.
	x, y := a.Prefix(), b.Prefix()
	if n := min(len(x), len(y)); x[:n] != y[:n] {
		return false
	}
	return meet(atoms(a), atoms(b))
}

// Prefix returns the literal text that the template begins with.
func (t *Template) Prefix() string {
	if len(t.segments) == 0 || t.segments[0].column >= 0 {
		return ""
	}
	return string(t.segments[0].literal)
}

// StartsWith reports whether the template may print text that begins so.
func (t *Template) StartsWith(prefix string) bool {
	return Overlap(t, &Template{segments: []segment{
		{literal: []byte(prefix), column: -1},
		{alphabet: anyByte, column: 0},
	}})
}

func meet(x, y []atom) bool {
	seen := make([]bool, (len(x)+1)*(len(y)+1))
	var walk func(i, j int) bool
	walk = func(i, j int) bool {
		at := i*(len(y)+1) + j
		if seen[at] {
			return false
		}
		seen[at] = true
		if i == len(x) && j == len(y) {
			return true
		}
		// A hole may end here.
		if i < len(x) && x[i].hole && walk(i+1, j) || j < len(y) && y[j].hole && walk(i, j+1) {
			return true
		}
		if i == len(x) || j == len(y) || !x[i].set.intersects(y[j].set) {
			return false
		}
		// Both take a byte; a hole may stay for more, and its end is the move
		// above.
		ni, nj := i+1, j+1
		if x[i].hole {
			ni = i
		}
		if y[j].hole {
			nj = j
		}
		return walk(ni, nj)
	}
	return walk(0, 0)
}

// atom is one byte of a template's text, or a hole: any run of its set.
type atom struct {
	set  byteSet
	hole bool
}

func atoms(t *Template) []atom {
	var out []atom
	for i := range t.segments {
		s := &t.segments[i]
		if s.column >= 0 {
			// A number prints at least one byte; text, and what a filter makes of
			// it, may be empty.
			if len(s.filters) == 0 && !s.alphabet.has(0x80) {
				out = append(out, atom{set: s.alphabet})
			}
			out = append(out, atom{set: s.alphabet, hole: true})
			continue
		}
		for _, c := range s.literal {
			out = append(out, atom{set: setOf(string(rune(c)))})
			if c >= 0x80 {
				out[len(out)-1].set = byteSet{}
				out[len(out)-1].set[c>>6] = 1 << (c & 63)
			}
		}
	}
	return out
}

// Determines returns the columns whose values can be read back from the
// template's text, so that two rows that differ in them differ in the text. It
// returns nil with the two parts that could run into each other, if there are.
func (t *Template) Determines() (columns []int, left, right int) {
	last := -1
	for i := range t.segments {
		s := &t.segments[i]
		if s.column < 0 {
			continue
		}
		if last >= 0 {
			// A part ends at the first byte it cannot hold itself.
			l := &t.segments[last]
			if i == last+1 || l.tail.has(t.segments[last+1].literal[0]) {
				return nil, l.column, s.column
			}
		}
		if s.injective {
			columns = append(columns, s.column)
		}
		last = i
	}
	return columns, -1, -1
}
