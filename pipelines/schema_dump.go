package pipelines

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
)

// UseSchema sets the definitions of the tables at the position where the next run begins. dump
// contains SQL statements, such as the output of mysqldump --no-data --databases. Call UseSchema
// before Run.
func (p *Pipeline) UseSchema(dump string) { p.schemaDump = dump }

// applySchemaDump takes the tables' definitions from --schema, if that was given. These definitions
// are valid at start, the position where the run begins.
func (l *loop) applySchemaDump(start *binlog.Position) error {
	if l.schemaDump == "" {
		return nil
	}
	var failed error
	matches := func(n ddl.TableName) bool {
		ok, err := l.matches(n)
		if err != nil {
			failed = err
		}
		return ok
	}
	list, err := ddl.ReadDump(l.schemaDump, l.schemas.Dialect(), l.tables.databases, matches)
	if failed != nil {
		return failed
	}
	if err != nil {
		return stop("--schema: %w", err)
	}
	if len(list) == 0 {
		return stop("--schema: the file creates no table that the mapping matches")
	}
	for _, d := range list {
		if err := l.useDefinition(d, start); err != nil {
			return err
		}
	}
	return l.tables.checkConflicts()
}

// useDefinition sets the definition that a table has at start, the position where the run begins.
// The table may have been dropped since, so it may not be mapped yet.
func (l *loop) useDefinition(d *ddl.Schema, start *binlog.Position) error {
	n := d.TableName()
	t := l.tables.all[n.String()]
	switch {
	case t != nil:
		if err := l.redefine(t, d, t.Job); err != nil {
			return err
		}
	default:
		added, err := l.tables.add(d)
		if err != nil {
			if err := l.addFaulty(n, d, err); err != nil {
				return err
			}
			added = l.tables.all[n.String()]
		}
		if added == nil { // for example, a table without a key
			return nil
		}
		t = added
		t.Job = tablestate.Job{Skipped: true}
	}
	at := *start
	t.since = &at
	return t.save(&l.unit, l.config.Name)
}

// checkSchemaDump returns a StopError if --schema was given to a run that does not begin in the
// past.
func (l *loop) checkSchemaDump(from string, isEmpty bool) error {
	if isEmpty && from == "" {
		from = l.config.Source.Start
	}
	if l.schemaDump == "" ||
		from != "" && from != "now" && from != fromSnapshot && from != FromReplace {
		return nil
	}
	return stop("--schema belongs to a start in the past: " +
		"add --from POSITION; the file must have the tables as they were at POSITION")
}

// reviseDefinitions is called after --from has moved the position. It sets the definitions that the
// tables have at the new position, as far as they are known. was is the position before the move.
func (l *loop) reviseDefinitions(
	ctx context.Context, from string, was *binlog.Position, schemas map[string]*binlog.Table,
) (err error) {
	start := &l.progress.Position
	if includes(was, start) {
		if err := l.applySchemaDump(start); err != nil {
			return err
		}
		l.markTentative(start)
		return l.tables.save(&l.unit, l.config.Name)
	}
	// Statements between the two positions are missed.
	if schemas == nil {
		if schemas, err = l.schemas.Schemas(ctx, nil); err != nil {
			return err
		}
	}
	for _, name := range l.tables.names() {
		t, now := l.tables.all[name], schemas[name]
		if now == nil || t.definition == nil || t.Job.NeedsSchema || t.hasSchema(now) {
			continue
		}
		definitions, err := l.schemas.Definitions(ctx, []*binlog.Table{now})
		if err != nil {
			return err
		}
		if err := l.redefine(t, definitions[0], t.Job); err != nil {
			return err
		}
		l.tables.setTentative(t, from != "now")
		at := *start
		t.since = &at
		if err := t.save(&l.unit, l.config.Name); err != nil {
			return err
		}
	}
	// Positions that cannot be compared, such as GTIDs and FILE:OFFSET, do not show that a
	// definition was valid at start. With --from now, it is the server's present one.
	if from != "now" {
		l.markTentative(start)
	}
	if err := l.applySchemaDump(start); err != nil {
		return err
	}
	if err := l.tables.save(&l.unit, l.config.Name); err != nil {
		return err
	}
	return l.tables.checkConflicts()
}
