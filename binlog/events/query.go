package events

import (
	"bytes"

	"rowfall/binlog"
)

// query handles a QUERY event: the text of a statement, or a word that begins
// or ends a transaction.
func (p *Parser) query(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state == stateIdle {
		p.transaction = p.newTransaction(transaction{}) // without a GTID, transactions begin with a QUERY
	}
	c := cursor{b: body}
	fixed := cursor{b: c.bytes(uint64(p.postHeaderLength(queryEvent, 13)))}
	fixed.bytes(8) // thread, execution time
	schema := uint64(fixed.byte())
	fixed.uint16() // error code
	vars := c.bytes(uint64(fixed.uint16()))
	database := c.bytes(schema)
	c.byte() // zero
	text := c.b
	if c.truncated || fixed.truncated {
		return nil, errTruncated
	}
	if h.typ == queryCompressedEvent {
		var err error
		if text, err = p.inflater.inflate(text); err != nil {
			return nil, err
		}
	}
	first, rest := keyword(text)
	if string(first.text()) == "SET" {
		text = trimSetStatement(text)
		first, rest = keyword(text)
	}
	class := classes[string(first.text())]
	if next, _ := keyword(rest); class == classAnalyze && string(next.text()) != "TABLE" {
		class = classRows // MariaDB runs what it analyzes
	}
	if class == classDefinition || class == classAnalyze || class == classOther {
		var err error
		if text, err = utf8Text(text, vars); err != nil && !p.discarding() {
			return nil, err
		}
	}
	switch class {
	case classDefinition, classAnalyze, classRows, classOther:
		p.recordTime(h)
	}
	switch class {
	case classBegin:
		return nil, p.beginTransaction()
	case classCommit:
		return p.commitStatement(h)
	case classRollback:
		return p.rollback(h, rest)
	case classSavepoint:
		return nil, nil
	case classXA:
		return p.xa(h, text, rest)
	case classDefinition, classAnalyze:
		return p.statement(h, database, text), nil
	case classRows:
		return p.rowStatement(database, text)
	default:
		if p.transaction.state == stateOpen {
			return p.rowStatement(database, text)
		}
		return p.statement(h, database, text), nil
	}
}

// postHeaderLength returns the length of the fixed part of a type's body.
func (p *Parser) postHeaderLength(k eventType, usual int) int {
	if int(k) <= p.knownTypes {
		return int(p.postHeaders[k])
	}
	return usual
}

// end handles COMMIT, which ends a transaction of tables without an engine that
// has transactions.
func (p *Parser) commitStatement(h header) (*binlog.Event, error) {
	if p.transaction.state == stateIdle {
		return nil, errMidTransaction
	}
	return p.commit(h), nil
}

// rollback handles ROLLBACK and ROLLBACK TO. They are logged only when the
// transaction also changed tables that cannot be rolled back; which rows stay
// is not for us to tell.
func (p *Parser) rollback(h header, rest []byte) (*binlog.Event, error) {
	if p.transaction.state == stateIdle {
		return nil, errMidTransaction
	}
	if p.transaction.hasMappedRows {
		return nil, reject("a transaction that changed mapped tables, some of them without transactions, was rolled back; " +
			"which rows stayed is not in the binlog: start again with --from snapshot")
	}
	if next, _ := keyword(rest); string(next.text()) == "TO" {
		return nil, nil
	}
	return p.commit(h), nil
}

// xa handles the XA statements. PREPARE has an event of its own.
func (p *Parser) xa(h header, text, rest []byte) (*binlog.Event, error) {
	switch next, _ := keyword(rest); string(next.text()) {
	case "START", "BEGIN":
		if p.mariaDB && p.transaction.state == stateOpen {
			return nil, nil
		}
		return nil, p.beginTransaction()
	case "END":
		return nil, nil
	case "ROLLBACK":
		// Of what was prepared; none of it was taken over.
		p.xaTransactions.finish(xidOf(text, "rollback"))
		return p.commit(h), nil
	case "COMMIT":
		return p.xaCommit(h, text)
	}
	return nil, reject("statement %q is not known to Rowfall; please report it", clip(text))
}

// statement yields a statement. By itself it is a transaction of its own;
// within one (CREATE TABLE ... SELECT) the position stays until the commit.
func (p *Parser) statement(h header, database, text []byte) *binlog.Event {
	inTransaction := p.transaction.state == stateOpen
	if !inTransaction {
		p.endTransaction()
	}
	ev := p.emit(p.history.visibleKind(binlog.Statement, &p.transaction), p.time(h))
	ev.InTransaction = inTransaction
	if !p.discarding() {
		ev.Database, ev.SQL = string(database), string(text)
	}
	return ev
}

// rowStatement handles text that changes rows, or might.
func (p *Parser) rowStatement(database, text []byte) (*binlog.Event, error) {
	if p.discarding() || len(bytes.TrimSpace(skipComments(text))) == 0 {
		return nil, nil
	}
	return nil, reject("changes were logged as a statement instead of rows (in database %s: %q): %w", clip(database), clip(text), errStatementFormat)
}

// class says what a statement is to us, by its first word.
type class uint8

const (
	classOther class = iota
	classBegin
	classCommit
	classRollback
	classSavepoint
	classXA
	classDefinition
	classRows
	classAnalyze
)

// classes has the statements that are told apart. Others are definitions when
// they stand alone and changes of rows within a transaction.
var classes = map[string]class{
	"BEGIN": classBegin, "COMMIT": classCommit, "ROLLBACK": classRollback,
	"SAVEPOINT": classSavepoint, "RELEASE": classSavepoint, "XA": classXA,
	"CREATE": classDefinition, "ALTER": classDefinition, "DROP": classDefinition, "RENAME": classDefinition,
	"TRUNCATE": classDefinition, "GRANT": classDefinition, "REVOKE": classDefinition, "ANALYZE": classAnalyze,
	"OPTIMIZE": classDefinition, "REPAIR": classDefinition, "FLUSH": classDefinition, "SET": classDefinition,
	"INSERT": classRows, "UPDATE": classRows, "DELETE": classRows, "REPLACE": classRows, "LOAD": classRows,
	"WITH": classRows, "SELECT": classRows, "CALL": classRows, "DO": classRows, "IMPORT": classRows,
}

// trimSetStatement returns what MariaDB runs of SET STATEMENT variable = value, ...
// FOR statement.
func trimSetStatement(sql []byte) []byte {
	for {
		first, rest := keyword(sql)
		second, rest := keyword(rest)
		if string(first.text()) != "SET" || string(second.text()) != "STATEMENT" {
			return sql
		}
		inner := afterFor(rest)
		if inner == nil {
			return sql
		}
		sql = bytes.TrimLeft(inner, " \t\r\n\f\v")
	}
}

// afterFor returns what follows the first word FOR that is not part of a value or
// name; nil if there is none.
func afterFor(sql []byte) []byte {
	for len(sql) > 0 {
		switch c := sql[0]; {
		case c == '\'' || c == '"' || c == '`':
			sql = afterQuote(sql[1:], c)
			continue
		case isWordByte(c):
			n := 1
			for n < len(sql) && isWordByte(sql[n]) {
				n++
			}
			if bytes.EqualFold(sql[:n], []byte("FOR")) {
				return sql[n:]
			}
			sql = sql[n:]
			continue
		}
		if bare := skipComments(sql); len(bare) < len(sql) {
			sql = bare
			continue
		}
		sql = sql[1:]
	}
	return nil
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c == '@' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// afterQuote returns what follows the closing quote. A doubled one closes and
// opens again.
func afterQuote(sql []byte, quote byte) []byte {
	for i := 0; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && quote != '`':
			i++
		case sql[i] == quote:
			return sql[i+1:]
		}
	}
	return nil
}

// word is a keyword in capitals.
type word struct {
	b [12]byte
	n int
}

func (w *word) text() []byte { return w.b[:w.n] }

// keyword returns the first word of SQL text, comments aside, and what follows;
// a word too long to be one of ours is cut.
func keyword(sql []byte) (w word, rest []byte) {
	sql = skipComments(sql)
	i := 0
	for ; i < len(sql); i++ {
		c := sql[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if (c < 'A' || c > 'Z') && c != '_' {
			break
		}
		if w.n < len(w.b) {
			w.b[w.n] = c
			w.n++
		}
	}
	return w, sql[i:]
}

// skipComments drops white space and comments from the front of SQL text, and
// the opening of those that servers execute ("/*!80000 ").
func skipComments(sql []byte) []byte {
	for {
		sql = bytes.TrimLeft(sql, " \t\r\n\f\v(;")
		switch {
		case bytes.HasPrefix(sql, []byte("/*!")), bytes.HasPrefix(sql, []byte("/*M!")):
			sql = bytes.TrimLeft(sql[3:], "!0123456789")
		case bytes.HasPrefix(sql, []byte("/*")):
			_, after, _ := bytes.Cut(sql[2:], []byte("*/"))
			sql = after
		case bytes.HasPrefix(sql, []byte("*/")):
			sql = sql[2:]
		case bytes.HasPrefix(sql, []byte("#")), bytes.HasPrefix(sql, []byte("--")):
			_, after, _ := bytes.Cut(sql, []byte("\n"))
			sql = after
		default:
			return sql
		}
	}
}
