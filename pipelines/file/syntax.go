package file

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// syntaxError turns the YAML library's "yaml: line 3: ..." into an Error, with the path that the
// indentation shows and with the mistake that the library's words hide: a tab that indents, a value
// inside { } that needs quotes, or text that begins with a mark of YAML.
func (d *document) syntaxError(err error) *Error {
	fault := &Error{File: d.file}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if at, what, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(at); err == nil {
				fault.Line, message = n, what
			}
		}
	}
	fault.Message = "not YAML: " + message
	marked := ""
	switch {
	case strings.HasPrefix(message, "unknown anchor '"): // it names no line
		name, _, _ := strings.Cut(strings.TrimPrefix(message, "unknown anchor '"), "'")
		marked = "*" + name
		fault.Line = 1 + slices.IndexFunc(d.text, func(l string) bool {
			return strings.Contains(l, marked)
		})
	case strings.Contains(message, "expected ',' or '}'"),
		strings.Contains(message, "expected ',' or ']'"):
		fault.Line++ // here the library counts lines from 0, and means the line of the bracket
		fault.Message += "; inside { } and [ ] a value ends at a comma, at a bracket and at " +
			"a closing quote: put the whole value in quotes"
		fault.Path = d.pathAt(fault.Line)
		return fault
	}
	if line := d.tabbed(max(fault.Line, 1), message); line > 0 {
		fault.Line, fault.Path = line, d.pathAt(line)
		fault.Message = "a tab indents this line, and YAML takes spaces only; write spaces"
		return fault
	}
	if fault.Line < 1 || fault.Line > len(d.text) {
		return fault
	}
	fault.Path = d.pathAt(fault.Line)
	line := strings.TrimSpace(d.text[fault.Line-1])
	if marked == "" && line != "" && strings.IndexByte("*&!`@%", line[0]) >= 0 {
		marked = line[:keyEnd(line)]
	}
	if marked != "" {
		fault.Message += fmt.Sprintf("; quote it: %q", marked)
	} else if strings.Contains(line, " !") {
		fault.Message += "; quote text that begins with !"
	}
	return fault
}

// keyEnd returns where the key of a line ends: at the first colon that a space or nothing follows.
func keyEnd(line string) int {
	if i := strings.Index(line, ": "); i >= 0 {
		return i
	}
	return len(strings.TrimSuffix(line, ":"))
}

// tabbed returns the first line, from the one that the library names on, that is indented by a tab,
// or 0. Where the library does not mention a tab, only the line it names counts.
func (d *document) tabbed(from int, message string) int {
	last := from
	switch {
	case strings.Contains(message, "tab character"):
		last = len(d.text)
	case !strings.Contains(message, "cannot start any token"):
		return 0
	}
	for n := from; n <= min(last, len(d.text)); n++ {
		l := d.text[n-1]
		if strings.Contains(l[:len(l)-len(strings.TrimLeft(l, " \t"))], "\t") {
			return n
		}
	}
	return 0
}

// pathAt returns the path of the section that a line stands in. A tab counts as eight spaces.
func (d *document) pathAt(line int) string {
	if line < 1 || line > len(d.text) {
		return ""
	}
	lines := d.text[:line]
	indent := func(l string) int {
		blank := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		return len(blank) + 7*strings.Count(blank, "\t")
	}
	var keys []string
	within := indent(lines[len(lines)-1])
	for _, l := range slices.Backward(lines) {
		key, _, ok := strings.Cut(strings.TrimSpace(l), ":")
		if ok && key[:min(1, len(key))] != "#" && indent(l) < within {
			keys, within = append(keys, strings.Trim(key, `"'`)), indent(l)
		}
	}
	path := ""
	for _, key := range slices.Backward(keys) {
		path = join(path, key)
	}
	return path
}

// mendCommas finds values inside { } that a comma cut in two: the rest of such a value is a key
// without a colon. It notes the fault and puts the value together again, so that nothing follows
// from the fault.
func (s *section) mendCommas() {
	if s.node.Style&yaml.FlowStyle == 0 {
		return
	}
	kept := s.entries[:0]
	for _, e := range s.entries {
		if len(kept) == 0 || !s.doc.withoutColon(e) {
			kept = append(kept, e)
			continue
		}
		before := &kept[len(kept)-1]
		path := join(s.path, before.key.Value)
		s.doc.fault(e.key, path, "a comma ends a value inside { }; put the whole value in quotes")
		if before.value.Kind == yaml.ScalarNode {
			whole := *before.value
			whole.Value += ", " + e.key.Value
			whole.Tag = "!!str"
			before.value = &whole
		}
	}
	s.entries = kept
}

// withoutColon reports whether an entry inside { } is a plain key that no colon follows.
func (d *document) withoutColon(e entry) bool {
	if !isNull(e.value) || e.value.Value != "" || e.key.Style != 0 {
		return false
	}
	if e.key.Line > len(d.text) || strings.Contains(e.key.Value, "\n") {
		return false
	}
	line := []rune(d.text[e.key.Line-1])
	end := e.key.Column - 1 + len([]rune(e.key.Value))
	if end > len(line) {
		return false
	}
	return !strings.HasPrefix(strings.TrimSpace(string(line[end:])), ":")
}
