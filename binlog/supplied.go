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
		if k >= 0 && logged.fits(&hint.Columns[k]) {
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
func (l *LoggedColumn) fits(c *Column) bool {
	if _, ok := newColumnLayout(c, l.Wire); !ok {
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
	charset := l.Charset
	if charset == "binary" {
		charset = ""
	}
	c.SetArguments(args, charset)
	if l.Wire.IsYear() {
		c.Unsigned = false
	}
	if _, ok := newColumnLayout(&c, l.Wire); !ok {
		return Column{}, errNotLogged
	}
	return c, nil
}

// sqlType returns the name of the type and its arguments; empty if the type is ambiguous.
func (l *LoggedColumn) sqlType(mariaDB bool) (name string, args []int) {
	isBinary := l.Charset == "binary"
	fraction := func() []int {
		if l.Wire.scale == 0 {
			return nil
		}
		return []int{int(l.Wire.scale)}
	}
	switch l.Wire.kind {
	case wireTiny:
		return "tinyint", nil
	case wireShort:
		return "smallint", nil
	case wireInt24:
		return "mediumint", nil
	case wireLong:
		return "int", nil
	case wireLongLong:
		return "bigint", nil
	case wireFloat:
		return "float", nil
	case wireDouble:
		return "double", nil
	case wireNewDecimal:
		return "decimal", []int{int(l.Wire.precision), int(l.Wire.scale)}
	case wireBit:
		return "bit", []int{l.Wire.length}
	case wireYear:
		return "year", nil
	case wireDate, wireNewDate:
		return "date", nil
	case wireTime2:
		return "time", fraction()
	case wireDatetime2:
		return "datetime", fraction()
	case wireTimestamp2:
		return "timestamp", fraction()
	case wireJSON:
		return "json", nil
	case wireEnum:
		return "enum", nil
	case wireSet:
		return "set", nil
	}
	switch width := charsetWidth(l.Charset); {
	case l.Charset == "":
	case l.Wire.kind == wireVarchar && isBinary && !mariaDB: // there it may be a VECTOR
		return "varbinary", []int{l.Wire.length}
	case l.Wire.kind == wireVarchar:
		return "varchar", []int{l.Wire.length / width}
	case l.Wire.kind == wireString && isBinary && !mariaDB: // there it may be a UUID or an address
		return "binary", []int{l.Wire.length}
	case l.Wire.kind == wireString && !isBinary:
		return "char", []int{l.Wire.length / width}
	case l.Wire.kind == wireBlob && l.Wire.length >= 1 && l.Wire.length <= 4:
		size := [...]string{"tiny", "", "medium", "long"}[l.Wire.length-1]
		if isBinary {
			return size + "blob", nil
		}
		return size + "text", nil
	}
	return "", nil
}
