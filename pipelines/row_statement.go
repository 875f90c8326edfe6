package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/dml"
	"rowfall/transform"
)

// This file handles statements whose changes of rows were logged as their text, because the session
// has set binlog_format to STATEMENT or MIXED. Their rows are not known.
//
//   - A mapped table that the statement writes goes into quarantine.
//   - So does a mapped table whose foreign keys have changed rows because of the statement.
//   - If triggers of a mapped table may have changed other tables, all mapped tables are read
//     again.
//   - A statement that writes other tables is ignored if it certainly changes no mapped table
//     (write_checks.go). Otherwise the pipeline stops.

// rowStatement handles a statement that was logged as text instead of rows.
func (l *loop) rowStatement(ctx context.Context, ev *binlog.Event) error {
	l.stats.statements.Add(1)
	parsed, why := l.parseRowStatement(ev)
	// Does the user state which tables the statements of the transaction have changed? The request
	// makes a gap of them, and the text need not be understood.
	if skipped := l.skipTables(); len(skipped) > 0 {
		return l.leaveOutRowStatement(parsed, skipped, ev)
	}
	if why != nil {
		return l.stopAtRowStatement(ev, why)
	}
	if err := l.checkReads(ctx, parsed.Read, ev); err != nil {
		return err
	}
	return l.changeTables(ctx, parsed.Written, ev)
}

// checkReads stops the pipeline if one of the tables that a statement reads may change others.
func (l *loop) checkReads(ctx context.Context, tables []ddl.TableName, ev *binlog.Event) error {
	for _, n := range tables {
		why, err := l.writes.read(ctx, n, l.schemas)
		if err == nil && why != "" {
			err = l.stopAtRowStatement(ev, fmt.Errorf("table %s, which it reads: %s", n, why))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkSelect handles the SELECT of a CREATE TABLE ... SELECT that was logged as its text: a
// function that it calls may have changed any table.
func (l *loop) checkSelect(ctx context.Context, s *ddl.Statement, ev *binlog.Event) error {
	if !s.Select || ev.Skipped != nil || len(l.skipTables()) > 0 {
		return nil
	}
	if ev.Session.IsTextInexact {
		return l.stopAtRowStatement(ev, errors.New("characters of its text are not known"))
	}
	read, err := dml.ParseSelect(ev.SQL, l.ddlOptions(ev))
	if err != nil {
		return l.stopAtRowStatement(ev, err)
	}
	return l.checkReads(ctx, read, ev)
}

// formatSetting is what prevents statements that are logged as text.
const formatSetting = "set binlog_format=ROW in that session"

// quoteStatement returns the beginning of a statement and its database, in parentheses.
func quoteStatement(ev *binlog.Event) string {
	if ev.Database == "" {
		return "(without a default database: " + shorten(ev.SQL) + ")"
	}
	return "(in database " + ev.Database + ": " + shorten(ev.SQL) + ")"
}

// parseRowStatement finds the tables of a statement.
func (l *loop) parseRowStatement(ev *binlog.Event) (*dml.Statement, error) {
	if ev.Session.IsTextInexact {
		return nil, errors.New("characters of its text are not known")
	}
	return dml.Parse(ev.SQL, l.ddlOptions(ev))
}

// changeTables handles the tables that a statement writes.
func (l *loop) changeTables(
	ctx context.Context, written []ddl.TableName, ev *binlog.Event,
) error {
	reached, err := l.reachedByCascades(ctx, written)
	if err != nil {
		return err
	}
	hasMapped := false
	for _, n := range written {
		t := l.tableNamed(n)
		hasMapped = hasMapped || t != nil
		why, err := l.writes.written(ctx, n, l.schemas)
		switch {
		case err != nil:
			return err
		case t == nil && why != "":
			return l.stopAtRowStatement(ev, fmt.Errorf("table %s, which it writes: %s", n, why))
		case why != "":
			l.readOthers(t, why)
		}
	}
	for _, n := range written {
		if t := l.tableNamed(n); t != nil {
			fault := &binlog.RereadError{
				Cause: "rows were changed by a statement that was logged as its text " +
					quoteStatement(ev),
				Setting: formatSetting,
			}
			if err := l.quarantineWritten(t, fault); err != nil {
				return err
			}
		}
	}
	for _, t := range reached {
		fault := &binlog.RereadError{
			Cause: "a statement that was logged as its text " + quoteStatement(ev) +
				" changed rows that foreign keys of the table refer to",
			Setting: formatSetting,
		}
		if err := l.quarantineWritten(t, fault); err != nil {
			return err
		}
	}
	if !hasMapped && len(reached) == 0 {
		l.stats.passed.Add(1)
	}
	return nil
}

// tableNamed returns the mapped table with a name that a statement contains, or nil.
func (l *loop) tableNamed(n ddl.TableName) *mappedTable {
	if t := l.tables.all[n.String()]; t != nil && t.Database == n.Database {
		return t
	}
	if l.schemas.Dialect().LowerCaseNames == 0 {
		return nil
	}
	for _, t := range l.tables.all {
		if strings.EqualFold(t.Database, n.Database) && strings.EqualFold(t.Name, n.Table) {
			return t
		}
	}
	return nil
}

// reachedByCascades returns the mapped tables whose foreign keys may have changed rows because
// tables were written. Tables with `cascades: ignore` are left out.
func (l *loop) reachedByCascades(
	ctx context.Context, written []ddl.TableName,
) (reached []*mappedTable, err error) {
	if err := l.writes.readCascades(ctx, l.tables); err != nil {
		return nil, err
	}
	isConcerned := func(full string) bool {
		t := l.tables.all[full]
		if t == nil {
			return false
		}
		rule, err := l.ruleOf(t)
		return err == nil && rule.OnCascade != transform.IgnoreCascades
	}
	for _, n := range written {
		for _, full := range l.writes.graph.below(n, isConcerned) {
			t := l.tables.all[full]
			if t != l.tableNamed(n) && !slices.Contains(reached, t) {
				reached = append(reached, t)
			}
		}
	}
	return reached, nil
}

// quarantineWritten puts a table into quarantine, unless it is there already.
func (l *loop) quarantineWritten(t *mappedTable, fault error) error {
	if t.Fault != nil {
		return nil
	}
	err := l.quarantine(t, fault)
	if errors.As(err, new(*StopError)) {
		return l.offerSkip(err, t.FullName())
	}
	return err
}

// readOthers requests jobs, after the transaction, for the mapped tables that triggers of t may
// have changed.
func (l *loop) readOthers(t *mappedTable, why string) {
	reason := "a statement that was logged as its text changed " + t.FullName() + ": " + why
	for _, full := range l.tables.names() {
		if full != t.FullName() {
			l.tables.cascades.addDue(full, reason)
		}
	}
}

// leaveOutRowStatement handles a statement of a transaction whose changes of some tables are
// skipped. Other mapped tables that the statement certainly writes go into quarantine.
func (l *loop) leaveOutRowStatement(
	parsed *dml.Statement, skipped []string, ev *binlog.Event,
) error {
	if parsed == nil {
		return nil
	}
	for _, n := range parsed.Written {
		t := l.tableNamed(n)
		if t == nil || slices.Contains(skipped, t.FullName()) {
			continue
		}
		fault := fmt.Errorf("rows were changed by a statement that was logged as its text (%s), "+
			"and the request to skip its transaction does not name the table",
			shorten(ev.SQL))
		if err := l.quarantineWritten(t, fault); err != nil {
			return err
		}
	}
	return nil
}

// stopAtRowStatement returns the error for a statement that may change any table.
func (l *loop) stopAtRowStatement(ev *binlog.Event, why error) error {
	err := stop("transaction after %s: changes were logged as a statement instead of rows %s, "+
		"and which mapped tables it changes is not known: %w", l.progress.Position,
		quoteStatement(ev), why)
	at := l.stream.Transaction()
	if id := at.ID(); !id.IsZero() && !l.isOffline {
		err = fmt.Errorf("%w; step over this transaction, which makes a gap: rowfall skip %s "+
			"--at %s (if you know which mapped tables it changes, name all of them in this "+
			"command: --table DATABASE.TABLE --table DATABASE.TABLE ...), and then close the gap "+
			"with rowfall backfill", err, l.config.Path, id)
	}
	return fmt.Errorf("%w; so that it does not happen again, set binlog_format=ROW on the "+
		"server, for all sessions", err)
}
