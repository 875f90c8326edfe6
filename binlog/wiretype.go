package binlog

import "fmt"

// WireType is a column's type as a table map describes it.
type WireType struct {
	kind byte
	// length is in bytes, but for BIT in bits; for BLOB and its kin it is the size
	// of the length prefix in bytes.
	length           int
	precision, scale uint8
}

// The column type bytes of a table map, MYSQL_TYPE_* in the servers' sources.
const (
	wireDecimal    = 0
	wireTiny       = 1
	wireShort      = 2
	wireLong       = 3
	wireFloat      = 4
	wireDouble     = 5
	wireTimestamp  = 7
	wireLongLong   = 8
	wireInt24      = 9
	wireDate       = 10
	wireTime       = 11
	wireDatetime   = 12
	wireYear       = 13
	wireNewDate    = 14
	wireVarchar    = 15
	wireBit        = 16
	wireTimestamp2 = 17
	wireDatetime2  = 18
	wireTime2      = 19
	wireBlobComp   = 140 // MariaDB's compressed columns
	wireVarComp    = 141
	wireVector     = 242
	wireJSON       = 245
	wireNewDecimal = 246
	wireEnum       = 247
	wireSet        = 248
	wireTinyBlob   = 249
	wireMediumBlob = 250
	wireLongBlob   = 251
	wireBlob       = 252
	wireVarString  = 253
	wireString     = 254
	wireGeometry   = 255
)

// wireMeta is the layout of a type's part of a table map's metadata block.
type wireMeta uint8

const (
	metaNone      wireMeta = iota // nothing
	metaSize                      // a byte: the size of the value
	metaPrefix                    // a byte: the size of the length prefix
	metaFraction                  // a byte: fractional-second digits
	metaLength                    // two bytes: the greatest length in bytes
	metaBits                      // a byte of bits and a byte of bytes
	metaPrecision                 // a byte of digits and a byte of scale
	metaString                    // the real type and the length; see parseWire
)

// bytes returns the number of bytes that the metadata takes.
func (m wireMeta) bytes() int {
	switch m {
	case metaNone:
		return 0
	case metaSize, metaPrefix, metaFraction:
		return 1
	}
	return 2
}

// wireRow describes one column type byte.
type wireRow struct {
	name string
	meta wireMeta
	// size is the number of bytes of a value, without those of a fraction; 0 where the metadata
	// determine it.
	size int
	// sqlName is the name of the only SQL type with this byte; empty if there are several.
	sqlName string
	// signed: the table map's optional metadata has a bit for the sign. YEAR has
	// one, BIT has no such bit.
	signed bool
	// collation: that metadata names a collation. ENUM and SET have theirs in
	// fields of their own.
	collation bool
}

// wireTypes is the table of column type bytes. A byte without a name is unknown.
var wireTypes = [256]wireRow{
	wireDecimal:    {name: "DECIMAL before MySQL 5.0", signed: true},
	wireTiny:       {name: "TINYINT", size: 1, sqlName: "tinyint", signed: true},
	wireShort:      {name: "SMALLINT", size: 2, sqlName: "smallint", signed: true},
	wireLong:       {name: "INT", size: 4, sqlName: "int", signed: true},
	wireFloat:      {name: "FLOAT", size: 4, meta: metaSize, sqlName: "float", signed: true},
	wireDouble:     {name: "DOUBLE", size: 8, meta: metaSize, sqlName: "double", signed: true},
	wireTimestamp:  {name: "TIMESTAMP (old format)", size: 4},
	wireLongLong:   {name: "BIGINT", size: 8, sqlName: "bigint", signed: true},
	wireInt24:      {name: "MEDIUMINT", size: 3, sqlName: "mediumint", signed: true},
	wireDate:       {name: "DATE", size: 3, sqlName: "date"},
	wireTime:       {name: "TIME (old format)", size: 3},
	wireDatetime:   {name: "DATETIME (old format)", size: 8},
	wireYear:       {name: "YEAR", size: 1, sqlName: "year", signed: true},
	wireNewDate:    {name: "DATE", size: 3, sqlName: "date"},
	wireVarchar:    {name: "VARCHAR", meta: metaLength, collation: true},
	wireBit:        {name: "BIT", meta: metaBits, sqlName: "bit"},
	wireTimestamp2: {name: "TIMESTAMP", size: 4, meta: metaFraction, sqlName: "timestamp"},
	wireDatetime2:  {name: "DATETIME", size: 5, meta: metaFraction, sqlName: "datetime"},
	wireTime2:      {name: "TIME", size: 3, meta: metaFraction, sqlName: "time"},
	wireBlobComp:   {name: "COMPRESSED BLOB or TEXT", meta: metaPrefix, collation: true},
	wireVarComp:    {name: "COMPRESSED VARCHAR", meta: metaLength, collation: true},
	wireVector:     {name: "VECTOR", meta: metaPrefix},
	wireJSON:       {name: "JSON", meta: metaPrefix, sqlName: "json"},
	wireNewDecimal: {name: "DECIMAL", meta: metaPrecision, sqlName: "decimal", signed: true},
	wireEnum:       {name: "ENUM", meta: metaString, sqlName: "enum"},
	wireSet:        {name: "SET", meta: metaString, sqlName: "set"},
	wireTinyBlob:   {name: "BLOB or TEXT", meta: metaPrefix},
	wireMediumBlob: {name: "BLOB or TEXT", meta: metaPrefix},
	wireLongBlob:   {name: "BLOB or TEXT", meta: metaPrefix},
	wireBlob:       {name: "BLOB or TEXT", meta: metaPrefix, collation: true},
	wireVarString:  {name: "VARCHAR", meta: metaString, collation: true},
	wireString:     {name: "CHAR or BINARY", meta: metaString, collation: true},
	wireGeometry:   {name: "GEOMETRY", meta: metaPrefix},
}

// HasSign reports whether a table map's optional metadata has a bit for the sign of
// a column of this type.
func (w WireType) HasSign() bool { return wireTypes[w.kind].signed }

// HasCollation reports whether a table map's optional metadata names a collation for
// a column of this type; mariaDB is set if a MariaDB wrote the table map. ENUM and SET
// have their collations in fields of their own and report false.
func (w WireType) HasCollation(mariaDB bool) bool {
	return wireTypes[w.kind].collation || mariaDB && w.kind == wireGeometry
}

// IsYear reports whether the column is a YEAR.
func (w WireType) IsYear() bool { return w.kind == wireYear }

// IsEnum reports whether the column is an ENUM.
func (w WireType) IsEnum() bool { return w.kind == wireEnum }

// IsSet reports whether the column is a SET.
func (w WireType) IsSet() bool { return w.kind == wireSet }

// isCompressed reports whether the column is one of MariaDB's COMPRESSED columns.
func (w WireType) isCompressed() bool { return w.kind == wireBlobComp || w.kind == wireVarComp }

// String describes the type for a message.
func (w WireType) String() string {
	row := &wireTypes[w.kind]
	if row.name == "" {
		return fmt.Sprintf("of an unknown type (%d)", w.kind)
	}
	switch row.meta {
	case metaPrecision:
		return fmt.Sprintf("%s(%d,%d)", row.name, w.precision, w.scale)
	case metaFraction:
		return fmt.Sprintf("%s(%d)", row.name, w.scale)
	case metaBits:
		return fmt.Sprintf("%s(%d)", row.name, w.length)
	case metaLength, metaString:
		return fmt.Sprintf("%s of %d bytes", row.name, w.length)
	case metaPrefix:
		return fmt.Sprintf("%s with %d length bytes", row.name, w.length)
	}
	return row.name
}

// ParseWireTypes reads the columns of a table map: types is its column type bytes,
// meta its metadata block, which must end with the last column.
func ParseWireTypes(types, meta []byte) ([]WireType, error) {
	parsed := make([]WireType, len(types))
	for i, kind := range types {
		var err error
		if parsed[i], meta, err = parseWire(kind, meta); err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	if len(meta) > 0 {
		return nil, fmt.Errorf("%d excess bytes in the table map's metadata", len(meta))
	}
	return parsed, nil
}

// parseWire reads the type at the start of a table map's metadata block and
// returns the rest of the block.
func parseWire(kind byte, meta []byte) (w WireType, rest []byte, err error) {
	w.kind = kind
	layout := wireTypes[kind].meta
	n := layout.bytes()
	if len(meta) < n {
		return w, nil, fmt.Errorf("the table map's metadata ends early")
	}
	switch layout {
	case metaNone:
	case metaSize, metaPrefix:
		w.length = int(meta[0])
	case metaFraction:
		w.scale = meta[0]
	case metaLength:
		w.length = int(meta[0]) | int(meta[1])<<8
	case metaBits:
		w.length = int(meta[0]) + int(meta[1])*8
	case metaPrecision:
		w.precision, w.scale = meta[0], meta[1]
	case metaString:
		// The length of a CHAR has ten bits; the upper two are kept, inverted, in
		// two bits that are set in every real type. ENUM and SET come as CHAR with
		// their own type here (Field_string::do_save_field_metadata).
		w.kind, w.length = meta[0], int(meta[1])
		if meta[0]&0x30 != 0x30 {
			w.kind, w.length = meta[0]|0x30, int(meta[1])|int(meta[0]&0x30^0x30)<<4
		}
	}
	return w, meta[n:], nil
}
