package charset

import (
	"bytes"
	_ "embed" // tables.bin
	"encoding/binary"
	"fmt"
	"sync"

	"rowfall/binlog/charset/trie"
)

//go:generate go run ./generate

// tables are the packed tables of all character sets of both servers, see File.
//
//go:embed tables.bin
var tables []byte

// Magic begins tables.bin and includes the version of its format.
const Magic = "rowfall charsets 1\n"

// Entry is a table in tables.bin. The file is Magic and then, for each entry, Name, Base and
// Packed, each after its length in four bytes, little endian.
type Entry struct {
	// Name is "mysql/gbk".
	Name string
	// Base is the name of the table of which Packed holds the differences; empty for none.
	Base string
	// Packed is the output of trie.Pack, and empty for a table that equals its base.
	Packed []byte
}

// AppendEntry appends an entry to the contents of a file.
func AppendEntry(file []byte, e Entry) []byte {
	for _, field := range [][]byte{[]byte(e.Name), []byte(e.Base), e.Packed} {
		file = append(binary.LittleEndian.AppendUint32(file, uint32(len(field))), field...)
	}
	return file
}

// parse returns the entries of tables.bin by their names.
func parse(file []byte) (map[string]Entry, error) {
	rest, found := bytes.CutPrefix(file, []byte(Magic))
	if !found {
		return nil, fmt.Errorf("read tables.bin: it does not begin with %q", Magic)
	}
	entries := make(map[string]Entry)
	for len(rest) > 0 {
		var fields [3][]byte
		for i := range fields {
			if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
				return nil, fmt.Errorf("read tables.bin: it ends early")
			}
			n := 4 + binary.LittleEndian.Uint32(rest)
			fields[i], rest = rest[4:n], rest[n:]
		}
		e := Entry{string(fields[0]), string(fields[1]), fields[2]}
		entries[e.Name] = e
	}
	return entries, nil
}

// index holds the entries of tables.bin. A program whose tables are corrupt was not built from
// these sources.
var index = sync.OnceValue(func() map[string]Entry {
	entries, err := parse(tables)
	if err != nil {
		panic(err)
	}
	return entries
})

// unpack returns the conversion table of a character set by its name in the index, or nil if the
// index does not have the name.
func unpack(name string) *trie.Table {
	e, ok := index()[name]
	if !ok {
		return nil
	}
	var base *trie.Table
	if e.Base != "" {
		base = unpack(e.Base)
	}
	if len(e.Packed) == 0 {
		return base
	}
	t, err := trie.Unpack(e.Packed, base)
	if err != nil {
		panic(fmt.Errorf("unpack the table of %s: %w", name, err))
	}
	return t
}

// decoders holds the decoders that have been used, by server and character set.
var decoders sync.Map

// normalName returns the name of a character set as this package has it.
func normalName(name string) string {
	if name == "utf8" {
		return "utf8mb3"
	}
	return name
}

// widths holds the most bytes of a character of each character set.
var widths = map[string]int{
	"armscii8": 1, "ascii": 1, "big5": 2, "binary": 1, "cp1250": 1, "cp1251": 1, "cp1256": 1,
	"cp1257": 1, "cp850": 1, "cp852": 1, "cp866": 1, "cp932": 2, "dec8": 1, "eucjpms": 3,
	"euckr": 2, "gb18030": 4, "gb2312": 2, "gbk": 2, "geostd8": 1, "greek": 1, "hebrew": 1,
	"hp8": 1, "keybcs2": 1, "koi8r": 1, "koi8u": 1, "latin1": 1, "latin2": 1, "latin5": 1,
	"latin7": 1, "macce": 1, "macroman": 1, "sjis": 2, "swe7": 1, "tis620": 1, "ucs2": 2,
	"ujis": 3, "utf16": 4, "utf16le": 4, "utf32": 4, "utf8mb3": 3, "utf8mb4": 4,
}

// Width returns the most bytes of a character; 0 if no server has a character set of this name.
func Width(name string) int { return widths[normalName(name)] }

// IsASCIISuperset reports whether the bytes below 0x80 are those of ASCII in a character set of any
// server.
func IsASCIISuperset(name string) bool {
	d, ok := Find(name, MySQL) // which has all of MariaDB's
	return ok && (d == nil || d.ascii)
}

// Find returns the decoder for a column's character set. ok is false if the server has no character
// set of this name. The decoder is nil if the server prints the bytes unchanged.
func Find(name string, s Server) (d *Decoder, ok bool) {
	name = normalName(name)
	if name == "utf8mb4" || name == "binary" {
		return nil, true
	}
	key := s.String() + "/" + name
	if found, ok := decoders.Load(key); ok {
		return found.(*Decoder), true
	}
	d = &Decoder{form: computed[name], server: s}
	if d.form == 0 {
		d.form, d.table = formTable, unpack(key)
		if d.table == nil {
			return nil, false
		}
		d.ascii = d.table.IsASCIISuperset()
		d.runes = sync.OnceValue(func() *runeSet { return newRuneSet(d.table) })
	}
	d.ascii = d.ascii || d.form == formASCII || d.form == formUTF8mb3
	decoders.Store(key, d)
	return d, true
}
