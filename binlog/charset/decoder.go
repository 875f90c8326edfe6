package charset

import (
	"encoding/binary"
	"unicode/utf8"

	"rowfall/binlog/charset/trie"
)

// Server is the program whose text a Decoder yields.
type Server uint8

// The servers.
const (
	MySQL Server = iota
	MariaDB
)

// ServerOf returns the server by whether it is a MariaDB.
func ServerOf(mariaDB bool) Server {
	if mariaDB {
		return MariaDB
	}
	return MySQL
}

func (s Server) String() string {
	if s == MariaDB {
		return "mariadb"
	}
	return "mysql"
}

// A Decoder converts text of one character set to UTF-8. It is immutable.
type Decoder struct {
	form   form
	server Server
	// ascii is set if the bytes below 0x80 are those of ASCII.
	ascii bool
	// table is set for formTable.
	table *trie.Table
	// runes returns the characters of table.
	runes func() *runeSet
}

// form is how a character set represents characters.
type form uint8

const (
	formTable form = iota + 1
	formASCII
	formUTF8mb3
	formUCS2
	formUTF16
	formUTF16LE
	formUTF32
)

// computed are the character sets without a table.
var computed = map[string]form{
	"ascii":   formASCII,
	"utf8mb3": formUTF8mb3,
	"ucs2":    formUCS2,
	"utf16":   formUTF16,
	"utf16le": formUTF16LE,
	"utf32":   formUTF32,
}

// question stands for bytes without a character.
const question = '?'

// omitted is the rune of bytes for which the server prints nothing.
const omitted rune = -1

// Append appends text to dst as the server prints it.
func (d *Decoder) Append(dst, text []byte) []byte {
	if d.ascii {
		n := asciiPrefix(text)
		dst, text = append(dst, text[:n]...), text[n:]
	}
	switch {
	case d.form == formTable:
		return d.appendByTable(dst, text)
	case d.form == formUTF8mb3 && isUTF8mb3(text):
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, n := d.next(text)
		dst, text = appendRune(dst, r), text[n:]
	}
	return dst
}

// Convert appends text to dst as Append does. isExact is false if a question mark stands for bytes
// that represent no character, or if such bytes were omitted.
func (d *Decoder) Convert(dst, text []byte) (_ []byte, isExact bool) {
	isExact = true
	for len(text) > 0 {
		r, n := d.next(text)
		isExact = isExact && r != omitted && (r != question || d.isQuestion(text[:n]))
		dst, text = appendRune(dst, r), text[n:]
	}
	return dst, isExact
}

// isQuestion reports whether a character is the question mark itself.
func (d *Decoder) isQuestion(character []byte) bool {
	for _, b := range character {
		if b != question && b != 0 {
			return false
		}
	}
	return true
}

// AppendNext appends what the server prints for the first character of text, which is not empty. n
// is the number of the character's bytes, at least 1.
func (d *Decoder) AppendNext(dst, text []byte) (_ []byte, n int) {
	r, n := d.next(text)
	return appendRune(dst, r), n
}

// asciiPrefix returns the number of bytes below 0x80 at the start of text.
func asciiPrefix(text []byte) int {
	n := 0
	for n+8 <= len(text) && binary.LittleEndian.Uint64(text[n:])&0x8080808080808080 == 0 {
		n += 8
	}
	for n < len(text) && text[n] < utf8.RuneSelf {
		n++
	}
	return n
}

func (d *Decoder) appendByTable(dst, text []byte) []byte {
	root := d.table.Pages[0]
	for len(text) > 0 {
		r, n := rune(root[text[0]]), 1
		if isSurrogate(r) { // a code of the table
			r, n = d.next(text)
		}
		switch text = text[n:]; {
		case uint32(r) < utf8.RuneSelf:
			dst = append(dst, byte(r))
		case uint32(r) < 0x800: // written here, because a call takes longer
			dst = append(dst, 0xc0|byte(r>>6), 0x80|byte(r)&0x3f)
		default:
			dst = appendRune(dst, r)
		}
	}
	return dst
}

// maxRune is the largest number that has four bytes in UTF-8. The servers encode numbers beyond
// Unicode up to there.
const maxRune = 0x1fffff

// isUTF8mb3 reports whether text is valid UTF-8 without characters of four bytes.
func isUTF8mb3(text []byte) bool {
	n := 0
	for ; n+8 <= len(text); n += 8 {
		// A character of four bytes begins with a byte whose upper four bits are set.
		w := binary.LittleEndian.Uint64(text[n:])
		if w&(w<<1)&(w<<2)&(w<<3)&0x8080808080808080 != 0 {
			return false
		}
	}
	for ; n < len(text); n++ {
		if text[n] >= 0xf0 {
			return false
		}
	}
	return utf8.Valid(text)
}

// appendRune appends r. Unlike utf8.AppendRune, and like the servers, it encodes surrogates and
// numbers up to maxRune.
func appendRune(dst []byte, r rune) []byte {
	switch {
	case uint32(r) < utf8.RuneSelf:
		return append(dst, byte(r))
	case r == omitted:
		return dst
	case isSurrogate(r):
		return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	case r > utf8.MaxRune:
		return append(dst, 0xf0|byte(r>>18), 0x80|byte(r>>12)&0x3f, 0x80|byte(r>>6)&0x3f,
			0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(dst, r)
}

func isSurrogate(r rune) bool     { return 0xd800 <= r && r < 0xe000 }
func isHighSurrogate(r rune) bool { return 0xd800 <= r && r < 0xdc00 }
func isLowSurrogate(r rune) bool  { return 0xdc00 <= r && r < 0xe000 }

// next returns the first character of text, which is not empty, and the number of its bytes.
func (d *Decoder) next(text []byte) (r rune, n int) {
	switch d.form {
	case formTable:
		r, n = d.table.Next(text)
		if n == 0 {
			return d.incomplete(text)
		}
		return r, n
	case formASCII:
		if text[0] < utf8.RuneSelf {
			return rune(text[0]), 1
		}
		return question, 1
	case formUTF8mb3:
		return d.nextUTF8mb3(text)
	case formUCS2:
		if len(text) < 2 {
			return d.incomplete(text)
		}
		return rune(binary.BigEndian.Uint16(text)), 2
	case formUTF16:
		return d.nextUTF16(text, binary.BigEndian)
	case formUTF16LE:
		return d.nextUTF16(text, binary.LittleEndian)
	}
	return d.nextUTF32(text)
}

// incomplete returns the result of next for a text that ends within its first character.
func (d *Decoder) incomplete(text []byte) (rune, int) {
	if d.server == MariaDB {
		return question, 1
	}
	return omitted, len(text)
}

// nextUTF8mb3 decodes UTF-8 without characters of four bytes. MariaDB accepts surrogates.
func (d *Decoder) nextUTF8mb3(text []byte) (rune, int) {
	b := text[0]
	switch {
	case b < utf8.RuneSelf:
		return rune(b), 1
	case b < 0xc2, b >= 0xf0:
		return question, 1
	case b < 0xe0:
		if len(text) < 2 {
			return d.incomplete(text)
		}
		if text[1]&0xc0 != 0x80 {
			return question, 1
		}
		return rune(b&0x1f)<<6 | rune(text[1]&0x3f), 2
	}
	if len(text) < 3 {
		return d.incomplete(text)
	}
	r := rune(b&0x0f)<<12 | rune(text[1]&0x3f)<<6 | rune(text[2]&0x3f)
	if text[1]&0xc0 != 0x80 || text[2]&0xc0 != 0x80 || r < 0x800 ||
		d.server == MySQL && isSurrogate(r) {
		return question, 1
	}
	return r, 3
}

// nextUTF16 decodes UTF-16. A byte of an unpaired surrogate stands alone.
func (d *Decoder) nextUTF16(text []byte, order binary.ByteOrder) (rune, int) {
	if len(text) < 2 {
		return d.incomplete(text)
	}
	r := rune(order.Uint16(text))
	switch {
	case isLowSurrogate(r):
		return question, 1
	case !isHighSurrogate(r):
		return r, 2
	case len(text) < 4:
		return d.incomplete(text)
	}
	low := rune(order.Uint16(text[2:]))
	if !isLowSurrogate(low) {
		return question, 1
	}
	return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, 4
}

// nextUTF32 decodes UTF-32. MySQL encodes numbers beyond Unicode as far as UTF-8 can.
func (d *Decoder) nextUTF32(text []byte) (rune, int) {
	if len(text) < 4 {
		return d.incomplete(text)
	}
	u := binary.BigEndian.Uint32(text)
	switch {
	case d.server == MariaDB && u > utf8.MaxRune:
		return question, 1
	case u > maxRune:
		return question, 4
	}
	return rune(u), 4
}
