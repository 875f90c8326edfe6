package binlog

import (
	"reflect"
	"slices"
)

// Column is one column of a table at a position.
type Column struct {
	Name string
	// SQLType is the type as information_schema.COLUMNS.COLUMN_TYPE spells it,
	// for messages and for comparing schemas: "int unsigned", "enum('a','b')".
	SQLType string
	Type    Type

	Unsigned  bool
	Nullable  bool
	Invisible bool
	Generated bool
	// Charset is the character set's name ("utf8mb4"), empty for types without
	// a character set.
	Charset string
	// Values are the labels of an ENUM or SET, in order, as UTF-8.
	Values []string
	// Length is the declared length in characters (CHAR, VARCHAR), bytes
	// (BINARY, VARBINARY), bits (BIT), digits (DECIMAL precision), or 2 for MariaDB's YEAR(2).
	Length int
	// Decimals is the scale of a DECIMAL or the fractional-second digits of a
	// temporal type.
	Decimals int
	// Unreadable is the reason why the column's values cannot be read, although the server has the
	// column: its type is not supported, or the server does not show its labels. Empty otherwise.
	Unreadable string
	// Unread is set for a generated column whose values nothing reads: the mapping excludes the
	// column, and the column is not a part of the row's key. A row image may lack such a column.
	Unread bool `json:"-"`
}

// Table is a table's schema at a position. It is immutable once built. Its JSON form
// has every field of this version, empty fields included.
type Table struct {
	Database string
	Name     string
	Columns  []Column
	// Primary holds the column indexes of the primary key in key order; empty
	// where the table has no primary key.
	Primary []int
	// Unique holds the other unique keys all of whose columns are NOT NULL.
	Unique [][]int
	// NullableUnique holds the unique keys with a nullable column, in the order of
	// SetNullableUnique. Two rows that have no NULL in the columns of such a key differ in them.
	NullableUnique [][]int
	// NotFollowed is the reason why the table's rows cannot be followed ("it is a
	// sequence"); empty for a table that can be followed.
	NotFollowed string
	// IsWatched is set if the table is not mapped and its changes are only looked at. A transaction
	// with rows of watched tables only is one without rows of mapped tables.
	IsWatched bool `json:"-"`
}

// FullName returns "database.table".
func (t *Table) FullName() string { return t.Database + "." + t.Name }

// Column returns the index of the named column (names compare without case, as
// MySQL's do), or -1.
func (t *Table) Column(name string) int {
	for i := range t.Columns {
		if sameName(t.Columns[i].Name, name) {
			return i
		}
	}
	return -1
}

// ColumnNames returns the names of all columns, in the order of the columns.
func (t *Table) ColumnNames() []string {
	names := make([]string, len(t.Columns))
	for i := range t.Columns {
		names[i] = t.Columns[i].Name
	}
	return names
}

// Key returns the columns that identify a row: the primary key, else the first
// unique NOT NULL key, else nil.
func (t *Table) Key() []int {
	if len(t.Primary) > 0 {
		return t.Primary
	}
	if len(t.Unique) > 0 {
		return t.Unique[0]
	}
	return nil
}

// SetNullableUnique sets NullableUnique to keys, without duplicates and sorted by their columns,
// because the names of the keys may be unknown.
func (t *Table) SetNullableUnique(keys [][]int) {
	slices.SortFunc(keys, slices.Compare)
	t.NullableUnique = slices.CompactFunc(keys, slices.Equal)
}

// FoldName returns name with its ASCII letters in lower case. Two texts name the same column if
// they fold to the same text.
func FoldName(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}

// sameName reports whether FoldName returns the same for a and b, without allocating.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

func foldByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Equal reports whether two tables have the same name, columns and keys. NotFollowed may differ.
func (t *Table) Equal(o *Table) bool {
	sameColumn := func(a, b Column) bool {
		labels := slices.Equal(a.Values, b.Values)
		a.Values, b.Values = nil, nil
		a.Unread, b.Unread = false, false
		return labels && reflect.DeepEqual(a, b)
	}
	return t.Database == o.Database && t.Name == o.Name &&
		slices.EqualFunc(t.Columns, o.Columns, sameColumn) &&
		slices.Equal(t.Primary, o.Primary) &&
		slices.EqualFunc(t.Unique, o.Unique, slices.Equal) &&
		slices.EqualFunc(t.NullableUnique, o.NullableUnique, slices.Equal)
}
