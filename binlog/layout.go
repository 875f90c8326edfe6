package binlog

import (
	"fmt"
	"strings"
)

// Layout says how the rows of one table are laid out in one encoding: the row
// images of a table map, or the text rows of a SELECT. It is compiled once per
// table version and immutable.
type Layout struct {
	table  *Table
	text   bool
	codecs []codec
}

// codec is a column's part of a Layout: where its value ends and how it becomes
// text.
type codec struct {
	form form
	// prefix is how many bytes of length stand before a value; 0: every value
	// has size bytes.
	prefix uint8
	// size is how many bytes a value has, at most where there is a prefix.
	size int
	// precision and scale are a DECIMAL's; scale also holds the
	// fractional-second digits of a temporal type.
	precision, scale uint8
	latin1           bool
}

// form is how a value's bytes are read.
type form uint8

const (
	formText         form = iota // printed as it is
	formInt                      // little endian, size bytes
	formUint                     // the same, unsigned
	formDecimal                  // packed decimal
	formFloat                    // IEEE 754, 4 bytes
	formDouble                   // IEEE 754, 8 bytes
	formBit                      // big endian
	formYear                     // years since 1900, 0 for 0000
	formDate                     // packed into 3 bytes
	formTime2                    // TIME with fractions, big endian
	formDatetime2                // DATETIME with fractions, big endian
	formTimestamp2               // TIMESTAMP with fractions, big endian
	formOldTime                  // decimal HHMMSS
	formOldDatetime              // decimal YYYYMMDDhhmmss
	formOldTimestamp             // seconds, little endian
	formChar                     // text without its trailing spaces
	formBinary                   // bytes without their trailing zeros
	formBytes                    // bytes, printed as they are
	formEnum                     // index of a member, from 1
	formSet                      // bits of the members
	formJSON                     // MySQL's binary JSON
	formVector                   // little endian 4-byte floats
	formUUID                     // MariaDB's, its parts reordered
	formOldUUID                  // MariaDB's before 10.11.5, always reordered
	formInet4                    // 4 bytes
	formInet6                    // 16 bytes

	// The forms below are a SELECT's.
	formFloatText    // a double's text, to be rounded to a float
	formZerofillText // a number with zeros in front
)

// NewImageLayout returns the layout of row images under a table map: types is
// its column type bytes, meta its metadata block. It fails when the table map
// does not fit the table (count or type of columns), naming table and column.
func NewImageLayout(t *Table, types, meta []byte) (*Layout, error) {
	if n := len(types); n == len(t.Columns)+2 && types[n-1] == types[n-2] && (types[n-1] == wireTimestamp2 || types[n-1] == wireLongLong) {
		return nil, fmt.Errorf("lay out %s: the binlog has two more columns than the schema; if the table has SYSTEM VERSIONING, that is not supported yet: leave the table out of the mapping; else %s",
			t.FullName(), remedySchema)
	}
	if len(types) != len(t.Columns) {
		return nil, fmt.Errorf("lay out %s: the binlog has %d columns, the schema %d: %s",
			t.FullName(), len(types), len(t.Columns), remedySchema)
	}
	l := &Layout{table: t, codecs: make([]codec, len(types))}
	for i, kind := range types {
		c := &t.Columns[i]
		w, rest, err := parseWire(kind, meta)
		if err != nil {
			return nil, fmt.Errorf("lay out %s.%s: %w", t.FullName(), c.Name, err)
		}
		meta = rest
		codec, ok := newCodec(c, w)
		if !ok {
			if w.kind == wireBlobComp || w.kind == wireVarComp {
				return nil, fmt.Errorf("lay out %s.%s: the column is COMPRESSED, which is not supported yet: ALTER the column or leave the table out of the mapping", t.FullName(), c.Name)
			}
			return nil, fmt.Errorf("lay out %s.%s: the column is %s in the binlog but %s in the schema: %s",
				t.FullName(), c.Name, w, describe(c), remedySchema)
		}
		if !codec.setCharset(c) {
			return nil, fmt.Errorf("lay out %s.%s: character set %s is not supported yet: convert the column to utf8mb4 or leave the table out of the mapping",
				t.FullName(), c.Name, c.Charset)
		}
		l.codecs[i] = codec
	}
	if len(meta) > 0 {
		return nil, fmt.Errorf("lay out %s: %d bytes of the table map's metadata are left over", t.FullName(), len(meta))
	}
	return l, nil
}

// CheckReadable refuses a table whose rows could be read by SELECT but not from
// the binlog, before the first is.
func (t *Table) CheckReadable() error {
	for i := range t.Columns {
		c := &t.Columns[i]
		var why string
		switch c.Type {
		case TypeChar, TypeVarchar, TypeText:
			if k := (codec{form: formText}); !k.setCharset(c) {
				why = "character set " + c.Charset + " is not supported yet: convert the column to utf8mb4"
			}
		case TypeTime, TypeDatetime, TypeTimestamp:
			if c.Decimals > 0 && strings.Contains(c.SQLType, "mariadb-5.3") {
				why = "the old format of fractional seconds is not supported: ALTER TABLE ... FORCE with mysql56_temporal_format=ON"
			}
		}
		// A member of an ENUM may be named like that.
		if len(c.Values) == 0 && strings.Contains(c.SQLType, " COMPRESSED") {
			why = "the column is COMPRESSED, which is not supported yet: ALTER the column"
		}
		if why != "" {
			return &RefusedError{Table: t.FullName(), Err: fmt.Errorf("column %s.%s cannot be read from the binlog: %s, "+
				"or leave the table out of the mapping (ignore: true)", t.FullName(), c.Name, why)}
		}
	}
	return nil
}

const remedySchema = "the schema at hand is of another time than the rows; set binlog_row_metadata=FULL on the server so that the binlog carries its own, and read from a later position"

func describe(c *Column) string {
	if c.SQLType != "" {
		return c.SQLType
	}
	return fmt.Sprintf("type %d of length %d, %d decimals", c.Type, c.Length, c.Decimals)
}

// newCodec matches a column with what the table map says about it.
func newCodec(c *Column, w wireType) (codec, bool) {
	switch c.Type {
	case TypeTinyInt, TypeSmallInt, TypeMediumInt, TypeInt, TypeBigInt:
		want := intTypes[c.Type]
		return codec{form: signForm(c.Unsigned), size: want.size}, w.kind == want.kind
	case TypeDecimal:
		fits := w.kind == wireNewDecimal && int(w.precision) == c.Length && int(w.scale) == c.Decimals &&
			w.precision <= maxPrecision && w.scale <= w.precision
		return codec{form: formDecimal, size: decimalSize(w.precision, w.scale), precision: w.precision, scale: w.scale}, fits
	case TypeFloat:
		return codec{form: formFloat, size: 4}, w.kind == wireFloat
	case TypeDouble:
		return codec{form: formDouble, size: 8}, w.kind == wireDouble
	case TypeBit:
		return codec{form: formBit, size: (w.length + 7) / 8}, w.kind == wireBit && w.length == c.Length && w.length <= 64
	case TypeYear:
		return codec{form: formYear, size: 1}, w.kind == wireYear
	case TypeDate, TypeTime, TypeDatetime, TypeTimestamp:
		return newTemporalCodec(c, w)
	case TypeEnum:
		return codec{form: formEnum, size: w.length}, w.kind == wireEnum && w.length == enumSize(len(c.Values))
	case TypeSet:
		return codec{form: formSet, size: w.length}, w.kind == wireSet && w.length == setSize(len(c.Values))
	case TypeUUID, TypeInet4, TypeInet6:
		return newFixedCodec(c, w)
	}
	return newStringCodec(c, w)
}

func signForm(unsigned bool) form {
	if unsigned {
		return formUint
	}
	return formInt
}

var intTypes = map[Type]struct {
	kind byte
	size int
}{
	TypeTinyInt: {wireTiny, 1}, TypeSmallInt: {wireShort, 2}, TypeMediumInt: {wireInt24, 3},
	TypeInt: {wireLong, 4}, TypeBigInt: {wireLongLong, 8},
}

func enumSize(members int) int {
	if members < 256 {
		return 1
	}
	return 2
}

func setSize(members int) int {
	if n := (members + 7) / 8; n <= 4 {
		return max(n, 1)
	}
	return 8
}

// maxFraction is the most fractional-second digits.
const maxFraction = 6

func newTemporalCodec(c *Column, w wireType) (codec, bool) {
	k := codec{scale: w.scale}
	var want, old byte
	switch c.Type {
	case TypeDate:
		return codec{form: formDate, size: 3}, w.kind == wireDate || w.kind == wireNewDate
	case TypeTime:
		k.form, k.size, want, old = formTime2, 3, wireTime2, wireTime
	case TypeDatetime:
		k.form, k.size, want, old = formDatetime2, 5, wireDatetime2, wireDatetime
	case TypeTimestamp:
		k.form, k.size, want, old = formTimestamp2, 4, wireTimestamp2, wireTimestamp
	}
	if w.kind == old {
		// MariaDB's old format with fractions has the same type byte and
		// no metadata: its size cannot be told.
		if want == wireDatetime2 {
			k.size = 8
		}
		k.form += formOldTime - formTime2
		return k, c.Decimals == 0
	}
	k.size += int(w.scale+1) / 2
	return k, w.kind == want && int(w.scale) == c.Decimals && w.scale <= maxFraction
}

// newFixedCodec is for MariaDB's types of a fixed number of bytes: they travel
// as a BINARY does, without their trailing zeros.
func newFixedCodec(c *Column, w wireType) (codec, bool) {
	k := codec{prefix: 1, size: 16}
	switch c.Type {
	case TypeUUID:
		k.form = formUUID
		if strings.Contains(c.SQLType, "old") {
			k.form = formOldUUID
		}
	case TypeInet4:
		k.form, k.size = formInet4, 4
	case TypeInet6:
		k.form = formInet6
	}
	return k, w.kind == wireString && w.length == k.size
}

func newStringCodec(c *Column, w wireType) (codec, bool) {
	k := codec{prefix: 1, size: w.length}
	if w.length > 255 {
		k.prefix = 2
	}
	bytes := c.Length * charsetWidth(c.Charset)
	variable := w.kind == wireVarchar || w.kind == wireVarString
	switch c.Type {
	case TypeChar:
		k.form = formChar
		return k, w.kind == wireString && w.length == bytes
	case TypeBinary:
		k.form = formBinary
		return k, w.kind == wireString && w.length == c.Length
	case TypeVarchar:
		return k, variable && w.length == bytes
	case TypeVarbinary:
		k.form = formBytes
		return k, variable && w.length == c.Length
	case TypeVector:
		if variable { // MariaDB's
			k.form = formVector
			return k, true
		}
	}
	if w.length < 1 || w.length > 4 {
		return k, false
	}
	k.prefix, k.size = uint8(w.length), 1<<(8*w.length)-1
	switch c.Type {
	case TypeText:
		return k, w.kind == wireBlob && blobFits(c.SQLType, w.length)
	case TypeBlob:
		k.form = formBytes
		return k, w.kind == wireBlob && blobFits(c.SQLType, w.length)
	case TypeJSON:
		if w.kind == wireJSON {
			k.form = formJSON
		} // MariaDB's JSON is text
		return k, w.kind == wireJSON || w.kind == wireBlob
	case TypeGeometry:
		k.form = formBytes
		return k, w.kind == wireGeometry
	case TypeVector:
		k.form = formVector
		return k, w.kind == wireVector
	}
	return k, false
}

// blobFits reports whether a BLOB or TEXT of that name has a length prefix of
// size bytes. A schema that comes from the binlog itself has no such names.
func blobFits(sqlType string, size int) bool {
	sqlType = strings.ToLower(sqlType)
	switch {
	case sqlType == "":
		return true
	case strings.HasPrefix(sqlType, "tiny"):
		return size == 1
	case strings.HasPrefix(sqlType, "medium"):
		return size == 3
	case strings.HasPrefix(sqlType, "long"):
		return size == 4
	}
	return size == 2
}

// charsetWidth returns the most bytes a character takes; 0 where it is unknown.
func charsetWidth(charset string) int {
	switch charset {
	case "utf8mb4", "gb18030", "utf16", "utf16le", "utf32":
		return 4
	case "utf8mb3", "utf8", "eucjpms", "ujis":
		return 3
	case "ucs2", "big5", "cp932", "euckr", "gb2312", "gbk", "sjis":
		return 2
	}
	return 1
}

// setCharset reports whether text of the column's character set can be turned
// into UTF-8.
func (k *codec) setCharset(c *Column) bool {
	if k.form != formText && k.form != formChar {
		return true
	}
	switch c.Charset {
	case "", "utf8mb4", "utf8mb3", "utf8", "ascii", "binary":
		return true
	case "latin1":
		k.latin1 = true
		return true
	}
	return false
}

// NewTextLayout returns the layout of rows read by SELECT over the text
// protocol with the column expressions that SelectExpr gives, in a session with
// utf8mb4, time_zone '+00:00' and an empty sql_mode.
func NewTextLayout(t *Table) *Layout {
	l := &Layout{table: t, text: true, codecs: make([]codec, len(t.Columns))}
	for i := range t.Columns {
		c := &t.Columns[i]
		switch c.Type {
		case TypeTinyInt, TypeSmallInt, TypeMediumInt, TypeInt, TypeBigInt, TypeDecimal:
			if zerofill(c) {
				l.codecs[i].form = formZerofillText
			}
		case TypeFloat:
			l.codecs[i].form = formFloatText
		case TypeVector:
			l.codecs[i].form = formVector
		case TypeBinary, TypeVarbinary, TypeBlob, TypeGeometry:
			l.codecs[i].form = formBytes
		}
	}
	return l
}

func zerofill(c *Column) bool { return strings.Contains(strings.ToLower(c.SQLType), "zerofill") }

// SelectExpr returns the expression to select a column with, so that AppendText
// yields what it yields for the same value in the binlog. quoted is the
// column's name in backquotes.
func SelectExpr(c *Column, quoted string) string {
	switch c.Type {
	case TypeFloat, TypeDouble:
		// A FLOAT prints six digits only and (M,D) rounds; the product
		// prints all digits and, unlike a sum, keeps the sign of -0.
		return quoted + "*1e0"
	case TypeBit:
		return quoted + "+0"
	}
	return quoted
}

// Table returns the table the layout is of.
func (l *Layout) Table() *Table { return l.table }
