package pipelines

import (
	"context"
	"errors"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// This file records which rows of parents were deleted, by the values to which foreign keys refer.
// From these values the rows of a child can be found that a foreign key has deleted or changed: the
// sink still holds the values in their hashes. So only these rows are read again, see
// reference_scan.go. If the rows of a child cannot be found so, the whole child is read.

// maxReferences limits the values that are recorded for a table, or in a transaction for a foreign
// key. With more of them the whole table is read.
const maxReferences = 10_000

// deletedParents are the rows to which a foreign key refers and that the open transaction has
// deleted.
type deletedParents struct {
	key    *tablestate.ForeignKey
	values [][]string
	// isWhole is set if there are too many values, or if a value is not known.
	isWhole bool
}

// record records the change of a parent row, and its values if the row was deleted.
func (c *cascades) record(p *cascadeParent, change *binlog.Change) {
	if change.Op == binlog.Delete {
		c.deleted(p, change.Before, change.Table)
		return
	}
	c.changed(p, change)
}

// deleted records a DELETE in a parent.
func (c *cascades) deleted(p *cascadeParent, row *binlog.Row, table *binlog.Table) {
	if c.dueByRows == nil {
		c.dueByRows = make(map[string]bool)
	}
	for _, full := range p.onDelete {
		c.dueByRows[full] = true
	}
	for _, k := range p.deleteKeys {
		i := slices.IndexFunc(c.dueDeletes, func(d *deletedParents) bool { return d.key == k })
		if i < 0 {
			i = len(c.dueDeletes)
			c.dueDeletes = append(c.dueDeletes, &deletedParents{key: k})
		}
		d := c.dueDeletes[i]
		if d.isWhole {
			continue
		}
		values, ok := referencedValues(k, row, table)
		if d.isWhole = !ok || len(d.values) >= maxReferences; d.isWhole {
			d.values = nil
		} else if values != nil {
			d.values = append(d.values, values)
		}
	}
}

// referencedValues returns the values of a parent row to which a foreign key refers; nil if one of
// them is NULL, so that no row refers to it. It returns false if they are not known.
func referencedValues(
	k *tablestate.ForeignKey, row *binlog.Row, table *binlog.Table,
) (values []string, ok bool) {
	for _, name := range k.Referenced {
		i := table.Column(name)
		if i < 0 || !transform.HasPlainText(&table.Columns[i]) {
			return nil, false
		}
		if row.IsNull(i) {
			return nil, true
		}
		text, err := row.AppendText(nil, i)
		if err != nil {
			return nil, false
		}
		values = append(values, string(text))
	}
	return values, true
}

// reached returns the reconciled tables that a DELETE of a row changes to which a key refers.
func (c *cascades) reached(k *tablestate.ForeignKey, reconciled func(string) bool) []string {
	w := newCascadeWalk(c.keys)
	w.reached[childOf(k).String()] = true
	if k.OnDelete == "CASCADE" {
		w.follow(childOf(k), binlog.Delete, nil)
	} else {
		w.follow(childOf(k), binlog.Update, k.Columns)
	}
	return w.tables(reconciled)
}

// deleteKeysOf returns the foreign keys that refer to a table and change rows after a DELETE.
func (c *cascades) deleteKeysOf(n ddl.TableName) (keys []*tablestate.ForeignKey) {
	for i := range c.keys {
		if k := &c.keys[i]; parentOf(k) == n && query.ChangesRows(k.OnDelete) {
			keys = append(keys, k)
		}
	}
	return keys
}

// findDeleted decides for each foreign key whose parent rows were deleted whether the changed rows
// of its child can be found by these values. Tables for which they cannot become due as a whole.
func (l *loop) findDeleted() error {
	graph := &l.tables.cascades
	deletes := graph.dueDeletes
	graph.dueDeletes = nil
	clear(graph.dueByRows)
	for _, d := range deletes {
		if err := l.findReferring(d); err != nil {
			return err
		}
	}
	return nil
}

// RowsGone implements jobs.Host. Does a scan of the table still look for rows that foreign keys
// have deleted? Such a row may be among those that the keys job removes now, for example because a
// run ended within the scan. Then the scan does not find the row, so the tables that refer to it
// get its key here.
func (l *loop) RowsGone(table *jobs.Table, keys []jobs.Key) error {
	t := l.mapped(table)
	if t == nil || len(t.Job.References) == 0 || len(keys) == 0 {
		return nil
	}
	if err := l.findAllReferring(l.deletedKeys(t, keys)); err != nil {
		return err
	}
	return l.reconcileCascades()
}

// flushDeletes is called before changes of a table are added to the unit. A scan of the table looks
// for what deleted rows have left in the sink. So if the unit contains the transaction that has
// deleted them, perhaps after one that has inserted them, the sink must hold both before the
// changes. Transactions that only delete parents share units.
func (l *loop) flushDeletes(ctx context.Context, t *mappedTable) error {
	if !l.hasDeletes || len(t.Job.References) == 0 {
		return nil
	}
	return l.flushCommitted(ctx)
}

// insertsAgain records the key of a row that was inserted, or got this key by an UPDATE, if foreign
// keys may have deleted an older row with this key that is still in the sink. The new row takes the
// place of the old one, so that a scan does not find the old one.
func (l *loop) insertsAgain(ctx context.Context, t *mappedTable, c *binlog.Change) error {
	graph := &l.tables.cascades
	p := graph.parents[t.name()]
	if c.Op == binlog.Delete || p == nil || len(p.deleteKeys) == 0 {
		return nil
	}
	isReplaced := graph.dueByRows[t.FullName()] // in this transaction, which may have inserted it
	if !isReplaced && len(t.Job.References) == 0 || c.Op == binlog.Update && !p.moves(c) {
		return nil
	}
	if !isReplaced {
		var err error
		if isReplaced, err = l.holdsRow(ctx, t, c.After); err != nil {
			return err
		}
	}
	if isReplaced {
		graph.deleted(p, c.After, c.Table)
	}
	return nil
}

// moves reports whether an UPDATE may have changed the values to which foreign keys refer.
func (p *cascadeParent) moves(c *binlog.Change) bool {
	return slices.ContainsFunc(p.deleteKeys, func(k *tablestate.ForeignKey) bool {
		before, isKnown := referencedValues(k, c.Before, c.Table)
		after, ok := referencedValues(k, c.After, c.Table)
		return !isKnown || !ok || !slices.Equal(before, after)
	})
}

// holdsRow reports whether the sink holds something at a location of a row.
func (l *loop) holdsRow(ctx context.Context, t *mappedTable, r *binlog.Row) (bool, error) {
	holds := false
	var fault error
	err := t.Plan.Locations(r, func(at transform.Location) {
		if holds || fault != nil {
			return
		}
		holds, fault = sink.HoldsLocation(ctx, l.sink, t.Plan.OutputKind(at.Output), at)
	})
	return holds, errors.Join(err, fault)
}

// findAllReferring calls findReferring for each of deletes that has values.
func (l *loop) findAllReferring(deletes []*deletedParents) error {
	for _, d := range deletes {
		if !d.isWhole && len(d.values) == 0 {
			continue
		}
		if err := l.findReferring(d); err != nil {
			return err
		}
	}
	return nil
}

// findReferring records the values of deleted parent rows for the child of their foreign key.
func (l *loop) findReferring(d *deletedParents) error {
	graph := &l.tables.cascades
	reason := "foreign keys changed rows without logging them, after DELETE in " +
		parentOf(d.key).String()
	child := l.tables.all[childOf(d.key).String()]
	full := childOf(d.key).String()
	if d.isWhole || !l.isReconciled(full) || !l.canFindReferring(child, d.key) {
		for _, table := range graph.reached(d.key, l.isReconciled) {
			graph.addDue(table, reason)
		}
		return nil
	}
	if len(d.values) == 0 {
		return nil
	}
	canDescend := l.descends(child, d.key)
	canScan, err := l.addReferences(child, reason, tablestate.References{
		Columns: d.key.Columns, Values: d.values, Deleted: d.key.OnDelete == "CASCADE",
	})
	if err != nil {
		return err
	}
	for _, table := range graph.reached(d.key, l.isReconciled) {
		switch {
		case table == full:
		case canDescend && canScan:
			of := tablestate.References{Of: full}
			if _, err := l.addReferences(l.tables.all[table], reason, of); err != nil {
				return err
			}
		default:
			graph.addDue(table, reason)
		}
	}
	return nil
}

// canFindReferring reports whether the sink shows which rows of a child referred to a deleted row:
//
//   - The values must be texts that can be compared byte by byte.
//   - An output must hold the referring columns and the key of each row.
//   - A row that `where` rejects is not in the sink, and must not get in.
//   - The key of a row must determine all its locations, because a later change of the row can
//     replace the values in the sink, but cannot find other locations of the old row.
func (l *loop) canFindReferring(t *mappedTable, k *tablestate.ForeignKey) bool {
	if !t.isFollowed() || t.isTentative() || k.OnDelete != "CASCADE" && t.Plan.HasWhere() {
		return false
	}
	columns, ok := referringColumns(t, k.Columns)
	if !ok {
		return false
	}
	key := jobs.Order(t.Schema, t.Plan)
	_, isStored := t.Plan.FindStored(key, columns)
	return isStored && t.Plan.IsLocated(key) && query.CheckMatch(t.Schema, key) == nil
}

// referringColumns returns the indexes of columns; false if their texts cannot be compared.
func referringColumns(t *mappedTable, names []string) (columns []int, ok bool) {
	for _, name := range names {
		i := t.Schema.Column(name)
		if i < 0 || !transform.HasPlainText(&t.Schema.Columns[i]) {
			return nil, false
		}
		columns = append(columns, i)
	}
	return columns, true
}

// descends reports whether the rows of further tables can be found that change because rows of t
// were deleted or changed by k: the keys of the deleted rows are the values to which these tables
// refer. Without further tables, descends returns true.
func (l *loop) descends(t *mappedTable, k *tablestate.ForeignKey) bool {
	if k.OnDelete != "CASCADE" {
		return len(l.tables.cascades.reached(k, l.isReconciled)) <= 1
	}
	next := l.tables.cascades.deleteKeysOf(t.name())
	if len(next) > 0 && t.Plan.HasWhere() {
		return false
	}
	return !slices.ContainsFunc(next, func(n *tablestate.ForeignKey) bool {
		_, ok := keyAsReferenced(t, n)
		return !ok
	})
}

// keyAsReferenced returns, for each column to which a foreign key refers, its place in the key of
// the rows of t. It returns false if a column is not part of the key.
func keyAsReferenced(t *mappedTable, k *tablestate.ForeignKey) (places []int, ok bool) {
	key := jobs.Order(t.Schema, t.Plan)
	for _, name := range k.Referenced {
		i := slices.IndexFunc(key, func(c int) bool {
			column := &t.Schema.Columns[c]
			return strings.EqualFold(column.Name, name) && transform.HasPlainText(column)
		})
		if i < 0 {
			return nil, false
		}
		places = append(places, i)
	}
	return places, true
}

// deletedKeys returns what the deletion of rows of t, found by their keys, means for the tables
// that refer to t.
func (l *loop) deletedKeys(t *mappedTable, keys []jobs.Key) (deletes []*deletedParents) {
	for _, k := range l.tables.cascades.deleteKeysOf(t.name()) {
		places, ok := keyAsReferenced(t, k)
		d := &deletedParents{key: k, isWhole: !ok || len(keys) > maxReferences}
		for _, key := range keys {
			if d.isWhole {
				break
			}
			values := make([]string, len(places))
			for i, place := range places {
				values[i] = string(key[place])
			}
			d.values = append(d.values, values)
		}
		deletes = append(deletes, d)
	}
	return deletes
}
