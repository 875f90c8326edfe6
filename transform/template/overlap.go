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
	letters     = setOf(upperText + lowerText)
	percent     = setOf("%")
	escaped     = setOf("%253A") // the bytes of %25 and %3A
	lowerHex    = setOf(digitText + "abcdef")
	uuidBytes   = setOf(digitText + "abcdef-")
	unreserved  = setOf(digitText + upperText + lowerText + "-._~")
	urlencoded  = unreserved.union(percent)
	base64Bytes = setOf(digitText + upperText + lowerText + "+/=")
)

// columnAlphabet returns the bytes that a column's text can contain, and those that it can contain
// after its first byte.
func columnAlphabet(c *binlog.Column) (all, tail byteSet) {
	allBytes, tailBytes := c.Alphabet()
	if allBytes == "" {
		return anyByte, anyByte
	}
	return setOf(allBytes), setOf(tailBytes)
}

// Overlap reports whether some text can be printed by both templates. It treats each template as a
// regular expression and looks for a text that matches both.
func Overlap(a, b *Template) bool {
	// Most pairs differ in the literal text at their beginnings.
	x, y := a.Prefix(), b.Prefix()
	if n := min(len(x), len(y)); x[:n] != y[:n] {
		return false
	}
	return intersects(positions(a), positions(b))
}

// Prefix returns the literal text with which the template begins.
func (t *Template) Prefix() string {
	if len(t.segments) == 0 || t.segments[0].column >= 0 {
		return ""
	}
	return string(t.segments[0].literal)
}

// StartsWith reports whether the template can print a text that begins with prefix.
func (t *Template) StartsWith(prefix string) bool {
	return Overlap(t, &Template{segments: []segment{
		{literal: []byte(prefix), column: -1},
		{alphabet: anyByte, column: 0},
	}})
}

// position matches one byte of a template's text, or, if repeats is set, any number of bytes, as
// [abc] and [abc]* do in a regular expression.
type position struct {
	set     byteSet
	repeats bool
}

// positions returns the template as a regular expression.
func positions(t *Template) []position {
	var out []position
	for i := range t.segments {
		s := &t.segments[i]
		if s.column >= 0 {
			// A number prints at least one byte. Text may be empty, and so may the result of a
			// filter. Only text can contain bytes like 0x80, outside of ASCII.
			if len(s.filters) == 0 && !s.alphabet.has(0x80) {
				out = append(out, position{set: s.alphabet})
			}
			out = append(out, position{set: s.alphabet, repeats: true})
			continue
		}
		for _, c := range s.literal {
			var set byteSet
			set[c>>6] = 1 << (c & 63)
			out = append(out, position{set: set})
		}
	}
	return out
}

// intersects reports whether some text matches both x and y. It walks over the pairs of a position
// in x and one in y that a common beginning of two texts can reach, and visits each pair once.
func intersects(x, y []position) bool {
	seen := make([]bool, (len(x)+1)*(len(y)+1))
	var walk func(i, j int) bool
	walk = func(i, j int) bool {
		pair := i*(len(y)+1) + j
		if seen[pair] {
			return false
		}
		seen[pair] = true
		if i == len(x) && j == len(y) {
			return true
		}
		// A position that repeats may match no further byte.
		if i < len(x) && x[i].repeats && walk(i+1, j) ||
			j < len(y) && y[j].repeats && walk(i, j+1) {
			return true
		}
		if i == len(x) || j == len(y) || !x[i].set.intersects(y[j].set) {
			return false
		}
		// Both match a common byte. A position that repeats stays for the next byte.
		nextI, nextJ := i+1, j+1
		if x[i].repeats {
			nextI = i
		}
		if y[j].repeats {
			nextJ = j
		}
		return walk(nextI, nextJ)
	}
	return walk(0, 0)
}

// Determines returns the columns whose values the template's text determines: two rows that differ
// in such a column have different texts. If two adjacent parts are ambiguous, because the end of
// the first cannot be found in the text, columns is nil, and left and right are the columns of the
// two parts. Otherwise left and right are -1.
func (t *Template) Determines() (columns []int, left, right int) {
	if left, right = t.ambiguous(); left >= 0 {
		return nil, left, right
	}
	for i := range t.segments {
		if s := &t.segments[i]; s.column >= 0 && s.injective {
			columns = append(columns, s.column)
		}
	}
	return columns, -1, -1
}

// ambiguous returns the columns of two adjacent parts where the end of the first cannot be found
// in the text; -1 and -1 if every end can be found.
func (t *Template) ambiguous() (left, right int) {
	last := -1
	for i := range t.segments {
		s := &t.segments[i]
		if s.column < 0 {
			continue
		}
		if last >= 0 {
			// The end of a part is found if the literal text after the part begins with a byte
			// that the part cannot contain.
			l := &t.segments[last]
			if i == last+1 || l.tail.has(t.segments[last+1].literal[0]) {
				return l.column, s.column
			}
		}
		last = i
	}
	return -1, -1
}
