package ddl

import (
	"fmt"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/sqltext"
)

// token is a word, a quoted name, a string or a punctuation mark of a statement.
type token struct {
	// text is a word or mark as it is written, or the text of a quoted token without its quotes.
	text string
	kind tokenKind
	// raw is the token as it is written, quotes included.
	raw string
}

type tokenKind uint8

const (
	tokenMark   tokenKind = iota + 1
	tokenWord             // a keyword, a name without quotes, or digits
	tokenName             // a name in quotes
	tokenString           // a string
)

// isName reports whether the token can be a name.
func (t token) isName() bool { return t.kind == tokenWord || t.kind == tokenName }

// is reports whether the token is a keyword or mark; keyword is in upper case.
func (t token) is(keyword string) bool {
	return (t.kind == tokenWord || t.kind == tokenMark) && strings.EqualFold(t.text, keyword)
}

// tokens cuts a text into tokens. It fails for a quote or comment without its end.
func tokens(sql string, d sqltext.Dialect) ([]token, error) {
	var list []token
	s := d.NewScanner([]byte(sql))
	for t, ok := s.Next(); ok; t, ok = s.Next() {
		list = append(list, newToken(t, d))
	}
	if s.Unterminated() {
		return list, fmt.Errorf("a quote or comment has no end")
	}
	return list, nil
}

func newToken(t sqltext.Token, d sqltext.Dialect) token {
	raw := string(t.Text)
	switch {
	case d.IsString(t):
		return token{d.Unquote(t), tokenString, raw}
	case t.Quoted:
		return token{d.Unquote(t), tokenName, raw}
	case (sqltext.Word{Text: raw}).IsName():
		return token{raw, tokenWord, raw}
	}
	return token{raw, tokenMark, raw}
}

// reader reads tokens one after the other. The first error ends the text: no token follows, so
// that every loop over tokens ends.
type reader struct {
	tokens []token
	at     int
	err    error
}

// fail ends the reading with the first reason why the statement is not understood.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.tokens, r.at = nil, 0
}

// failHere fails because of the next token.
func (r *reader) failHere(what string) {
	if r.err != nil {
		return
	}
	if r.done() {
		r.fail("%s: the statement ends", what)
		return
	}
	const most = 60
	r.fail("%s: found %q", what, binlog.Clip(r.peek().raw, most))
}

func (r *reader) done() bool { return r.at >= len(r.tokens) }

// peek returns the next token; at the end, a token that is nothing.
func (r *reader) peek() token { return r.peekAt(0) }

// peekAt returns the token n places after the next one.
func (r *reader) peekAt(n int) token {
	if r.at+n < len(r.tokens) {
		return r.tokens[r.at+n]
	}
	return token{}
}

// next reads one token.
func (r *reader) next() token {
	t := r.peek()
	if !r.done() {
		r.at++
	}
	return t
}

// accept reads the keywords or marks if they are next, and reports whether they were.
func (r *reader) accept(keywords ...string) bool {
	for i, k := range keywords {
		if !r.peekAt(i).is(k) {
			return false
		}
	}
	r.at += len(keywords)
	return true
}

// acceptAny reads one of the keywords if it is next.
func (r *reader) acceptAny(keywords ...string) bool {
	for _, k := range keywords {
		if r.accept(k) {
			return true
		}
	}
	return false
}

// expect reads the keywords or marks, or fails.
func (r *reader) expect(keywords ...string) {
	if !r.accept(keywords...) {
		r.failHere("expected " + strings.Join(keywords, " "))
	}
}

// name reads a name.
func (r *reader) name() string {
	t := r.peek()
	if !t.isName() {
		r.failHere("expected a name")
		return ""
	}
	r.at++
	return t.text
}

// nameOrString reads a name that may be written as a string, such as that of a collation.
func (r *reader) nameOrString() string {
	if t := r.peek(); t.kind == tokenString {
		r.at++
		return t.text
	}
	return r.name()
}

// number reads a number without sign.
func (r *reader) number() int {
	n, err := strconv.ParseUint(r.peek().text, 10, 31)
	if err != nil || r.peek().kind != tokenWord {
		r.failHere("expected a number")
		return 0
	}
	r.at++
	return int(n)
}

// skip reads a token, or a group in parentheses, and returns its text.
func (r *reader) skip() string {
	start, depth := r.at, 0
	for !r.done() {
		switch t := r.next(); {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		}
		if depth <= 0 {
			break
		}
	}
	if depth > 0 {
		r.fail("a parenthesis is not closed")
		return ""
	}
	return join(r.tokens[start:r.at])
}

// group reads a group in parentheses and returns its text.
func (r *reader) group() string {
	if !r.peek().is("(") {
		r.failHere("expected a parenthesis")
		return ""
	}
	return r.skip()
}

// join returns the text of tokens, with one space between words.
func join(list []token) string {
	var b strings.Builder
	for i, t := range list {
		if i > 0 && list[i-1].kind != tokenMark && t.kind != tokenMark {
			b.WriteByte(' ')
		}
		b.WriteString(t.raw)
	}
	return b.String()
}
