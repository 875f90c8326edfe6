package pipelines

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// cascades holds the foreign keys that change rows without row events. From these keys it derives
// which tables must be read again after a DELETE or UPDATE of the tables that the keys refer to. It
// is empty unless a mapped table has `cascades: reconcile` and such a foreign key.
type cascades struct {
	// keys are the foreign keys of mapped tables, of the tables that these refer to, and so on. The
	// keys are stored with the data.
	keys []tablestate.ForeignKey
	// stored is set once keys, also an empty list, were loaded from the data or saved.
	stored bool
	// parents are the tables whose DELETEs or UPDATEs change rows of reconciled tables.
	parents map[ddl.TableName]*cascadeParent
	// schemas are the schemas of parents that are not mapped. They show to which values foreign
	// keys referred, and whether an UPDATE changes these values. Without a schema, every UPDATE of
	// the parent counts as such a change, and the rows that referred to deleted rows are not known.
	schemas map[ddl.TableName]*parentSchema
	// schemasPending is set if some of schemas are not valid yet.
	schemasPending bool
	// due holds the tables in which the open transaction has changed rows without row events, with
	// the reasons to read them again.
	due map[string]string
	// dueDeletes are the parent rows that the open transaction has deleted, and dueByRows the
	// tables that this changes.
	dueDeletes []*deletedParents
	dueByRows  map[string]bool
}

// cascadeParent is a table that foreign keys refer to.
type cascadeParent struct {
	name ddl.TableName
	// onDelete are the full names of the tables that a DELETE in this table changes.
	onDelete []string
	onUpdate []cascadeUpdate
	// deleteKeys are the foreign keys that refer to the table and change rows after a DELETE.
	deleteKeys []*tablestate.ForeignKey
}

// parentSchema is the schema of a parent that is not mapped. The server had this schema at position
// from. The schema is valid once the stream has reached from, until a statement alters the table.
type parentSchema struct {
	table   *binlog.Table
	from    binlog.Position
	isValid bool
}

// schemaOf returns the schema of a parent that is not mapped; nil if it is not known.
func (c *cascades) schemaOf(n ddl.TableName) *binlog.Table {
	if s := c.schemas[n]; s != nil && s.isValid {
		return s.table
	}
	return nil
}

// validate marks the schemas whose from is at or before a position as valid. It reports whether it
// has marked any.
func (c *cascades) validate(at *binlog.Position) bool {
	if !c.schemasPending {
		return false
	}
	c.schemasPending = false
	found := false
	for _, s := range c.schemas {
		switch {
		case s.isValid:
		case at.CompareFile(s.from) >= 0:
			s.isValid, found = true, true
		default:
			c.schemasPending = true
		}
	}
	return found
}

// cascadeUpdate lists the tables that an UPDATE changes, if it changes any of the columns.
type cascadeUpdate struct {
	columns []string
	tables  []string
}

func parentOf(k *tablestate.ForeignKey) ddl.TableName {
	return ddl.TableName{Database: k.ParentDatabase, Table: k.ParentTable}
}

func childOf(k *tablestate.ForeignKey) ddl.TableName {
	return ddl.TableName{Database: k.Database, Table: k.Table}
}

// compile computes parents from keys. reconciled reports whether a table has `cascades: reconcile`.
func (c *cascades) compile(reconciled func(full string) bool) {
	c.parents = make(map[ddl.TableName]*cascadeParent)
	for i := range c.keys {
		name := parentOf(&c.keys[i])
		if c.parents[name] != nil {
			continue
		}
		p := &cascadeParent{name: name}
		w := newCascadeWalk(c.keys)
		w.follow(name, binlog.Delete, nil)
		p.onDelete = w.tables(reconciled)
		p.deleteKeys = c.deleteKeysOf(name)
		for j := range c.keys {
			k := &c.keys[j]
			if parentOf(k) != name || !query.ChangesRows(k.OnUpdate) {
				continue
			}
			w := newCascadeWalk(c.keys)
			w.follow(name, binlog.Update, k.Referenced)
			if tables := w.tables(reconciled); len(tables) > 0 {
				p.onUpdate = append(p.onUpdate, cascadeUpdate{k.Referenced, tables})
			}
		}
		if len(p.onDelete)+len(p.onUpdate) > 0 {
			c.parents[name] = p
		}
	}
}

// below returns a table and the tables that cascades from it may change, of those that are
// reconciled.
func (c *cascades) below(n ddl.TableName, reconciled func(full string) bool) []string {
	w := newCascadeWalk(c.keys)
	w.reached[n.String()] = true
	w.follow(n, binlog.Delete, nil)
	w.follow(n, binlog.Update, nil)
	return w.tables(reconciled)
}

// cascadeWalk follows foreign keys from a table to the tables that refer to it, and on to the
// tables that refer to these.
type cascadeWalk struct {
	keys    []tablestate.ForeignKey
	reached map[string]bool
	seen    map[cascadeStep]bool
}

// cascadeStep is a foreign key, by its index in keys, and the operation that triggers its action.
type cascadeStep struct {
	key int
	op  binlog.Op
}

func newCascadeWalk(keys []tablestate.ForeignKey) *cascadeWalk {
	return &cascadeWalk{keys, make(map[string]bool), make(map[cascadeStep]bool)}
}

// follow visits the tables that a DELETE or UPDATE in table n changes. columns are the columns that
// the UPDATE changes; nil means any column.
func (w *cascadeWalk) follow(n ddl.TableName, op binlog.Op, columns []string) {
	for i := range w.keys {
		k := &w.keys[i]
		if parentOf(k) != n {
			continue
		}
		action := k.OnDelete
		if op == binlog.Update {
			action = k.OnUpdate
		}
		step := cascadeStep{i, op}
		isChanged := op == binlog.Delete || columns == nil || haveCommon(columns, k.Referenced)
		if !isChanged || !query.ChangesRows(action) || w.seen[step] {
			continue
		}
		w.seen[step] = true
		w.reached[childOf(k).String()] = true
		if op == binlog.Delete && action == "CASCADE" {
			w.follow(childOf(k), binlog.Delete, nil)
		} else {
			w.follow(childOf(k), binlog.Update, k.Columns)
		}
	}
}

// tables returns the tables that were reached and are reconciled.
func (w *cascadeWalk) tables(reconciled func(full string) bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.reached)),
		func(full string) bool { return !reconciled(full) })
}

// haveCommon reports whether two lists of columns have one in common.
func haveCommon(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return strings.EqualFold(x, y) })
	})
}

// watch returns the parent with a name; nil if the table is not a parent. It also returns nil if
// foreignKeysOff is set: with foreign_key_checks=0 foreign keys change no rows.
func (c *cascades) watch(n ddl.TableName, foreignKeysOff bool) *cascadeParent {
	if len(c.parents) == 0 || foreignKeysOff {
		return nil
	}
	return c.parents[n]
}

// skipped records a change of a parent whose rows are not decoded. An UPDATE counts as a change of
// every column.
func (c *cascades) skipped(p *cascadeParent, op binlog.Op) {
	switch op {
	case binlog.Delete:
		c.add(p, p.onDelete, op)
	case binlog.Update:
		for _, u := range p.onUpdate {
			c.add(p, u.tables, op)
		}
	}
}

// changed records the change of a parent row.
func (c *cascades) changed(p *cascadeParent, change *binlog.Change) {
	switch change.Op {
	case binlog.Delete:
		c.add(p, p.onDelete, change.Op)
	case binlog.Update:
		for _, u := range p.onUpdate {
			if !c.areDue(u.tables) && changesAny(change, u.columns) {
				c.add(p, u.tables, change.Op)
			}
		}
	}
}

// compare records the changes of rows of a parent that is not followed. isKnown is set if the rows
// can be decoded with the parent's schema; otherwise an UPDATE counts as a change of every column.
func (c *cascades) compare(p *cascadeParent, rows *binlog.Rows, isKnown bool) {
	for isKnown && rows.Next() {
		c.record(p, rows.Change())
	}
	if !isKnown || rows.Err() != nil {
		c.skipped(p, rows.Op())
	}
}

// add marks tables to be read again after the transaction, because of a change of a parent.
func (c *cascades) add(p *cascadeParent, tables []string, op binlog.Op) {
	if c.areDue(tables) {
		return
	}
	reason := "foreign keys changed rows without logging them, after " + op.String() + " in " +
		p.name.String()
	for _, full := range tables {
		c.addDue(full, reason)
	}
}

// addDue marks a table to be read again after the transaction, unless it is marked already.
func (c *cascades) addDue(full, reason string) {
	if c.due == nil {
		c.due = make(map[string]string)
	}
	if c.due[full] == "" {
		c.due[full] = reason
	}
}

// areDue reports whether all of the tables are already marked to be read again.
func (c *cascades) areDue(tables []string) bool {
	return !slices.ContainsFunc(tables, func(full string) bool { return c.due[full] == "" })
}

// isDue reports whether the open transaction has changed rows of a table without row events.
func (c *cascades) isDue(t *mappedTable) bool {
	return len(c.due)+len(c.dueByRows) > 0 &&
		(c.due[t.FullName()] != "" || c.dueByRows[t.FullName()])
}

// changesAny reports whether an UPDATE changes any of the columns. A column that is not found and a
// value that cannot be read count as changed.
func changesAny(c *binlog.Change, columns []string) bool {
	for _, name := range columns {
		k := slices.IndexFunc(c.Table.Columns, func(col binlog.Column) bool {
			return strings.EqualFold(col.Name, name)
		})
		if k < 0 || c.Before.IsNull(k) != c.After.IsNull(k) {
			return true
		}
		if c.Before.IsNull(k) {
			continue
		}
		before, err := c.Before.AppendText(nil, k)
		if err != nil {
			return true
		}
		after, err := c.After.AppendText(nil, k)
		if err != nil || string(before) != string(after) {
			return true
		}
	}
	return false
}

// load decodes the keys from the pieces of state.
func (c *cascades) load(pieces map[string][]byte) error {
	c.stored = true
	if text := pieces[tablestate.CascadesPiece]; text != nil {
		if err := json.Unmarshal(text, &c.keys); err != nil {
			return corrupt("foreign keys", err)
		}
	}
	return nil
}

// save puts the keys into a unit.
func (c *cascades) save(u *sink.Unit, pipeline string) error {
	c.stored = true
	if len(c.keys) == 0 {
		u.DropState(pipeline, tablestate.CascadesPiece)
		return nil
	}
	return saveJSON(u, pipeline, tablestate.CascadesPiece, c.keys)
}
