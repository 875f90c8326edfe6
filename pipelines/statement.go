package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/sqltext"
	"rowfall/pipelines/tablestate"
)

// statementVerb is the effect of a logged statement on tables.
type statementVerb uint8

const (
	// verbHarmless is a statement that changes no rows or columns, judging by its text. The
	// schemas are compared nevertheless.
	verbHarmless statementVerb = iota
	// verbTemporary is a statement about temporary tables, whose rows are never logged.
	verbTemporary
	verbTruncate
	verbDrop
	verbRename
	// verbRemovesRows is an ALTER that removes or exchanges rows without logging them.
	verbRemovesRows
	// verbChangesRows is any other ALTER that is not known to keep all rows and columns.
	verbChangesRows
	verbDropDatabase
	// verbCreateOrReplace is CREATE OR REPLACE TABLE.
	verbCreateOrReplace
	verbCreate
)

var verbText = map[statementVerb]string{
	verbTruncate: "a TRUNCATE", verbDrop: "a DROP TABLE", verbRename: "a RENAME",
	verbRemovesRows:  "an ALTER that removes or exchanges rows",
	verbChangesRows:  "an ALTER that may change rows or columns",
	verbDropDatabase: "a DROP DATABASE", verbCreateOrReplace: "a CREATE OR REPLACE TABLE",
}

// parsedStatement is what the parser understands of a statement.
type parsedStatement struct {
	verb statementVerb
	// tables are all tables that the statement names. targets are those names among them that a
	// table has only after the statement.
	tables, targets []tableName
	database        string // of DROP DATABASE
	// dropsKey means that the statement drops an index, which may be the table's key.
	dropsKey bool
}

// tableName is a table as a statement names it.
type tableName struct{ database, table string }

// String returns database.table.
func (n tableName) String() string { return n.database + "." + n.table }

// statement handles a statement that was logged as text. It returns a StopError if the statement
// removes rows of a mapped table without logging them, or changes the table's columns: the sink
// would silently differ from MySQL.
func (l *loop) statement(ctx context.Context, ev *binlog.Event) error {
	l.stats.statements.Add(1)
	s := parseStatement(ev.SQL, ev.Database)
	// Have rows of the transaction that the statement belongs to been read? Then the position
	// does not move, and the rows stay in the unit.
	within := l.rows > 0
	if s.verb != verbTemporary {
		if !within && !l.unit.IsEmpty() {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
		if err := l.rejectUnsafeDDL(&s, ev.SQL); err != nil {
			return err
		}
		l.trackPassedOver(&s)
		l.forgetDropped(&s)
		if err := l.applySchemaChange(ctx, &s, ev.SQL); err != nil {
			return err
		}
	}
	if within {
		return nil
	}
	l.advancePosition(max(l.progress.Time, ev.Time)) // a statement's time has whole seconds only
	if err := l.maybeFlush(ctx, s.verb != verbTemporary); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

// rejectUnsafeDDL returns a StopError if the statement may change rows or columns of a mapped
// table without logging rows.
func (l *loop) rejectUnsafeDDL(s *parsedStatement, sql string) error {
	if s.verb == verbCreate || s.verb == verbHarmless && !s.dropsKey {
		return nil
	}
	for _, name := range l.tables.names() {
		t := l.tables.all[name].schema
		affected := slices.ContainsFunc(s.tables, func(n tableName) bool {
			return strings.EqualFold(n.String(), name)
		})
		what := verbText[s.verb]
		switch s.verb {
		case verbDropDatabase:
			affected = strings.EqualFold(t.Database, s.database)
		case verbHarmless:
			// While an index is missing, rows may become equal in the columns that are the key
			// here.
			affected = affected && len(t.Primary) == 0
			what = "an ALTER that drops an index, maybe the key,"
		}
		if affected {
			return stop("%s of mapped table %s follows position %s, and it logs no rows: %s; "+
				"build the data again with --from snapshot",
				what, name, l.progress.Position, shorten(sql))
		}
	}
	return nil
}

// filterMapped returns those tables that the mapping matches, with their stored names.
func (l *loop) filterMapped(names []tableName) ([]tableName, error) {
	var out []tableName
	for _, n := range names {
		n = l.schemas.StoredName(n)
		rule, err := l.config.Mapping.Rule(n.database, n.table)
		if err != nil {
			return nil, &StopError{err}
		}
		if rule != nil {
			out = append(out, n)
		}
	}
	return out, nil
}

// applySchemaChange compares the data's schemas with the server's after a statement, and maps the
// tables that the statement created or gave a name to.
func (l *loop) applySchemaChange(ctx context.Context, s *parsedStatement, sql string) error {
	changed, err := l.filterMapped(s.tables)
	if err != nil {
		return err
	}
	for _, n := range changed {
		if err := l.schemas.AwaitDDL(ctx, n); err != nil {
			return err
		}
	}
	added, err := l.filterMapped(s.targets)
	if err != nil {
		return err
	}
	current, err := l.schemasAfter(ctx, added, sql)
	if err != nil {
		return err
	}
	for _, n := range added {
		if err := l.adoptTable(n.String(), current, s.verb, sql); err != nil {
			return err
		}
	}
	if len(added) > 0 {
		l.stats.recordTables(l.tables)
		l.stream.Forget()
		if err := l.tables.checkConflicts(); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return l.checkForeignKeys(ctx) // the statement may have added one
}

// schemasAfter returns the server's schemas after a statement that added tables. Does a mapped
// table differ from its stored schema? That is a StopError, unless the stream is behind the end of
// the binlog: then a later statement may be the cause, and the comparison is scheduled for then.
func (l *loop) schemasAfter(
	ctx context.Context, added []tableName, sql string,
) (map[string]*binlog.Table, error) {
	current, err := l.schemas.Schemas(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.tables.checkFollowable(current); err != nil {
		return nil, err
	}
	name, how := l.tables.firstDifference(current)
	missing := slices.ContainsFunc(added, func(n tableName) bool {
		return current[n.String()] == nil
	})
	if name != "" || missing {
		// A table that may not be read looks the same. If all may be read, read them once more.
		if err := l.schemas.CheckGrants(ctx); err != nil {
			return nil, err
		}
		if current, err = l.schemas.Schemas(ctx); err != nil {
			return nil, err
		}
		name, how = l.tables.firstDifference(current)
	}
	if err := l.scheduleSchemaCheck(ctx); err != nil {
		return nil, err
	}
	switch behind := l.stream.Position().CompareFile(l.check.due) < 0; {
	case name == "" && !behind:
		l.check.done = true
	case name != "" && !behind:
		return nil, stop("after a statement that follows position %s, mapped table %s %s: %s; "+
			"build the data again with --from snapshot",
			l.progress.Position, name, how, shorten(sql))
	}
	return current, nil
}

// adoptTable maps a table that a statement created or gave a name to. A table that was created
// under a free name is empty, and therefore completely loaded. Any other table has rows that were
// never logged under this name: that is a StopError.
func (l *loop) adoptTable(
	name string, current map[string]*binlog.Table, verb statementVerb, sql string,
) error {
	if l.tables.all[name] != nil {
		return nil // CREATE TABLE IF NOT EXISTS
	}
	_, known := l.tables.unmapped[name]
	delete(l.tables.unmapped, name)
	schema, ok := current[name]
	if !ok {
		// A later statement drops or renames the table.
		l.tables.unmapped[name] = "it is gone from the server"
	} else if t, err := l.tables.add(schema); err != nil {
		return err
	} else if t != nil {
		// Was the table known to exist? Then CREATE TABLE IF NOT EXISTS created nothing.
		if verb != verbCreateOrReplace && (verb != verbCreate || known) {
			return stop("a statement after position %s brings a table with its rows into the "+
				"mapping as %s: %s; leave it out (ignore: true), "+
				"or build the data again with --from snapshot",
				l.progress.Position, name, shorten(sql))
		}
		l.log.Info().Str("table", name).Msg("new table is mapped")
		l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+name)
		t.backfill = tablestate.Backfill{Done: true}
		return t.save(&l.unit, l.config.Name)
	}
	reason := l.tables.unmapped[name]
	l.log.Warn().Str("table", name).Str("reason", reason).Msg("new table is not mapped")
	l.unit.SetState(l.config.Name, tablestate.UnmappedPrefix+name, []byte(reason))
	return nil
}

// forgetDropped removes unmapped tables whose names the statement frees. A table that is created
// under such a name later is new, and empty.
func (l *loop) forgetDropped(s *parsedStatement) {
	for _, name := range slices.Sorted(maps.Keys(l.tables.unmapped)) {
		database, table, _ := strings.Cut(name, ".")
		if s.freesName(tableName{database, table}) {
			delete(l.tables.unmapped, name)
			l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+name)
		}
	}
	l.stats.recordTables(l.tables)
}

// shorten returns a statement on one line, in quotes, cut to 120 bytes.
func shorten(sql string) string {
	sql = strings.Join(strings.Fields(sql), " ")
	return fmt.Sprintf("%q", binlog.Clip(sql, 120))
}

// parseStatement returns the verb and the tables of a statement, as binlog.Event has it: without
// MariaDB's SET STATEMENT. database is the default database.
// It reads the words that lead to table names and skips the rest, such as expressions.
func parseStatement(sql, database string) parsedStatement {
	p := statementParser{words: sqltext.Split(sql), database: database}
	return p.parse()
}

// statementParser is a parser at word number at.
type statementParser struct {
	words    []sqltext.Word
	at       int
	database string
}

// accept skips the keywords and returns true if they are the next words.
func (p *statementParser) accept(keywords ...string) bool {
	if p.at+len(keywords) > len(p.words) {
		return false
	}
	for i, k := range keywords {
		if !p.words[p.at+i].Is(k) {
			return false
		}
	}
	p.at += len(keywords)
	return true
}

// parse reads the statement.
func (p *statementParser) parse() parsedStatement {
	switch {
	case p.accept("TRUNCATE"):
		p.accept("TABLE")
		return parsedStatement{verb: verbTruncate, tables: p.names()}
	case p.accept("DROP", "TEMPORARY"), p.accept("CREATE", "TEMPORARY"),
		p.accept("CREATE", "OR", "REPLACE", "TEMPORARY"):
		return parsedStatement{verb: verbTemporary}
	case p.accept("DROP", "TABLE"), p.accept("DROP", "TABLES"):
		p.accept("IF", "EXISTS")
		return parsedStatement{verb: verbDrop, tables: p.names()}
	case p.accept("DROP", "DATABASE"), p.accept("DROP", "SCHEMA"):
		p.accept("IF", "EXISTS")
		if p.at < len(p.words) {
			return parsedStatement{verb: verbDropDatabase, database: p.words[p.at].Text}
		}
	case p.accept("RENAME", "TABLE"), p.accept("RENAME", "TABLES"):
		p.accept("IF", "EXISTS")
		return p.rename()
	case p.accept("CREATE", "OR", "REPLACE", "TABLE"):
		name := p.name(nil)
		return parsedStatement{verb: verbCreateOrReplace, tables: name, targets: name}
	case p.accept("DROP", "SEQUENCE"), p.accept("DROP", "VIEW"):
		p.accept("IF", "EXISTS")
		return parsedStatement{verb: verbDrop, tables: p.names()}
	case p.accept("CREATE", "TABLE"), p.accept("CREATE", "SEQUENCE"),
		p.accept("CREATE", "OR", "REPLACE", "SEQUENCE"):
		p.accept("IF", "NOT", "EXISTS")
		name := p.name(nil)
		return parsedStatement{verb: verbCreate, tables: name, targets: name}
	case p.accept("ALTER"):
		return p.alter()
	case p.accept("DROP", "INDEX"):
		p.accept("IF", "EXISTS")
		var s parsedStatement
		s.verb = p.dropKey(&s)
		s.tables = p.index().tables
		return s
	case p.accept("CREATE"):
		if name := p.view(); name != nil {
			return parsedStatement{verb: verbCreate, targets: name}
		}
		return p.index()
	}
	return parsedStatement{}
}

// rename reads the pairs of names of RENAME TABLE.
func (p *statementParser) rename() parsedStatement {
	s := parsedStatement{verb: verbRename}
	for p.at < len(p.words) {
		s.tables = p.name(s.tables)
		for p.at < len(p.words) && !p.accept("TO") { // WAIT 5, NOWAIT
			p.at++
		}
		to := p.name(nil)
		s.tables, s.targets = append(s.tables, to...), append(s.targets, to...)
		for p.at < len(p.words) && !p.words[p.at].Is(",") {
			p.at++
		}
		p.at++
	}
	return s
}

// viewOptions are the words that may stand between CREATE and VIEW.
var viewOptions = []string{
	"OR", "REPLACE", "ALGORITHM", "UNDEFINED", "MERGE", "TEMPTABLE",
	"DEFINER", "CURRENT_USER", "SQL", "SECURITY", "INVOKER",
}

// view reads CREATE [OR REPLACE] [ALGORITHM = ...] [DEFINER = ...] [SQL SECURITY ...] VIEW and
// returns the view's name. If another kind of object is created, it returns nil and reads nothing.
// A view's name matters because no table can have it.
func (p *statementParser) view() []tableName {
	start := p.at
	for ; p.at < len(p.words); p.at++ {
		switch w := p.words[p.at]; {
		case w.Is("VIEW"):
			p.at++
			p.accept("IF", "NOT", "EXISTS")
			return p.name(nil)
		case w.Quoted, !w.IsName(), slices.Contains(viewOptions, strings.ToUpper(w.Text)):
			continue
		case p.at > start && (p.words[p.at-1].Is("=") || p.words[p.at-1].Is("@")):
			continue // a user's name or host without quotes
		}
		break
	}
	p.at = start
	return nil
}

// index reads up to ON and returns the table of an index, or of another object on a table, such as
// a trigger.
func (p *statementParser) index() parsedStatement {
	for p.at < len(p.words) {
		if p.accept("ON") {
			return parsedStatement{tables: p.name(nil)}
		}
		p.at++
	}
	return parsedStatement{}
}

// names reads a list of table names. Words between them (CASCADE, WAIT 5) count as names, which is
// harmless unless a mapped table has that name.
func (p *statementParser) names() []tableName {
	var names []tableName
	for p.at < len(p.words) {
		names = p.name(names)
	}
	return names
}

// name reads one table name, qualified or not, and appends it to names.
func (p *statementParser) name(names []tableName) []tableName {
	if p.at >= len(p.words) {
		return names
	}
	first := p.words[p.at]
	p.at++
	if !first.IsName() {
		return names
	}
	if p.at+1 < len(p.words) && p.words[p.at].Is(".") {
		second := p.words[p.at+1].Text
		p.at += 2
		return append(names, tableName{first.Text, second})
	}
	return append(names, tableName{p.database, first.Text})
}
