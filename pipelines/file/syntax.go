package file

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// syntaxError converts an error of the YAML library, "yaml: line 3: ...", to an Error. It derives
// the path from the indentation. It explains the usual mistakes, which the library's message hides:
// a missing quote, a value that needs quotes, a tab as indentation, text that begins with * & ! @ `
// or %.
func (d *document) syntaxError(err error) *Error {
	if fault := d.quoteError(); fault != nil {
		return fault
	}
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
	case strings.HasPrefix(message, "unknown anchor '"): // this message has no line
		name, _, _ := strings.Cut(strings.TrimPrefix(message, "unknown anchor '"), "'")
		marked = "*" + name
		fault.Line = 1 + slices.IndexFunc(d.text, func(l string) bool {
			return strings.Contains(l, marked)
		})
	case strings.Contains(message, "expected ',' or '}'"),
		strings.Contains(message, "expected ',' or ']'"):
		fault.Line++ // in this message the library counts from 0, and names the bracket's line
		fault.Message += "; inside { } and [ ] a value ends at a comma, at a bracket and at " +
			"a closing quote: put the whole value in quotes"
		fault.Path = d.pathAt(fault.Line)
		return fault
	}
	if line := d.tabLine(max(fault.Line, 1), message); line > 0 {
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

// keyEnd returns the length of the key at the start of a line. The key ends at the first colon that
// is followed by a space or by the end of the line.
func keyEnd(line string) int {
	if i := strings.Index(line, ": "); i >= 0 {
		return i
	}
	return len(strings.TrimSuffix(line, ":"))
}

// tabLine returns the first line at or after from that is indented by a tab, or 0. from is the line
// in the library's message. If the message does not mention a tab, only this line is checked.
func (d *document) tabLine(from int, message string) int {
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

// pathAt returns the path of the section that contains a line. A tab counts as eight spaces.
func (d *document) pathAt(line int) string {
	if line < 1 || line > len(d.text) {
		return ""
	}
	lines := d.text[:line]
	var keys []string
	within := indentOf(lines[len(lines)-1])
	for _, l := range slices.Backward(lines) {
		key, _, ok := strings.Cut(strings.TrimSpace(l), ":")
		if ok && key[:min(1, len(key))] != "#" && indentOf(l) < within {
			within = indentOf(l)
			if strings.HasPrefix(key, "- ") {
				continue // the first key of a list's item is not around the other keys
			}
			keys = append(keys, strings.Trim(key, `"'`))
		}
	}
	path := ""
	for _, key := range slices.Backward(keys) {
		path = join(path, key)
	}
	return path
}

// rejoinCommas finds values inside { } that YAML split at a comma: the rest of such a value became
// a key without a colon. rejoinCommas records a fault and rejoins the value, so that the rest is
// not reported as an unknown key.
func (s *section) rejoinCommas() {
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
		s.doc.errorf(e.key, path, "a comma ends a value inside { }; put the whole value in quotes")
		if before.value.Kind == yaml.ScalarNode {
			joined := *before.value
			joined.Value += ", " + e.key.Value
			joined.Tag = "!!str"
			before.value = &joined
		}
	}
	s.entries = kept
}

// withoutColon reports whether an entry inside { } is a plain key without a colon after it.
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
