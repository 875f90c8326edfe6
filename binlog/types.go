package binlog

import (
	"slices"
	"strings"
)

// Type is what a column holds, as SQL sees it; how a value is laid out in an
// event or a result set is the Layout's concern.
type Type uint8

// The column types. The zero Type is invalid. Tables are kept as JSON with the
// data they describe, so each type keeps its number: new types come last.
const (
	TypeInvalid Type = iota
	TypeTinyInt
	TypeSmallInt
	TypeMediumInt
	TypeInt
	TypeBigInt
	TypeDecimal
	TypeFloat
	TypeDouble
	TypeBit
	TypeYear
	TypeDate
	TypeTime
	TypeDatetime
	TypeTimestamp
	TypeChar
	TypeVarchar
	TypeText
	TypeBinary
	TypeVarbinary
	TypeBlob
	TypeEnum
	TypeSet
	TypeJSON
	TypeGeometry
	TypeVector
	// TypeUUID, TypeInet4 and TypeInet6 are MariaDB's.
	TypeUUID
	TypeInet4
	TypeInet6

	typeCount
)

const (
	digitBytes = "0123456789"
	hexBytes   = digitBytes + "abcdef"
)

var (
	anyAlphabet     = alphabet{}
	digitAlphabet   = alphabet{all: digitBytes, tail: digitBytes}
	integerAlphabet = alphabet{all: "-" + digitBytes, tail: digitBytes, unsigned: digitBytes}
)

// Values of typeRow.typicalLength that depend on the column.
const (
	lengthDeclared = -1 // the declared length
	lengthAtMost99 = -2 // the declared length, at most 99
	lengthLong     = 100
)

// integerRow returns the row of an integer type of size bytes.
func integerRow(kind byte, size int, value ValueKind, names ...string) typeRow {
	return typeRow{
		names: names, args: argsIgnored, charset: charsetNone,
		wires: []wireForm{{kind, encodingInt, size}}, fit: fitInteger, text: encodingNumberText,
		json: asNumber, key: KeyNumber, value: value, extent: ExtentShort,
		alphabet: integerAlphabet, typicalLength: 1,
	}
}

// temporalRow returns the row of TIME, DATETIME or TIMESTAMP: base is the current
// format, to which the bytes of the fraction come; old is that of servers before
// MySQL 5.6.
func temporalRow(
	name string, value ValueKind, base, old wireForm, bytes alphabet, length int,
) typeRow {
	return typeRow{
		names: []string{name}, args: argsFraction, charset: charsetNone,
		wires: []wireForm{base, old}, fit: fitTemporal, text: encodingText,
		json: asString, key: KeyTemporal, value: value, extent: ExtentShort,
		alphabet: bytes, typicalLength: length,
	}
}

// addressRow returns the row of a MariaDB type of a fixed number of bytes, which
// row images hold as BINARY does, without trailing zeros.
func addressRow(name string, e encoding, size int, bytes string, length int) typeRow {
	return typeRow{
		names: []string{name}, args: argsIgnored, charset: charsetNone,
		wires: []wireForm{{wireString, e, size}}, fit: fitAddress, text: encodingText,
		json: asString, key: KeyAddress, value: ValueText, extent: ExtentShort,
		alphabet: alphabet{all: bytes, tail: bytes}, typicalLength: length,
	}
}

// columnTypes is the table of column types: a row per Type.
var columnTypes = [typeCount]typeRow{
	// A type that is not supported. Its values can be skipped, but not read.
	TypeInvalid: {
		wires: []wireForm{{}}, charset: charsetNone, text: encodingUnknown, json: asString,
		key: KeyNone, value: ValueText, extent: ExtentWhole, alphabet: anyAlphabet,
	},
	TypeTinyInt:   integerRow(wireTiny, 1, ValueInteger, "tinyint"),
	TypeSmallInt:  integerRow(wireShort, 2, ValueInteger, "smallint"),
	TypeMediumInt: integerRow(wireInt24, 3, ValueInteger, "mediumint"),
	TypeInt:       integerRow(wireLong, 4, ValueInteger, "int", "integer"),
	TypeBigInt:    integerRow(wireLongLong, 8, ValueInteger, "bigint"),
	TypeDecimal: {
		names: []string{"decimal", "numeric"}, args: argsPrecision, charset: charsetNone,
		wires: []wireForm{{wireNewDecimal, encodingDecimal, 0}}, fit: fitDecimal,
		text: encodingNumberText, json: asNumber, key: KeyNumber, value: ValueExact,
		extent:   ExtentShort,
		alphabet: alphabet{all: "-." + digitBytes, tail: "." + digitBytes}, typicalLength: 1,
	},
	// A FLOAT prints six digits only and (M,D) rounds: the product prints all
	// digits and, unlike a sum, keeps the sign of -0.
	TypeFloat: {
		names: []string{"float"}, args: argsIgnored, charset: charsetNone,
		wires: []wireForm{
			{wireFloat, encodingFloat, 4},
		}, text: encodingFloatText, selectSuffix: "*1e0",
		json: asNumber, key: KeyFloat, value: ValueFloat, extent: ExtentShort,
		alphabet: alphabet{all: "-.e+" + digitBytes, tail: "-.e+" + digitBytes}, typicalLength: 1,
	},
	TypeDouble: {
		names: []string{"double"}, args: argsIgnored, charset: charsetNone,
		wires: []wireForm{
			{wireDouble, encodingDouble, 8},
		}, text: encodingText, selectSuffix: "*1e0",
		json: asNumber, key: KeyFloat, value: ValueFloat, extent: ExtentShort,
		alphabet: alphabet{all: "-.e+" + digitBytes, tail: "-.e+" + digitBytes}, typicalLength: 1,
	},
	TypeBit: {
		names: []string{"bit"}, args: argsLength, charset: charsetNone,
		wires: []wireForm{
			{wireBit, encodingBit, 0},
		}, fit: fitBit, text: encodingText, selectSuffix: "+0",
		json: asNumber, key: KeyOrdinal, value: ValueInteger,
		extent: ExtentShort, alphabet: digitAlphabet,
		typicalLength: 1,
	},
	TypeYear: {
		names: []string{"year"}, args: argsYear, charset: charsetNone,
		wires: []wireForm{{wireYear, encodingYear, 1}}, fit: fitYear, text: encodingText,
		json: asYear, key: KeyNumber, value: ValueInteger,
		extent: ExtentShort, alphabet: digitAlphabet,
		typicalLength: 1,
	},
	TypeDate: {
		names: []string{"date"}, args: argsIgnored, charset: charsetNone,
		wires: []wireForm{{wireDate, encodingDate, 3}, {wireNewDate, encodingDate, 3}},
		text:  encodingText, json: asString, key: KeyTemporal, value: ValueMoment,
		extent:   ExtentShort,
		alphabet: alphabet{all: "-" + digitBytes, tail: "-" + digitBytes}, typicalLength: 10,
	},
	TypeTime: temporalRow("time", ValueDuration,
		wireForm{wireTime2, encodingTime, 3}, wireForm{wireTime, encodingOldTime, 3},
		alphabet{all: "-:." + digitBytes, tail: ":." + digitBytes}, 1),
	TypeDatetime: temporalRow("datetime", ValueMoment, wireForm{wireDatetime2, encodingDatetime, 5},
		wireForm{wireDatetime, encodingOldDatetime, 8},
		alphabet{all: "- :." + digitBytes, tail: "- :." + digitBytes}, 19),
	TypeTimestamp: temporalRow("timestamp", ValueMoment,
		wireForm{wireTimestamp2, encodingTimestamp, 4},
		wireForm{wireTimestamp, encodingOldTimestamp, 4},
		alphabet{all: "- :." + digitBytes, tail: "- :." + digitBytes}, 19),
	TypeChar: {
		names: []string{"char"}, args: argsLength, charset: charsetColumn,
		wires: []wireForm{{wireString, encodingChar, 0}}, fit: fitText, text: encodingText,
		json: asString, key: KeyText, value: ValueText, extent: ExtentText,
		alphabet: anyAlphabet, typicalLength: lengthAtMost99,
	},
	TypeVarchar: {
		names: []string{"varchar"}, args: argsLength, charset: charsetColumn,
		wires: []wireForm{
			{wireVarchar, encodingText, 0},
			{wireVarString, encodingText, 0},
			{wireVarComp, encodingText, 0},
		}, fit: fitText,
		text: encodingText, json: asString, key: KeyText, value: ValueText, extent: ExtentText,
		alphabet: anyAlphabet, typicalLength: lengthAtMost99,
	},
	TypeText: {
		names: []string{"tinytext", "text", "mediumtext", "longtext"}, args: argsIgnored,
		charset: charsetColumn,
		wires:   []wireForm{{wireBlob, encodingText, 0}, {wireBlobComp, encodingText, 0}},
		fit:     fitBlob, text: encodingText, json: asString, key: KeyText, value: ValueText,
		extent:   ExtentText,
		alphabet: anyAlphabet, typicalLength: lengthLong,
	},
	TypeBinary: {
		names: []string{"binary"}, args: argsLength, charset: charsetBinary,
		wires: []wireForm{{wireString, encodingBinary, 0}}, fit: fitBytes, text: encodingBytes,
		json: asBase64, key: KeyBytes, value: ValueText, extent: ExtentBytes,
		alphabet: anyAlphabet, typicalLength: lengthDeclared,
	},
	TypeVarbinary: {
		names: []string{"varbinary"}, args: argsLength, charset: charsetBinary,
		wires: []wireForm{
			{wireVarchar, encodingBytes, 0},
			{wireVarString, encodingBytes, 0},
			{wireVarComp, encodingBytes, 0},
		},
		fit: fitBytes, text: encodingBytes, json: asBase64, key: KeyBytes, value: ValueText,
		extent:   ExtentBytes,
		alphabet: anyAlphabet, typicalLength: lengthAtMost99,
	},
	TypeBlob: {
		names: []string{"tinyblob", "blob", "mediumblob", "longblob"}, args: argsIgnored,
		charset: charsetBinary,
		wires:   []wireForm{{wireBlob, encodingBytes, 0}, {wireBlobComp, encodingBytes, 0}},
		fit:     fitBlob, text: encodingBytes, json: asBase64, key: KeyBytes, value: ValueText,
		extent:   ExtentBytes,
		alphabet: anyAlphabet, typicalLength: lengthLong,
	},
	TypeEnum: {
		names: []string{"enum"}, args: argsLabels, charset: charsetLabels,
		wires: []wireForm{{wireEnum, encodingEnum, 0}}, fit: fitEnum, text: encodingText,
		json: asString, key: KeyOrdinal, value: ValueText,
		extent: ExtentShort, alphabet: anyAlphabet, typicalLength: 1,
	},
	TypeSet: {
		names: []string{"set"}, args: argsLabels, charset: charsetLabels,
		wires: []wireForm{{wireSet, encodingSet, 0}}, fit: fitSet, text: encodingText,
		json: asArray, key: KeyOrdinal, value: ValueText,
		extent: ExtentShort, alphabet: anyAlphabet, typicalLength: 1,
	},
	// MariaDB's JSON is a LONGTEXT, which its text form covers.
	TypeJSON: {
		names: []string{"json"}, args: argsIgnored, charset: charsetNone,
		wires: []wireForm{{wireJSON, encodingJSON, 0}, {wireBlob, encodingText, 0}}, fit: fitPrefix,
		text: encodingText, json: asDocument, key: KeyNone, value: ValueText, extent: ExtentWhole,
		alphabet: anyAlphabet, typicalLength: lengthLong,
	},
	TypeGeometry: {
		names: []string{
			"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
			"multipolygon", "geometrycollection", "geomcollection",
		},
		args: argsIgnored, charset: charsetNone,
		wires: []wireForm{{wireGeometry, encodingBytes, 0}}, fit: fitPrefix,
		text: encodingBytes, json: asBase64, key: KeyNone, value: ValueText, extent: ExtentBytes,
		alphabet: anyAlphabet, typicalLength: lengthLong,
	},
	// MariaDB sends a VECTOR as VARCHAR.
	TypeVector: {
		names: []string{"vector"}, args: argsLength, charset: charsetNone,
		wires: []wireForm{
			{wireVector, encodingVector, 0},
			{wireVarchar, encodingVector, 0},
			{wireVarString, encodingVector, 0},
		},
		fit: fitVector, text: encodingVector, json: asString, key: KeyNone, value: ValueText,
		extent:   ExtentWhole,
		alphabet: anyAlphabet, typicalLength: lengthLong,
	},
	TypeUUID:  addressRow("uuid", encodingUUID, 16, hexBytes+"-", 36),
	TypeInet4: addressRow("inet4", encodingInet4, 4, digitBytes+".", 1),
	TypeInet6: addressRow("inet6", encodingInet6, 16, hexBytes+":.", 1),
}

var typesByName = func() map[string]Type {
	byName := make(map[string]Type)
	for t := range columnTypes {
		for _, name := range columnTypes[t].names {
			byName[name] = Type(t)
		}
	}
	return byName
}()

// TypeByName returns the type that information_schema names so, in lower case and
// without its arguments; TypeInvalid where no type has that name.
func TypeByName(name string) Type { return typesByName[name] }

// Types returns every column type, for tests that a switch over types is complete.
func Types() []Type {
	all := make([]Type, 0, typeCount-1)
	for t := TypeInvalid + 1; t < typeCount; t++ {
		all = append(all, t)
	}
	return all
}

// Names returns the names by which information_schema shows the type, in lower case.
func (t Type) Names() []string { return slices.Clone(t.row().names) }

// IsInteger reports whether t is an integer type of a fixed number of bytes.
func (t Type) IsInteger() bool { return t.row().wires[0].encoding == encodingInt }

// FixedSize returns the number of bytes that the server stores for each value of the type, without
// the bytes of a fraction. It is 0 where the number depends on the column or on the value.
func (t Type) FixedSize() int { return t.row().wires[0].size }

func (t Type) row() *typeRow {
	if t >= typeCount {
		t = TypeInvalid
	}
	return &columnTypes[t]
}

// SetArguments fills the column's length, decimals and character set as its type
// requires: args are the numbers in parentheses after the type's name, charset is
// the column's character set.
func (c *Column) SetArguments(args []int, charset string) {
	arg := func(i, absent int) int {
		if i < len(args) {
			return args[i]
		}
		return absent
	}
	r := c.Type.row()
	switch r.args {
	case argsLength:
		c.Length = arg(0, 1)
	case argsPrecision:
		c.Length, c.Decimals = arg(0, 10), arg(1, 0)
	case argsFraction:
		c.Decimals = arg(0, 0)
	case argsYear:
		if c.Length = 0; arg(0, 4) == 2 {
			c.Length = 2
		}
	case argsIgnored, argsLabels:
	}
	if r.charset == charsetColumn || r.charset == charsetLabels {
		c.Charset = charset
	}
}

// HasLabels reports whether the column is an ENUM or a SET.
func (c *Column) HasLabels() bool { return c.Type.row().charset == charsetLabels }

// HoldsBytes reports whether the column is a BINARY, VARBINARY or BLOB.
func (c *Column) HoldsBytes() bool { return c.Type.row().charset == charsetBinary }

// LoggedCharset returns the character set that a table map names for the column;
// empty where that depends on the server or where the type has no character set.
func (c *Column) LoggedCharset() string {
	switch r := c.Type.row(); {
	case r.charset == charsetBinary:
		return "binary"
	case r.charset != charsetColumn:
		return ""
	case c.Charset == "utf8":
		return "utf8mb3"
	}
	return c.Charset
}

// Key returns how a value of the column is written in SQL as part of a key.
func (c *Column) Key() KeyLiteral {
	if c.Type == TypeYear && c.Length == 2 {
		return KeyShortYear
	}
	return c.Type.row().key
}

// Value returns what an expression sees of the column.
func (c *Column) Value() ValueKind {
	switch {
	case c.Type == TypeBigInt && c.Unsigned, c.Type == TypeBit && (c.Length >= 64 || c.Length == 0):
		return ValueExact
	}
	return c.Type.row().value
}

// Extent returns how long the column's values can be, and where they can be cut.
func (c *Column) Extent() Extent { return c.Type.row().extent }

// Alphabet returns the bytes that can occur in the text of the column's values:
// anywhere, and after the first byte. Empty strings mean any byte.
func (c *Column) Alphabet() (all, tail string) {
	a := &c.Type.row().alphabet
	if c.Unsigned && a.unsigned != "" {
		return a.unsigned, a.unsigned
	}
	return a.all, a.tail
}

// TypicalLength returns the usual length of the text of the column's values in
// bytes, 0 or more. It is a guess: it decides how much room is left for a length
// that is written before the text is known.
func (c *Column) TypicalLength() int {
	switch n := c.Type.row().typicalLength; n {
	case lengthDeclared:
		return max(c.Length, 0)
	case lengthAtMost99:
		return min(max(c.Length, 0), 99)
	default:
		return n
	}
}

// SelectExpr returns the expression to select a column with, so that AppendText
// yields the same text as for the value in the binlog. quoted is the column's
// name in backquotes.
func SelectExpr(c *Column, quoted string) string { return quoted + c.Type.row().selectSuffix }

func zerofill(c *Column) bool { return strings.Contains(strings.ToLower(c.SQLType), "zerofill") }
