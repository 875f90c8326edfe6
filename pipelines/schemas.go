package pipelines

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/query"
)

// schemaCheck compares the schemas that the data hold with the server's own, once per run and
// after statements. The server's schemas are the present ones. They can be compared with the data
// only when the stream has reached the end that the binlog had when they were read. Until then,
// binlog/events compares each table map with the data's schema.
type schemaCheck struct {
	// due is the position that the stream must reach for the next step.
	due binlog.Position
	// done means that no step is due.
	done bool
	// current are the server's schemas, which were read before due; nil means that they are to be
	// read at due.
	current map[string]*binlog.Table
	// recheck means that a difference was found once. It counts only if it is found twice.
	recheck bool
}

// scheduleSchemaCheck schedules a comparison for when the stream reaches the binlog's present end.
func (l *loop) scheduleSchemaCheck(ctx context.Context) error {
	end, err := l.schemas.EndOfLog(ctx)
	if err != nil {
		return err
	}
	l.check = schemaCheck{due: end, recheck: l.check.recheck}
	return nil
}

// checkSchemas performs the next step of the check if it is due. It returns a StopError if a table
// of the server differs from the data's schema, for example because of a statement that was not
// logged.
func (l *loop) checkSchemas(ctx context.Context) error {
	c := &l.check
	if c.done || l.stream.Position().CompareFile(c.due) < 0 {
		return nil
	}
	if c.current == nil {
		current, err := l.schemas.Schemas(ctx)
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
	if err := l.tables.checkFollowable(c.current); err != nil {
		return err
	}
	name, how := l.tables.firstDifference(c.current)
	if name == "" {
		l.warnLostAtRestart(c.current)
		l.check = schemaCheck{done: true}
		return nil
	}
	if err := l.schemas.CheckGrants(ctx); err != nil {
		return err
	}
	if c.recheck {
		return stop("mapped table %s %s, and no statement up to %s tells how: "+
			"it was altered with sql_log_bin=0, or its schema in the data is corrupt; "+
			"build the data again with --from snapshot", name, how, l.progress.Position)
	}
	// A statement that is under way may not be logged yet. It holds the table's lock.
	t := l.tables.all[name].schema
	if err := l.schemas.AwaitDDL(ctx, tableName{t.Database, t.Name}); err != nil {
		return err
	}
	c.recheck = true
	return l.scheduleSchemaCheck(ctx)
}

// checkFollowable returns a StopError if a mapped table cannot be followed. An older version may
// have mapped it, or the cause came later, such as a MERGE table that includes it.
func (s *tableSet) checkFollowable(current map[string]*binlog.Table) error {
	for _, name := range s.names() {
		t := current[name]
		if t != nil && t.NotFollowed != "" && t.NotFollowed != query.LostAtRestart {
			return stop("mapped table %s cannot be followed: %s; end that, or leave the table out "+
				"(ignore: true), and build the data again with --from snapshot",
				name, t.NotFollowed)
		}
	}
	return nil
}

// firstDifference returns the first mapped table that differs from its stored schema, and how it
// differs, as a predicate. name is empty if no table differs.
func (s *tableSet) firstDifference(current map[string]*binlog.Table) (name, how string) {
	for _, name := range s.names() {
		t := current[name]
		if t == nil {
			return name, "is gone from the server"
		}
		bare := *t
		bare.NotFollowed = ""
		if !s.all[name].matchesStored(&bare) {
			return name, "has other columns or keys than the data know"
		}
	}
	return "", ""
}

// warnLostAtRestart logs the mapped tables that a restart of the server empties. Only an older
// version can have mapped them; their rows are correct until that restart.
func (l *loop) warnLostAtRestart(current map[string]*binlog.Table) {
	for _, name := range l.tables.names() {
		if t := current[name]; t.NotFollowed != "" {
			l.log.Warn().Str("table", name).Str("reason", t.NotFollowed).
				Msg("table is mapped, but cannot be followed past a restart of the server; " +
					"leave it out (ignore: true) when the data are built again")
		}
	}
}
