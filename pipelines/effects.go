package pipelines

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

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
		return l.recordDropped(n)
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
	return l.recordDropped(n)
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
	l.tables.recordAlter(t, rule, e)
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
