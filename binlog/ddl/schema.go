package ddl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
)

// Schema is the definition of a table at a position. It is immutable once built.
type Schema struct {
	Database string
	Name     string
	// Charset is the table's default character set.
	Charset Charset
	Columns []Column
	// Keys are all keys, also those that are not unique, in the order of information_schema.
	Keys []Key
	// Engine is the storage engine in upper case; empty for the server's default.
	Engine string
	// Partial is set for a Schema that was made from a binlog.Table. It has the unique keys without
	// their names, no other keys, no defaults and no default character set. A statement that needs
	// any of these cannot be applied.
	Partial bool
	// NotFollowed is the reason why the table's rows cannot be followed; empty if they can.
	NotFollowed string
	// Tentative is set for a Schema of a later position: the table may have been altered in
	// between.
	Tentative bool

	periods []period
}

// period is an application-time period of a MariaDB table.
type period struct {
	Name  string `json:"n"`
	Start string `json:"s"`
	End   string `json:"e"`
}

// Column is a column of a Schema.
type Column struct {
	binlog.Column
	// Collation is the column's collation, empty for the default of Charset.
	Collation string
	// Default is the default as SQL text; empty without one. "NULL" is a default.
	Default string
	// Expression is the text of a generated column's expression; Stored tells its storage.
	Expression    string
	Stored        bool
	AutoIncrement bool
}

// Key is a key of a Schema.
type Key struct {
	Name  string
	Kind  KeyKind
	Parts []KeyPart
	// Hash is set for USING HASH.
	Hash bool
	// Foreign is set for an index that the server made for a foreign key.
	Foreign bool
}

// TableName returns the table's full name.
func (s *Schema) TableName() TableName { return TableName{s.Database, s.Name} }

// NameOf returns the name of a table.
func NameOf(t *binlog.Table) TableName { return TableName{t.Database, t.Name} }

// column returns the index of a column, or -1.
func (s *Schema) column(name string) int {
	return slices.IndexFunc(s.Columns, func(c Column) bool { return sameName(c.Name, name) })
}

// key returns the index of a key, or -1.
func (s *Schema) key(name string) int {
	return slices.IndexFunc(s.Keys, func(k Key) bool { return sameName(k.Name, name) })
}

// sameName reports whether two names of columns or keys are the same name.
func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// clone returns a copy that shares nothing that an ALTER changes in place.
func (s *Schema) clone() *Schema {
	c := *s
	c.Columns = slices.Clone(s.Columns)
	c.periods = slices.Clone(s.periods)
	c.Keys = slices.Clone(s.Keys)
	for i := range c.Keys {
		c.Keys[i].Parts = slices.Clone(c.Keys[i].Parts)
	}
	return &c
}

// Table returns the schema as the table that is read from information_schema, with the same
// spelling.
func (s *Schema) Table() *binlog.Table {
	t := &binlog.Table{Database: s.Database, Name: s.Name, NotFollowed: s.NotFollowed}
	for i := range s.Columns {
		t.Columns = append(t.Columns, s.Columns[i].Column)
	}
	var nullable [][]int
	for _, k := range s.Keys {
		columns, isNullable := s.uniqueColumns(k)
		switch {
		case columns == nil:
		case isNullable:
			nullable = append(nullable, columns)
		case k.Kind == PrimaryKey:
			t.Primary = columns
		default:
			t.Unique = append(t.Unique, columns)
		}
	}
	t.SetNullableUnique(nullable)
	return t
}

// uniqueColumns returns the columns of a unique key of whole columns, and whether a row may have
// NULL in one of them. For other keys it returns nil.
func (s *Schema) uniqueColumns(k Key) (columns []int, isNullable bool) {
	if k.Kind == IndexKey {
		return nil, false
	}
	columns = make([]int, 0, len(k.Parts))
	for _, part := range k.Parts {
		i := s.column(part.Column)
		if part.Expression || part.Length > 0 || i < 0 {
			return nil, false
		}
		isNullable = isNullable || s.Columns[i].Nullable
		columns = append(columns, i)
	}
	return columns, isNullable
}

// FromTable returns the schema of a table. It is Partial: the table does not hold everything that
// an ALTER may need. Parsing the result of SHOW CREATE TABLE gives a complete Schema.
func FromTable(t *binlog.Table) *Schema {
	s := &Schema{Database: t.Database, Name: t.Name, Partial: true, NotFollowed: t.NotFollowed}
	for i := range t.Columns {
		s.Columns = append(s.Columns, Column{Column: t.Columns[i]})
	}
	add := func(kind KeyKind, name string, columns []int) {
		k := Key{Kind: kind, Name: name}
		for _, i := range columns {
			k.Parts = append(k.Parts, KeyPart{Column: t.Columns[i].Name})
		}
		s.Keys = append(s.Keys, k)
	}
	if len(t.Primary) > 0 {
		add(PrimaryKey, "PRIMARY", t.Primary)
	}
	for _, u := range slices.Concat(t.Unique, t.NullableUnique) {
		add(UniqueKey, "", u)
	}
	return s
}

// schemaJSON is the JSON form of a Schema. What follows from a column's type is left out.
type schemaJSON struct {
	Database    string       `json:"db"`
	Name        string       `json:"table"`
	Charset     *Charset     `json:"charset,omitempty"`
	Columns     []columnJSON `json:"columns"`
	Keys        []keyJSON    `json:"keys,omitempty"`
	Engine      string       `json:"engine,omitempty"`
	Periods     []period     `json:"periods,omitempty"`
	Partial     bool         `json:"partial,omitempty"`
	NotFollowed string       `json:"not_followed,omitempty"`
	Tentative   bool         `json:"tentative,omitempty"`
}

type columnJSON struct {
	Name      string `json:"n"`
	Type      string `json:"t"`
	Charset   string `json:"cs,omitempty"`
	Collation string `json:"co,omitempty"`
	Default   string `json:"d,omitempty"`
	// Flags holds a letter for each property: n nullable, i invisible, g generated, s stored,
	// a AUTO_INCREMENT.
	Flags      string `json:"f,omitempty"`
	Expression string `json:"x,omitempty"`
	Unreadable string `json:"u,omitempty"`
}

type keyJSON struct {
	Name  string    `json:"n,omitempty"`
	Kind  KeyKind   `json:"k"`
	Parts []KeyPart `json:"p"`
	// Flags holds a letter for each property: h hash, f foreign.
	Flags string `json:"f,omitempty"`
}

// flags returns the letters whose conditions are true.
func flags(letters string, conditions ...bool) string {
	var b strings.Builder
	for i, c := range conditions {
		if c {
			b.WriteByte(letters[i])
		}
	}
	return b.String()
}

const (
	columnFlags = "nigsa"
	keyFlags    = "hf"
)

// MarshalJSON returns the compact form of the schema, which UnmarshalJSON reads.
func (s *Schema) MarshalJSON() ([]byte, error) {
	j := schemaJSON{
		Database: s.Database, Name: s.Name, Engine: s.Engine, Periods: s.periods,
		Partial: s.Partial, NotFollowed: s.NotFollowed, Tentative: s.Tentative,
		Columns: []columnJSON{},
	}
	if s.Charset != (Charset{}) {
		j.Charset = &s.Charset
	}
	for i := range s.Columns {
		c := &s.Columns[i]
		j.Columns = append(j.Columns, columnJSON{
			Name: c.Name, Type: c.SQLType, Charset: c.Charset, Collation: c.Collation,
			Default: c.Default, Expression: c.Expression, Unreadable: c.Unreadable,
			Flags: flags(columnFlags, c.Nullable, c.Invisible, c.Generated, c.Stored,
				c.AutoIncrement),
		})
	}
	for _, k := range s.Keys {
		j.Keys = append(j.Keys, keyJSON{
			Name: k.Name, Kind: k.Kind, Parts: k.Parts, Flags: flags(keyFlags, k.Hash, k.Foreign),
		})
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads the form that MarshalJSON writes.
func (s *Schema) UnmarshalJSON(b []byte) error {
	var j schemaJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("decode schema: %w", err)
	}
	*s = Schema{
		Database: j.Database, Name: j.Name, Engine: j.Engine, periods: j.Periods,
		Partial: j.Partial, NotFollowed: j.NotFollowed, Tentative: j.Tentative,
	}
	if j.Charset != nil {
		s.Charset = *j.Charset
	}
	for _, c := range j.Columns {
		has := func(letter string) bool { return strings.Contains(c.Flags, letter) }
		column := Column{
			Collation: c.Collation, Default: c.Default, Expression: c.Expression,
			Stored: has("s"), AutoIncrement: has("a"),
			Column: binlog.Column{
				Name: c.Name, Nullable: has("n"), Invisible: has("i"), Generated: has("g"),
				Unreadable: c.Unreadable,
			},
		}
		// The type of an unreadable column may be unknown.
		if err := column.setSQLType(c.Type, c.Charset); err != nil && c.Unreadable == "" {
			return fmt.Errorf("decode column %s of schema %s: %w", c.Name, s.TableName(), err)
		}
		s.Columns = append(s.Columns, column)
	}
	for _, k := range j.Keys {
		s.Keys = append(s.Keys, Key{
			Name: k.Name, Kind: k.Kind, Parts: k.Parts,
			Hash: strings.Contains(k.Flags, "h"), Foreign: strings.Contains(k.Flags, "f"),
		})
	}
	return nil
}

// setSQLType sets the fields of a column that follow from its type in the spelling of
// information_schema.
func (c *Column) setSQLType(sqlType, charset string) error {
	c.SQLType = sqlType
	t, err := parseSQLType(sqlType)
	if err != nil {
		return err
	}
	c.setType(&t, charset)
	c.SQLType = sqlType
	return nil
}

// setType sets the fields of a column that follow from its type.
func (c *Column) setType(t *dataType, charset string) {
	c.SQLType, c.Type = t.sqlType(), binlog.TypeByName(t.base)
	c.Unsigned, c.Values = t.unsigned, t.labels
	c.SetArguments(t.args, charset)
}

// parseSQLType reads a type in the spelling of information_schema.
func parseSQLType(sqlType string) (dataType, error) {
	d := (&Options{}).Dialect()
	list, err := tokens(sqlType, d)
	if err != nil {
		return dataType{}, err
	}
	p := parser{reader: reader{tokens: list}, o: &Options{}}
	t := p.typeName()
	p.typeArguments(&t)
	for !p.done() {
		switch {
		case p.accept("UNSIGNED"):
			t.unsigned = true
		case p.accept("ZEROFILL"):
			t.unsigned, t.zerofill = true, true
		case p.accept("COMPRESSED"):
			t.compressed = true
		default:
			p.next() // attributes that only say how values are stored
		}
	}
	return t, p.err
}
