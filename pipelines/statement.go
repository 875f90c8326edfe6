package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// statement handles a statement that was logged as text. A statement that touches no table of the
// mapping only moves the position.
func (l *loop) statement(ctx context.Context, ev *binlog.Event) error {
	l.stats.statements.Add(1)
	l.previous = l.progress.Position
	s := ddl.Parse(ev.SQL, l.ddlOptions(ev))
	touches := false
	if ev.Skipped == nil {
		var err error
		if touches, err = l.applyStatement(ctx, s, ev); err != nil {
			if errors.As(err, new(*settingError)) {
				err = l.offerSkip(err, "")
			}
			return err
		}
	} else if err := l.leaveOutStatement(ctx, s, ev); err != nil {
		return err
	}
	if ev.InTransaction {
		return nil // the transaction's commit moves the position
	}
	from := l.progress.Position
	l.advancePosition(max(l.progress.Time, ev.Time)) // a statement's time has whole seconds only
	skipped, err := l.completeSkips(&from, ev)
	if err != nil {
		return err
	}
	if err := l.maybeFlush(ctx, touches || skipped); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

// applyStatement applies a statement to the tables of the mapping, and reports whether it touches
// any. What is removed from the sink is removed before the position moves, so that a run that is
// interrupted begins with this statement again. The rest is in the unit that moves the position.
func (l *loop) applyStatement(
	ctx context.Context, s *ddl.Statement, ev *binlog.Event,
) (touches bool, err error) {
	if s.Temporary {
		return false, nil
	}
	if err := l.trackNames(s, ev.SQL); err != nil {
		return false, err
	}
	effects, unclear, why, err := l.effectsOf(s, ev)
	if err != nil {
		return false, err
	}
	keys := l.foreignKeysOf(s, effects, unclear, ev.SQL)
	effects, unclear, leftOut := l.leaveOutEffects(effects, unclear)
	if len(effects)+len(unclear)+len(leftOut)+len(keys.names) == 0 {
		return false, nil
	}
	if !ev.InTransaction && !l.unit.IsEmpty() {
		if err := l.flush(ctx); err != nil {
			return true, err
		}
	}
	heirs := l.plansOfRenamed(effects)
	for i := range effects {
		if err := l.applyEffect(ctx, &effects[i], ev.SQL, heirs); err != nil {
			return true, err
		}
	}
	for _, n := range unclear {
		if err := l.rebuildUnknown(n, why+": "+shorten(ev.SQL)); err != nil {
			return true, err
		}
	}
	if err := l.rebuildLeftOut(leftOut, ev.SQL); err != nil {
		return true, err
	}
	l.tablesChanged()
	l.stream.Forget()
	if err := l.tables.checkConflicts(); err != nil {
		return true, err
	}
	if err := l.checkForeignKeys(ctx, keys); err != nil {
		return true, err
	}
	l.tablesChanged()
	return true, nil
}

// trackNames updates what the pipeline records of databases, views, and tables that wildcards skip.
func (l *loop) trackNames(s *ddl.Statement, sql string) error {
	l.trackSkipped(s)
	if err := l.trackViews(s, sql); err != nil {
		return err
	}
	return l.trackDatabase(s)
}

// effectsOf returns what a statement does to the tables of the mapping. unclear lists the tables
// that the statement names and whose effect is unknown; why is the reason.
func (l *loop) effectsOf(
	s *ddl.Statement, ev *binlog.Event,
) (effects []ddl.Effect, unclear []ddl.TableName, why string, err error) {
	all, applyErr := s.Apply(catalog{l.tables, s.Action})
	why = "the effect of a statement on its columns is not known"
	if applyErr != nil {
		why = applyErr.Error()
	}
	if applyErr != nil || ev.Session.IsTextInexact || s.Action == ddl.Unknown {
		unclear, err = l.namedTables(s, ev.Session.IsTextInexact)
		unclear = slices.DeleteFunc(unclear, l.tables.isTentative)
		if err != nil || applyErr != nil {
			return nil, unclear, why, err
		}
	}
	for _, e := range all {
		matches, err := l.matches(e.Table)
		if err != nil {
			return nil, nil, why, err
		}
		// With IF NOT EXISTS, the table may have existed before, with other columns.
		mayExist := s.IfNotExists && l.tables.isTentative(e.Table)
		if matches && !mayExist && !slices.Contains(unclear, e.Table) {
			effects = append(effects, e)
		}
	}
	// Apply returns no effect for a table without a known definition. The table's job must read the
	// definition again.
	for _, n := range s.Tables {
		t := l.tables.all[n.String()]
		hasEffect := slices.ContainsFunc(effects, func(e ddl.Effect) bool {
			return e.Table == n || e.From == n && e.Schema == nil // see renamedUnknown
		})
		if t != nil && t.Job.NeedsSchema && !hasEffect && s.Action != ddl.Other {
			unclear = append(unclear, n)
		}
	}
	return withoutReplaced(effects), unclear, why, nil
}

// withoutReplaced removes the effects that a RENAME of several tables undoes itself. A name that a
// table gets for a moment, as x in RENAME TABLE a TO x, b TO a, x TO b, has no effect. A name that
// is gone, and that another table then gets, has no TableGone, as in online schema changes: the old
// keys serve until the new rows are read.
func withoutReplaced(effects []ddl.Effect) []ddl.Effect {
	later := func(i int, class ddl.Class) int {
		return slices.IndexFunc(effects[i+1:], func(e ddl.Effect) bool {
			return e.Table == effects[i].Table && e.Class == class &&
				(class != ddl.TableNew || e.From != (ddl.TableName{}))
		})
	}
	for i := 0; i < len(effects); {
		e := &effects[i]
		if e.Class == ddl.TableNew && e.From != (ddl.TableName{}) {
			if gone := later(i, ddl.TableGone); gone >= 0 {
				effects = slices.Delete(effects, i+1+gone, i+2+gone)
				effects = slices.Delete(effects, i, i+1)
				continue
			}
		}
		i++
	}
	for i := 0; i < len(effects); {
		if effects[i].Class == ddl.TableGone && later(i, ddl.TableNew) >= 0 {
			effects = slices.Delete(effects, i, i+1)
			continue
		}
		i++
	}
	return effects
}

// matches reports whether the mapping matches a table.
func (l *loop) matches(n ddl.TableName) (bool, error) {
	rule, err := l.config.Mapping.Rule(n.Database, n.Table)
	if err != nil {
		return false, &StopError{Err: err}
	}
	return rule != nil, nil
}

// namedTables returns the tables of the mapping that occur in a statement's text. If characters of
// the text are lost, every table whose name is not ASCII may occur.
func (l *loop) namedTables(s *ddl.Statement, inexact bool) (names []ddl.TableName, err error) {
	add := func(n ddl.TableName) {
		matches, e := l.matches(n)
		err = errors.Join(err, e)
		if matches && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range s.Tables {
		add(n)
	}
	s.Mentions(func(n ddl.TableName) bool {
		if l.tables.all[n.String()] != nil {
			add(n)
		}
		return false
	})
	if inexact {
		for _, full := range l.tables.names() {
			if strings.ContainsFunc(full, func(r rune) bool { return r >= utf8.RuneSelf }) {
				add(l.tables.all[full].name())
			}
		}
	}
	return names, err
}

// applyEffect applies what a statement does to one table. heirs are the plans of the tables that
// the statement has renamed.
func (l *loop) applyEffect(
	ctx context.Context, e *ddl.Effect, sql string, heirs []*transform.Plan,
) error {
	n := e.Table
	t := l.tables.all[n.String()]
	var former *ddl.Schema
	if t != nil {
		former = t.definition
	}
	e.Schema = query.WithEngine(e.Schema, former)
	if e.Schema != nil && e.Schema.NotFollowed != "" {
		// For example a MERGE table, which shows the rows of other tables.
		if err := l.scheduleSchemaCheck(ctx); err != nil {
			return err
		}
	}
	l.log.Info().Stringer("table", e.Table).Stringer("class", e.Class).Str("reason", e.Reason).
		Str("statement", shorten(sql)).Msg("the definition of a table changes")
	switch e.Class {
	case ddl.TableGone:
		return l.tableGone(ctx, n, t, e.Reason, heirs)
	case ddl.TableNew:
		return l.tableNew(n, t, e)
	case ddl.RowsRemoved:
		if t == nil {
			return nil
		}
		return l.rowsRemoved(ctx, t, e.Reason)
	}
	if t == nil { // for example, it was not mapped because it had no key
		return l.adoptUnmapped(n, e.Schema, e.Reason)
	}
	return l.altered(ctx, t, e)
}

// tableGone handles a DROP, or a RENAME to another name. Keys that a plan of heirs can write stay.
func (l *loop) tableGone(
	ctx context.Context, n ddl.TableName, t *mappedTable, reason string, heirs []*transform.Plan,
) error {
	full := n.String()
	if t == nil {
		delete(l.tables.unmapped, full)
		delete(l.tables.definitions, full)
		l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+full)
		l.unit.DropState(l.config.Name, tablestate.DefinitionPrefix+full)
		return nil
	}
	rule, err := l.ruleOf(t)
	if err != nil {
		return err
	}
	if err := l.removeRows(ctx, t, rule.OnDrop, reason, "on_drop", heirs); err != nil {
		return err
	}
	l.tables.remove(t)
	l.saveLetters()
	t.drop(&l.unit, l.config.Name)
	return nil
}

// rowsRemoved handles a TRUNCATE. What a job has read is discarded, and the table is empty.
func (l *loop) rowsRemoved(ctx context.Context, t *mappedTable, reason string) error {
	rule, err := l.ruleOf(t)
	if err != nil {
		return err
	}
	if err := l.removeRows(ctx, t, rule.OnTruncate, reason, "on_truncate", nil); err != nil {
		return err
	}
	l.tables.letters.forget(t)
	l.saveLetters()
	if rule.OnTruncate == transform.RemoveKeys {
		// The table is empty, and so is what the sink holds of it.
		if err := l.closeGapsOf(t.FullName(), l.gaps.Last, false); err != nil {
			return err
		}
	}
	switch {
	case t.Fault != nil || t.Job.NeedsSchema:
		t.Interrupt()
		return nil
	case rule.OnTruncate == transform.KeepKeys:
		// A new row may have the key of an old one, so rows are written in mode Replace.
		t.Restart(tablestate.Job{Skipped: true, Compare: true, ID: t.Job.ID})
		return t.saveJob(&l.unit, l.config.Name)
	case t.Job.Done || t.Job.Skipped && !t.Job.Cancelled:
		return nil
	}
	t.Restart(tablestate.Job{Done: true, ID: t.Job.ID})
	return t.saveJob(&l.unit, l.config.Name)
}

// removeRows removes the keys of a table as the mapping says. Keys that a plan of heirs can write
// stay: the job of that plan's table removes those that have no row.
func (l *loop) removeRows(
	ctx context.Context, t *mappedTable, on transform.OnRemoval, reason, setting string,
	heirs []*transform.Plan,
) error {
	switch on {
	case transform.StopAtRemoval:
		return l.errRemoval(t, reason, setting)
	case transform.KeepKeys:
		return nil
	}
	t.Interrupt()
	n := 0
	if t.Plan != nil {
		var err error
		present := overlapping(t.Plan, heirs)
		if n, err = l.removeKeys(ctx, t.Plan, present, present, reason); err != nil {
			return err
		}
	}
	if err := l.removeFormer(ctx, t, heirs); err != nil {
		return err
	}
	l.log.Warn().Str("table", t.FullName()).Str("reason", reason).Int("removed", n).
		Msg("the keys of a table are removed")
	return nil
}

// errRemoval returns the error for a removal of a table's rows that a setting does not allow.
func (l *loop) errRemoval(t *mappedTable, reason, setting string) error {
	return &StopError{Err: &settingError{fmt.Errorf(
		"a %s of mapped table %s follows position %s, and its `%s` is stop; "+
			"set `%s: delete` or `ignore`, and start again",
		reason, t.FullName(), l.progress.Position, setting, setting)}}
}

// tableNew handles a table that gets a name: by CREATE it is empty, by RENAME it has rows that were
// never logged under this name.
func (l *loop) tableNew(n ddl.TableName, t *mappedTable, e *ddl.Effect) error {
	wasRenamed := e.From != (ddl.TableName{})
	switch {
	case e.Schema == nil && t != nil && t.isTentative():
		return nil
	case e.Schema == nil:
		return l.renamedUnknown(n, e)
	case t != nil && t.isTentative() && !wasRenamed:
		return l.createdTentative(t, e)
	}
	if t != nil && !wasRenamed {
		// The definition of t is not known, and what a job has read of it may be older than the
		// table that is created here.
		t.Interrupt()
		return nil
	}
	_, known := l.tables.unmapped[n.String()]
	delete(l.tables.unmapped, n.String())
	delete(l.tables.definitions, n.String())
	if t != nil {
		job := l.reconcileJob(e.Reason)
		job.MissedFrom = l.missedFrom(t)
		return l.redefine(t, e.Schema, job)
	}
	added, err := l.tables.add(e.Schema)
	if err != nil {
		return l.addFaulty(n, e.Schema, err)
	}
	if added == nil {
		reason := l.tables.unmapped[n.String()]
		l.log.Warn().Stringer("table", n).Str("reason", reason).Msg("new table is not mapped")
		return l.tables.saveUnmapped(&l.unit, l.config.Name, n.String())
	}
	l.log.Info().Stringer("table", n).Msg("new table is mapped")
	l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+n.String())
	rule, err := l.ruleOf(added)
	if err != nil {
		return err
	}
	// With `on_drop: ignore`, keys of a dropped table may be in the way: see rowsRemoved.
	keepsKeys := rule.OnDrop == transform.KeepKeys
	added.Job = tablestate.Job{Done: !keepsKeys, Skipped: keepsKeys, Compare: keepsKeys}
	if wasRenamed || known {
		added.Job = l.reconcileJob(e.Reason)
		added.Job.MissedFrom = l.missedFrom(added)
	}
	return added.save(&l.unit, l.config.Name)
}

// adoptUnmapped maps a table that could not be mapped before, if its new definition allows it.
func (l *loop) adoptUnmapped(n ddl.TableName, d *ddl.Schema, reason string) error {
	added, err := l.tables.add(d)
	if err != nil {
		return l.addFaulty(n, d, err)
	}
	full := n.String()
	if added == nil {
		return l.tables.saveUnmapped(&l.unit, l.config.Name, full)
	}
	l.log.Info().Stringer("table", n).Msg("table can be mapped now")
	l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+full)
	added.Job = l.reconcileJob(reason)
	added.Job.MissedFrom = l.missedFrom(added)
	return added.save(&l.unit, l.config.Name)
}

// addFaulty maps a new table that the mapping does not fit, in quarantine.
func (l *loop) addFaulty(n ddl.TableName, d *ddl.Schema, fault error) error {
	t := l.tables.put(n)
	l.tables.define(t, d, d.Table(), nil)
	t.Job = l.reconcileJob(fault.Error())
	return l.quarantine(t, fault)
}

// altered handles an ALTER of a mapped table.
func (l *loop) altered(ctx context.Context, t *mappedTable, e *ddl.Effect) error {
	rule, err := l.ruleOf(t)
	if err != nil {
		return err
	}
	job := t.Job
	changesKeys := e.Class == ddl.ColumnsChanged || e.Class == ddl.ValuesChanged || e.KeyChanged
	if changesKeys && e.Class == ddl.ValuesChanged {
		switch rule.OnAlter {
		case transform.StopAtAlter:
			return &StopError{Err: &settingError{fmt.Errorf(
				"an ALTER (%s) of mapped table %s follows position %s and logs no rows, "+
					"and its `on_alter` is stop; set `on_alter: reconcile`, and start again",
				e.Reason, t.FullName(), l.progress.Position)}}
		case transform.QuarantineAtAlter:
			l.tables.define(t, e.Schema, e.Schema.Table(), nil)
			return l.quarantine(t, fmt.Errorf("an ALTER (%s) changed rows without logging them, "+
				"and `on_alter` is quarantine; end it with rowfall backfill", e.Reason))
		case transform.IgnoreAlter:
			changesKeys = e.KeyChanged
		}
	}
	if changesKeys && (!job.Skipped || job.Cancelled) {
		job = l.reconcileJob(e.Reason)
		job.MissedFrom = l.missedFrom(t)
	}
	return l.redefine(t, e.Schema, job)
}

// redefine gives a table another definition and job. If the mapping does not fit it any more, the
// table goes into quarantine.
func (l *loop) redefine(t *mappedTable, d *ddl.Schema, job tablestate.Job) error {
	schema, before := d.Table(), t.Schema
	if t.Schema != nil && t.Schema.Equal(schema) && t.Schema.NotFollowed == schema.NotFollowed {
		schema = t.Schema // which the stream may have looked up
	}
	plan, err := l.tables.compile(schema)
	switch {
	case err == nil && plan == nil:
		err = errors.New("the mapping does not match it any more")
	case err == nil && d.NotFollowed != "":
		err = fmt.Errorf("table %s cannot be followed: %s; end that, "+
			"or leave the table out (ignore: true)", t.FullName(), d.NotFollowed)
	}
	if err != nil {
		l.tables.define(t, d, schema, nil)
		return l.quarantine(t, err)
	}
	l.tables.define(t, d, schema, plan)
	if t.Fault != nil { // the statement may have removed the cause
		job = l.reconcileJob("leaving quarantine")
		job.MissedFrom, t.Fault = l.missedFrom(t), nil
		if err := l.makeGapOfEntries(t, job.MissedFrom); err != nil {
			return err
		}
	}
	if err := l.restart(t, job); err != nil {
		return err
	}
	if t.Keys != nil && schema != before { // the keys may be those of other columns
		job = l.reconcileJob("an ALTER while rows were read by their keys")
		if err := l.restart(t, job); err != nil {
			return err
		}
	}
	return t.save(&l.unit, l.config.Name)
}

// ruleOf returns the settings of a mapped table.
func (l *loop) ruleOf(t *mappedTable) (*transform.Rule, error) {
	rule, err := l.config.Mapping.Rule(t.Database, t.Name)
	if err != nil {
		return nil, &StopError{Err: err}
	}
	if rule == nil {
		return new(transform.Rule), nil
	}
	return rule, nil
}

// trackViews updates the list of views and sequences whose names match the mapping. They are not
// mapped. A table can get the name of a dropped view.
func (l *loop) trackViews(s *ddl.Statement, sql string) error {
	if s.Action != ddl.Other || s.Object != "VIEW" && s.Object != "SEQUENCE" {
		return nil
	}
	isDrop := strings.HasPrefix(strings.ToUpper(strings.TrimSpace(sql)), "DROP")
	for _, name := range s.Tables {
		full := name.String()
		matches, err := l.matches(name)
		if err != nil {
			return err
		}
		if !matches || l.tables.all[full] != nil {
			continue
		}
		if isDrop {
			delete(l.tables.unmapped, full)
			delete(l.tables.definitions, full)
			l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+full)
		} else {
			l.tables.unmapped[full] = "it is a " + strings.ToLower(s.Object)
			if err := l.tables.saveUnmapped(&l.unit, l.config.Name, full); err != nil {
				return err
			}
		}
		l.tablesChanged()
	}
	return nil
}

// trackDatabase updates the default character set of a database.
func (l *loop) trackDatabase(s *ddl.Statement) error {
	before := l.tables.databases[s.Database]
	switch s.Action {
	case ddl.CreateDatabase, ddl.AlterDatabase:
		after, err := s.DatabaseCharset(before)
		if err != nil {
			delete(l.tables.databases, s.Database)
		} else if after == before {
			return nil
		} else {
			l.tables.databases[s.Database] = after
		}
	case ddl.DropDatabase:
		delete(l.tables.databases, s.Database)
	default:
		return nil
	}
	return l.tables.saveDatabases(&l.unit, l.config.Name)
}

// shorten returns a statement on one line, in quotes, cut to 120 bytes.
func shorten(sql string) string {
	const most = 4096 // of a statement of megabytes, the beginning is enough
	sql = strings.Join(strings.Fields(binlog.Clip(sql, most)), " ")
	return fmt.Sprintf("%q", binlog.Clip(sql, 120))
}
