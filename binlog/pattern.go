package binlog

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// TablePattern names tables as "database.table", where * stands for any run of characters and ? for
// one, in either part. Text in backquotes is literal, dots and wildcards included, and two
// backquotes in it stand for one: "`bb.dot`.t". The first dot outside of backquotes ends the
// database.
type TablePattern struct {
	Database, Table NamePattern
}

// NamePattern is one part of a TablePattern. A wildcard is a byte that no valid UTF-8 text holds,
// so a literal * and the wildcard * differ.
type NamePattern string

const (
	anyRun byte = 0xff // any run of bytes, also none
	anyOne byte = 0xfe // exactly one byte
)

var (
	errNoTablePart = errors.New("names no table; write database.table, where * stands for any name")
	errOpenQuote   = errors.New("has a backquote without its end; close it, " +
		"or write `` in backquotes for one backquote")
	errPatternBytes = errors.New("is not UTF-8")
)

// ParseTablePattern reads a pattern. Its errors continue a sentence that begins with the pattern.
func ParseTablePattern(s string) (TablePattern, error) {
	if !utf8.ValidString(s) {
		return TablePattern{}, errPatternBytes
	}
	database, rest, err := parseName(s, '.')
	if err != nil {
		return TablePattern{}, err
	}
	// A dot in the second part is part of the table's name: names without a database do not occur.
	table, _, err := parseName(rest, 0)
	if err != nil {
		return TablePattern{}, err
	}
	if database == "" || table == "" {
		return TablePattern{}, errNoTablePart
	}
	return TablePattern{Database: database, Table: table}, nil
}

// parseName reads one part of a pattern up to the byte end, and returns the text after that byte.
// 0 reads to the end of the text.
func parseName(s string, end byte) (name NamePattern, rest string, err error) {
	out := make([]byte, 0, len(s))
	quoted := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '`' && quoted && i+1 < len(s) && s[i+1] == '`':
			out = append(out, '`')
			i++
		case c == '`':
			quoted = !quoted
		case quoted:
			out = append(out, c)
		case c == end && end != 0:
			return NamePattern(out), s[i+1:], nil
		case c == '*':
			out = append(out, anyRun)
		case c == '?':
			out = append(out, anyOne)
		default:
			out = append(out, c)
		}
	}
	if quoted {
		return "", "", errOpenQuote
	}
	return NamePattern(out), "", nil
}

// PatternOf returns the pattern of exactly one table.
func PatternOf(database, table string) TablePattern {
	return TablePattern{Database: NamePattern(database), Table: NamePattern(table)}
}

// Matches reports whether the pattern names the table.
func (p TablePattern) Matches(database, table string) bool {
	return p.Database.Matches(database) && p.Table.Matches(table)
}

// Covers reports whether every table that o names is named by p too.
func (p TablePattern) Covers(o TablePattern) bool {
	return p.Database.Matches(string(o.Database)) && p.Table.Matches(string(o.Table))
}

// IsWildcard reports whether the pattern may name several tables.
func (p TablePattern) IsWildcard() bool { return p.Database.IsWildcard() || p.Table.IsWildcard() }

// String returns the shortest text that ParseTablePattern reads as the same pattern: backquotes
// stand only where they are needed.
func (p TablePattern) String() string {
	return p.Database.text(".*?`") + "." + p.Table.text("*?`")
}

// IsWildcard reports whether the part may stand for several names.
func (n NamePattern) IsWildcard() bool {
	return strings.IndexByte(string(n), anyRun) >= 0 || strings.IndexByte(string(n), anyOne) >= 0
}

// Plain returns the part with its wildcards as * and ?, and without backquotes. Literal * and ? can
// no longer be told from wildcards in it.
func (n NamePattern) Plain() string {
	out := []byte(n)
	for i, c := range out {
		switch c {
		case anyRun:
			out[i] = '*'
		case anyOne:
			out[i] = '?'
		}
	}
	return string(out)
}

// Matches reports whether a name fits. It also tells whether the part covers another one, given as
// text: a run there fits only a run, and a single wildcard fits either wildcard.
func (n NamePattern) Matches(name string) bool {
	run, mark := -1, 0 // where the last run stands in n, and what of name it has taken
	i := 0
	for j := 0; j < len(name); {
		switch {
		case i < len(n) && n[i] == anyRun:
			run, mark = i, j
			i++
		case i < len(n) && (n[i] == name[j] || n[i] == anyOne && name[j] != anyRun):
			i++
			j++
		case run >= 0:
			mark++
			i, j = run+1, mark
		default:
			return false
		}
	}
	for i < len(n) && n[i] == anyRun {
		i++
	}
	return i == len(n)
}

// text prints the part; runs of literal text that hold one of the special bytes are quoted.
func (n NamePattern) text(special string) string {
	var out strings.Builder
	for i := 0; i < len(n); {
		switch n[i] {
		case anyRun:
			out.WriteByte('*')
			i++
			continue
		case anyOne:
			out.WriteByte('?')
			i++
			continue
		}
		end := i
		for end < len(n) && n[end] != anyRun && n[end] != anyOne {
			end++
		}
		if literal := string(n[i:end]); strings.ContainsAny(literal, special) {
			out.WriteString("`" + strings.ReplaceAll(literal, "`", "``") + "`")
		} else {
			out.WriteString(literal)
		}
		i = end
	}
	return out.String()
}
