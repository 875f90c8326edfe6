package binlog

import (
	"fmt"
	"strings"

	"rowfall/binlog/charset"
)

// Layout describes how the rows of one table are laid out: in the row images of a
// table map, or in the text rows of a SELECT. It is compiled once per table
// version and immutable.
type Layout struct {
	table   *Table
	text    bool
	columns []columnLayout
	// isVerbatim is set if the cells of text rows are the texts of their columns.
	isVerbatim bool
}

// columnLayout is a column's part of a Layout: where its value ends and how the
// value becomes text.
type columnLayout struct {
	encoding encoding
	// content is the encoding of the decompressed value of a COMPRESSED column.
	content encoding
	json    jsonForm
	// prefix is the number of length bytes in front of a value; 0: every value has
	// size bytes.
	prefix uint8
	// size is the number of bytes of a value; the greatest number where there is a
	// prefix.
	size int
	// precision and scale are a DECIMAL's; scale also holds the fractional-second
	// digits of a temporal type.
	precision, scale uint8
	// decoder converts a text to UTF-8; nil for a text that is printed as it is.
	decoder *charset.Decoder
	// isVerbatim is set if the text of a value is the value's bytes.
	isVerbatim bool
}

// setVerbatim sets isVerbatim, once all other fields are set.
func (l *columnLayout) setVerbatim() {
	isText := l.encoding == encodingText || l.encoding == encodingBytes
	l.isVerbatim = isText && l.decoder == nil
}

// encoding is how a value's bytes are read.
type encoding uint8

const (
	encodingText           encoding = iota // printed as it is
	encodingInt                            // little endian, size bytes
	encodingUint                           // the same, unsigned
	encodingDecimal                        // packed decimal
	encodingFloat                          // IEEE 754, 4 bytes
	encodingDouble                         // IEEE 754, 8 bytes
	encodingBit                            // big endian
	encodingYear                           // years since 1900, 0 for 0000
	encodingShortYear                      // MariaDB's YEAR(2): years since 1900
	encodingDate                           // packed into 3 bytes
	encodingTime                           // TIME with fractions, big endian
	encodingDatetime                       // DATETIME with fractions, big endian
	encodingTimestamp                      // TIMESTAMP with fractions, big endian
	encodingOldTime                        // decimal HHMMSS
	encodingOldDatetime                    // decimal YYYYMMDDhhmmss
	encodingOldTimestamp                   // seconds, little endian
	encodingHiresTime                      // MariaDB's TIME of version 5.3; see hires.go
	encodingHiresDatetime                  // its DATETIME
	encodingHiresTimestamp                 // its TIMESTAMP
	encodingChar                           // text without its trailing spaces
	encodingBinary                         // bytes without their trailing zeros
	encodingBytes                          // bytes, printed as they are
	encodingEnum                           // index of a label, from 1
	encodingSet                            // a bit per label
	encodingJSON                           // MySQL's binary JSON
	encodingVector                         // little endian 4-byte floats
	encodingUUID                           // MariaDB's, its parts reordered
	encodingOldUUID                        // MariaDB's before 10.11.5, always reordered
	encodingInet4                          // 4 bytes
	encodingInet6                          // 16 bytes
	encodingCompressed                     // MariaDB's COMPRESSED; see compressed.go
	encodingUnknown                        // of a character set or type that is not known

	// The encodings below are a SELECT's.
	encodingFloatText  // a double's text, to be rounded to a float
	encodingNumberText // a number that may have zeros in front (ZEROFILL)
)

// NewImageLayout returns the layout of row images under a table map: types is
// its column type bytes, meta its metadata block; mariaDB is set if a MariaDB wrote them.
// It fails when the table map does not fit the table (count or type of columns),
// naming table and column.
func NewImageLayout(t *Table, types, meta []byte, mariaDB bool) (*Layout, error) {
	if hasRowPeriod(t, types) {
		return nil, fmt.Errorf("lay out %s: the binlog has two more columns than the schema; "+
			"if the table has SYSTEM VERSIONING, that is not supported yet: "+
			"exclude the table from the mapping; else %s",
			t.FullName(), remedySchema)
	}
	if len(types) != len(t.Columns) {
		return nil, fmt.Errorf("lay out %s: the binlog has %d columns, the schema %d: %s",
			t.FullName(), len(types), len(t.Columns), remedySchema)
	}
	l := &Layout{table: t, columns: make([]columnLayout, len(types))}
	for i, kind := range types {
		c := &t.Columns[i]
		w, rest, err := parseWire(kind, meta)
		if err != nil {
			return nil, fmt.Errorf("lay out %s.%s: %w", t.FullName(), c.Name, err)
		}
		meta = rest
		column, ok := newColumnLayout(c, w, mariaDB)
		if !ok {
			return nil, fmt.Errorf(
				"lay out %s.%s: the column is %s in the binlog but %s in the schema: %s",
				t.FullName(), c.Name, w, describe(c), remedySchema,
			)
		}
		column.setCharset(c, mariaDB)
		if c.Unreadable != "" {
			column.encoding = encodingUnknown
		}
		column.setVerbatim()
		l.columns[i] = column
	}
	if len(meta) > 0 {
		return nil, fmt.Errorf("lay out %s: %d excess bytes in the table map's metadata",
			t.FullName(), len(meta))
	}
	return l, nil
}

// hasRowPeriod reports whether a table map has two more columns than the schema and
// the two look like the start and end of a row's validity, which MariaDB adds to
// tables WITH SYSTEM VERSIONING.
func hasRowPeriod(t *Table, types []byte) bool {
	n := len(types)
	return n == len(t.Columns)+2 && types[n-1] == types[n-2] &&
		(types[n-1] == wireTimestamp2 || types[n-1] == wireLongLong)
}

// CheckReadable rejects, before any row is read, a table whose rows could be read by
// SELECT but not from the binlog. isExcluded reports whether the values of a column are never
// read; nil means that all are. The error is a *RefusedError.
func (t *Table) CheckReadable(isExcluded func(column int) bool) error {
	for i := range t.Columns {
		if isExcluded != nil && isExcluded(i) {
			continue
		}
		c := &t.Columns[i]
		why := c.Unreadable
		if why == "" && c.Type.row().charset == charsetColumn && !isKnownCharset(c.Charset) {
			why = unknownCharset(c) + ": convert the column to utf8mb4"
		}
		if why != "" {
			return &RefusedError{Table: t.FullName(), Err: fmt.Errorf(
				"column %s.%s cannot be read from the binlog: %s, exclude the column, "+
					"or exclude the table from the mapping (ignore: true)", t.FullName(), c.Name,
				why)}
		}
	}
	return nil
}

const remedySchema = "the schema is of another time than the rows; set binlog_row_metadata=FULL " +
	"on the server so that the binlog carries its own, and read from a later position"

func describe(c *Column) string {
	if c.SQLType != "" {
		return c.SQLType
	}
	return fmt.Sprintf("type %d of length %d, %d decimals", c.Type, c.Length, c.Decimals)
}

// newColumnLayout matches a column with the wire type that a table map gives for it; mariaDB is set
// if a MariaDB wrote the table map. ok is false where the two do not fit.
func newColumnLayout(c *Column, w WireType, mariaDB bool) (l columnLayout, ok bool) {
	if c.Type == TypeInvalid {
		return layoutToSkip(w)
	}
	row := c.Type.row()
	for _, form := range row.wires {
		if form.kind != w.kind {
			continue
		}
		l = columnLayout{encoding: form.encoding, size: form.size, json: row.json}
		ok = row.fit == nil || row.fit(c, w, &l)
		return l, ok && (mariaDB || !l.encoding.isHires())
	}
	return l, false
}

// layoutToSkip returns the layout of a column whose type is not supported. Its values can be
// skipped, but not read. ok is false if the wire type does not determine where a value ends.
func layoutToSkip(w WireType) (l columnLayout, ok bool) {
	row := &wireTypes[w.kind]
	l = columnLayout{encoding: encodingUnknown, size: row.size}
	switch {
	case row.size > 0 && row.meta == metaFraction:
		l.size += int(w.scale+1) / 2
		return l, w.scale <= maxFraction
	case row.size > 0:
		return l, true
	case row.meta == metaPrefix:
		return l, l.setPrefix(w)
	case row.meta == metaPrecision:
		l.size = decimalSize(w.precision, w.scale)
		return l, true
	case row.meta == metaBits:
		l.size = (w.length + 7) / 8
		return l, true
	case w.IsEnum() || w.IsSet():
		l.size = w.length
		return l, true
	case row.meta == metaLength || row.meta == metaString:
		l.setLengthPrefix(w)
		return l, true
	}
	return l, false
}

func fitInteger(c *Column, _ WireType, l *columnLayout) bool {
	if c.Unsigned {
		l.encoding = encodingUint
	}
	return true
}

func fitDecimal(c *Column, w WireType, l *columnLayout) bool {
	l.size, l.precision, l.scale = decimalSize(w.precision, w.scale), w.precision, w.scale
	return int(w.precision) == c.Length && int(w.scale) == c.Decimals &&
		w.precision <= maxPrecision && w.scale <= w.precision
}

func fitBit(c *Column, w WireType, l *columnLayout) bool {
	l.size = (w.length + 7) / 8
	return w.length == c.Length && w.length <= 64
}

// maxFraction is the most fractional-second digits.
const maxFraction = 6

func fitTemporal(c *Column, w WireType, l *columnLayout) bool {
	if wireTypes[w.kind].meta != metaFraction {
		if c.Decimals > 0 {
			l.scale = uint8(c.Decimals)
			l.encoding, l.size = hiresEncoding(l.encoding, c.Decimals)
		}
		return l.size > 0
	}
	l.scale = w.scale
	l.size += int(w.scale+1) / 2
	return int(w.scale) == c.Decimals && w.scale <= maxFraction
}

func fitEnum(c *Column, w WireType, l *columnLayout) bool {
	l.size = w.length
	return w.length == enumSize(len(c.Values))
}

func fitSet(c *Column, w WireType, l *columnLayout) bool {
	l.size = w.length
	return w.length == setSize(len(c.Values))
}

// enumSize returns the bytes of an ENUM of so many labels.
func enumSize(labels int) int {
	if labels < 256 {
		return 1
	}
	return 2
}

// setSize returns the bytes of a SET of so many labels.
func setSize(labels int) int {
	if n := (labels + 7) / 8; n <= 4 {
		return max(n, 1)
	}
	return 8
}

// fitAddress is for MariaDB's types of a fixed number of bytes.
func fitAddress(c *Column, w WireType, l *columnLayout) bool {
	l.prefix = 1
	if l.encoding == encodingUUID && strings.Contains(c.SQLType, "old") {
		l.encoding = encodingOldUUID
	}
	return w.length == l.size
}

// setLengthPrefix sets the layout of a value whose greatest length is in the
// metadata: the length comes first, in one byte or in two.
func (l *columnLayout) setLengthPrefix(w WireType) {
	l.prefix, l.size = 1, w.length
	if w.length > 255 {
		l.prefix = 2
	}
}

// setCompressed makes l the layout of a COMPRESSED column if the wire type is one's. It returns the
// greatest length of a value without the byte that holds the method of compression.
func (l *columnLayout) setCompressed(w WireType) int {
	if !w.isCompressed() {
		return w.length
	}
	l.encoding, l.content = encodingCompressed, l.encoding
	return w.length - 1
}

func fitText(c *Column, w WireType, l *columnLayout) bool {
	l.setLengthPrefix(w)
	length := l.setCompressed(w)
	if !isKnownCharset(c.Charset) {
		return c.Length == 0 || length%c.Length == 0
	}
	return length == c.Length*charsetWidth(c.Charset)
}

func fitBytes(c *Column, w WireType, l *columnLayout) bool {
	l.setLengthPrefix(w)
	return l.setCompressed(w) == c.Length
}

// setPrefix sets the layout of a value whose metadata is the size of its length prefix.
func (l *columnLayout) setPrefix(w WireType) bool {
	if w.length < 1 || w.length > 4 {
		return false
	}
	l.prefix, l.size = uint8(w.length), 1<<(8*w.length)-1
	return true
}

// fitPrefix is for the types whose metadata is the size of the length prefix.
func fitPrefix(_ *Column, w WireType, l *columnLayout) bool { return l.setPrefix(w) }

func fitBlob(c *Column, w WireType, l *columnLayout) bool {
	l.setCompressed(w)
	return l.setPrefix(w) && blobFits(c.SQLType, w.length)
}

// fitYear is for YEAR, of which MariaDB's YEAR(2) prints two digits.
func fitYear(c *Column, _ WireType, l *columnLayout) bool {
	if c.Length == 2 {
		l.encoding = encodingShortYear
	}
	return true
}

func fitVector(c *Column, w WireType, l *columnLayout) bool {
	if w.kind == wireVector {
		return fitPrefix(c, w, l)
	}
	l.setLengthPrefix(w)
	return true
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

// charsetWidth returns the most bytes a character takes; 1 where it is unknown.
func charsetWidth(name string) int { return max(charset.Width(name), 1) }

// isKnownCharset reports whether text of a column's character set can be read. A column without
// a character set holds bytes.
func isKnownCharset(name string) bool { return name == "" || charset.Width(name) > 0 }

func unknownCharset(c *Column) string { return "character set " + c.Charset + " is not known" }

// setCharset sets how a text becomes UTF-8; mariaDB is set if a MariaDB wrote the text. A value of
// a character set that is not known can be skipped, but not read.
func (l *columnLayout) setCharset(c *Column, mariaDB bool) {
	if c.Charset == "" || c.Type.row().charset != charsetColumn {
		return
	}
	known := false
	if l.decoder, known = charset.Find(c.Charset, charset.ServerOf(mariaDB)); !known {
		l.encoding = encodingUnknown
	}
}

// NewTextLayout returns the layout of rows read by SELECT over the text
// protocol with the column expressions that SelectExpr gives, in a session with
// utf8mb4, time_zone '+00:00' and an empty sql_mode.
func NewTextLayout(t *Table) *Layout {
	l := &Layout{
		table: t, text: true, columns: make([]columnLayout, len(t.Columns)), isVerbatim: true,
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		row := c.Type.row()
		l.columns[i] = columnLayout{encoding: row.text, json: row.json}
		switch {
		case c.Unreadable != "":
			l.columns[i].encoding = encodingUnknown
		case row.text == encodingNumberText && !zerofill(c):
			l.columns[i].encoding = encodingText
		}
		l.columns[i].setVerbatim()
		l.isVerbatim = l.isVerbatim && l.columns[i].isVerbatim
	}
	return l
}

// Table returns the layout's table.
func (l *Layout) Table() *Table { return l.table }
