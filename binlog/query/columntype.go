package query

import (
	"fmt"
	"strconv"
	"strings"

	"rowfall/binlog"
)

// columnType holds the parts of a COLUMN_TYPE: "decimal(10,2) unsigned", "enum('a','it”s')",
// "varchar(100) /*M!100301 COMPRESSED*/".
type columnType struct {
	base     string
	args     []int
	values   []string
	unsigned bool
}

// parseColumnType reads information_schema.COLUMNS.COLUMN_TYPE.
func parseColumnType(s string) (columnType, error) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	})
	if end < 0 {
		end = len(s)
	}
	t := columnType{base: strings.ToLower(s[:end])}
	rest := s[end:]
	if t.base == "" {
		return t, fmt.Errorf("column type %q has no name", s)
	}
	if strings.HasPrefix(rest, "(") {
		var err error
		if rest, err = t.parseList(rest[1:]); err != nil {
			return t, fmt.Errorf("column type %q: %w", s, err)
		}
	}
	// Further words and comments (MariaDB's attributes) follow.
	for word := range strings.FieldsSeq(rest) {
		if strings.HasPrefix(word, "/*") {
			break
		}
		if strings.EqualFold(word, "unsigned") || strings.EqualFold(word, "zerofill") {
			t.unsigned = true // ZEROFILL implies it
		}
	}
	return t, nil
}

// parseList reads numbers or quoted strings up to the closing parenthesis, and returns the text
// after it.
func (t *columnType) parseList(s string) (string, error) {
	for {
		if strings.HasPrefix(s, "'") {
			v, rest, err := unquote(s[1:])
			if err != nil {
				return "", err
			}
			t.values = append(t.values, v)
			s = rest
		} else {
			n := strings.IndexAny(s, ",)")
			if n < 0 {
				return "", fmt.Errorf("no closing parenthesis")
			}
			v, err := strconv.ParseUint(strings.TrimSpace(s[:n]), 10, 31)
			if err != nil {
				return "", fmt.Errorf("number %q: %w", s[:n], err)
			}
			t.args = append(t.args, int(v))
			s = s[n:]
		}
		if rest, found := strings.CutPrefix(s, ")"); found {
			return rest, nil
		}
		rest, found := strings.CutPrefix(s, ",")
		if !found {
			return "", fmt.Errorf("no comma or parenthesis after a value")
		}
		s = rest
	}
}

// unquote reads a string up to its closing quote. Servers double quotes, and write NUL, newline,
// carriage return and backslash with a backslash.
func unquote(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case c == '\'':
			return b.String(), s[i+1:], nil
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(unescape(s[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("no closing quote")
}

func unescape(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'Z':
		return 0x1a
	}
	return c
}

// setType sets the fields of a column that follow from its COLUMN_TYPE. After an error the column
// exists, but its values cannot be read.
func setType(c *binlog.Column, sqlType, charset string) error {
	sqlType = binlog.WithoutStorage(sqlType)
	c.SQLType = sqlType
	t, err := parseColumnType(sqlType)
	if err != nil {
		return err
	}
	c.Type = binlog.TypeByName(t.base)
	c.Unsigned, c.Values = t.unsigned, t.values
	if c.Type == binlog.TypeInvalid {
		return fmt.Errorf("type %s is not supported: convert the column", sqlType)
	}
	c.SetArguments(t.args, charset)
	if c.HasLabels() {
		return checkMembers(c)
	}
	return nil
}

// checkMembers rejects labels that the server cannot show: its schema texts are utf8mb3, in which a
// character beyond (an emoji) is "?". The binlog holds only the label's number.
func checkMembers(c *binlog.Column) error {
	if len(c.Values) == 0 {
		return fmt.Errorf("type %s has no members", c.SQLType)
	}
	switch c.Charset {
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
	default:
		return nil
	}
	for _, v := range c.Values {
		if strings.Contains(v, "?") {
			return fmt.Errorf("member '%s' of %s may represent a character "+
				"that the server does not show: rename the member or convert the column to utf8mb3",
				v, c.SQLType)
		}
	}
	return nil
}
