package template

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

// Match reports whether the template can print text for some row. It may report true for a text
// that no value of the columns prints, such as a number out of range; never false for a text that
// a row prints.
func (t *Template) Match(text []byte) bool {
	if len(t.segments) > 0 && !bytes.HasPrefix(text, t.segments[0].literal) {
		return false
	}
	if parts, unambiguous := t.split(text, nil); unambiguous {
		return parts != nil
	}
	literal := &Template{segments: []segment{{literal: text, column: -1}}}
	return intersects(positions(t), positions(literal))
}

// ColumnText is the text of a column, as MySQL prints it.
type ColumnText struct {
	// Column is an index in Table.Columns.
	Column int
	Text   []byte
}

// Parse returns the columns that text determines, see Determines, with the values that print text.
// ok is false if the template cannot print text, or if Determines finds it ambiguous. The returned
// texts may share memory with text.
func (t *Template) Parse(text []byte) (columns []ColumnText, ok bool) {
	parts, _ := t.split(text, make([][]byte, 0, len(t.segments)))
	if parts == nil {
		return nil, false
	}
	for i := range t.segments {
		s := &t.segments[i]
		if s.column < 0 || !s.injective {
			continue
		}
		value, ok := s.invert(parts[i])
		if !ok {
			return nil, false
		}
		columns = append(columns, ColumnText{s.column, value})
	}
	return columns, true
}

// split divides text into the parts that the segments printed, appended to parts. It returns nil
// if the template cannot print text. unambiguous is false if the end of a part cannot be found in
// the text, see Determines; split then returns nil.
func (t *Template) split(text []byte, parts [][]byte) (split [][]byte, unambiguous bool) {
	if left, _ := t.ambiguous(); left >= 0 {
		return nil, false
	}
	if parts == nil {
		var room [8][]byte
		parts = room[:0]
	}
	for i := range t.segments {
		s := &t.segments[i]
		if s.column < 0 {
			if !bytes.HasPrefix(text, s.literal) {
				return nil, true
			}
			parts, text = append(parts, text[:len(s.literal)]), text[len(s.literal):]
			continue
		}
		n := len(text) // the last segment takes the rest
		switch rest := t.segments[i+1:]; len(rest) {
		case 0:
		case 1: // literal text, which ends the template
			n -= len(rest[0].literal)
		default:
			n = s.end(text, rest[0].literal[0])
		}
		if n < 0 || !s.prints(text[:n]) {
			return nil, true
		}
		parts, text = append(parts, text[:n]), text[n:]
	}
	if len(text) > 0 {
		return nil, true
	}
	return parts, true
}

// end returns the length of the column's part at the beginning of text, if a literal text that
// begins with next follows; -1 if there is no such text. The part can contain next only as its
// first byte.
func (s *segment) end(text []byte, next byte) int {
	from := 0
	if !s.mayBeEmpty() {
		from = 1
	}
	if from > len(text) {
		return -1
	}
	n := bytes.IndexByte(text[from:], next)
	if n < 0 {
		return -1
	}
	return from + n
}

// mayBeEmpty reports whether a value can print nothing. A number prints at least one byte. Text may
// be empty, and so may the result of a filter. Only text can contain bytes like 0x80.
func (s *segment) mayBeEmpty() bool { return len(s.filters) > 0 || s.alphabet.has(0x80) }

// prints reports whether the column can print part, judged by its bytes.
func (s *segment) prints(part []byte) bool {
	if len(part) == 0 {
		return s.mayBeEmpty()
	}
	if !s.alphabet.has(part[0]) {
		return false
	}
	for _, c := range part[1:] {
		if !s.tail.has(c) {
			return false
		}
	}
	return true
}

// invert returns the column's value that the segment prints as part. Each injective chain of
// filters can be inverted: upper and lower are in one only after hex and uuid.
func (s *segment) invert(part []byte) (value []byte, ok bool) {
	if s.escape {
		if part, ok = unescape(part); !ok {
			return nil, false
		}
	}
	for i := len(s.filters) - 1; i >= 0; i-- {
		if part, ok = s.filters[i].invert(part); !ok {
			return nil, false
		}
	}
	return part, true
}

// unescape reverses escapeTail.
func unescape(part []byte) ([]byte, bool) {
	if bytes.IndexByte(part, '%') < 0 {
		return part, true
	}
	var out []byte
	for len(part) > 0 {
		switch {
		case part[0] != '%':
			out, part = append(out, part[0]), part[1:]
		case bytes.HasPrefix(part, []byte("%25")):
			out, part = append(out, '%'), part[3:]
		case bytes.HasPrefix(part, []byte("%3A")):
			out, part = append(out, ':'), part[3:]
		default:
			return nil, false
		}
	}
	return out, true
}

// decodeHex decodes hexadecimal digits of either case.
func decodeHex(text []byte) ([]byte, bool) {
	out, err := hex.AppendDecode(nil, text)
	return out, err == nil
}

func decodeBase64(text []byte) ([]byte, bool) {
	out, err := base64.StdEncoding.AppendDecode(nil, text)
	return out, err == nil
}

func decodeURL(text []byte) ([]byte, bool) {
	var out []byte
	for len(text) > 0 {
		if text[0] != '%' {
			out, text = append(out, text[0]), text[1:]
			continue
		}
		if len(text) < 3 {
			return nil, false
		}
		b, ok := decodeHex(text[1:3])
		if !ok {
			return nil, false
		}
		out, text = append(out, b...), text[3:]
	}
	return out, true
}

func parseUUID(text []byte) ([]byte, bool) {
	const length = 36 // RFC 9562: 32 digits and 4 hyphens
	if len(text) != length {
		return nil, false
	}
	return decodeHex(bytes.ReplaceAll(text, []byte("-"), nil))
}

// unchanged inverts lower and upper where they are injective: after hex or uuid, whose decoders
// accept either case, and for texts without letters.
func unchanged(text []byte) ([]byte, bool) { return text, true }
