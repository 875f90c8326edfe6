package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/binlog/sqltext"
)

// statementVerb is what a logged statement does to tables.
type statementVerb uint8

const (
	// verbHarmless changes no table's rows or columns, as far as its words tell;
	// the schemas are compared all the same.
	verbHarmless statementVerb = iota
	// verbTemporary concerns temporary tables, which the binlog never carries
	// rows of.
	verbTemporary
	verbTruncate
	verbDrop
	verbRename
	// verbRemovesRows is an ALTER that takes rows away, or exchanges them, without
	// logging them; verbChangesRows one that is not known to leave rows and columns as
	// they are.
	verbRemovesRows
	verbChangesRows
	verbDropDatabase
	// verbCreateOrReplace is CREATE OR REPLACE TABLE, verbCreate the plain one.
	verbCreateOrReplace
	verbCreate
)

var verbText = map[statementVerb]string{
	verbTruncate: "a TRUNCATE", verbDrop: "a DROP TABLE", verbRename: "a RENAME",
	verbRemovesRows: "an ALTER that removes or exchanges rows", verbChangesRows: "an ALTER that may change rows or columns",
	verbDropDatabase: "a DROP DATABASE", verbCreateOrReplace: "a CREATE OR REPLACE TABLE",
}

// parsedStatement is what is understood of a statement.
type parsedStatement struct {
	verb statementVerb
	// tables are all those it names, targets those that it gives to tables.
	tables, targets []tableName
	database        string // of DROP DATABASE
	// dropsKey says that an index goes, which may be the one that tells rows apart.
	dropsKey bool
}

// tableName is a table as a statement names it.
type tableName struct{ database, table string }

// String returns database.table.
func (n tableName) String() string { return n.database + "." + n.table }

// statement handles a statement that was logged as text. One that removes rows of
// a mapped table without logging them, or changes its columns, stops the
// pipeline: what the sink holds would silently differ.
func (l *loop) statement(ctx context.Context, ev *binlog.Event) error {
	l.pipeline.stats.statements.Add(1)
	s := parseStatement(ev.SQL, ev.Database)
	// Within a transaction (CREATE TABLE ... SELECT) the position has not moved;
	// what was read of it before stays where it is.
	within := l.rows > 0
	if s.verb != verbTemporary {
		if !within && !l.unit.IsEmpty() {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
		if err := l.rejectUnsafeDDL(s, ev.SQL); err != nil {
			return err
		}
		l.trackPassedOver(s, l.conn.Server().LowerCaseNames == 1)
		l.forgetDropped(s)
		if err := l.applySchemaChange(ctx, s, ev.SQL); err != nil {
			return err
		}
	}
	if within {
		return nil
	}
	l.advancePosition(max(l.progress.Time, ev.Time)) // statements have whole seconds
	if err := l.maybeFlush(ctx, s.verb != verbTemporary); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

func (l *loop) rejectUnsafeDDL(s parsedStatement, sql string) error {
	if s.verb == verbCreate || s.verb == verbHarmless && !s.dropsKey {
		return nil
	}
	for _, name := range l.tables.names() {
		t := l.tables.all[name].schema
		hit := slices.ContainsFunc(s.tables, func(n tableName) bool { return strings.EqualFold(n.String(), name) })
		what := verbText[s.verb]
		switch s.verb {
		case verbDropDatabase:
			hit = strings.EqualFold(t.Database, s.database)
		case verbHarmless:
			// While it was away, rows may have been equal in what is their key here.
			hit = hit && len(t.Primary) == 0
			what = "an ALTER that drops an index, maybe the key,"
		}
		if hit {
			return stop("%s of mapped table %s follows position %s, and it logs no rows: %s; "+
				"build the data again with --from snapshot", what, name, l.progress.Position, shorten(sql))
		}
	}
	return nil
}

// visible waits until what a statement did to a table can be seen. MySQL logs a
// statement before it takes effect, but holds the table's metadata lock until
// then, and a SELECT waits for that. An answer that the table is gone, or that its
// engine cannot open it, was given under that lock; any other error proves nothing,
// unless the table is one whose rows do not matter. A lock that stays holds the
// pipeline: later changes must not be applied before the statement's effect is known.
func (l *loop) awaitMetadataLock(ctx context.Context, n tableName) error {
	return l.wait.retryWhileLocked(ctx, n.String(), true, func() error {
		_, err := l.conn.Query(ctx, "SELECT 1 FROM "+sqltext.QuoteTable(n.database, n.table)+" LIMIT 0")
		if err == nil || query.IsNoTable(err) || query.CannotOpen(err) {
			return nil
		}
		if errors.As(err, new(*mysql.ServerError)) && l.notFollowed(ctx, n) {
			return nil
		}
		return fmt.Errorf("wait for the metadata lock of %s: %w", n, l.explainDenied(ctx, err))
	})
}

// readSchemas reads the tables that the mapping wants as they are now. A MariaDB
// cannot show the columns of a table that is locked exclusively.
func (l *loop) readSchemas(ctx context.Context) (schemas map[string]*binlog.Table, err error) {
	err = l.wait.retryWhileLocked(ctx, "a mapped table", false, func() error {
		schemas, err = readSchemas(ctx, l.conn, &l.config.Mapping)
		return err
	})
	return schemas, err
}

// mappable returns those tables that the mapping wants.
func (l *loop) filterMapped(names []tableName) ([]tableName, error) {
	var out []tableName
	for _, n := range names {
		if l.conn.Server().LowerCaseNames == 1 {
			n = tableName{strings.ToLower(n.database), strings.ToLower(n.table)}
		}
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

// schemaChange compares the schemas with the server's after a statement, and
// takes in the tables that it added.
func (l *loop) applySchemaChange(ctx context.Context, s parsedStatement, sql string) error {
	changed, err := l.filterMapped(s.tables)
	if err != nil {
		return err
	}
	for _, n := range changed {
		if err := l.awaitMetadataLock(ctx, n); err != nil {
			return err
		}
	}
	added, err := l.filterMapped(s.targets)
	if err != nil {
		return err
	}
	now, err := l.schemasAfter(ctx, added, sql)
	if err != nil {
		return err
	}
	for _, n := range added {
		if err := l.adoptTable(n.String(), now, s.verb, sql); err != nil {
			return err
		}
	}
	if len(added) > 0 {
		l.pipeline.stats.recordTables(l.tables)
		l.stream.Forget()
		if err := l.tables.conflicts(); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return l.checkForeignKeys(ctx) // it may be the one that adds a foreign key
}

// schemasAfter reads the server's schemas after a statement that gave the tables added their
// names. It stops where a mapped table is not as the data know it, unless the stream is behind:
// then a later statement may be the cause, and the comparison waits for the binlog's end.
func (l *loop) schemasAfter(
	ctx context.Context, added []tableName, sql string,
) (map[string]*binlog.Table, error) {
	now, err := l.readSchemas(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.tables.checkFollowable(now); err != nil {
		return nil, err
	}
	name, how := l.tables.firstDifference(now)
	missing := slices.ContainsFunc(added, func(n tableName) bool { return now[n.String()] == nil })
	if name != "" || missing {
		// A table that cannot be read looks the same. If it can, it is looked at again.
		if err := l.checkGrants(ctx); err != nil {
			return nil, err
		}
		if now, err = l.readSchemas(ctx); err != nil {
			return nil, err
		}
		name, how = l.tables.firstDifference(now)
	}
	if err := l.scheduleSchemaCheck(ctx); err != nil {
		return nil, err
	}
	switch behind := l.stream.Position().CompareFile(l.schemas.due) < 0; {
	case name == "" && !behind:
		l.schemas.done = true
	case name != "" && !behind:
		return nil, stop("after a statement that follows position %s, mapped table %s %s: %s; "+
			"build the data again with --from snapshot", l.progress.Position, name, how, shorten(sql))
	}
	return now, nil
}

// bring takes in a table that a statement created or gave its name to. What is
// created under a name that was free begins empty, and complete; anything else
// brings rows that were never logged under this name.
func (l *loop) adoptTable(name string, now map[string]*binlog.Table, verb statementVerb, sql string) error {
	if l.tables.all[name] != nil {
		return nil // CREATE TABLE IF NOT EXISTS
	}
	_, known := l.tables.unmapped[name]
	delete(l.tables.unmapped, name)
	schema, ok := now[name]
	if !ok {
		// A later statement drops it, or gives it another name and is judged then.
		l.tables.unmapped[name] = "it is gone from the server"
	} else if t, err := l.tables.add(schema); err != nil {
		return err
	} else if t != nil {
		// CREATE TABLE IF NOT EXISTS of one that was left out and has got a key
		// since creates nothing.
		if verb != verbCreateOrReplace && (verb != verbCreate || known) {
			return stop("a statement after position %s brings a table with its rows into the mapping as %s: %s; "+
				"leave it out (ignore: true), or build the data again with --from snapshot", l.progress.Position, name, shorten(sql))
		}
		l.log.Info().Str("table", name).Msg("new table is mapped")
		l.unit.DropState(l.config.Name, unmappedState+name)
		t.backfill = backfillProgress{Done: true}
		return t.save(&l.unit, l.config.Name)
	}
	l.log.Warn().Str("table", name).Str("reason", l.tables.unmapped[name]).Msg("new table is not mapped")
	l.unit.SetState(l.config.Name, unmappedState+name, []byte(l.tables.unmapped[name]))
	return nil
}

// free forgets the tables that were left out and are gone: whatever is created
// under their names is new.
func (l *loop) forgetDropped(s parsedStatement) {
	for _, name := range slices.Sorted(maps.Keys(l.tables.unmapped)) {
		database, _, _ := strings.Cut(name, ".")
		gone := s.verb == verbDropDatabase && strings.EqualFold(database, s.database) ||
			(s.verb == verbDrop || s.verb == verbRename) && slices.ContainsFunc(s.tables, func(n tableName) bool { return strings.EqualFold(n.String(), name) })
		if gone {
			delete(l.tables.unmapped, name)
			l.unit.DropState(l.config.Name, unmappedState+name)
		}
	}
	l.pipeline.stats.recordTables(l.tables)
}

func shorten(sql string) string {
	sql = strings.Join(strings.Fields(sql), " ")
	return fmt.Sprintf("%q", binlog.Clip(sql, 120))
}

// parseStatement finds the verb and the tables of a statement by its first words.
// It understands no expressions and needs none.
func parseStatement(sql, database string) parsedStatement {
	p := statementParser{words: sqltext.Split(sql), database: database}
	return p.parse()
}

type statementParser struct {
	words    []sqltext.Word
	at       int
	database string
}

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

func (p *statementParser) parse() parsedStatement {
	// MariaDB: SET STATEMENT lock_wait_timeout = 5 FOR TRUNCATE TABLE t.
	for p.accept("SET", "STATEMENT") {
		for p.at < len(p.words) && !p.accept("FOR") {
			p.skip()
		}
	}
	switch {
	case p.accept("TRUNCATE"):
		p.accept("TABLE")
		return parsedStatement{verb: verbTruncate, tables: p.names()}
	case p.accept("DROP", "TEMPORARY"), p.accept("CREATE", "TEMPORARY"), p.accept("CREATE", "OR", "REPLACE", "TEMPORARY"):
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
	case p.accept("CREATE", "TABLE"), p.accept("CREATE", "SEQUENCE"), p.accept("CREATE", "OR", "REPLACE", "SEQUENCE"):
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

// rename reads the pairs of RENAME TABLE.
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

// view reads the name of CREATE [OR REPLACE] [ALGORITHM = ...] [DEFINER = ...] [SQL SECURITY ...]
// VIEW; nil where something else is created, and then nothing is read. A view has no rows in the
// binlog, so the name counts only as one that is taken.
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

// index reads the table of an index. Other things that are created
// on a table (triggers) do no harm.
func (p *statementParser) index() parsedStatement {
	for p.at < len(p.words) {
		if p.accept("ON") {
			return parsedStatement{tables: p.name(nil)}
		}
		p.at++
	}
	return parsedStatement{}
}

// names reads the table names of a list; words between them (CASCADE, WAIT 5)
// cannot be mistaken for mapped tables but by a table of that very name.
func (p *statementParser) names() []tableName {
	var names []tableName
	for p.at < len(p.words) {
		names = p.name(names)
	}
	return names
}

// name reads one table name, qualified or not.
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
