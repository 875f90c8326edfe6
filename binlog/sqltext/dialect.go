package sqltext

// Dialect is what the meaning of a text depends on: modes of the session and the version of the
// server. The zero value is an empty sql_mode and a server that executes every executable comment.
type Dialect struct {
	// ANSIQuotes is set for sql_mode ANSI_QUOTES: a double quote begins a name.
	ANSIQuotes bool
	// NoBackslashEscapes is set for sql_mode NO_BACKSLASH_ESCAPES: a backslash is a character.
	NoBackslashEscapes bool
	// MariaDB is set for a MariaDB, which executes /*M! comments too.
	MariaDB bool
	// Version is the server's version, such as 80036 or 101106. It decides which executable
	// comments are executed; 0 executes all of both flavors.
	Version int
}

// NewScanner returns a Scanner of a text, which it borrows.
func (d Dialect) NewScanner(sql []byte) Scanner { return Scanner{rest: sql, dialect: d} }

// IsString reports whether the Token is a string, and no name in quotes.
func (d Dialect) IsString(t Token) bool {
	return t.Quoted && (t.Text[0] == '\'' || t.Text[0] == '"' && !d.ANSIQuotes)
}

// Unquote returns the text of a quoted Token, with the characters that its escapes stand for.
func (d Dialect) Unquote(t Token) string {
	b := t.Text
	quote, escapes := b[0], d.escapes(b[0])
	text := make([]byte, 0, len(b))
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '\\' && escapes && i+1 < len(b):
			i++
			if b[i] == '%' || b[i] == '_' {
				text = append(text, '\\') // the escapes of LIKE keep the backslash
			}
			text = append(text, unescape(b[i]))
			continue
		case b[i] == quote && i+1 < len(b) && b[i+1] == quote:
			i++
		case b[i] == quote:
			return string(text)
		}
		text = append(text, b[i])
	}
	return string(text)
}

// unescape returns the character that stands for a backslash followed by c.
func unescape(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'b':
		return '\b'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'Z':
		return 0x1a
	}
	return c
}

// escapes reports whether a backslash escapes the next character in text in these quotes.
func (d Dialect) escapes(quote byte) bool {
	return !d.NoBackslashEscapes && quote != '`' && (quote != '"' || !d.ANSIQuotes)
}

// executes reports whether the server executes a comment /*!version or, if m is set, /*M!version.
// MariaDB ignores the comments that MySQL versions since 5.7 execute and MariaDB may not know.
func (d Dialect) executes(m bool, version int) bool {
	switch {
	case d.Version == 0:
		return true
	case m && !d.MariaDB:
		return false
	case d.MariaDB && !m && version >= 50700 && version <= 99999:
		return false
	}
	return version <= d.Version
}

// commentVersion reads the version that follows the mark of an executable comment: five or six
// digits. It returns their number and the version, or zeros without a version.
func commentVersion(b []byte) (digits, version int) {
	for digits < min(len(b), 6) && '0' <= b[digits] && b[digits] <= '9' {
		version = version*10 + int(b[digits]-'0')
		digits++
	}
	if digits < 5 {
		return 0, 0
	}
	return digits, version
}
