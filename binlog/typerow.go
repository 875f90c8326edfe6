package binlog

// typeRow describes one column type. A new type is one more row; TestColumnTypes fails for a row
// with a missing part.
type typeRow struct {
	// names are the names by which information_schema shows the type, lower case.
	names []string
	// args is the meaning of the numbers in parentheses after the name.
	args typeArgs
	// charset defines which character set the type's values have.
	charset charsetRule
	// wires are the ways in which a row image can hold the type.
	wires []wireForm
	// fit completes the layout of a column from its schema and its wire type and
	// reports whether the two agree. nil: any column fits.
	fit func(c *Column, w WireType, l *columnLayout) bool
	// text is how the text that a SELECT yields becomes the value's text.
	text encoding
	// selectSuffix follows the column's name in a SELECT.
	selectSuffix string
	// json is the form of a value in JSON.
	json jsonForm
	// key is how a value is written in SQL where rows are read in key order.
	key KeyLiteral
	// value is what an expression sees.
	value ValueKind
	// extent is how long values can be, and where they can be cut.
	extent Extent
	// alphabet holds the bytes that the value's text can consist of.
	alphabet alphabet
	// typicalLength is the usual length of the value's text in bytes; see
	// Column.TypicalLength.
	typicalLength int
}

// typeArgs is the meaning of the numbers in parentheses after a type's name.
type typeArgs uint8

const (
	argsIgnored   typeArgs = iota + 1 // a display width
	argsLength                        // characters, bytes or bits; 1 where absent
	argsPrecision                     // digits and scale; (10,0) where absent
	argsFraction                      // fractional-second digits; 0 where absent
	argsLabels                        // the labels of an ENUM or SET
	argsYear                          // digits: 2 for MariaDB's YEAR(2), else 4
)

// charsetRule defines which character set the values of a type have.
type charsetRule uint8

const (
	charsetNone   charsetRule = iota + 1
	charsetColumn             // the column's
	charsetLabels             // the column's, for its labels; rows hold numbers
	charsetBinary             // bytes
)

// wireForm is one way in which a row image can hold a type.
type wireForm struct {
	kind     byte
	encoding encoding
	// size is the number of bytes of a value; 0: fit finds it.
	size int
}

// jsonForm is the form of a column's value in JSON.
type jsonForm uint8

const (
	asNumber   jsonForm = iota + 1 // the value's text, unquoted
	asYear                         // a number without leading zeros
	asString                       // the value's text, quoted
	asArray                        // an array of strings
	asBase64                       // the value's bytes in base64
	asDocument                     // the value's text is JSON already
)

// KeyLiteral is how a key's value is written in SQL, so that the comparison
// with the column uses the column's index and order.
type KeyLiteral uint8

// The ways to write a key's value. The zero KeyLiteral is invalid.
const (
	// KeyNumber is a number without quotes.
	KeyNumber KeyLiteral = iota + 1
	// KeyOrdinal is the number by which the server orders an ENUM, SET or BIT; it
	// is selected as the column plus 0.
	KeyOrdinal
	// KeyTemporal is a quoted date or time.
	KeyTemporal
	// KeyAddress is a quoted UUID or network address.
	KeyAddress
	// KeyText is the stored bytes in hexadecimal with the column's character set;
	// they are selected as BINARY, because some bytes do not survive a conversion
	// to Unicode and back.
	KeyText
	// KeyBytes is the stored bytes in hexadecimal.
	KeyBytes
	// KeyFloat is a floating-point number. It is selected as a DOUBLE, whose text has all digits,
	// so that the literal with this text is the same number.
	KeyFloat
	// KeyShortYear is a YEAR(2). Its index has the order of the years, but the server compares its
	// two digits. So the rows are ordered by the column plus 0, which uses no index.
	KeyShortYear
	// KeyNone is a value that cannot be part of a key that is read in order.
	KeyNone
)

// ValueKind is the kind of value that an expression sees of a column.
type ValueKind uint8

// The kinds of value. The zero ValueKind is invalid.
const (
	ValueInteger  ValueKind = iota + 1 // fits int64
	ValueExact                         // an exact number beyond int64, or with a fraction
	ValueFloat                         // a binary floating-point number
	ValueMoment                        // a date, or a date with a time
	ValueDuration                      // a TIME
	ValueText
)

// Extent is how long the values of a column can be, and where they can be cut.
type Extent uint8

// The extents. The zero Extent is invalid.
const (
	ExtentShort Extent = iota + 1 // never long
	ExtentText                    // can be cut at the end of a character
	ExtentBytes                   // can be cut between any two bytes
	ExtentWhole                   // a part of a value has no meaning
)

// alphabet holds the bytes that can occur in a value's text.
type alphabet struct {
	// all are the bytes that can occur anywhere, tail those that can occur after
	// the first. Empty: any byte.
	all, tail string
	// unsigned replaces both if the column is UNSIGNED; empty: no difference.
	unsigned string
}
