package pipelines

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/events"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// A run may begin before the position from which on the definition of a table is known: with a
// start in the past, or with --from. Then only a later definition is known, and the table may have
// been altered in between. Such a definition is tentative. It is replaced by the columns of a table
// map with full metadata, by a CREATE TABLE, or by --schema. Until then the table's rows are not
// read.

// isTentative reports whether the table's definition may be wrong at the stream's position.
func (t *mappedTable) isTentative() bool { return t.definition != nil && t.definition.Tentative }

// isTentative reports whether the table with a name is mapped and has a tentative definition.
func (s *tableSet) isTentative(n ddl.TableName) bool {
	t := s.all[n.String()]
	return t != nil && t.isTentative()
}

// keepsColumns reports whether a new schema has the same columns as the present one, so that rows
// logged before the change can be read with either schema.
func (t *mappedTable) keepsColumns(next *binlog.Table) bool {
	if t.Schema == nil || next == nil || t.isTentative() || t.Job.NeedsSchema {
		return false
	}
	a, b := binlog.Table{Columns: t.Schema.Columns}, binlog.Table{Columns: next.Columns}
	return a.Equal(&b)
}

// changesDefinition reports whether statements of an action derive a definition from an earlier
// one. From a tentative definition they would derive a wrong one.
func changesDefinition(a ddl.Action) bool { return a == ddl.AlterTable || a == ddl.CreateTable }

// setTentative sets or clears the tentative mark of a table's definition.
func (s *tableSet) setTentative(t *mappedTable, isTentative bool) {
	if t.definition == nil || t.definition.Tentative == isTentative {
		return
	}
	d := *t.definition
	d.Tentative = isTentative
	t.definition = &d
}

var _ events.Supplier = (*tableSet)(nil)

// errNoMetadata puts a table into quarantine whose columns at the position are not known.
var errNoMetadata = errors.New("its columns at this position are not known: the run began before " +
	"they were recorded, and the binlog does not contain them; begin with --from POSITION " +
	"--schema dump.sql, where dump.sql has the tables as they were at POSITION, or set " +
	"binlog_row_metadata=FULL on the server and begin at a later position")

// Supply implements events.Supplier. The columns of a table whose definition is tentative are taken
// from the table map.
func (s *tableSet) Supply(
	t *binlog.Table, logged *binlog.LoggedTable,
) (*binlog.Table, error) {
	m := s.byTable[t]
	if m == nil || !m.isTentative() {
		return t, nil
	}
	if logged == nil {
		s.supplied[m] = errNoMetadata
		return nil, nil
	}
	schema, err := logged.Supply(t)
	if err != nil {
		s.supplied[m] = fmt.Errorf("%w; begin with --from POSITION --schema dump.sql, where "+
			"dump.sql has the tables as they were at POSITION", err)
		return nil, nil
	}
	s.supplied[m] = nil
	if schema == t {
		s.setTentative(m, false)
		return t, nil
	}
	plan, err := s.compile(schema)
	if err == nil && plan == nil {
		err = errors.New("the mapping does not match the table with these columns")
	}
	if err != nil {
		s.supplied[m] = err
		return nil, nil
	}
	m.Interrupt()
	s.define(m, ddl.FromTable(schema), schema, plan)
	return schema, nil
}

// handleSupplied saves the definitions that table maps have supplied. A table whose table map did
// not supply the columns goes into quarantine; its rows were skipped.
func (l *loop) handleSupplied(ctx context.Context) error {
	if len(l.tables.supplied) == 0 {
		return nil
	}
	for t, fault := range l.tables.supplied {
		if fault != nil {
			if err := l.quarantine(t, fmt.Errorf("table %s: %w", t.FullName(), fault)); err != nil {
				return err
			}
			continue
		}
		l.log.Info().Str("table", t.FullName()).
			Msg("the columns of a table are taken from the binlog")
		if t.Keys != nil { // the keys may consist of other columns
			if err := l.Reconcile(&t.Table, "its columns were not known before"); err != nil {
				return err
			}
		}
		if err := t.save(&l.unit, l.config.Name); err != nil {
			return err
		}
	}
	clear(l.tables.supplied)
	if err := l.tables.checkConflicts(); err != nil {
		return err
	}
	l.tablesChanged()
	return l.flush(ctx)
}

// createdTentative handles the CREATE of a table with a tentative definition. CREATE OR REPLACE may
// have dropped a table of this name, whose keys may be in the sink. These keys serve until a job
// has removed those without a row.
func (l *loop) createdTentative(t *mappedTable, e *ddl.Effect) error {
	job := t.Job
	if e.Replaces && !l.isOffline {
		job = l.reconcileJob("CREATE OR REPLACE TABLE")
		job.MissedFrom = l.missedFrom(t)
	}
	return l.redefine(t, e.Schema, job)
}

// confirmDefinitions is called at the end of the binlog. Tentative definitions that equal the
// server's present ones are no longer tentative.
func (l *loop) confirmDefinitions(
	ctx context.Context, current map[string]*binlog.Table,
) error {
	for _, name := range l.tables.names() {
		t, now := l.tables.all[name], current[name]
		if !t.isTentative() || now == nil || !t.hasSchema(now) {
			continue
		}
		l.tables.setTentative(t, false)
		if err := t.save(&l.unit, l.config.Name); err != nil {
			return err
		}
	}
	return l.Flush(ctx)
}

// markTentative marks definitions as tentative that are only known to be valid from a later
// position than start, where the run begins.
func (l *loop) markTentative(start *binlog.Position) {
	for _, t := range l.tables.all {
		if t.since != nil && !includes(start, t.since) {
			l.tables.setTentative(t, true)
		}
	}
}

// completeSince is called when the tables have been loaded from the data, whose position is stored.
// It completes the positions from which on the definitions are valid:
//
//   - An older version did not store them. Its definitions are valid at stored. During a replay
//     (--from a position in the past), they are only valid from the head of the replay on, and
//     tentative before it.
//   - On another server than the one of stored, files and offsets of positions have no meaning.
func (l *loop) completeSince(stored *progress, head *binlog.Position) error {
	isOtherServer := stored.Server != l.progress.Server
	for _, name := range l.tables.names() {
		t := l.tables.all[name]
		switch {
		case t.definition == nil:
			continue
		case t.since == nil:
			at := stored.Position
			if stored.Phase == sink.Replaying {
				at = *head
				l.tables.setTentative(t, !includes(&stored.Position, &at))
			}
			t.since = &at
		case !isOtherServer:
			continue
		}
		if isOtherServer {
			t.since.File, t.since.Offset = "", 0
		}
		if err := t.save(&l.unit, l.config.Name); err != nil {
			return err
		}
	}
	return nil
}

// saveSince puts the position from which on the definition is valid into a unit.
func (t *mappedTable) saveSince(u *sink.Unit, pipeline string) error {
	if t.since == nil {
		u.DropState(pipeline, tablestate.SincePrefix+t.FullName())
		return nil
	}
	text, err := tablestate.EncodePosition(t.since)
	if err != nil {
		return err
	}
	u.SetState(pipeline, tablestate.SincePrefix+t.FullName(), text)
	return nil
}

// readSince returns the position from which on the definition of a table is valid; nil if the
// pieces of state do not contain that position.
func readSince(pieces map[string][]byte, full string) (*binlog.Position, error) {
	text := pieces[tablestate.SincePrefix+full]
	if text == nil {
		return nil, nil
	}
	p, err := tablestate.DecodePosition(text)
	if err != nil {
		return nil, corrupt("position of the definition of "+full, err)
	}
	return &p, nil
}
