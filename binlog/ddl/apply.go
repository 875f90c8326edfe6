package ddl

import (
	"fmt"
)

// Catalog holds the schemas before a statement.
type Catalog interface {
	// Table returns the schema of a table, or nil for a table that is not followed or does not
	// exist.
	Table(name TableName) *Schema
	// Tables returns the followed tables of a database.
	Tables(database string) []TableName
	// Database returns the default character set of a database, and false if it is not known.
	Database(name string) (Charset, bool)
}

// Class is what a statement does to one table.
type Class uint8

// The classes, in the order of their weight.
const (
	// NoVisibleChange keeps the columns and their names, and all values print as before. Types may
	// be wider, so that the schema and the layout of events change nevertheless.
	NoVisibleChange Class = iota
	// ColumnsChanged adds columns that are NULL in all rows, or drops, renames or reorders columns.
	// Events have another layout from here on. The values of the columns that remain are the same.
	ColumnsChanged
	// ValuesChanged changes or removes values or rows without logging rows.
	ValuesChanged
	// RowsRemoved removes all rows; the table remains.
	RowsRemoved
	// TableGone means that no table has the name any longer.
	TableGone
	// TableNew means that a table has the name from here on: an empty one, or the one that had the
	// name From. A statement with IfExists or IfNotExists may have done nothing, if the table that
	// it names was not in the Catalog.
	TableNew
)

var classNames = [...]string{
	NoVisibleChange: "no visible change", ColumnsChanged: "columns changed",
	ValuesChanged: "values changed", RowsRemoved: "rows removed", TableGone: "table gone",
	TableNew: "table new",
}

// String returns the class in words: "columns changed".
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Effect is what a statement does to one table.
type Effect struct {
	Table TableName
	Class Class
	// KeyChanged is set if other columns identify a row than before, or the same columns compare
	// otherwise.
	KeyChanged bool
	// Schema is the schema after the statement. It is nil for TableGone, and for a TableNew that
	// was renamed from a table that is not in the Catalog.
	Schema *Schema
	// From is the table's name before a RENAME; zero for a table that was created.
	From TableName
	// Replaces is set for a TableNew by CREATE OR REPLACE: a table that had the name is dropped. If
	// that table was in the Catalog, its TableGone comes before.
	Replaces bool
	// Renamed maps the new names of renamed columns to their old names.
	Renamed map[string]string
	// Reason is the clause that decided the class: "DROP PARTITION".
	Reason string
}

// Apply returns what a statement does to the tables of a catalog, in the order in which it happens.
// Tables that are not in the catalog have no Effect, unless they are created or renamed. Apply
// fails, and nothing may be assumed about the tables that the statement names, if a schema cannot
// be told exactly.
func (s *Statement) Apply(c Catalog) ([]Effect, error) {
	var effects []Effect
	var err error
	switch s.Action {
	case Unknown:
		err = fmt.Errorf("%s", s.Reason)
	case Other, CreateDatabase, AlterDatabase:
	case CreateTable:
		effects, err = s.applyCreate(c)
	case AlterTable:
		effects, err = s.applyAlter(c)
	case RenameTable:
		effects = s.applyRename(c)
	case DropTable:
		if s.Temporary {
			break
		}
		for _, name := range s.Tables {
			if c.Table(name) != nil {
				effects = append(effects,
					Effect{Table: name, Class: TableGone, Reason: "DROP TABLE"})
			}
		}
	case TruncateTable:
		if t := c.Table(s.Tables[0]); t != nil {
			effects = []Effect{{
				Table: s.Tables[0], Class: RowsRemoved, Schema: t, Reason: "TRUNCATE",
			}}
		}
	case DropDatabase:
		for _, name := range c.Tables(s.Database) {
			effects = append(effects,
				Effect{Table: name, Class: TableGone, Reason: "DROP DATABASE"})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("apply statement: %w", err)
	}
	return effects, nil
}

// DatabaseCharset returns the default character set of the database after CREATE DATABASE or ALTER
// DATABASE. before is the character set before an ALTER.
func (s *Statement) DatabaseCharset(before Charset) (Charset, error) {
	base := before
	if s.Action == CreateDatabase || s.databaseCharset.isDefault {
		base = s.options.Server
	}
	cs, err := s.databaseCharset.resolve(base)
	if err == nil && cs.Name == "" {
		err = fmt.Errorf("character set of database %s is not known", s.Database)
	}
	return cs, err
}

// renameEffects returns the effects of a RENAME. t is nil for a table that is not followed.
func renameEffects(from, to TableName, t *Schema) []Effect {
	gone := Effect{Table: from, Class: TableGone, Reason: "RENAME"}
	added := Effect{Table: to, Class: TableNew, From: from, Reason: "RENAME"}
	if t == nil {
		return []Effect{added}
	}
	renamed := *t
	renamed.Database, renamed.Name = to.Database, to.Table
	added.Schema = &renamed
	return []Effect{gone, added}
}

// applyRename renames one table after the other: RENAME TABLE a TO tmp, b TO a, tmp TO b.
func (s *Statement) applyRename(c Catalog) []Effect {
	var effects []Effect
	current := map[TableName]*Schema{}
	for i := 0; i+1 < len(s.Tables); i += 2 {
		from, to := s.Tables[i], s.Tables[i+1]
		t, moved := current[from]
		if !moved {
			t = c.Table(from)
		}
		pair := renameEffects(from, to, t)
		effects = append(effects, pair...)
		current[from], current[to] = nil, pair[len(pair)-1].Schema
	}
	return effects
}

// applyCreate builds the schema of a new table.
func (s *Statement) applyCreate(c Catalog) ([]Effect, error) {
	name := s.Tables[0]
	if s.Temporary {
		return nil, nil
	}
	old := c.Table(name)
	if old != nil && !s.OrReplace {
		return nil, nil // CREATE TABLE IF NOT EXISTS
	}
	var effects []Effect
	if old != nil {
		effects = append(effects,
			Effect{Table: name, Class: TableGone, Reason: "CREATE OR REPLACE TABLE"})
	}
	created, err := s.newTable(c)
	if err != nil {
		return nil, err
	}
	return append(effects, Effect{
		Table: name, Class: TableNew, Schema: created, Replaces: s.OrReplace,
		Reason: "CREATE TABLE",
	}), nil
}

// newTable returns the schema of the table that a CREATE TABLE defines.
func (s *Statement) newTable(c Catalog) (*Schema, error) {
	name := s.Tables[0]
	switch {
	case s.Like != nil:
		source := c.Table(*s.Like)
		if source == nil {
			return nil, fmt.Errorf("schema of table %s is not known", s.Like)
		}
		t := source.clone()
		t.Database, t.Name = name.Database, name.Table
		return t, nil
	case s.Select:
		return nil, fmt.Errorf("the columns of CREATE TABLE ... SELECT depend on the SELECT")
	case len(s.Changes) == 0:
		return nil, fmt.Errorf("the statement defines no columns")
	}
	base, _ := c.Database(name.Database)
	a := alteration{
		old: &Schema{Database: name.Database, Name: name.Table, Charset: base}, base: base,
		s: s, o: &s.options,
	}
	if err := a.run(); err != nil {
		return nil, err
	}
	if len(a.new.Columns) == 0 {
		return nil, fmt.Errorf("the statement defines no columns")
	}
	return a.new, nil
}

// applyAlter changes a table.
func (s *Statement) applyAlter(c Catalog) ([]Effect, error) {
	name := s.Tables[0]
	old := c.Table(name)
	effects, err := s.applyOtherTables(c)
	if err != nil {
		return nil, err
	}
	var to TableName
	for i := range s.Changes {
		if s.Changes[i].Kind == RenameTo {
			to = s.Changes[i].Table
		}
	}
	if old == nil {
		if to != (TableName{}) && to != name {
			effects = append(effects, renameEffects(name, to, nil)...)
		}
		return effects, nil
	}
	base, _ := c.Database(name.Database)
	a := alteration{old: old, base: base, s: s, o: &s.options}
	if err := a.run(); err != nil {
		return nil, err
	}
	effect := Effect{
		Table: name, Class: a.class, Schema: a.new, Reason: a.reason, Renamed: a.renamed,
		KeyChanged: a.keyChanged(),
	}
	if to == (TableName{}) || to == name {
		return append([]Effect{effect}, effects...), nil
	}
	pair := renameEffects(name, to, a.new)
	if effect.Class != NoVisibleChange || effect.KeyChanged || len(s.Changes) > 1 {
		pair = append([]Effect{effect}, pair...)
	}
	return append(pair, effects...), nil
}

// applyOtherTables returns the effects on the tables that exchange rows with the altered one.
func (s *Statement) applyOtherTables(c Catalog) ([]Effect, error) {
	var effects []Effect
	for i := range s.Changes {
		change := &s.Changes[i]
		t := c.Table(change.Table)
		switch change.Kind {
		case ExchangePartition:
			if t != nil {
				effects = append(effects, Effect{
					Table: change.Table, Class: ValuesChanged, Schema: t, Reason: change.Text,
				})
			}
		case AttachTable:
			if t != nil {
				effects = append(effects,
					Effect{Table: change.Table, Class: TableGone, Reason: change.Text})
			}
		case DetachTable:
			added := Effect{
				Table: change.Table, Class: TableNew, From: s.Tables[0], Reason: change.Text,
			}
			if old := c.Table(s.Tables[0]); old != nil {
				added.Schema = old.clone()
				added.Schema.Database, added.Schema.Name = change.Table.Database, change.Table.Table
			}
			effects = append(effects, added)
		}
	}
	return effects, nil
}
