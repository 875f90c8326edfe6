package resp

// splitInline splits a line into words as redis-cli and Redis do. White space separates words. In
// "..." the escapes are \n \r \t \b \a \" \\ \xHH, in '...' only \'. White space or the end of the
// line must follow a closing quote. The result is nil for a line without words.
func splitInline(line []byte) ([][]byte, error) {
	var args [][]byte
	i := 0
	for {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, nil
		}
		word := []byte{}
		for i < len(line) && !isSpace(line[i]) {
			switch line[i] {
			case '"', '\'':
				n, text := unquote(line[i:])
				if n == 0 || i+n < len(line) && !isSpace(line[i+n]) {
					return nil, &ProtocolError{"unbalanced quotes in request"}
				}
				word = append(word, text...)
				i += n
			default:
				word = append(word, line[i])
				i++
			}
		}
		args = append(args, word)
	}
}

// unquote parses the quoted text at the start of s. n is its length with both quotes, or 0 if the
// closing quote is missing.
func unquote(s []byte) (n int, text []byte) {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i + 1, text
		case s[i] != '\\' || i+1 == len(s):
			text = append(text, s[i])
		case quote == '\'':
			if s[i+1] == '\'' {
				i++
			}
			text = append(text, s[i])
		case s[i+1] == 'x' && i+3 < len(s) && hexDigit(s[i+2]) >= 0 && hexDigit(s[i+3]) >= 0:
			text = append(text, byte(hexDigit(s[i+2])<<4|hexDigit(s[i+3])))
			i += 3
		default:
			i++
			text = append(text, unescape(s[i]))
		}
	}
	return 0, nil
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
