package events

import (
	"unicode/utf8"

	"rowfall/binlog/charset"
)

// utf8Text returns a statement's text as UTF-8. Servers log it in the client's character set. exact
// is false if a character could not be converted.
func utf8Text(text []byte, collation uint64, mariaDB bool) (converted []byte, exact bool) {
	name := charsetOf(collation)
	if isASCII(text) && name != "swe7" { // has letters in the place of ASCII's brackets
		return text, true
	}
	switch name {
	case "utf8mb4", "utf8mb3", "binary", "ascii":
		return text, true
	case "":
		if collation == 0 {
			return text, true
		}
	default:
		d, _ := charset.Find(name, charset.ServerOf(mariaDB))
		if d == nil {
			break
		}
		if converted, exact := d.Convert(nil, text); exact {
			return converted, true
		}
	}
	return replaceHighBytes(text), false
}

// replaceHighBytes returns text with U+FFFD for each byte that is not ASCII.
func replaceHighBytes(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	for _, c := range text {
		if c < utf8.RuneSelf {
			out = append(out, c)
		} else {
			out = utf8.AppendRune(out, utf8.RuneError)
		}
	}
	return out
}
