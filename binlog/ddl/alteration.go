package ddl

import (
	"fmt"
	"slices"
	"strings"
)

// alteration applies the clauses of an ALTER TABLE to a schema. A CREATE TABLE is an alteration of
// a table without columns.
type alteration struct {
	s    *Statement
	o    *Options
	old  *Schema
	new  *Schema
	base Charset // the default of the database
	// changes are the clauses that IF EXISTS and IF NOT EXISTS leave.
	changes []*Change
	// origins holds the index in old of each column in new, -1 for an added column.
	origins []int
	renamed map[string]string
	class   Class
	reason  string
}

// run computes new and class.
func (a *alteration) run() error {
	a.new = a.old.clone()
	steps := []func() error{
		a.setCharset, a.selectChanges, a.alterColumns, a.convertCharset, a.alterKeys,
		a.otherChanges,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if a.s.Action == AlterTable {
		a.classify()
	}
	return nil
}

// raise sets the class unless it is heavier already.
func (a *alteration) raise(c Class, reason string) {
	if c > a.class {
		a.class, a.reason = c, reason
	}
}

// setCharset sets the table's default character set, which columns of the same statement use.
func (a *alteration) setCharset() error {
	found := false
	for i := range a.s.Changes {
		c := &a.s.Changes[i]
		if c.Kind != SetCharset && c.Kind != ConvertCharset {
			continue
		}
		base := a.old.Charset
		if c.charset.isDefault || base.Name == "" {
			base = a.base
		}
		cs, err := c.charset.resolve(base)
		if err != nil {
			return err
		}
		if cs.Name == "" {
			return fmt.Errorf("the default character set of database %s is not known",
				a.old.Database)
		}
		if found && cs.Name != a.new.Charset.Name {
			return fmt.Errorf("the statement gives table %s two character sets",
				a.old.TableName())
		}
		a.new.Charset, found = cs, true
	}
	return nil
}

// selectChanges leaves out the clauses that IF EXISTS or IF NOT EXISTS makes void.
func (a *alteration) selectChanges() error {
	var added []string
	for i := range a.s.Changes {
		c := &a.s.Changes[i]
		exists := false
		switch c.Kind {
		case AddColumn:
			exists = a.old.column(c.Column.Name) >= 0 ||
				c.IfNotExists && slices.ContainsFunc(added, func(n string) bool {
					return sameName(n, c.Column.Name)
				})
			added = append(added, c.Column.Name)
		case DropColumn, ModifyColumn, RenameColumn, SetDefault, SetVisibility:
			exists = a.old.column(c.Name) >= 0
			if !exists && !c.IfExists {
				return fmt.Errorf("%s: table %s has no column %s",
					c.Text, a.old.TableName(), c.Name)
			}
		case AddKey:
			exists = c.Key.Name != "" && a.old.key(c.Key.Name) >= 0
		}
		isVoid := c.IfNotExists && exists
		if c.Column != nil && len(c.Column.keys) > 0 && (isVoid || c.IfExists) {
			// Whether the server adds the keys depends on its version.
			return fmt.Errorf("%s: the keys of column %s depend on IF EXISTS", c.Text,
				c.Column.Name)
		}
		if isVoid {
			continue
		}
		switch c.Kind {
		case DropColumn, ModifyColumn, RenameColumn, SetDefault, SetVisibility:
			if !exists {
				continue
			}
		case AddColumn:
			if exists && !a.drops(c.Column.Name) && !a.renames(c.Column.Name) {
				return fmt.Errorf("%s: table %s has a column %s already",
					c.Text, a.old.TableName(), c.Column.Name)
			}
		}
		a.changes = append(a.changes, c)
	}
	return nil
}

// drops reports whether the statement drops a column.
func (a *alteration) drops(name string) bool {
	return slices.ContainsFunc(a.s.Changes, func(c Change) bool {
		return c.Kind == DropColumn && sameName(c.Name, name)
	})
}

// renames reports whether the statement gives a column another name.
func (a *alteration) renames(name string) bool {
	return slices.ContainsFunc(a.s.Changes, func(c Change) bool {
		return (c.Kind == ModifyColumn || c.Kind == RenameColumn) && sameName(c.Name, name)
	})
}

// find returns the clause of one of the kinds for a column, or nil.
func (a *alteration) find(column string, kinds ...ChangeKind) *Change {
	for _, c := range a.changes {
		if slices.Contains(kinds, c.Kind) && sameName(c.Name, column) {
			return c
		}
	}
	return nil
}

// alterColumns computes the columns as servers do: first the columns that keep their place, then
// those that are added or moved, one after the other. Names of columns that are changed are those
// before the statement, names behind AFTER are those after it.
func (a *alteration) alterColumns() error {
	a.new.Columns = nil
	a.renamed = map[string]string{}
	for i := range a.old.Columns {
		old := &a.old.Columns[i]
		if a.find(old.Name, DropColumn) != nil {
			continue
		}
		if c := a.find(old.Name, ModifyColumn); c != nil {
			if c.First || c.After != "" {
				continue
			}
			column, err := a.define(c.Column)
			if err != nil {
				return err
			}
			a.insert(len(a.new.Columns), column, i)
			continue
		}
		a.insert(len(a.new.Columns), a.keep(*old), i)
	}
	for _, c := range a.changes {
		moved := c.Kind == ModifyColumn && (c.First || c.After != "")
		if c.Kind != AddColumn && !moved {
			continue
		}
		column, err := a.define(c.Column)
		if err != nil {
			return err
		}
		origin := -1
		if moved {
			origin = a.old.column(c.Name)
		}
		at := len(a.new.Columns)
		switch {
		case c.First:
			at = 0
		case c.After != "":
			if at = a.new.column(c.After) + 1; at == 0 {
				return fmt.Errorf("%s: table %s has no column %s",
					c.Text, a.old.TableName(), c.After)
			}
		}
		a.insert(at, column, origin)
	}
	return nil
}

// insert puts a column in its place. origin is its index in the old schema, or -1.
func (a *alteration) insert(at int, c Column, origin int) {
	a.new.Columns = slices.Insert(a.new.Columns, at, c)
	a.origins = slices.Insert(a.origins, at, origin)
	if origin >= 0 && c.Name != a.old.Columns[origin].Name {
		a.renamed[c.Name] = a.old.Columns[origin].Name
	}
}

// keep returns a column whose type is not changed, with its new name, default and visibility.
func (a *alteration) keep(c Column) Column {
	old := c.Name
	if r := a.find(old, RenameColumn); r != nil {
		c.Name = r.NewName
	}
	if d := a.find(old, SetDefault); d != nil {
		c.Default = d.value
	}
	if v := a.find(old, SetVisibility); v != nil {
		c.Invisible = v.invisible
	}
	return c
}

// define returns the column that a definition makes in this table.
func (a *alteration) define(d *ColumnDef) (Column, error) {
	cs, err := d.charset.resolve(a.new.Charset)
	if err != nil {
		return Column{}, fmt.Errorf("column %s: %w", d.Name, err)
	}
	t := d.typ
	if t.national {
		cs = Charset{Name: "utf8mb3"}
		if d.charset.collation != "" {
			cs.Collation = strings.ToLower(d.charset.collation)
		}
	}
	if cs.Name == "" && hasCharset(t) {
		return Column{}, fmt.Errorf("column %s: the default character set of table %s is not known",
			d.Name, a.old.TableName())
	}
	cs = a.o.resolveCharset(&t, cs)
	c := Column{
		Collation: cs.Collation, Default: d.value, Expression: d.generated, Stored: d.stored,
		AutoIncrement: d.autoIncrement,
	}
	c.Name = d.Name
	c.setType(&t, a.o.spellCharset(cs.Name))
	c.Invisible, c.Generated = d.invisible, d.generated != ""
	switch {
	case d.notNull:
	case d.null:
		c.Nullable = true
	default:
		c.Nullable = t.base != "timestamp" || a.o.explicitTimestamps()
	}
	if d.autoIncrement {
		c.Nullable = false
	}
	return c, nil
}

// otherChanges applies the clauses that are not about columns, keys or character sets.
func (a *alteration) otherChanges() error {
	for _, c := range a.changes {
		switch c.Kind {
		case SetEngine:
			a.new.Engine = strings.ToUpper(c.value)
			if !slices.Contains(engines, a.new.Engine) {
				a.raise(ValuesChanged, "ENGINE "+c.value)
			}
		case StopsFollowing:
			a.new.NotFollowed = c.Text
		case RewritesRows, ExchangePartition, AttachTable, DetachTable:
			a.raise(ValuesChanged, c.Text)
		}
	}
	if a.s.Ignore {
		a.raise(ValuesChanged, "ALTER IGNORE")
	}
	return nil
}

// engines keep the rows of a table that is converted to them. BLACKHOLE, for one, does not.
var engines = []string{"INNODB", "MYISAM", "ARIA", "ROCKSDB", "TOKUDB", "NDB", "NDBCLUSTER"}
