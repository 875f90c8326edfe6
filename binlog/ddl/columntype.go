package ddl

import (
	"fmt"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// dataType is a column's type. Synonyms are replaced: base is a name that binlog.TypeByName knows.
type dataType struct {
	base     string
	args     []int
	labels   []string
	unsigned bool
	zerofill bool
	// national is set for NCHAR and NATIONAL CHAR, whose character set is utf8mb3.
	national bool
	// compressed is MariaDB's COMPRESSED.
	compressed bool
	// sized is set for TEXT(n) and BLOB(n), where n chooses the type.
	sized bool
}

// synonyms are other names of types. A type that depends on words behind the name is read by
// parser.dataType.
var synonyms = map[string]string{
	"int1": "tinyint", "int2": "smallint", "int3": "mediumint", "int4": "int", "int8": "bigint",
	"middleint": "mediumint", "integer": "int", "dec": "decimal", "numeric": "decimal",
	"fixed": "decimal", "float4": "float", "float8": "double", "character": "char",
	"varcharacter": "varchar",
}

// dataType reads a type with its arguments and attributes. c receives its character set.
func (p *parser) dataType(c *charsetClause) dataType {
	t := p.typeName()
	if p.err != nil {
		return t
	}
	p.typeArguments(&t)
	p.typeAttributes(&t, c)
	if t.zerofill {
		t.unsigned = true
	}
	if err := p.o.completeType(&t); err != nil {
		p.fail("%w", err)
	}
	return t
}

// typeName reads the words of a type's name.
func (p *parser) typeName() dataType {
	if p.peek().kind != tokenWord {
		p.failHere("expected a type")
		return dataType{}
	}
	word := strings.ToLower(p.next().text)
	switch word {
	case "bool", "boolean":
		return dataType{base: "tinyint", args: []int{1}}
	case "serial":
		return dataType{base: "serial"}
	case "national":
		return p.nationalType(p.acceptAny("CHAR", "CHARACTER"))
	case "nchar":
		return p.nationalType(true)
	case "nvarchar":
		return dataType{base: "varchar", national: true}
	case "char", "character":
		if p.accept("VARYING") {
			return dataType{base: "varchar"}
		}
		if p.accept("BYTE") {
			return dataType{base: "binary"}
		}
		return dataType{base: "char"}
	case "long":
		return p.longType()
	case "double":
		p.accept("PRECISION")
	case "real":
		if p.o.SQLMode&ModeRealAsFloat != 0 {
			return dataType{base: "float"}
		}
		return dataType{base: "double"}
	case "timestamp":
		if p.o.SQLMode&ModeMaxDB != 0 {
			word = "datetime"
		}
	case "json":
		if p.o.MariaDB {
			return dataType{base: "mariadb json"}
		}
	}
	if word == "geometrycollection" || word == "geomcollection" {
		return dataType{base: p.o.collectionType()}
	}
	if base := synonyms[word]; base != "" {
		word = base
	}
	if p.o.SQLMode&ModeOracle != 0 && p.o.MariaDB {
		p.fail("types mean other types in sql_mode ORACLE")
	}
	if binlog.TypeByName(word) == binlog.TypeInvalid {
		p.fail("type %q is not known", binlog.Clip(word, 60))
	}
	return dataType{base: word}
}

// collectionType returns the server's name of the type GEOMETRYCOLLECTION.
func (o *Options) collectionType() string {
	if o.MariaDB || o.mysqlBefore(80011) {
		return "geometrycollection"
	}
	return "geomcollection"
}

// nationalType reads what follows NATIONAL or NCHAR; isChar tells whether CHAR was read.
func (p *parser) nationalType(isChar bool) dataType {
	varying := false
	if isChar {
		varying = p.acceptAny("VARYING", "VARCHAR", "VARCHARACTER")
	} else {
		if !p.acceptAny("VARCHAR", "VARCHARACTER") {
			p.failHere("expected CHAR or VARCHAR")
		}
		varying = true
	}
	if varying {
		return dataType{base: "varchar", national: true}
	}
	return dataType{base: "char", national: true}
}

// longType reads what follows LONG.
func (p *parser) longType() dataType {
	switch {
	case p.accept("VARBINARY"):
		return dataType{base: "mediumblob"}
	case p.accept("VARCHAR"), p.accept("VARCHARACTER"), p.accept("CHAR", "VARYING"),
		p.accept("CHARACTER", "VARYING"):
	case p.accept("CHAR", "BYTE"):
		return dataType{base: "mediumblob"}
	}
	return dataType{base: "mediumtext"}
}

// typeArguments reads the group in parentheses behind a type's name.
func (p *parser) typeArguments(t *dataType) {
	if !p.accept("(") {
		return
	}
	for {
		if arg := p.peek(); arg.kind == tokenString {
			p.next()
			t.labels = append(t.labels, strings.TrimRight(arg.text, " "))
		} else {
			t.args = append(t.args, p.number())
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
}

// typeAttributes reads the words that belong to a type.
func (p *parser) typeAttributes(t *dataType, c *charsetClause) {
	for !p.done() {
		switch {
		case p.accept("UNSIGNED"):
			t.unsigned = true
		case p.accept("SIGNED"):
		case p.accept("ZEROFILL"):
			t.zerofill = true
		case p.accept("COMPRESSED"):
			t.compressed = true
			if p.accept("=") {
				p.next()
			}
		case !p.peek().is("DEFAULT") && p.charsetOption(c):
		case p.accept("ASCII"):
			c.charset = "latin1"
		case p.accept("UNICODE"):
			c.charset = "ucs2"
		case p.accept("BYTE"):
			c.charset = "binary"
		case p.accept("BINARY"):
			c.binary = true
		default:
			return
		}
	}
}

// completeType adds the arguments that the server adds, and rejects those that it rejects.
func (o *Options) completeType(t *dataType) error {
	if t.base == "mariadb json" || t.base == "serial" {
		return nil
	}
	arg := func(i, absent int) int {
		if i < len(t.args) {
			return t.args[i]
		}
		return absent
	}
	kind := binlog.TypeByName(t.base)
	if labels := kind == binlog.TypeEnum || kind == binlog.TypeSet; labels != (len(t.labels) > 0) {
		return fmt.Errorf("type %s with labels %q", t.base, t.labels)
	}
	switch kind {
	case binlog.TypeDecimal:
		precision := arg(0, 0)
		if precision == 0 {
			precision = 10
		}
		t.args = []int{precision, arg(1, 0)}
	case binlog.TypeFloat:
		if len(t.args) == 1 {
			if t.args[0] > 24 {
				t.base = "double"
			}
			t.args = nil
		}
	case binlog.TypeDouble:
		if len(t.args) == 1 {
			t.args = nil
		}
	case binlog.TypeBit, binlog.TypeChar, binlog.TypeBinary:
		t.args = []int{arg(0, 1)}
		if kind == binlog.TypeBit && t.args[0] == 0 {
			t.args[0] = 1
		}
	case binlog.TypeVarchar, binlog.TypeVarbinary:
		if len(t.args) != 1 {
			return fmt.Errorf("type %s without a length", t.base)
		}
	case binlog.TypeText, binlog.TypeBlob:
		t.sized = len(t.args) == 1 && (t.base == "text" || t.base == "blob")
		if !t.sized {
			t.args = nil
		}
	case binlog.TypeVector:
		t.args = []int{arg(0, 2048)}
	case binlog.TypeTime, binlog.TypeDatetime, binlog.TypeTimestamp:
		if arg(0, 0) == 0 {
			t.args = nil
		}
	case binlog.TypeYear:
		switch {
		case o.MariaDB && arg(0, 4) == 2:
		case o.MariaDB, o.version() < 80019:
			t.args = []int{4}
		default:
			t.args = nil
		}
	case binlog.TypeTinyInt, binlog.TypeSmallInt, binlog.TypeMediumInt, binlog.TypeInt,
		binlog.TypeBigInt:
		o.completeInteger(t)
	default:
		if kind != binlog.TypeEnum && kind != binlog.TypeSet {
			t.args = nil
		}
	}
	return nil
}

// displayWidths are the widths of integers that are declared without one.
var displayWidths = map[string]struct{ signed, unsigned int }{
	"tinyint": {4, 3}, "smallint": {6, 5}, "mediumint": {9, 8}, "int": {11, 10}, "bigint": {20, 20},
}

// completeInteger sets the display width as servers print it. MySQL 8.0.19 and later print the
// widths of tinyint(1) and of ZEROFILL columns only.
func (o *Options) completeInteger(t *dataType) {
	width := displayWidths[t.base].signed
	if t.unsigned {
		width = displayWidths[t.base].unsigned
	}
	if len(t.args) > 0 && t.args[0] > 0 {
		width = t.args[0]
	}
	t.args = []int{width}
	isBool := t.base == "tinyint" && width == 1 && !t.unsigned
	if !o.MariaDB && o.version() >= 80019 && !t.zerofill && !isBool {
		t.args = nil
	}
}

// resolveCharset replaces a type that depends on its character set, and returns the character set
// of the column.
func (o *Options) resolveCharset(t *dataType, cs Charset) Charset {
	switch binlog.TypeByName(t.base) {
	case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeText:
		if cs.Name == "binary" {
			t.base = map[string]string{
				"char": "binary", "varchar": "varbinary", "tinytext": "tinyblob", "text": "blob",
				"mediumtext": "mediumblob", "longtext": "longblob",
			}[t.base]
			cs = Charset{}
		}
	case binlog.TypeEnum, binlog.TypeSet:
		if cs.Name == "binary" && !o.MariaDB {
			cs = Charset{} // MySQL shows no character set
		}
		o.convertLabels(t, cs)
	default:
		cs = Charset{}
	}
	width := max(charset.Width(cs.Name), 1)
	maxVarchar := 65535
	if o.MariaDB {
		maxVarchar -= 3
	}
	switch binlog.TypeByName(t.base) {
	case binlog.TypeVarchar, binlog.TypeVarbinary:
		if bytes := t.args[0] * width; bytes > maxVarchar {
			t.base, t.args = sizedType(bytes, t.base == "varchar"), nil
		}
	case binlog.TypeText, binlog.TypeBlob:
		if t.sized {
			t.base = sizedType(t.args[0]*width, t.base == "text")
			t.args, t.sized = nil, false
		}
	}
	return cs
}

// convertLabels replaces the characters of labels that the character set does not have: the servers
// store question marks for them, in every sql_mode.
func (o *Options) convertLabels(t *dataType, cs Charset) {
	d, _ := charset.Find(cs.Name, charset.ServerOf(o.MariaDB))
	if d == nil {
		return
	}
	converted := make([]string, len(t.labels)) // t.labels may belong to the statement
	for i, label := range t.labels {
		converted[i] = d.Represent(label)
	}
	t.labels = converted
}

// sizedType returns the smallest TEXT or BLOB type for a number of bytes.
func sizedType(bytes int, text bool) string {
	size := "long"
	switch {
	case bytes < 1<<8:
		size = "tiny"
	case bytes < 1<<16:
		size = ""
	case bytes < 1<<24:
		size = "medium"
	}
	if text {
		return size + "text"
	}
	return size + "blob"
}

// sqlType returns the type as information_schema.COLUMNS.COLUMN_TYPE has it.
func (t *dataType) sqlType() string {
	var b strings.Builder
	b.WriteString(t.base)
	if len(t.labels) > 0 || len(t.args) > 0 {
		b.WriteByte('(')
		for i, l := range t.labels {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quoteLabel(l))
		}
		for i, n := range t.args {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteByte(')')
	}
	if t.unsigned {
		b.WriteString(" unsigned")
	}
	if t.zerofill {
		b.WriteString(" zerofill")
	}
	if t.compressed {
		b.WriteString(" /*M!100301 COMPRESSED*/")
	}
	return b.String()
}

var labelEscaper = strings.NewReplacer("'", "''", `\`, `\\`, "\x00", `\0`, "\n", `\n`, "\r", `\r`)

// quoteLabel returns a label as servers print it in a type.
func quoteLabel(l string) string { return "'" + labelEscaper.Replace(l) + "'" }
