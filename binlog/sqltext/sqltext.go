// Package sqltext cuts SQL text into words: statements of the binlog, and the results of SHOW
// GRANTS and SHOW CREATE TABLE. It handles quotes and comments and has no grammar, so a quoted
// name is never mistaken for a keyword. Its Scanner costs no allocation; Split is more convenient.
//
// Split, and a Scanner without a Dialect, read text as with an empty sql_mode: a double quote
// begins a string, and a backslash in a string escapes the next character. A Dialect reads the text
// of a session with another sql_mode.
package sqltext

import "strings"

// Word is a bare word, a quoted name or string, or a single punctuation mark.
type Word struct {
	// Text is the word without its quotes and escapes: a doubled quote is one quote, and an
	// escaped character is that character.
	Text string
	// Quoted is set for a name in backquotes and for a string.
	Quoted bool
}

// Is reports whether the word is this keyword or punctuation mark. Case is ignored. A quoted word
// is never a keyword.
func (w Word) Is(keyword string) bool { return !w.Quoted && strings.EqualFold(w.Text, keyword) }

// IsName reports whether the word can be a name: every word but a punctuation mark can.
func (w Word) IsName() bool { return w.Quoted || isWordByte(w.Text[0]) }

// Split cuts a text into Words, as Scanner cuts it into Tokens.
func Split(sql string) []Word {
	var words []Word
	s := NewScanner([]byte(sql))
	for token, ok := s.Next(); ok; token, ok = s.Next() {
		word := Word{Text: string(token.Text)}
		if token.Quoted {
			word = Word{Text: unquote(token.Text), Quoted: true}
		}
		words = append(words, word)
	}
	return words
}

// unquote returns the text of a quoted Token.
func unquote(b []byte) string {
	quote := b[0]
	text := make([]byte, 0, len(b))
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '\\' && quote != '`' && i+1 < len(b):
			i++
		case b[i] == quote && i+1 < len(b) && b[i+1] == quote:
			i++
		case b[i] == quote:
			return string(text)
		}
		text = append(text, b[i])
	}
	return string(text)
}

// QuoteName returns a name in backquotes, as SQL text.
func QuoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// QuoteTable returns a table's full name in backquotes, as SQL text.
func QuoteTable(database, table string) string {
	return QuoteName(database) + "." + QuoteName(table)
}
