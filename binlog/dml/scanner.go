package dml

import (
	"strings"

	"rowfall/binlog/sqltext"
)

// token is a word, a quoted name, a string or a punctuation mark.
type token struct {
	text string // of a quoted token, without quotes and escapes; of a word, in upper case
	raw  string // of a word, as it is written
	kind kind
	// isAdjacent is set if no white space or comment precedes the token.
	isAdjacent bool
}

type kind uint8

const (
	end kind = iota // of the text
	mark
	word   // a keyword, a name without quotes, or digits
	quoted // a name in quotes
	text   // a string
)

// is reports whether the token is a keyword or a mark.
func (t token) is(keywords ...string) bool {
	if t.kind != word && t.kind != mark {
		return false
	}
	for _, k := range keywords {
		if t.text == k {
			return true
		}
	}
	return false
}

// isName reports whether the token can be a name.
func (t token) isName() bool { return t.kind == quoted || t.kind == word }

// name returns the name that the token is.
func (t token) name() string {
	if t.kind == word {
		return t.raw
	}
	return t.text
}

// scanner reads tokens. It keeps none of them in memory, because statements can be long.
type scanner struct {
	s       sqltext.Scanner
	dialect sqltext.Dialect
}

func (s *scanner) next() token {
	before := len(s.s.Rest())
	t, ok := s.s.Next()
	if !ok {
		return token{}
	}
	isAdjacent := before == len(s.s.Rest())+len(t.Text)
	raw := string(t.Text)
	switch {
	case s.dialect.IsString(t):
		return token{kind: text, isAdjacent: isAdjacent} // its text is not used
	case t.Quoted:
		return token{text: s.dialect.Unquote(t), kind: quoted, isAdjacent: isAdjacent}
	case (sqltext.Word{Text: raw}).IsName():
		return token{text: strings.ToUpper(raw), raw: raw, kind: word, isAdjacent: isAdjacent}
	}
	return token{text: raw, kind: mark, isAdjacent: isAdjacent}
}

// peek returns the next token without reading it.
func (s *scanner) peek() token {
	after := *s
	return after.next()
}

// accept reads the next token if it is one of the keywords or marks.
func (s *scanner) accept(keywords ...string) bool {
	after := *s
	if !after.next().is(keywords...) {
		return false
	}
	*s = after
	return true
}

// skipGroup skips a group in parentheses, if one is next.
func (s *scanner) skipGroup() bool {
	if !s.peek().is("(") {
		return true
	}
	depth := 0
	for {
		switch t := s.next(); {
		case t.kind == end:
			return false
		case t.is("("):
			depth++
		case t.is(")"):
			if depth--; depth == 0 {
				return true
			}
		}
	}
}
