package binlog

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// TablePattern selects tables by a text "database.table", in which * matches any run of
// characters and ? for one, in both parts. Text in backquotes is literal, dots and wildcards
// included; two backquotes in it are one: "`bb.dot`.t". The first dot outside of backquotes
// ends the database.
type TablePattern struct {
	Database, Table NamePattern
}

// NamePattern is one part of a TablePattern. A wildcard is stored as a byte that valid UTF-8 never
// contains, so a literal * and the wildcard * differ.
type NamePattern string

const (
	anyRun byte = 0xff // any run of bytes, which may be empty
	anyOne byte = 0xfe // exactly one byte
)

var (
	errNoTablePart = errors.New("names no table; write database.table, where * matches any name")
	errOpenQuote   = errors.New("has no closing backquote; add it, " +
		"or write `` in backquotes for one backquote")
	errPatternBytes = errors.New("is not UTF-8")
)

// ParseTablePattern parses a pattern. The text of its errors continues a sentence that begins with
// the pattern.
func ParseTablePattern(s string) (TablePattern, error) {
	if !utf8.ValidString(s) {
		return TablePattern{}, errPatternBytes
	}
	database, rest, err := parseName(s, '.')
	if err != nil {
		return TablePattern{}, err
	}
	// A dot in the second part belongs to the table's name, because every pattern has a database.
	table, _, err := parseName(rest, 0)
	if err != nil {
		return TablePattern{}, err
	}
	if database == "" || table == "" {
		return TablePattern{}, errNoTablePart
	}
	return TablePattern{Database: database, Table: table}, nil
}

// parseName parses one part of a pattern, up to the byte end, and returns the text after that byte.
// With end 0 it parses up to the end of the text.
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

// Matches reports whether the pattern selects the table.
func (p TablePattern) Matches(database, table string) bool {
	return p.Database.Matches(database) && p.Table.Matches(table)
}

// Covers reports whether p selects every table that o selects.
func (p TablePattern) Covers(o TablePattern) bool {
	return p.Database.Matches(string(o.Database)) && p.Table.Matches(string(o.Table))
}

// IsWildcard reports whether the pattern can select several tables.
func (p TablePattern) IsWildcard() bool { return p.Database.IsWildcard() || p.Table.IsWildcard() }

// String returns the shortest text that ParseTablePattern parses to the same pattern: backquotes
// are used only if necessary.
func (p TablePattern) String() string {
	return p.Database.text(".*?`") + "." + p.Table.text("*?`")
}

// IsWildcard reports whether the part can match several names.
func (n NamePattern) IsWildcard() bool {
	return strings.IndexByte(string(n), anyRun) >= 0 || strings.IndexByte(string(n), anyOne) >= 0
}

// Plain returns the part with its wildcards as * and ?, without backquotes. The result does not
// distinguish them from a literal * or ?.
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

// Matches reports whether the part matches a name. Given the text of another part, it reports
// whether n covers that part: a run in the text matches only a run, a single wildcard matches
// either wildcard.
func (n NamePattern) Matches(name string) bool {
	run, mark := -1, 0 // the index of the last run in n, and the end of its match in name
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

// text returns the part as text. Literal text is quoted if it holds one of the special bytes.
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
