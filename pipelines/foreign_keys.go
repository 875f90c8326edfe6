package pipelines

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// This file reads the foreign keys whose cascades the server does not log, and applies the setting
// `cascades`. The jobs after a change of a parent row are in cascade_jobs.go.

// foreignKeyCheck describes which foreign keys checkForeignKeys reads.
type foreignKeyCheck struct {
	// atStart is set at a start: then the foreign keys of all mapped tables are read, otherwise
	// those of the tables in names.
	atStart bool
	names   []ddl.TableName
	// altered are the tables to which the statement may have added foreign keys. added is the
	// largest number of cascading foreign keys that it may have added.
	altered []ddl.TableName
	added   int
}

// checkForeignKeys reads the foreign keys of tables, and applies the setting `cascades` of the
// mapped ones. It returns a StopError that names all tables with `cascades: stop` in which a
// cascade may change rows without row events. For tables with `cascades: reconcile` it updates the
// tables that they depend on.
func (l *loop) checkForeignKeys(ctx context.Context, check foreignKeyCheck) error {
	names := check.names
	if check.atStart {
		for _, full := range l.tables.names() {
			names = append(names, l.tables.all[full].name())
		}
	}
	var reconciled, others []ddl.TableName
	for _, n := range names {
		delete(l.tables.ignoredCascades, n.String())
		if l.isReconciled(n.String()) {
			reconciled = append(reconciled, n)
		} else if l.tables.all[n.String()] != nil {
			others = append(others, n)
		}
	}
	if err := l.applyCascadeSettings(ctx, others); err != nil {
		return err
	}
	graph := &l.tables.cascades
	before := graph.keys
	for _, n := range names {
		// The tables between a mapped table and its parents need not be mapped.
		if graph.contains(n) && !slices.Contains(reconciled, n) {
			reconciled = append(reconciled, n)
		}
	}
	if check.atStart {
		graph.keys = nil
	}
	if err := l.readCascades(ctx, reconciled); err != nil {
		graph.keys = before
		return err
	}
	graph.compile(l.isReconciled)
	if err := l.readParentSchemas(ctx, check.altered); err != nil {
		return err
	}
	if err := l.reconcileChangedKeys(before, check); err != nil {
		return err
	}
	isStored := graph.stored || !check.atStart
	if isStored && slices.EqualFunc(before, graph.keys, equalKeys) {
		return nil
	}
	return graph.save(&l.unit, l.config.Name)
}

// isReconciled reports whether a table is mapped and has `cascades: reconcile`.
func (l *loop) isReconciled(full string) bool {
	t := l.tables.all[full]
	if t == nil {
		return false
	}
	rule, err := l.ruleOf(t)
	return err == nil && rule.OnCascade == transform.ReconcileCascades
}

// applyCascadeSettings applies `cascades: stop` and `ignore` to mapped tables.
func (l *loop) applyCascadeSettings(ctx context.Context, names []ddl.TableName) error {
	if len(names) == 0 {
		return nil
	}
	found, err := l.schemas.UnloggedCascades(ctx, names)
	if err != nil {
		return err
	}
	var path string
	var faults []string
	for i := range found {
		f := &found[i]
		rule, err := l.ruleOf(l.tables.all[f.Table.String()])
		if err != nil {
			return err
		}
		if rule.OnCascade == transform.IgnoreCascades {
			l.tables.ignoredCascades[f.Table.String()] = true
			continue
		}
		if path == "" {
			path = rule.Path
		}
		faults = append(faults, "the foreign key "+f.Key.Name+" of mapped table "+
			f.Table.String()+" is "+f.Key.Cascades())
	}
	if len(faults) == 0 {
		return nil
	}
	return &StopError{Err: l.config.Fault(path, "%s, and this server logs no rows that a cascade "+
		"changes; set `cascades: reconcile`, drop the cascade, or set `cascades: ignore` for the "+
		"table if its keys may differ from its rows then", strings.Join(faults, "; "))}
}

// readCascades replaces the stored foreign keys of tables by the server's present ones. It does the
// same for the tables that these keys refer to, and so on.
func (l *loop) readCascades(ctx context.Context, names []ddl.TableName) error {
	graph := &l.tables.cascades
	done := make(map[ddl.TableName]bool)
	for len(names) > 0 {
		var next []ddl.TableName
		found, err := l.schemas.UnloggedCascades(ctx, names)
		if err != nil {
			return err
		}
		for _, n := range names {
			done[n] = true
		}
		isRead := func(k tablestate.ForeignKey) bool { return slices.Contains(names, childOf(&k)) }
		graph.keys = slices.DeleteFunc(slices.Clone(graph.keys), isRead)
		for i := range found {
			f := storedForm(&found[i])
			graph.keys = append(graph.keys, f)
			if parent := parentOf(&f); !done[parent] && !slices.Contains(next, parent) {
				next = append(next, parent)
			}
		}
		names = next
	}
	slices.SortFunc(graph.keys, func(a, b tablestate.ForeignKey) int {
		return strings.Compare(childOf(&a).String()+"\x00"+a.Name,
			childOf(&b).String()+"\x00"+b.Name)
	})
	return nil
}

// readParentSchemas reads the schemas of parents that are not mapped, if they were not read before
// or the parent was altered.
func (l *loop) readParentSchemas(ctx context.Context, altered []ddl.TableName) error {
	graph := &l.tables.cascades
	maps.DeleteFunc(graph.schemas, func(n ddl.TableName, _ *parentSchema) bool {
		return graph.parents[n] == nil || slices.Contains(altered, n)
	})
	var added []*parentSchema
	for n := range graph.parents {
		if l.tables.all[n.String()] != nil || graph.schemas[n] != nil {
			continue
		}
		table, err := l.schemas.TableSchema(ctx, n)
		if err != nil {
			return err
		}
		if table == nil || table.NotFollowed != "" {
			continue
		}
		if graph.schemas == nil {
			graph.schemas = make(map[ddl.TableName]*parentSchema)
		}
		table.IsWatched = true
		graph.schemas[n] = &parentSchema{table: table}
		added = append(added, graph.schemas[n])
	}
	if len(added) == 0 {
		return nil
	}
	end, err := l.schemas.EndOfLog(ctx)
	if err != nil {
		return err
	}
	for _, s := range added {
		s.from = end
	}
	graph.schemasPending = true
	return nil
}

// storedForm returns the form of a foreign key that is stored.
func storedForm(u *source.UnloggedCascade) tablestate.ForeignKey {
	k := &u.Key
	return tablestate.ForeignKey{
		Database: u.Table.Database, Table: u.Table.Table, Name: k.Name, Columns: k.Columns,
		ParentDatabase: k.ParentDatabase, ParentTable: k.ParentTable, Referenced: k.Referenced,
		OnDelete: k.OnDelete, OnUpdate: k.OnUpdate,
	}
}

// contains reports whether a table is the child or the parent of one of the keys.
func (c *cascades) contains(n ddl.TableName) bool {
	return slices.ContainsFunc(c.keys, func(k tablestate.ForeignKey) bool {
		return childOf(&k) == n || parentOf(&k) == n
	})
}

// reconcileChangedKeys requests jobs for tables whose rows a foreign key may have changed while the
// pipeline did not know the key. The server reports its present keys, but the stream may be at a
// position in the past, where a key existed that was dropped since. The jobs read the rows as they
// are now, so they also correct these changes. At a start, keys that the data do not contain count
// as changed, too, because `cascades` may have been ignore.
func (l *loop) reconcileChangedKeys(
	before []tablestate.ForeignKey, check foreignKeyCheck,
) error {
	graph := &l.tables.cascades
	if check.atStart && !graph.stored && !l.isOffline {
		return nil // new data: every row is read, or the user has requested a start without a load
	}
	old := cascades{keys: before}
	again := make(map[string]bool)
	added := make(map[ddl.TableName]int)
	add := func(tables []string) {
		for _, full := range tables {
			again[full] = true
		}
	}
	for i := range before {
		if !hasKey(graph.keys, &before[i]) {
			add(old.below(childOf(&before[i]), l.isReconciled))
		}
	}
	for i := range graph.keys {
		k := &graph.keys[i]
		if hasKey(before, k) {
			continue
		}
		added[childOf(k)]++
		// Rows that a cascade changes cannot be read from binlog files.
		if check.atStart || l.isOffline {
			add(graph.below(childOf(k), l.isReconciled))
		}
	}
	// Has the statement added keys that were dropped since?
	for _, n := range check.altered {
		if added[n] < check.added {
			add(graph.below(n, l.isReconciled))
		}
	}
	return l.readAllAgain(again, "its foreign keys have changed")
}

func hasKey(keys []tablestate.ForeignKey, key *tablestate.ForeignKey) bool {
	return slices.ContainsFunc(keys, func(k tablestate.ForeignKey) bool {
		return equalKeys(k, *key)
	})
}

func equalKeys(a, b tablestate.ForeignKey) bool { return reflect.DeepEqual(a, b) }

// foreignKeysOf returns the check of the foreign keys that a statement may change: the keys of
// mapped tables, and the keys on which the rows of mapped tables depend.
func (l *loop) foreignKeysOf(
	s *ddl.Statement, effects []ddl.Effect, unclear []ddl.TableName, sql string,
) foreignKeyCheck {
	names := slices.Clone(unclear)
	add := func(n ddl.TableName) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for i := range effects {
		add(effects[i].Table)
	}
	graph := &l.tables.cascades
	if len(graph.keys) > 0 && s.Action != ddl.Other && s.Action != ddl.TruncateTable {
		for _, n := range s.Tables {
			add(n)
		}
	}
	if len(graph.keys) > 0 && s.Action == ddl.Unknown {
		s.Mentions(func(n ddl.TableName) bool {
			add(n)
			return false
		})
	}
	// A table that the statement creates is not mapped yet.
	isCreated := func(n ddl.TableName) bool {
		return slices.ContainsFunc(effects, func(e ddl.Effect) bool {
			return e.Class == ddl.TableNew && e.Table == n
		})
	}
	names = slices.DeleteFunc(names, func(n ddl.TableName) bool {
		return l.tables.all[n.String()] == nil && !graph.contains(n) && !isCreated(n)
	})
	check := foreignKeyCheck{altered: slices.Clone(names)}
	if len(names) > 0 {
		check.added = ddl.AddedCascades(sql)
	}
	// If a parent is renamed, the keys of its children refer to the new name.
	for i := range graph.keys {
		if k := &graph.keys[i]; slices.Contains(check.altered, parentOf(k)) {
			add(childOf(k))
		}
	}
	check.names = names
	return check
}
