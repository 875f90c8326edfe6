package pipelines

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/transform"
)

// schemaCheck compares the definitions of the data with the server's, once per run. Only tables
// that differ are compared again: reading the definitions of thousands of tables takes seconds, and
// other sessions may alter some of them all the time. The server's definitions are the present
// ones, so they can be compared only when the stream has reached the end that the binlog had when
// they were read. A table that differs was altered by a statement that is not in the binlog
// (sql_log_bin=0), and is read again.
type schemaCheck struct {
	// due is the position that the stream must reach for the next step.
	due binlog.Position
	// done means that no step is due.
	done bool
	// current are the server's schemas, which were read before due; nil means that they are to be
	// read at due.
	current map[string]*binlog.Table
	// differs are the tables that differed once. A difference counts if it is found twice.
	differs map[string]bool
	// only are the tables to compare; nil means all.
	only map[string]bool
}

// reasonUnloggedDrop is why the keys of a table are removed that the server does not have, although
// no statement has dropped it.
const reasonUnloggedDrop = "DROP that is not in the binlog"

// errStopAtDrop is the fault of a table that is gone without a statement, if `on_drop` is stop.
var errStopAtDrop = errors.New("the server has no such table, and `on_drop` is stop; " +
	"set `on_drop: delete` or `ignore`, start again, and run rowfall backfill")

// scheduleSchemaCheck schedules a comparison for when the stream reaches the binlog's present end.
func (l *loop) scheduleSchemaCheck(ctx context.Context) error {
	if l.isOffline {
		l.check = schemaCheck{done: true}
		return nil
	}
	end, err := l.schemas.EndOfLog(ctx)
	if err != nil {
		return err
	}
	l.check = schemaCheck{due: end, differs: l.check.differs}
	return nil
}

// checkSchemas performs the next step of the check if it is due.
func (l *loop) checkSchemas(ctx context.Context) error {
	c := &l.check
	if c.done || l.stream.Position().CompareFile(c.due) < 0 {
		return nil
	}
	if c.current == nil {
		current, err := l.schemas.Schemas(ctx, c.only)
		if err != nil {
			return err
		}
		if c.due, err = l.schemas.EndOfLog(ctx); err != nil {
			return err
		}
		if c.current = current; l.stream.Position().CompareFile(c.due) < 0 {
			return nil
		}
	}
	if err := l.quarantineUnfollowed(ctx, c.current); err != nil {
		return err
	}
	if err := l.confirmDefinitions(ctx, c.current); err != nil {
		return err
	}
	different := l.tables.differences(c.current, c.only)
	if c.only == nil {
		l.warnLostAtRestart(c.current)
	}
	if len(different) == 0 {
		l.check = schemaCheck{done: true}
		return nil
	}
	// A table that may not be read looks as if it was dropped.
	if err := l.schemas.CheckGrants(ctx); err != nil {
		return err
	}
	again := make(map[string]bool)
	for _, t := range different {
		if !c.differs[t.FullName()] {
			// A statement that is under way may not be logged yet. It holds the table's lock.
			again[t.FullName()] = true
			if c.current[t.FullName()] == nil {
				continue
			}
			if err := l.schemas.AwaitDDL(ctx, t.name()); err != nil {
				return err
			}
			continue
		}
		if err := l.handleDifference(ctx, t, c.current[t.FullName()] != nil); err != nil {
			return err
		}
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	c.differs = again
	if err := l.scheduleSchemaCheck(ctx); err != nil {
		return err
	}
	c.only = again
	return nil
}

// handleDifference handles a table that a statement has altered, or dropped if the server has it
// no longer, without the binlog.
func (l *loop) handleDifference(ctx context.Context, t *mappedTable, exists bool) error {
	if exists {
		return l.rebuildUnknown(t.name(), "its definition differs from the server's, "+
			"and no statement in the binlog says how")
	}
	rule, err := l.ruleOf(t)
	if err != nil {
		return err
	}
	if rule.OnDrop == transform.StopAtRemoval {
		// No position is before the statement, so a stop would last for ever.
		return l.quarantine(t, errStopAtDrop)
	}
	heirs, err := l.adoptUnlogged(ctx, t)
	if err != nil {
		return err
	}
	if err := l.tableGone(ctx, t.name(), t, reasonUnloggedDrop, heirs); err != nil {
		return err
	}
	l.tablesChanged()
	return nil
}

// quarantineUnfollowed puts the tables into quarantine whose rows cannot be followed. An older
// version may have mapped them, or the cause came later, such as a MERGE table that includes one.
func (l *loop) quarantineUnfollowed(
	ctx context.Context, current map[string]*binlog.Table,
) error {
	for _, name := range l.tables.names() {
		m, t := l.tables.all[name], current[name]
		if t == nil || m.Fault != nil || t.NotFollowed == "" ||
			t.NotFollowed == query.LostAtRestart {
			continue
		}
		fault := fmt.Errorf("mapped table %s cannot be followed: %s; end that, "+
			"or leave the table out (ignore: true)", name, t.NotFollowed)
		if err := l.quarantine(m, fault); err != nil {
			return err
		}
	}
	return l.Flush(ctx)
}

// differences returns the tables whose definition is known and differs from the server's; if only
// is not nil, those of them that only names. A table whose job is about to read the definition is
// not among them: a new job would interrupt that one.
func (s *tableSet) differences(
	current map[string]*binlog.Table, only map[string]bool,
) []*mappedTable {
	var found []*mappedTable
	for _, name := range s.names() {
		m, t := s.all[name], current[name]
		followed := m.definition != nil && m.Fault == nil && !m.Job.NeedsSchema
		if (only == nil || only[name]) && followed && (t == nil || !m.hasSchema(t)) {
			found = append(found, m)
		}
	}
	return found
}

// warnLostAtRestart logs the mapped tables that a restart of the server empties. Only an older
// version can have mapped them; their rows are correct until that restart.
func (l *loop) warnLostAtRestart(current map[string]*binlog.Table) {
	for _, name := range l.tables.names() {
		if t := current[name]; t != nil && t.NotFollowed == query.LostAtRestart {
			l.log.Warn().Str("table", name).Str("reason", t.NotFollowed).
				Msg("table is mapped, but cannot be followed past a restart of the server; " +
					"leave it out (ignore: true) when the data are built again")
		}
	}
}
