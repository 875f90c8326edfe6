package jsonpath

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the deepest nesting that a document may have. MySQL allows 100, MariaDB 32.
const maxDepth = 100

// reader reads a document from its beginning to its end.
type reader struct {
	text []byte
	at   int
}

func (r *reader) fail() error { return fmt.Errorf("%w (at byte %d)", ErrNotJSON, r.at) }

// space skips white space.
func (r *reader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next skips white space and returns the byte behind it, 0 at the end of the document.
func (r *reader) next() byte {
	r.space()
	if r.at == len(r.text) {
		return 0
	}
	return r.text[r.at]
}

// enter moves from a value to the value inside it that a step selects. found is false if the step
// selects nothing. As in MySQL, a value that is no array is its own only element.
func (r *reader) enter(s *step) (found bool, err error) {
	switch c := r.next(); {
	case s.member && c == '{':
		return r.enterMember(s.name)
	case !s.member && c == '[':
		return r.enterElement(s)
	case c != '{' && c != '[':
		ahead := *r
		if err := ahead.skip(1); err != nil {
			return false, err
		}
	}
	return !s.member && s.index == 0, nil
}

// enterMember moves from an object to its member of a name.
func (r *reader) enterMember(name string) (found bool, err error) {
	r.at++
	if r.next() == '}' {
		return false, nil
	}
	for {
		key, err := r.name()
		if err != nil {
			return false, err
		}
		equal, err := equalName(key, name)
		if err != nil || equal {
			return equal, err
		}
		if err := r.skip(1); err != nil {
			return false, err
		}
		switch r.next() {
		case ',':
			r.at++
		case '}':
			return false, nil
		default:
			return false, r.fail()
		}
	}
}

// name reads the name of a member and the colon. The quotes are not part of the name.
func (r *reader) name() ([]byte, error) {
	if r.next() != '"' {
		return nil, r.fail()
	}
	start := r.at + 1
	if err := r.quoted(); err != nil {
		return nil, err
	}
	name := r.text[start : r.at-1]
	if r.next() != ':' {
		return nil, r.fail()
	}
	r.at++
	return name, nil
}

// equalName compares a name in a document, which may have escapes, with one of a path.
func equalName(escaped []byte, name string) (bool, error) {
	if bytes.IndexByte(escaped, '\\') < 0 {
		return string(escaped) == name, nil
	}
	var b [64]byte
	plain, err := appendUnescaped(b[:0], escaped)
	return string(plain) == name, err
}

// enterElement moves from an array to one of its elements.
func (r *reader) enterElement(s *step) (found bool, err error) {
	index := s.index
	if s.fromEnd {
		ahead := *r
		n, _, err := ahead.elements(-1)
		if err != nil || s.index >= n {
			return false, err
		}
		index = n - 1 - s.index
	}
	_, found, err = r.elements(index)
	return found, err
}

// elements counts the elements of an array. It stops in front of the element with the number stop,
// and then found is true.
func (r *reader) elements(stop int) (count int, found bool, err error) {
	r.at++
	if r.next() == ']' {
		return 0, false, nil
	}
	for ; count != stop; count++ {
		if err := r.skip(1); err != nil {
			return 0, false, err
		}
		switch r.next() {
		case ',':
			r.at++
		case ']':
			return count + 1, false, nil
		default:
			return 0, false, r.fail()
		}
	}
	return count, true, nil
}

// skip moves behind a value. depth is the number of arrays and objects around the value.
func (r *reader) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: it nests deeper than %d", ErrNotJSON, maxDepth)
	}
	switch c := r.next(); {
	case c == '"':
		return r.quoted()
	case c == '{' || c == '[':
		return r.container(c, depth)
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if bytes.HasPrefix(r.text[r.at:], []byte(word)) {
			r.at += len(word)
			return nil
		}
	}
	return r.fail()
}

// container moves behind an object or an array, which open begins.
func (r *reader) container(open byte, depth int) error {
	end := open + 2 // } and ] in ASCII
	r.at++
	if r.next() == end {
		r.at++
		return nil
	}
	for {
		if open == '{' {
			if _, err := r.name(); err != nil {
				return err
			}
		}
		if err := r.skip(depth + 1); err != nil {
			return err
		}
		switch c := r.next(); c {
		case ',':
			r.at++
		case end:
			r.at++
			return nil
		default:
			return r.fail()
		}
	}
}

// quoted moves behind a string.
func (r *reader) quoted() error {
	for i := r.at + 1; i < len(r.text); i++ {
		switch r.text[i] {
		case '\\':
			i++
		case '"':
			r.at = i + 1
			return nil
		}
	}
	return r.fail()
}

// number moves behind a number.
func (r *reader) number() error {
	digits := func() bool {
		start := r.at
		for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
			r.at++
		}
		return r.at > start
	}
	accept := func(a, b byte) bool {
		if r.at < len(r.text) && (r.text[r.at] == a || r.text[r.at] == b) {
			r.at++
			return true
		}
		return false
	}
	accept('-', '-')
	ok := digits()
	if accept('.', '.') {
		ok = digits() && ok
	}
	if accept('e', 'E') {
		accept('+', '-')
		ok = digits() && ok
	}
	if !ok {
		return r.fail()
	}
	return nil
}

// appendUnescaped appends the text of a JSON string, given without its quotes. A half of a
// surrogate pair becomes U+FFFD.
func appendUnescaped(dst, s []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...), nil
		}
		dst = append(dst, s[:i]...)
		if s = s[i+1:]; len(s) == 0 {
			return dst, ErrNotJSON
		}
		if s[0] != 'u' {
			j := bytes.IndexByte([]byte(`"\/bfnrt`), s[0])
			if j < 0 {
				return dst, fmt.Errorf("%w: it has an unknown escape \\%c", ErrNotJSON, s[0])
			}
			dst, s = append(dst, "\"\\/\b\f\n\r\t"[j]), s[1:]
			continue
		}
		c, ok := hex4(s[1:])
		if !ok {
			return dst, fmt.Errorf("%w: it has an incomplete escape \\u", ErrNotJSON)
		}
		s = s[5:]
		if utf16.IsSurrogate(c) {
			low := rune(utf8.RuneError)
			if bytes.HasPrefix(s, []byte(`\u`)) {
				if low, ok = hex4(s[2:]); !ok {
					return dst, fmt.Errorf("%w: it has an incomplete escape \\u", ErrNotJSON)
				}
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				s = s[6:]
			}
		}
		dst = utf8.AppendRune(dst, c)
	}
}

// hex4 parses four hexadecimal digits.
func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s[:4]), 16, 32)
	return rune(n), err == nil
}
