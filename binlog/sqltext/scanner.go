package sqltext

import "bytes"

// Token is one word, quoted text or punctuation mark as it is written in the SQL text.
type Token struct {
	// Text is a part of the scanned text. A quoted Token includes its quotes.
	Text []byte
	// Quoted is set for a name in backquotes and for a string in single or double quotes.
	Quoted bool
}

// Scanner cuts SQL text into Tokens without allocating. The zero value is at the end of an empty
// text.
type Scanner struct {
	rest         []byte
	dialect      Dialect
	unterminated bool
}

// NewScanner returns a Scanner of a text, which it borrows. The text is read in the zero Dialect.
func NewScanner(sql []byte) Scanner { return Scanner{rest: sql} }

// Unterminated reports whether a quote or comment without its end was met.
func (s *Scanner) Unterminated() bool { return s.unterminated }

// Rest returns the text after the last Token, white space and comments included.
func (s *Scanner) Rest() []byte { return s.rest }

// Next returns the next Token, or false at the end of the text. White space and comments are
// skipped. Of a comment that the dialect's server executes (/*! ... */ and MariaDB's /*M! ... */),
// only the marks are skipped. A quote or comment without its end reaches to the end of the text.
func (s *Scanner) Next() (Token, bool) {
	s.skipBlank()
	if len(s.rest) == 0 {
		return Token{}, false
	}
	n, quoted := 1, false
	switch c := s.rest[0]; {
	case c == '`' || c == '"' || c == '\'':
		n, quoted = s.quotedLength(), true
	case isWordByte(c):
		for n < len(s.rest) && isWordByte(s.rest[n]) {
			n++
		}
	}
	token := Token{Text: s.rest[:n:n], Quoted: quoted}
	s.rest = s.rest[n:]
	return token, true
}

// skipBlank skips white space, comments, and the marks of comments that servers execute.
func (s *Scanner) skipBlank() {
	for len(s.rest) > 0 {
		b := s.rest
		switch {
		case isSpace(b[0]):
			s.rest = b[1:]
		case b[0] == '#', startsLineComment(b):
			s.rest = after(b, "\n")
		case hasPrefix(b, "/*!"), hasPrefix(b, "/*M!"):
			b = b[bytes.IndexByte(b, '!')+1:]
			digits, version := commentVersion(b)
			if s.dialect.executes(s.rest[2] == 'M', version) {
				s.rest = b[digits:]
			} else {
				s.skipComment(b)
			}
		case hasPrefix(b, "*/"):
			s.rest = b[2:]
		case hasPrefix(b, "/*"):
			s.skipComment(b[2:])
		default:
			return
		}
	}
}

// startsLineComment reports whether b begins with "--" and white space, a control character or
// the end of the text. In "5--3" the two dashes are operators.
func startsLineComment(b []byte) bool {
	return hasPrefix(b, "--") && (len(b) == 2 || b[2] <= ' ' || b[2] == 0x7f)
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 ||
		'0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// after returns what follows the first occurrence of end, or nil if end does not occur.
func after(b []byte, end string) []byte {
	if n := bytes.Index(b, []byte(end)); n >= 0 {
		return b[n+len(end):]
	}
	return nil
}

// skipComment skips the rest of a comment; b is the text behind its opening mark.
func (s *Scanner) skipComment(b []byte) {
	s.rest = after(b, "*/")
	s.unterminated = s.unterminated || s.rest == nil
}

// quotedLength returns the length of the quoted text at the start of the rest, quotes included.
func (s *Scanner) quotedLength() int {
	b := s.rest
	quote := b[0]
	escapes := s.dialect.escapes(quote)
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '\\' && escapes && i+1 < len(b):
			i++
		case b[i] == quote && i+1 < len(b) && b[i+1] == quote:
			i++
		case b[i] == quote:
			return i + 1
		}
	}
	s.unterminated = true
	return len(b)
}
