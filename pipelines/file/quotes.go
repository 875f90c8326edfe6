package file

import (
	"regexp"
	"strings"
)

// plainKey matches the keys that the messages about quotes name.
var plainKey = regexp.MustCompile(`^[a-z_]+$`)

// quoteError returns the fault of the first value that is malformed because of its quotes, or
// because it needs some, or nil: a closing quote is missing, text follows a closing quote or a
// closing bracket, an unquoted value contains ": ", or it begins with a character that YAML
// reserves. The YAML library reports most of these faults at another line.
func (d *document) quoteError() *Error {
	s := quoteScanner{lines: d.text}
	for s.line < len(s.lines) && s.fault == "" {
		s.scanLine()
	}
	if s.fault == "" {
		return nil
	}
	return &Error{File: d.file, Line: s.at, Path: d.pathAt(s.at), Message: "not YAML: " + s.fault}
}

// quoteScanner reads the tokens of a YAML file only as far as is necessary to find where quoted
// values begin: a quote within plain text, such as in a != "b", begins none.
type quoteScanner struct {
	lines []string
	line  int    // index of the line that is read
	depth int    // of { and [
	text  string // the line that is read, from where its first value begins, once a key was read
	// afterKey is set if the token before was the colon of a key.
	afterKey bool
	key      string // the last key that is a plain word

	fault string
	at    int // the line of fault, from 1
}

// scanLine reads the tokens of one line, or of several if a quoted value ends on a later one.
func (s *quoteScanner) scanLine() {
	rest := s.lines[s.line]
	indent := indentOf(rest)
	s.line++
	if s.depth == 0 {
		s.key = ""
	}
	s.text = ""
	for s.fault == "" {
		rest = strings.TrimLeft(rest, " \t\r")
		if s.rejectUnquoted(rest); s.fault != "" {
			return
		}
		isColon := strings.HasPrefix(rest, ":")
		if isColon && s.depth == 0 && s.text == "" {
			s.text = strings.TrimSpace(rest[1:])
		}
		s.afterKey = isColon
		switch {
		case rest == "" || rest[0] == '#':
			return
		case rest[0] == '"' || rest[0] == '\'':
			rest = s.quoted(rest)
		case rest[0] == '{' || rest[0] == '[':
			s.depth++
			rest = rest[1:]
		case s.depth > 0 && (rest[0] == '}' || rest[0] == ']'):
			s.depth--
			rest = rest[1:]
		case rest[0] == ',' || rest[0] == ':' || strings.HasPrefix(rest, "- "):
			rest = rest[1:]
		case s.depth == 0 && (rest[0] == '|' || rest[0] == '>'):
			for s.line < len(s.lines) && (strings.TrimSpace(s.lines[s.line]) == "" ||
				indentOf(s.lines[s.line]) > indent) {
				s.line++ // the text of a block scalar
			}
			return
		default:
			n := s.plainLen(rest)
			if strings.HasPrefix(rest[n:], ":") && plainKey.MatchString(rest[:n]) {
				s.key = rest[:n]
			}
			rest = rest[n:]
		}
	}
}

// rejectUnquoted rejects a value that begins at rest, and that only quotes could make a value.
func (s *quoteScanner) rejectUnquoted(rest string) {
	if rest == "" {
		return
	}
	inBlock := s.depth == 0
	switch c := rest[0]; {
	case s.afterKey && c == '`':
		s.rejectPlain("begins with a backtick, which YAML does not allow; " +
			"in an expression, write columns without quotes")
	case s.afterKey && (c == '@' || c == '%'):
		s.rejectPlain("begins with " + string(c) + ", which YAML does not allow; " +
			"put the whole value in quotes")
	case inBlock && (c == '{' || c == '['):
		if s.textFollows(rest) {
			s.rejectPlain("begins with " + string(c) + " and is no " +
				map[byte]string{'{': "mapping", '[': "list"}[c] + "; " + s.quoteIt(rest))
		}
	case inBlock && s.text != "" && c != '"' && c != '\'' && c != '#':
		if n := s.plainLen(rest); n > 0 && strings.HasPrefix(rest[n:], ":") {
			s.rejectPlain(`contains ": ", which ends a key in YAML; ` + s.quoteIt(s.text))
		}
	}
}

// textFollows reports whether text follows the bracket that closes the one at the beginning of
// rest, on the same line.
func (s *quoteScanner) textFollows(rest string) bool {
	depth := 0
	for i := range len(rest) {
		switch rest[i] {
		case '"', '\'':
			return false // brackets within quotes do not count
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth > 0 {
				continue
			}
			after := rest[i+1:]
			text := strings.TrimSpace(after)
			isKey := strings.HasPrefix(text, ":") && (len(text) == 1 || text[1] == ' ')
			return text != "" && !isKey && !strings.HasPrefix(text, "#")
		}
	}
	return false
}

// quoteIt returns the remedy for a value that needs quotes. It shows no password.
func (s *quoteScanner) quoteIt(value string) string {
	if !strings.ContainsAny(value, `"'`) {
		value, _, _ = strings.Cut(value, " #") // the comment
	}
	value = strings.TrimSpace(value)
	if strings.Contains(s.key, "password") || s.key == "salt" || strings.Contains(value, " #") {
		return "write the whole value in quotes"
	}
	what := "write the value in quotes: "
	if value[0] == '{' {
		what = "write the template in quotes: "
	}
	if strings.ContainsAny(value, `"\`) {
		return what + "'" + strings.ReplaceAll(value, "'", "''") + "'"
	}
	return what + `"` + value + `"`
}

// plainLen returns the length of the unquoted text at the start of rest.
func (s *quoteScanner) plainLen(rest string) int {
	for i := range rest {
		next := rest[i+1:]
		switch c := rest[i]; {
		case c == ':' && (next == "" || next[0] == ' ' || next[0] == '\t' || next[0] == '\r'):
			return i
		case c == ' ' && strings.HasPrefix(next, "#"):
			return i
		case s.depth > 0 && strings.IndexByte(",{}[]", c) >= 0 && i > 0:
			return i
		}
	}
	return len(rest)
}

// quoted reads the quoted value at the start of rest, and returns the text after it.
func (s *quoteScanner) quoted(rest string) string {
	quote, begin := rest[0], s.line
	rest = rest[1:]
	for {
		end := quoteEnd(rest, quote)
		if end >= 0 {
			rest = strings.TrimLeft(rest[end+1:], " \t\r")
			break
		}
		if s.line == len(s.lines) {
			s.reject(begin, noClosingQuote)
			return ""
		}
		rest = s.lines[s.line]
		s.line++
	}
	ends := ":#"
	if s.depth > 0 {
		ends += ",]}"
	}
	switch {
	case rest == "" || strings.IndexByte(ends, rest[0]) >= 0:
	case s.line > begin: // the quote that opens a value of a later line was taken for the end
		s.reject(begin, noClosingQuote)
	default:
		other := map[byte]string{'"': "' '", '\'': `" "`}[quote]
		s.reject(begin, "is followed by text; put the whole value in "+other)
	}
	return rest
}

const noClosingQuote = "has no closing quote; add one"

// reject records the fault of a quoted value. The value itself may be a password and is not shown.
func (s *quoteScanner) reject(line int, what string) {
	name := "a quoted text"
	if s.key != "" {
		name = "the quoted value of " + s.key
	}
	s.fault, s.at = name+" "+what, line
}

// rejectPlain records the fault of a value without quotes.
func (s *quoteScanner) rejectPlain(what string) {
	name := "a value"
	if s.key != "" {
		name = "the value of " + s.key
	}
	s.fault, s.at = name+" "+what, s.line
}

// quoteEnd returns the index of the closing quote in text, or -1.
func quoteEnd(text string, quote byte) int {
	for i := 0; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] != quote:
		case quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++ // two single quotes are one of the text
		default:
			return i
		}
	}
	return -1
}

// indentOf returns the width of the blanks before a line. A tab counts as eight spaces.
func indentOf(line string) int {
	blank := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	return len(blank) + 7*strings.Count(blank, "\t")
}
