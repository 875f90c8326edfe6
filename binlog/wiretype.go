package binlog

import "fmt"

// wireType is a column as a table map describes it.
type wireType struct {
	kind byte
	// length is in bytes, but for BIT in bits; for BLOB and its like it is the
	// size of their length prefix.
	length           int
	precision, scale uint8
}

// The column type bytes of a table map.
const (
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

var wireNames = map[byte]string{
	0: "DECIMAL before MySQL 5.0", wireTiny: "TINYINT", wireShort: "SMALLINT", wireLong: "INT",
	wireFloat: "FLOAT", wireDouble: "DOUBLE", wireTimestamp: "TIMESTAMP (old format)",
	wireLongLong: "BIGINT", wireInt24: "MEDIUMINT", wireDate: "DATE",
	wireTime: "TIME (old format)", wireDatetime: "DATETIME (old format)", wireYear: "YEAR",
	wireNewDate: "DATE", wireVarchar: "VARCHAR", wireBit: "BIT", wireTimestamp2: "TIMESTAMP",
	wireDatetime2: "DATETIME", wireTime2: "TIME", wireBlobComp: "a compressed BLOB or TEXT",
	wireVarComp: "a compressed VARCHAR", wireVector: "VECTOR", wireJSON: "JSON",
	wireNewDecimal: "DECIMAL", wireEnum: "ENUM", wireSet: "SET", wireTinyBlob: "BLOB or TEXT",
	wireMediumBlob: "BLOB or TEXT", wireLongBlob: "BLOB or TEXT", wireBlob: "BLOB or TEXT",
	wireVarString: "VARCHAR", wireString: "CHAR or BINARY", wireGeometry: "GEOMETRY",
}

// String describes the type for a message.
func (w wireType) String() string {
	name := wireNames[w.kind]
	if name == "" {
		name = fmt.Sprintf("of an unknown type (%d)", w.kind)
	}
	switch w.kind {
	case wireNewDecimal:
		return fmt.Sprintf("%s(%d,%d)", name, w.precision, w.scale)
	case wireTimestamp2, wireDatetime2, wireTime2:
		return fmt.Sprintf("%s(%d)", name, w.scale)
	case wireVarchar, wireVarString, wireString:
		return fmt.Sprintf("%s of %d bytes", name, w.length)
	case wireBit:
		return fmt.Sprintf("%s(%d)", name, w.length)
	case wireEnum, wireSet:
		return fmt.Sprintf("%s of %d bytes", name, w.length)
	case wireBlob, wireGeometry, wireJSON, wireVector:
		return fmt.Sprintf("%s with %d length bytes", name, w.length)
	}
	return name
}

// parseWire reads the type at the start of a table map's metadata block and
// returns what is left of the block.
func parseWire(kind byte, meta []byte) (w wireType, rest []byte, err error) {
	w.kind = kind
	var n int
	switch kind {
	case wireFloat, wireDouble, wireTimestamp2, wireDatetime2, wireTime2,
		wireTinyBlob, wireMediumBlob, wireLongBlob, wireBlob, wireGeometry, wireJSON, wireVector, wireBlobComp:
		n = 1
	case wireVarchar, wireVarComp, wireBit, wireNewDecimal, wireString, wireVarString, wireEnum, wireSet:
		n = 2
	}
	if len(meta) < n {
		return w, nil, fmt.Errorf("the table map's metadata ends early")
	}
	switch kind {
	case wireTimestamp2, wireDatetime2, wireTime2:
		w.scale = meta[0]
	case wireVarchar, wireVarComp:
		w.length = int(meta[0]) | int(meta[1])<<8
	case wireBit:
		w.length = int(meta[0]) + int(meta[1])*8
	case wireNewDecimal:
		w.precision, w.scale = meta[0], meta[1]
	case wireString, wireVarString, wireEnum, wireSet:
		// The length of a CHAR has ten bits; the upper two are kept,
		// inverted, in two bits that are set in every real type.
		w.kind, w.length = meta[0], int(meta[1])
		if meta[0]&0x30 != 0x30 {
			w.kind, w.length = meta[0]|0x30, int(meta[1])|int(meta[0]&0x30^0x30)<<4
		}
	default:
		if n == 1 {
			w.length = int(meta[0])
		}
	}
	return w, meta[n:], nil
}
