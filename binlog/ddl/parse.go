package ddl

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// maxParsed is the length in bytes of the longest statement that is read to its end.
const maxParsed = 1 << 20

// maxChanges is the most clauses of a statement: no table has more than 4096 columns.
const maxChanges = 1 << 14

// headTokens is the number of tokens that decide what a statement is about.
const headTokens = 64

// Parse reads a statement. It never fails: the Action of a statement that it does not understand is
// Unknown, and Reason says why.
func Parse(sql string, o Options) *Statement {
	s := &Statement{options: o, sql: sql}
	head, complete := readHead(sql, o)
	p := parser{reader: reader{tokens: head}, s: s, o: &s.options}
	p.skipSetStatement()
	if !p.isTableStatement() {
		p.parseOther()
	} else if !utf8.ValidString(sql) {
		p.fail("the statement is not UTF-8")
	} else if complete || p.readAll(sql) {
		p.parse()
		if !p.done() {
			p.failHere("expected the end of the statement")
		}
		if n := len(s.Changes); n > maxChanges {
			p.fail("the statement has %d clauses", n)
		}
	}
	if p.err != nil {
		*s = Statement{Reason: p.err.Error(), options: o, sql: sql}
	}
	return s
}

// readHead returns the first tokens of a statement, and whether these are all.
func readHead(sql string, o Options) (head []token, complete bool) {
	d := o.Dialect()
	scanner := d.NewScanner([]byte(sql[:min(len(sql), maxParsed)]))
	for len(head) < headTokens {
		t, ok := scanner.Next()
		if !ok {
			complete = !scanner.Unterminated() && len(sql) <= maxParsed
			return withoutEnd(head), complete
		}
		head = append(head, newToken(t, d))
	}
	return head, false
}

// withoutEnd returns the tokens without semicolons at the end.
func withoutEnd(list []token) []token {
	for len(list) > 0 && list[len(list)-1].is(";") {
		list = list[:len(list)-1]
	}
	return list
}

// parser reads one statement into s.
type parser struct {
	reader
	s *Statement
	o *Options
}

// readAll replaces the first tokens by all tokens of the statement.
func (p *parser) readAll(sql string) bool {
	if len(sql) > maxParsed {
		p.fail("the statement is longer than %d bytes", maxParsed)
		return false
	}
	all, err := tokens(sql, p.o.Dialect())
	if err != nil {
		p.fail("%w", err)
		return false
	}
	p.tokens, p.at = withoutEnd(all), 0
	p.skipSetStatement()
	return true
}

// skipSetStatement skips MariaDB's SET STATEMENT variable = value, ... FOR.
func (p *parser) skipSetStatement() {
	for p.accept("SET", "STATEMENT") {
		for !p.done() && !p.accept("FOR") {
			if p.accept("@") { // a user's variable may be named FOR
				p.next()
			} else {
				p.skip()
			}
		}
	}
}

// isTableStatement reports whether the statement is about tables or databases, so that it has to be
// read to its end. It reads nothing.
func (p *parser) isTableStatement() bool {
	start := p.at
	defer func() { p.at = start }()
	switch {
	case p.accept("CREATE"):
		p.accept("OR", "REPLACE")
		p.accept("TEMPORARY")
		p.acceptAny("ONLINE", "OFFLINE")
		p.acceptAny("UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR")
		return p.acceptAny("TABLE", "INDEX", "DATABASE", "SCHEMA")
	case p.accept("ALTER"):
		for p.acceptAny("ONLINE", "OFFLINE", "IGNORE") {
			continue
		}
		return p.acceptAny("TABLE", "DATABASE", "SCHEMA")
	case p.accept("DROP"):
		p.accept("TEMPORARY")
		p.acceptAny("ONLINE", "OFFLINE")
		return p.acceptAny("TABLE", "TABLES", "INDEX", "DATABASE", "SCHEMA")
	case p.accept("RENAME"):
		return p.acceptAny("TABLE", "TABLES")
	}
	return p.accept("TRUNCATE")
}

// parse reads a statement about tables or databases.
func (p *parser) parse() {
	switch {
	case p.accept("CREATE"):
		p.s.OrReplace = p.accept("OR", "REPLACE")
		p.s.Temporary = p.accept("TEMPORARY")
		switch {
		case p.accept("TABLE"):
			p.createTable()
		case p.acceptAny("DATABASE", "SCHEMA"):
			p.database(CreateDatabase)
		default:
			p.createIndex()
		}
	case p.accept("ALTER"):
		if p.acceptAny("DATABASE", "SCHEMA") {
			p.database(AlterDatabase)
			return
		}
		for !p.accept("TABLE") && p.err == nil {
			if p.accept("IGNORE") {
				p.s.Ignore = true
			} else if !p.acceptAny("ONLINE", "OFFLINE") {
				p.failHere("expected TABLE")
			}
		}
		p.alterTable()
	case p.accept("DROP"):
		p.s.Temporary = p.accept("TEMPORARY")
		switch {
		case p.acceptAny("TABLE", "TABLES"):
			p.dropTable()
		case p.acceptAny("DATABASE", "SCHEMA"):
			p.s.Action = DropDatabase
			p.s.IfExists = p.accept("IF", "EXISTS")
			p.s.Database = p.databaseName()
		default:
			p.dropIndex()
		}
	case p.accept("RENAME"):
		p.next()
		p.renameTable()
	case p.accept("TRUNCATE"):
		p.accept("TABLE")
		p.s.Action = TruncateTable
		p.s.Tables = []TableName{p.tableName()}
		p.wait()
	}
}

// tableName reads the name of a table, qualified or not.
func (p *parser) tableName() TableName {
	database := ""
	table := p.name()
	if p.accept(".") {
		database, table = table, p.name()
	}
	name := p.o.TableName(database, table)
	if name.Database == "" {
		p.fail("table %s has no database", name.Table)
	}
	return name
}

// databaseName reads the name of a database.
func (p *parser) databaseName() string {
	name := p.name()
	if p.o.LowerCaseNames == 1 {
		name = strings.ToLower(name)
	}
	return name
}

// wait reads MariaDB's WAIT n or NOWAIT.
func (p *parser) wait() {
	if p.accept("WAIT") {
		p.number()
	} else {
		p.accept("NOWAIT")
	}
}

func (p *parser) dropTable() {
	p.s.Action = DropTable
	p.s.IfExists = p.accept("IF", "EXISTS")
	p.s.Tables = append(p.s.Tables, p.tableName())
	for p.accept(",") {
		p.s.Tables = append(p.s.Tables, p.tableName())
	}
	p.wait()
	p.acceptAny("RESTRICT", "CASCADE")
}

func (p *parser) renameTable() {
	p.s.Action = RenameTable
	p.s.IfExists = p.accept("IF", "EXISTS")
	for {
		from := p.tableName()
		p.wait()
		p.expect("TO")
		p.s.Tables = append(p.s.Tables, from, p.tableName())
		if !p.accept(",") {
			return
		}
	}
}

// database reads CREATE DATABASE or ALTER DATABASE.
func (p *parser) database(a Action) {
	p.s.Action = a
	p.s.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	if p.peek().isName() && (a == CreateDatabase || !p.startsDatabaseOption()) {
		p.s.Database = p.databaseName()
	} else if p.s.Database = p.o.Database; p.s.Database == "" {
		p.fail("the statement names no database")
	}
	for !p.done() {
		switch {
		case p.charsetOption(&p.s.databaseCharset):
		case p.accept("COMMENT"), p.accept("DEFAULT", "ENCRYPTION"), p.accept("ENCRYPTION"),
			p.accept("READ", "ONLY"):
			p.accept("=")
			p.next()
		case p.accept("UPGRADE", "DATA", "DIRECTORY", "NAME"):
			p.fail("UPGRADE DATA DIRECTORY NAME changes the name of a database")
		default:
			p.failHere("expected an option of a database")
		}
	}
}

// startsDatabaseOption reports whether an option comes next, and no name.
func (p *parser) startsDatabaseOption() bool {
	first, second := p.peek(), p.peekAt(1)
	switch {
	case first.is("DEFAULT"), first.is("CHARACTER"), first.is("COLLATE"):
		return true
	case first.is("CHARSET"), first.is("COMMENT"), first.is("ENCRYPTION"):
		return second.is("=") || second.kind == tokenString || p.at+2 == len(p.tokens)
	}
	return first.is("READ") && second.is("ONLY")
}

// charsetOption reads [DEFAULT] CHARACTER SET [=] x or [DEFAULT] COLLATE [=] x into c, and reports
// whether one was next.
func (p *parser) charsetOption(c *charsetClause) bool {
	start := p.at
	p.accept("DEFAULT")
	switch {
	case p.accept("CHARACTER", "SET"), p.accept("CHARSET"), p.accept("CHAR", "SET"):
		p.accept("=")
		if p.accept("DEFAULT") {
			*c = charsetClause{isDefault: true}
		} else {
			c.charset = p.nameOrString()
		}
	case p.accept("COLLATE"):
		p.accept("=")
		if p.accept("DEFAULT") {
			c.isDefault = true
		} else {
			c.collation = p.nameOrString()
		}
	default:
		p.at = start
		return false
	}
	return true
}

// otherStatements are the first words of statements that change no table.
var otherStatements = []string{
	"GRANT", "REVOKE", "FLUSH", "SET", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM",
	"INSTALL", "UNINSTALL", "CACHE", "RESET", "PURGE", "CHANGE", "START", "STOP", "KILL", "USE",
	"LOCK", "UNLOCK", "PREPARE", "DEALLOCATE", "SHOW", "COMMIT", "BEGIN", "ROLLBACK", "SAVEPOINT",
	"RELEASE", "XA", "BINLOG", "HELP", "SIGNAL", "BACKUP", "CLONE", "RESTART", "SHUTDOWN",
}

// otherObjects are the objects that are no tables. Where a word can be the beginning of another
// object's name, the whole name stands here.
var otherObjects = []string{
	"VIEW", "SEQUENCE", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "USER", "ROLE", "SERVER",
	"TABLESPACE", "UNDO TABLESPACE", "LOGFILE GROUP", "RESOURCE GROUP", "SPATIAL REFERENCE SYSTEM",
	"PACKAGE", "LIBRARY", "INSTANCE", "JSON", "MASKING",
}

// parseOther reads the beginning of a statement that changes no table.
func (p *parser) parseOther() {
	p.s.Action = Other
	switch first := p.peek(); {
	case first.kind == 0: // comments alone
	case p.accept("CREATE"):
		p.s.Creates = true
		p.object()
	case p.acceptAny("ALTER", "DROP"):
		p.object()
	case p.accept("RENAME", "USER"):
		p.s.Object = "USER"
	case p.acceptAny("LOAD") && p.accept("INDEX"):
		p.s.Object = "INDEX"
	case slices.Contains(otherStatements, strings.ToUpper(first.text)) && first.kind == tokenWord:
		p.s.Object = strings.ToUpper(first.text)
	default:
		p.failHere("expected a statement that defines data")
	}
}

// object reads the kind of an object behind CREATE, ALTER or DROP, and the name of a view or a
// sequence. OR REPLACE, DEFINER = user, ALGORITHM = x, SQL SECURITY x and AGGREGATE may stand
// before the kind.
func (p *parser) object() {
	for !p.done() && p.s.Object == "" {
		for _, object := range otherObjects {
			if p.accept(strings.Fields(object)...) {
				p.s.Object = object
				break
			}
		}
		if p.s.Object == "" && !p.objectModifier() {
			p.failHere("expected the kind of an object")
		}
	}
	switch p.s.Object {
	case "":
		p.failHere("expected the kind of an object")
	case "VIEW", "SEQUENCE":
		p.objectNames()
	}
}

// objectModifier reads what may stand before the kind of an object.
func (p *parser) objectModifier() bool {
	switch {
	case p.accept("OR", "REPLACE"):
		p.s.OrReplace = true
		return true
	case p.accept("AGGREGATE"), p.accept("TEMPORARY"),
		p.accept("SQL", "SECURITY", "DEFINER"), p.accept("SQL", "SECURITY", "INVOKER"),
		p.accept("IF", "NOT", "EXISTS"), p.accept("IF", "EXISTS"), p.accept("PUBLIC"):
		return true
	case p.accept("ALGORITHM", "="):
		p.next()
		return true
	case p.accept("DEFINER", "="):
		p.next()
		switch {
		case p.accept("@"):
			p.next()
			for p.accept(".") || p.accept("-") || p.accept("%") { // a host without quotes
				p.next()
			}
		case p.accept("(", ")"): // CURRENT_USER()
		}
		return true
	}
	return false
}

// objectNames reads the names of views or sequences as far as they are part of the first tokens. A
// view without a database needs a default database.
func (p *parser) objectNames() {
	p.accept("IF", "NOT", "EXISTS")
	p.accept("IF", "EXISTS")
	p.s.Tables = append(p.s.Tables, p.tableName())
	for p.accept(",") && !p.done() {
		p.s.Tables = append(p.s.Tables, p.tableName())
	}
	p.at = len(p.tokens)
}
