package binlog

import "unicode/utf8"

// Clip returns text in at most most bytes, for a message: what is longer is cut after a whole
// character and ends in "...". most must be 3 or more.
func Clip[T string | []byte](text T, most int) string {
	if len(text) <= most {
		return string(text)
	}
	end := most - len("...")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return string(text[:end]) + "..."
}

// maxQuoted is how much of a text an error message of this package quotes, in bytes.
const maxQuoted = 60
