// Package sqltext cuts SQL text into words: statements that are logged as text, and the
// answers to SHOW GRANTS and SHOW CREATE TABLE. It knows quotes and comments and no grammar,
// so that a name is never taken for a keyword, whatever the name holds.
//
// It reads text as a session with an empty sql_mode writes it: a double quote begins a string,
// and a backslash in a string escapes the next character.
package sqltext

import "strings"

// Word is a bare word, a quoted name or string, or a single punctuation mark.
type Word struct {
	// Text is the word without its quotes; a doubled quote in it stands as one.
	Text   string
	Quoted bool
}

// Is reports whether the word is this keyword or punctuation mark, in capitals or not. A
// quoted word is none.
func (w Word) Is(keyword string) bool { return !w.Quoted && strings.EqualFold(w.Text, keyword) }

// IsName reports whether the word can be a name: it is quoted, or no punctuation mark.
func (w Word) IsName() bool { return w.Quoted || isWordByte(w.Text[0]) }

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Split cuts a text into words. Comments vanish, but what servers run of them (MySQL's
// /*! ... */ and MariaDB's /*M! ... */) stays.
func Split(sql string) []Word {
	var words []Word
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
		case c == '#', strings.HasPrefix(sql[i:], "-- "), strings.HasPrefix(sql[i:], "--\n"), strings.HasPrefix(sql[i:], "--\t"):
			i = after(sql, i, "\n")
		case strings.HasPrefix(sql[i:], "/*!"), strings.HasPrefix(sql[i:], "/*M!"):
			i += strings.IndexByte(sql[i:], '!') + 1
			for i < len(sql) && '0' <= sql[i] && sql[i] <= '9' {
				i++
			}
		case strings.HasPrefix(sql[i:], "*/"):
			i += 2
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
		case c == '`' || c == '"' || c == '\'':
			var text string
			text, i = quoted(sql, i)
			words = append(words, Word{Text: text, Quoted: true})
		case isWordByte(c):
			start := i
			for i < len(sql) && isWordByte(sql[i]) {
				i++
			}
			words = append(words, Word{Text: sql[start:i]})
		default:
			words = append(words, Word{Text: sql[i : i+1]})
			i++
		}
	}
	return words
}

// after returns the index behind the next occurrence of end, or the text's end.
func after(sql string, i int, end string) int {
	if n := strings.Index(sql[i:], end); n >= 0 {
		return i + n + len(end)
	}
	return len(sql)
}

// quoted reads a quoted text at i and returns the index behind its closing quote.
func quoted(sql string, i int) (string, int) {
	quote := sql[i]
	var text []byte
	for i++; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && quote != '`' && i+1 < len(sql):
			i++
		case sql[i] == quote && i+1 < len(sql) && sql[i+1] == quote:
			i++
		case sql[i] == quote:
			return string(text), i + 1
		}
		text = append(text, sql[i])
	}
	return string(text), i
}
