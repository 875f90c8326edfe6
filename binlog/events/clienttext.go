package events

import (
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"rowfall/binlog"
)

// clientEncodings are the encodings of statements' texts by the server's name of the character set.
// They are good enough for names: where a server and this table differ in a rare character, the
// statement names a table that nobody maps.
var clientEncodings = map[string]encoding.Encoding{
	"big5":     traditionalchinese.Big5,
	"cp1250":   charmap.Windows1250,
	"cp1251":   charmap.Windows1251,
	"cp1256":   charmap.Windows1256,
	"cp1257":   charmap.Windows1257,
	"cp850":    charmap.CodePage850,
	"cp852":    charmap.CodePage852,
	"cp866":    charmap.CodePage866,
	"cp932":    japanese.ShiftJIS,
	"eucjpms":  japanese.EUCJP,
	"euckr":    korean.EUCKR,
	"gb18030":  simplifiedchinese.GB18030,
	"gb2312":   simplifiedchinese.GBK,
	"gbk":      simplifiedchinese.GBK,
	"greek":    charmap.ISO8859_7,
	"hebrew":   charmap.ISO8859_8,
	"koi8r":    charmap.KOI8R,
	"koi8u":    charmap.KOI8U,
	"latin2":   charmap.ISO8859_2,
	"latin5":   charmap.ISO8859_9,
	"latin7":   charmap.ISO8859_13,
	"macroman": charmap.Macintosh,
	"sjis":     japanese.ShiftJIS,
	"tis620":   charmap.Windows874,
	"ujis":     japanese.EUCJP,
}

// utf8Text returns a statement's text as UTF-8. Servers log it in the client's character set. exact
// is false if a character could not be converted.
func utf8Text(text []byte, collation uint64) (converted []byte, exact bool) {
	if isASCII(text) {
		return text, true
	}
	switch charset := charsetOf(collation); charset {
	case "utf8mb4", "utf8mb3", "binary", "ascii":
		return text, true
	case "latin1":
		return binlog.AppendLatin1(nil, text), true
	case "":
		if collation == 0 {
			return text, true
		}
	default:
		if e := clientEncodings[charset]; e != nil {
			converted, err := e.NewDecoder().Bytes(text)
			if err == nil && !containsReplacement(converted) {
				return converted, true
			}
		}
	}
	return replaceHighBytes(text), false
}

func containsReplacement(text []byte) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError {
			return true
		}
		text = text[n:]
	}
	return false
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
