package pipelines

import (
	"context"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// This file reads the foreign keys whose cascades the server does not log, and applies the setting
// `cascades`. What follows from a change of their parents is in cascade_jobs.go.

// foreignKeyCheck is one reading of foreign keys.
type foreignKeyCheck struct {
	// atStart means that the foreign keys of all mapped tables are read, at a start; otherwise
	// those of names.
	atStart bool
	names   []tableName
	// altered are the tables that may have got foreign keys by the statement, and added is how many
	// it may have added that cascade.
	altered []tableName
	added   int
}

// checkForeignKeys reads the foreign keys of tables. It returns a StopError that names the mapped
// tables with `cascades: stop` and rows that a cascade may change without logging them. For tables
// with `cascades: reconcile` it updates which tables they depend on.
func (l *loop) checkForeignKeys(ctx context.Context, check foreignKeyCheck) error {
	names := check.names
	if check.atStart {
		for _, full := range l.tables.names() {
			names = append(names, l.tables.all[full].name())
		}
	}
	var reconciled, others []tableName
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

// isReconciled reports whether a mapped table is read again after a cascade.
func (l *loop) isReconciled(full string) bool {
	t := l.tables.all[full]
	if t == nil {
		return false
	}
	rule, err := l.ruleOf(t)
	return err == nil && rule.OnCascade == transform.ReconcileCascades
}

// applyCascadeSettings applies `cascades: stop` and `ignore` to mapped tables.
func (l *loop) applyCascadeSettings(ctx context.Context, names []tableName) error {
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
		rule, err := l.ruleOf(l.tables.all[f.table.String()])
		if err != nil {
			return err
		}
		if rule.OnCascade == transform.IgnoreCascades {
			l.tables.ignoredCascades[f.table.String()] = true
			continue
		}
		if path == "" {
			path = rule.Path
		}
		faults = append(faults, "the foreign key "+f.key.Name+" of mapped table "+
			f.table.String()+" is "+f.key.Cascades())
	}
	if len(faults) == 0 {
		return nil
	}
	return &StopError{l.config.Fault(path, "%s, and this server logs no rows that a cascade "+
		"changes; set `cascades: reconcile`, drop the cascade, or set `cascades: ignore` for the "+
		"table if its rows may differ then", strings.Join(faults, "; "))}
}

// readCascades replaces the keys of tables by those that the server has now, and reads those of the
// tables that they refer to, level by level.
func (l *loop) readCascades(ctx context.Context, names []tableName) error {
	graph := &l.tables.cascades
	done := make(map[tableName]bool)
	for len(names) > 0 {
		var next []tableName
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
			f := found[i].stored()
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

// readParentSchemas reads the schemas of parents that are not mapped and whose UPDATEs matter, and
// again those of altered tables.
func (l *loop) readParentSchemas(ctx context.Context, altered []tableName) error {
	graph := &l.tables.cascades
	maps.DeleteFunc(graph.schemas, func(n tableName, _ *parentSchema) bool {
		return graph.parents[n] == nil || slices.Contains(altered, n)
	})
	var added []*parentSchema
	for n, p := range graph.parents {
		if len(p.onUpdate) == 0 || l.tables.all[n.String()] != nil || graph.schemas[n] != nil {
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
			graph.schemas = make(map[tableName]*parentSchema)
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

// stored returns the form of the foreign key that is stored.
func (u *unloggedCascade) stored() tablestate.ForeignKey {
	k := &u.key
	return tablestate.ForeignKey{
		Database: u.table.database, Table: u.table.table, Name: k.Name, Columns: k.Columns,
		ParentDatabase: k.ParentDatabase, ParentTable: k.ParentTable, Referenced: k.Referenced,
		OnDelete: k.OnDelete, OnUpdate: k.OnUpdate,
	}
}

// contains reports whether a table has one of the keys, or is the parent of one.
func (c *cascades) contains(n tableName) bool {
	return slices.ContainsFunc(c.keys, func(k tablestate.ForeignKey) bool {
		return childOf(&k) == n || parentOf(&k) == n
	})
}

// reconcileChangedKeys reads tables again whose foreign keys may have acted at a time at which they
// were not known. The keys are those of now, and the stream may be at a position of the past, so a
// key may have acted that the server does not have any more. What it did is in what is read from
// now on. At a start that also concerns keys that the data do not know: `cascades` may have been
// ignore.
func (l *loop) reconcileChangedKeys(
	before []tablestate.ForeignKey, check foreignKeyCheck,
) error {
	graph := &l.tables.cascades
	if check.atStart && !graph.stored {
		return nil // every row is read, or the user has started without a load
	}
	old := cascades{keys: before}
	again := make(map[string]bool)
	added := make(map[tableName]int)
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
		if check.atStart {
			add(graph.below(childOf(k), l.isReconciled))
		}
	}
	// Has the statement added keys that the server does not have any more?
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

var (
	referencesPattern = regexp.MustCompile(`(?i)\bREFERENCES\b`)
	cascadePattern    = regexp.MustCompile(
		`(?i)\bON\s+(DELETE|UPDATE)\s+(CASCADE|SET\s+(NULL|DEFAULT))\b`)
)

// addedCascades returns how many foreign keys a statement may add, if it may add any that cascades.
func addedCascades(sql string) int {
	if !cascadePattern.MatchString(sql) {
		return 0
	}
	return len(referencesPattern.FindAllStringIndex(sql, -1))
}

// foreignKeysOf returns which foreign keys a statement may change: those of the tables of the
// mapping that it changes, and those on which the rows of mapped tables depend.
func (l *loop) foreignKeysOf(
	s *ddl.Statement, effects []ddl.Effect, unclear []tableName, sql string,
) foreignKeyCheck {
	names := slices.Clone(unclear)
	add := func(n tableName) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for i := range effects {
		add(nameOf(effects[i].Table))
	}
	graph := &l.tables.cascades
	if len(graph.keys) > 0 && s.Action != ddl.Other && s.Action != ddl.TruncateTable {
		for _, n := range s.Tables {
			add(nameOf(n))
		}
	}
	if len(graph.keys) > 0 && s.Action == ddl.Unknown {
		s.Mentions(func(n ddl.TableName) bool {
			add(nameOf(n))
			return false
		})
	}
	names = slices.DeleteFunc(names, func(n tableName) bool {
		return l.tables.all[n.String()] == nil && !graph.contains(n)
	})
	check := foreignKeyCheck{altered: slices.Clone(names)}
	if len(names) > 0 {
		check.added = addedCascades(sql)
	}
	// A table that gets another name gets it in the keys of its children, too.
	for i := range graph.keys {
		if k := &graph.keys[i]; slices.Contains(check.altered, parentOf(k)) {
			add(childOf(k))
		}
	}
	check.names = names
	return check
}
