// Package jsonpath finds one value in the text of a JSON document by a path such as $.a[0].b. The
// syntax is that of MySQL's JSON functions, without wildcards and ranges.
//
// The document is not parsed as a whole: reading ends behind the value, and numbers keep all their
// digits. If an object has two members of one name, the first is found.
//
// The package does no I/O. Package transform/expression imports it.
package jsonpath

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Path is a parsed path. It is immutable and safe for concurrent use.
type Path struct{ steps []step }

// step leads from a value to one inside it: to a member of an object, or to an element of an array.
type step struct {
	member bool
	name   string
	// index is the number of the element. fromEnd is set if it counts back from the last element,
	// which is 0.
	index   int
	fromEnd bool
}

// Parse parses a path. An error is a phrase about the fault and its remedy.
func Parse(path string) (*Path, error) {
	fail := func(format string, args ...any) (*Path, error) {
		return nil, fmt.Errorf("the path %q "+format, append([]any{path}, args...)...)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(path), "$")
	if !ok {
		return fail("does not begin with $, which is the whole document, as in $.name or $[0]")
	}
	p := new(Path)
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		var s step
		var err error
		switch {
		case strings.HasPrefix(rest, "**"), strings.HasPrefix(rest, ".*"),
			strings.HasPrefix(rest, "[*"):
			return fail("has a wildcard, which can select several values; " +
				"name one value, as in $.name or $[0]")
		case rest[0] == '.':
			s, rest, err = parseMember(strings.TrimSpace(rest[1:]))
		case rest[0] == '[':
			s, rest, err = parseElement(rest[1:])
		default:
			return fail("has %.20q where .name or [number] must follow", rest)
		}
		if err != nil {
			return fail("%w", err)
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

// parseMember parses the name of a member, quoted or not.
func parseMember(text string) (s step, rest string, err error) {
	s.member = true
	if strings.HasPrefix(text, `"`) {
		end := 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(text) || json.Unmarshal([]byte(text[:end+1]), &s.name) != nil {
			return s, "", fmt.Errorf("has a name that is no JSON string: %.40s", text)
		}
		return s, text[end+1:], nil
	}
	end := 0
	for i, r := range text {
		if r != '_' && r != '$' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			break
		}
		end = i + utf8.RuneLen(r)
	}
	s.name, rest = text[:end], text[end:]
	switch {
	case rest != "" && !strings.ContainsRune(".[ *", rune(rest[0])):
		return s, "", fmt.Errorf("has a character in a name that needs quotes; "+
			`write $."name", with the name %.40q in quotes`, firstName(text))
	case s.name == "":
		return s, "", errors.New("has a . without a name behind it")
	}
	return s, rest, nil
}

// firstName returns the text up to the next step of a path, for messages.
func firstName(text string) string {
	if i := strings.IndexAny(text, ".["); i > 0 {
		return text[:i]
	}
	return text
}

// parseElement parses what follows [: a number, last, or last-number, and then ].
func parseElement(text string) (s step, rest string, err error) {
	inside, rest, ok := strings.Cut(text, "]")
	if !ok {
		return s, "", errors.New("has a [ without a ]")
	}
	number := strings.TrimSpace(inside)
	if after, ok := strings.CutPrefix(number, "last"); ok {
		s.fromEnd = true
		if number = strings.TrimSpace(after); number == "" {
			return s, rest, nil
		}
		if number, ok = strings.CutPrefix(number, "-"); !ok {
			return s, "", fmt.Errorf("has [%.20s], which must be [last] or [last-number]", inside)
		}
		number = strings.TrimSpace(number)
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return s, "", fmt.Errorf("has [%.20s], which must be the number of one element "+
			"from 0, [last] or [last-number]", inside)
	}
	s.index = int(n)
	return s, rest, nil
}

// ErrNotJSON is the cause of an error of AppendText.
var ErrNotJSON = errors.New("is not JSON")

// AppendText appends the text of the value that the path leads to. A string is appended without its
// quotes and escapes, any other value as it stands in the document. found is false if the document
// has no such value, or if the value is null. An error means that the document is not JSON as far
// as it was read.
func (p *Path) AppendText(dst, document []byte) (out []byte, found bool, err error) {
	r := reader{text: document}
	for i := range p.steps {
		found, err := r.enter(&p.steps[i])
		if err != nil || !found {
			return dst, false, err
		}
	}
	r.space()
	start := r.at
	if err := r.skip(0); err != nil {
		return dst, false, err
	}
	value := document[start:r.at]
	switch value[0] {
	case 'n':
		return dst, false, nil
	case '"':
		out, err := appendUnescaped(dst, value[1:len(value)-1])
		if err != nil {
			return dst, false, err
		}
		return out, true, nil
	}
	return append(dst, value...), true, nil
}
