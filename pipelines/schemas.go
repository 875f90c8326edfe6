package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/transform"
)

// schemaCheck compares the schemas that the data know with the server's own. The server's are of
// now, so they say something about the data only where the stream has reached the end of the
// binlog that the server had when they were read. Until then each table map, as it comes, is
// compared with the data's schema (binlog/events).
type schemaCheck struct {
	// due is where the stream must be for the next step; done says that there is none.
	due  binlog.Position
	done bool
	// now are the server's schemas, read before due was; nil where they are to be read then.
	now map[string]*binlog.Table
	// again says that a difference was found, and that it must be found twice.
	again bool
}

// scheduleSchemaCheck asks for a comparison at the end that the binlog has now.
func (l *loop) scheduleSchemaCheck(ctx context.Context) error {
	end, err := query.EndOfLog(ctx, l.conn)
	if err != nil {
		return err
	}
	l.schemas = schemaCheck{due: end, again: l.schemas.again}
	return nil
}

// checkSchemas is called between transactions. Once per run, and after statements that were
// read while the stream was behind, it stops where a table is not as the data know it: by a
// statement that was not logged, say.
func (l *loop) checkSchemas(ctx context.Context) error {
	c := &l.schemas
	if c.done || l.stream.Position().CompareFile(c.due) < 0 {
		return nil
	}
	if c.now == nil {
		now, err := l.readSchemas(ctx)
		if err != nil {
			return err
		}
		if c.due, err = query.EndOfLog(ctx, l.conn); err != nil {
			return err
		}
		if c.now = now; l.stream.Position().CompareFile(c.due) < 0 {
			return nil
		}
	}
	if err := l.tables.checkFollowable(c.now); err != nil {
		return err
	}
	name, how := l.tables.firstDifference(c.now)
	if name == "" {
		l.warnLostAtRestart(c.now)
		l.schemas = schemaCheck{done: true}
		return nil
	}
	if err := l.checkGrants(ctx); err != nil {
		return err
	}
	if c.again {
		return stop("mapped table %s %s, and no statement up to %s tells how: "+
			"it was altered with sql_log_bin=0, or its schema in the data is corrupt; "+
			"build the data again with --from snapshot", name, how, l.progress.Position)
	}
	// A statement may be under way that is not logged yet. It holds the table's lock.
	t := l.tables.all[name].schema
	if err := l.awaitMetadataLock(ctx, tableName{t.Database, t.Name}); err != nil {
		return err
	}
	c.again = true
	return l.scheduleSchemaCheck(ctx)
}

// followed stops where a mapped table is one that cannot be followed: an older version mapped
// it, or what it lacked has come since, a MERGE table over it for one.
func (s *tableSet) checkFollowable(now map[string]*binlog.Table) error {
	for _, name := range s.names() {
		if t := now[name]; t != nil && t.NotFollowed != "" && t.NotFollowed != query.LostAtRestart {
			return stop("mapped table %s cannot be followed: %s; end that, or leave the table out "+
				"(ignore: true), and build the data again with --from snapshot", name, t.NotFollowed)
		}
	}
	return nil
}

// difference returns a mapped table that is not as the data know it, and how it differs, as a
// predicate; empty where there is none.
func (s *tableSet) firstDifference(now map[string]*binlog.Table) (name, how string) {
	for _, name := range s.names() {
		t := now[name]
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

// warnLostAtRestart logs the tables that an older version has mapped and that a new mapping
// would leave out: their rows are right until the server restarts.
func (l *loop) warnLostAtRestart(now map[string]*binlog.Table) {
	for _, name := range l.tables.names() {
		if t := now[name]; t.NotFollowed != "" {
			l.log.Warn().Str("table", name).Str("reason", t.NotFollowed).
				Msg("table is mapped, but cannot be followed past a restart of the server; " +
					"leave it out (ignore: true) when the data are built again")
		}
	}
}

// checkGrants fails where the user may not read every table of the mapping any more: a table
// whose SELECT was revoked looks as if it had been dropped, or had lost columns. It is no
// StopError, since the privilege may come back.
func (l *loop) checkGrants(ctx context.Context) error {
	problems, err := query.CheckSelect(ctx, l.conn, wantedPatterns(&l.config.Mapping)...)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return errors.New(problems[0].String())
	}
	return nil
}

// wantedPatterns returns the patterns of the tables that a mapping wants to read.
func wantedPatterns(m *transform.Mapping) []string {
	var patterns []string
	for i := range m.Tables {
		if t := &m.Tables[i]; !t.Ignore {
			patterns = append(patterns, t.Pattern)
		}
	}
	return patterns
}

// notFollowed reports whether the server lists a table as one that is never followed.
func (l *loop) notFollowed(ctx context.Context, n tableName) bool {
	tables, err := query.Tables(ctx, l.conn, func(database, table string) bool {
		return database == n.database && table == n.table
	})
	return err == nil && len(tables) == 1 && tables[0].NotFollowed != ""
}

// explainDenied adds to an answer that SELECT is denied which GRANT is missing.
func (l *loop) explainDenied(ctx context.Context, err error) error {
	var answer *mysql.ServerError
	denied := []uint16{1044, 1142, 1143} // on the database, the table, a column
	if !errors.As(err, &answer) || !slices.Contains(denied, answer.Code) {
		return err
	}
	if missing := l.checkGrants(ctx); missing != nil {
		return fmt.Errorf("%w (%w)", missing, err)
	}
	return err
}
