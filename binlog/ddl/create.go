package ddl

import (
	"slices"
	"strings"
)

// systemVersioned is the reason why a table with MariaDB's SYSTEM VERSIONING is not followed.
const systemVersioned = "it has SYSTEM VERSIONING, which is not supported yet"

// createTable reads CREATE TABLE from the table's name on.
func (p *parser) createTable() {
	p.s.Action = CreateTable
	p.s.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	p.s.Tables = []TableName{p.tableName()}
	if p.accept("LIKE") {
		p.like()
		return
	}
	if p.peek().is("(") && !p.startsSelect(1) {
		p.next()
		if p.accept("LIKE") {
			p.like()
			p.expect(")")
			return
		}
		p.tableElements()
		p.expect(")")
	}
	for !p.done() && !p.startsSelect(0) && p.tableOption() {
		continue
	}
	if p.partitionBy() {
		p.at = p.selectAfterPartitions()
	}
	if p.startsSelect(0) {
		p.s.Select = true
		p.at = len(p.tokens)
	}
	if !p.s.Select && len(p.s.Changes) == 0 {
		p.failHere("expected columns")
	}
}

func (p *parser) like() {
	source := p.tableName()
	p.s.Like = &source
}

// startsSelect reports whether the SELECT of CREATE TABLE ... SELECT begins n tokens later.
func (p *parser) startsSelect(n int) bool {
	for p.peekAt(n).is("(") {
		n++
	}
	t := p.peekAt(n)
	if t.is("IGNORE") || t.is("REPLACE") {
		return true
	}
	if t.is("WITH") {
		return !p.peekAt(n + 1).is("SYSTEM")
	}
	return t.is("SELECT") || t.is("AS") || t.is("VALUES") || t.is("TABLE")
}

// selectAfterPartitions returns the place of the SELECT behind the definition of partitions, or the
// end.
func (p *parser) selectAfterPartitions() int {
	depth := 0
	for i := p.at; i < len(p.tokens); i++ {
		switch t := p.tokens[i]; {
		case depth == 0 && t.is("SELECT"):
			return i
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		}
	}
	return len(p.tokens)
}

// tableElements reads columns and keys up to the closing parenthesis.
func (p *parser) tableElements() {
	for p.err == nil {
		if p.startsKey() {
			p.s.Changes = append(p.s.Changes, p.key())
		} else {
			p.addColumn(Change{Kind: AddColumn, Column: p.columnDef()})
		}
		if !p.accept(",") {
			return
		}
	}
}

// addColumn appends a Change with a column, and one for each key in the column's definition.
func (p *parser) addColumn(c Change) {
	p.s.Changes = append(p.s.Changes, c)
	for _, kind := range []KeyKind{PrimaryKey, UniqueKey} {
		if !slices.Contains(c.Column.keys, kind) {
			continue
		}
		k := &KeyDef{Kind: kind, Parts: []KeyPart{{Column: c.Column.Name}}}
		if kind == PrimaryKey {
			k.Name = "PRIMARY"
		}
		p.s.Changes = append(p.s.Changes, Change{Kind: AddKey, Key: k, Text: "ADD KEY"})
		if p.o.MariaDB {
			break // a column that is PRIMARY KEY and UNIQUE has one key
		}
	}
	if why := c.Column.unfollowed; why != "" {
		p.s.Changes = append(p.s.Changes, Change{Kind: StopsFollowing, Text: why})
	}
}

// tableOptions are options with a value, with or without "=" between.
var tableOptions = []string{
	"AUTO_INCREMENT", "AUTOEXTEND_SIZE", "AVG_ROW_LENGTH", "CHECKSUM", "COMMENT", "COMPRESSION",
	"CONNECTION", "DELAY_KEY_WRITE", "ENCRYPTION", "ENCRYPTED", "ENCRYPTION_KEY_ID",
	"ENGINE_ATTRIBUTE", "IETF_QUOTES", "INSERT_METHOD", "KEY_BLOCK_SIZE", "MAX_ROWS", "MIN_ROWS",
	"PACK_KEYS", "PAGE_CHECKSUM", "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "PASSWORD",
	"ROW_FORMAT", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE", "STATS_AUTO_RECALC",
	"STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "TABLE_CHECKSUM", "TRANSACTIONAL", "TYPE",
}

// tableOption reads one table option, and reports whether there was one.
func (p *parser) tableOption() bool {
	p.accept(",")
	var cs charsetClause
	if p.charsetOption(&cs) {
		p.addCharset(cs)
		return true
	}
	start := p.at
	p.accept("DEFAULT") // DEFAULT ENCRYPTION of MariaDB's grammar
	switch {
	case p.accept("ENGINE"), p.accept("TYPE"):
		p.accept("=")
		p.s.Changes = append(p.s.Changes,
			Change{Kind: SetEngine, value: p.nameOrString(), Text: "ENGINE"})
	case p.accept("UNION"):
		p.accept("=")
		p.group()
		p.s.Changes = append(p.s.Changes, Change{Kind: RewritesRows, Text: "UNION"})
	case p.accept("WITH", "SYSTEM", "VERSIONING"):
		p.s.Changes = append(p.s.Changes, Change{Kind: StopsFollowing, Text: systemVersioned})
	case p.accept("SEQUENCE"):
		p.accept("=")
		p.next()
		p.s.Changes = append(p.s.Changes, Change{Kind: StopsFollowing, Text: "it is a sequence"})
	case p.accept("DATA", "DIRECTORY"), p.accept("INDEX", "DIRECTORY"):
		p.accept("=")
		p.next()
	case p.accept("START", "TRANSACTION"), p.accept("FORCE"):
	case p.accept("TABLESPACE"):
		p.accept("=")
		p.next()
	case p.accept("STORAGE"):
		p.next()
	case p.peek().kind == tokenWord &&
		slices.Contains(tableOptions, strings.ToUpper(p.peek().text)),
		p.peek().isName() && p.peekAt(1).is("="):
		p.next()
		p.accept("=")
		p.accept("-")
		p.skip()
	default:
		p.at = start
		return false
	}
	return true
}

// addCharset appends the table's character set. CHARACTER SET and COLLATE are options of their
// own, and belong together.
func (p *parser) addCharset(cs charsetClause) {
	for i := range p.s.Changes {
		c := &p.s.Changes[i]
		if c.Kind != SetCharset {
			continue
		}
		if cs.charset != "" {
			c.charset.charset = cs.charset
		}
		if cs.collation != "" {
			c.charset.collation = cs.collation
		}
		return
	}
	p.s.Changes = append(p.s.Changes, Change{Kind: SetCharset, charset: cs, Text: "CHARACTER SET"})
}

// partitionBy reads PARTITION BY, and reports whether it was next.
func (p *parser) partitionBy() bool { return p.accept("PARTITION", "BY") }

// createIndex reads CREATE [UNIQUE ...] INDEX. CREATE has been read.
func (p *parser) createIndex() {
	p.s.Action = AlterTable
	p.acceptAny("ONLINE", "OFFLINE")
	kind := IndexKey
	if p.accept("UNIQUE") {
		kind = UniqueKey
	} else {
		p.acceptAny("FULLTEXT", "SPATIAL", "VECTOR")
	}
	p.expect("INDEX")
	c := Change{Kind: AddKey, Text: "CREATE INDEX", Key: &KeyDef{Kind: kind}}
	c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	c.Key.Name = p.name()
	p.indexType(c.Key)
	p.expect("ON")
	p.s.Tables = []TableName{p.tableName()}
	p.wait()
	p.keyParts(c.Key)
	p.keyOptions(c.Key)
	p.algorithmAndLock()
	if p.s.OrReplace {
		p.s.Changes = append(p.s.Changes,
			Change{Kind: DropKey, Name: c.Key.Name, IfExists: true, Text: "DROP INDEX"})
	}
	p.s.Changes = append(p.s.Changes, c)
}

// dropIndex reads DROP INDEX. DROP has been read.
func (p *parser) dropIndex() {
	p.s.Action = AlterTable
	p.acceptAny("ONLINE", "OFFLINE")
	p.expect("INDEX")
	c := Change{Kind: DropKey, Text: "DROP INDEX"}
	c.IfExists = p.accept("IF", "EXISTS")
	c.Name = p.name()
	p.expect("ON")
	p.s.Tables = []TableName{p.tableName()}
	p.wait()
	p.algorithmAndLock()
	p.s.Changes = []Change{c}
}

// algorithmAndLock reads ALGORITHM = x and LOCK = x, and reports whether one was next.
func (p *parser) algorithmAndLock() bool {
	found := false
	for p.acceptAny("ALGORITHM", "LOCK") {
		p.accept("=")
		p.next()
		found = true
	}
	return found
}
