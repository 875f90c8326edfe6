package binlog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// LoggedColumn is a column as a table map with full metadata describes it.
type LoggedColumn struct {
	Name      string
	Wire      WireType
	Unsigned  bool
	Nullable  bool
	Invisible bool
	// Charset is the character set of a text, and "binary" for bytes; empty if it is not known.
	Charset string
	// Labels are the labels of an ENUM or SET, as UTF-8.
	Labels []string
}

// LoggedTable is a table as a table map with full metadata describes it. Primary holds the columns
// of its primary key. For a table without one, servers write the first unique key without NULLs.
type LoggedTable struct {
	Database, Name string
	Columns        []LoggedColumn
	Primary        []int
	// IsMariaDB is set if a MariaDB has written the table map.
	IsMariaDB bool
}

// errNotLogged is the error for a column whose type a table map does not determine.
var errNotLogged = errors.New("the binlog does not contain its exact type")

// Supply returns the schema that a table map describes. hint is the table's schema at another
// position. A column of hint with the same name that fits the table map is used unchanged, because
// several types look the same in a table map. If all columns of hint fit, Supply returns hint.
func (l *LoggedTable) Supply(hint *Table) (*Table, error) {
	t := &Table{Database: hint.Database, Name: hint.Name, NotFollowed: hint.NotFollowed}
	isHint := len(l.Columns) == len(hint.Columns)
	for i := range l.Columns {
		logged := &l.Columns[i]
		k := hint.Column(logged.Name)
		if k >= 0 && logged.fits(&hint.Columns[k], l.IsMariaDB) {
			c := hint.Columns[k]
			c.Name, c.Nullable = logged.Name, logged.Nullable
			t.Columns = append(t.Columns, c)
			isHint = isHint && k == i && c.Name == hint.Columns[k].Name &&
				c.Nullable == hint.Columns[k].Nullable
			continue
		}
		isHint = false
		c, err := logged.column(l.IsMariaDB)
		if err != nil {
			return nil, fmt.Errorf("read column %s.%s from the binlog: %w",
				t.FullName(), logged.Name, err)
		}
		t.Columns = append(t.Columns, c)
	}
	identifies := func(key []int) bool {
		return !slices.ContainsFunc(key, func(k int) bool { return t.Columns[k].Nullable })
	}
	hintKey := hint.Key()
	if isHint && (slices.Equal(l.Primary, hintKey) || !identifies(l.Primary)) {
		return hint, nil
	}
	if identifies(l.Primary) {
		t.Primary = l.Primary
	}
	return t, nil
}

// fits reports whether a column of a schema can be the logged one.
func (l *LoggedColumn) fits(c *Column, mariaDB bool) bool {
	if _, ok := newColumnLayout(c, l.Wire, mariaDB); !ok {
		return false
	}
	if l.Wire.HasSign() && !l.Wire.IsYear() && c.Unsigned != l.Unsigned {
		return false
	}
	if c.HasLabels() {
		return slices.Equal(c.Values, l.Labels)
	}
	charset := c.LoggedCharset()
	return charset == "" || l.Charset == "" || charset == l.Charset
}

// column returns the column that the table map describes. It fails if columns of several types are
// logged in the same way.
func (l *LoggedColumn) column(mariaDB bool) (Column, error) {
	sqlType, args := l.sqlType(mariaDB)
	if sqlType == "" {
		return Column{}, errNotLogged
	}
	c := Column{
		Name: l.Name, SQLType: sqlType, Type: TypeByName(sqlType), Unsigned: l.Unsigned,
		Nullable: l.Nullable, Invisible: l.Invisible, Values: l.Labels,
	}
	if len(args) > 0 {
		texts := make([]string, len(args))
		for i, n := range args {
			texts[i] = strconv.Itoa(n)
		}
		c.SQLType += "(" + strings.Join(texts, ",") + ")"
	}
	if l.Labels != nil {
		quoted := make([]string, len(l.Labels))
		for i, label := range l.Labels {
			quoted[i] = "'" + strings.ReplaceAll(label, "'", "''") + "'"
		}
		c.SQLType += "(" + strings.Join(quoted, ",") + ")"
	}
	if l.Unsigned && !l.Wire.IsYear() {
		c.SQLType += " unsigned"
	}
	if l.Wire.isCompressed() {
		c.SQLType += " /*M!100301 COMPRESSED*/"
	}
	charset := l.Charset
	if charset == "binary" {
		charset = ""
	}
	c.SetArguments(args, charset)
	if l.Wire.IsYear() {
		c.Unsigned = false
	}
	if _, ok := newColumnLayout(&c, l.Wire, mariaDB); !ok {
		return Column{}, errNotLogged
	}
	return c, nil
}

// sqlType returns the name of the type and its arguments; empty if the type is ambiguous.
func (l *LoggedColumn) sqlType(mariaDB bool) (name string, args []int) {
	if name := wireTypes[l.Wire.kind].sqlName; name != "" {
		return name, l.Wire.arguments()
	}
	isBinary, length := l.Charset == "binary", l.Wire.length
	width := charsetWidth(l.Charset)
	switch kind := l.Wire.kind; {
	case l.Charset == "":
	case kind == wireVarComp && isBinary:
		return "varbinary", []int{length - 1}
	case kind == wireVarComp:
		return "varchar", []int{(length - 1) / width}
	case kind == wireVarchar && isBinary && !mariaDB: // there it may be a VECTOR
		return "varbinary", []int{length}
	case kind == wireVarchar:
		return "varchar", []int{length / width}
	case kind == wireString && isBinary && !mariaDB: // there it may be a UUID or an address
		return "binary", []int{length}
	case kind == wireString && !isBinary:
		return "char", []int{length / width}
	case (kind == wireBlob || kind == wireBlobComp) && length >= 1 && length <= 4:
		size := [...]string{"tiny", "", "medium", "long"}[length-1]
		if isBinary {
			return size + "blob", nil
		}
		return size + "text", nil
	}
	return "", nil
}

// arguments returns the numbers in parentheses after the name of a type that no other type shares
// its byte with.
func (w WireType) arguments() []int {
	switch wireTypes[w.kind].meta {
	case metaPrecision:
		return []int{int(w.precision), int(w.scale)}
	case metaBits:
		return []int{w.length}
	case metaFraction:
		if w.scale > 0 {
			return []int{int(w.scale)}
		}
	}
	return nil
}
