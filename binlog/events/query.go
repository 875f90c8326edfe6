package events

import (
	"bytes"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/sqltext"
)

// query handles QUERY_EVENT: the text of a statement, or BEGIN, COMMIT, ROLLBACK and the like. It
// also handles EXECUTE_LOAD_QUERY_EVENT, the text of a LOAD DATA, which has a longer post-header.
func (p *Parser) query(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state == stateIdle {
		p.transaction = p.newTransaction(transaction{}) // without a GTID event before it
	}
	q, err := p.parseQuery(h, body)
	if err != nil {
		return nil, err
	}
	switch q.class {
	case classBegin:
		return nil, p.beginTransaction()
	case classCommit:
		return p.commitStatement(h)
	case classRollback:
		return p.rollback(h, q)
	case classSavepoint:
		return nil, nil
	case classXA:
		return p.xa(h, q)
	case classDefinition, classAnalyze:
		if q.hasNoEffect {
			return p.commit(h), nil
		}
		return p.statement(h, q), nil
	case classRows:
		return p.rowStatement(h, q)
	default:
		if p.transaction.state == stateOpen {
			return p.rowStatement(h, q)
		}
		return p.statement(h, q), nil
	}
}

// queryEventBody is a QUERY_EVENT without what the parser has no use for. Its slices are parts of
// the event's bytes.
type queryEventBody struct {
	// database is the session's default database, empty without one.
	database []byte
	// text is the statement, without SET STATEMENT ... FOR, in UTF-8 unless it is not yielded.
	text  []byte
	class class
	// rest scans what follows the statement's first keyword.
	rest    sqltext.Scanner
	session binlog.Session
	// hasNoEffect is set for MariaDB's ALTER TABLE that has started or was rolled back. A committed
	// one is logged again.
	hasNoEffect bool
}

// parseQuery reads a QUERY_EVENT and classifies its statement.
func (p *Parser) parseQuery(h header, body []byte) (q queryEventBody, err error) {
	c := cursor{b: body}
	typ, usual := queryEvent, 13
	if h.typ == executeLoadQueryEvent {
		typ, usual = h.typ, 26
	}
	fixed := cursor{b: c.bytes(uint64(p.postHeaderLength(typ, usual)))}
	fixed.bytes(8) // thread, execution time
	databaseLength := uint64(fixed.byte())
	fixed.uint16() // error code
	statusVars := c.bytes(uint64(fixed.uint16()))
	q.database = c.bytes(databaseLength)
	c.byte() // zero
	q.text = c.b
	if c.truncated || fixed.truncated {
		return q, errTruncated
	}
	if h.typ == queryCompressedEvent {
		if q.text, err = p.inflater.inflate(q.text); err != nil {
			return q, err
		}
	}
	q.classify(p.dialect)
	switch q.class {
	case classDefinition, classAnalyze, classRows, classOther:
		p.recordTime(h)
	}
	switch q.class {
	case classDefinition, classAnalyze, classRows, classOther:
		vars := parseStatusVars(statusVars)
		q.session, q.hasNoEffect = vars.session, vars.hasNoEffect
		collation := vars.clientCollation
		if isGenerated(q.text) {
			collation = 0
		}
		exact := false
		q.text, exact = utf8Text(q.text, collation, p.mariaDB)
		q.session.IsTextInexact = !exact
	}
	return q, nil
}

// classify sets class and rest, and removes SET STATEMENT ... FOR from text. The dialect is that of
// the server that has written the file: it decides which comments are part of the statement.
func (q *queryEventBody) classify(d sqltext.Dialect) {
	if string(q.text) == "BEGIN" { // the text that servers write themselves
		q.class = classBegin
		return
	}
	q.rest = d.NewScanner(q.text)
	first := nextKeyword(&q.rest)
	if string(first.text()) == "SET" {
		q.text = trimSetStatement(q.text, d)
		q.rest = d.NewScanner(q.text)
		first = nextKeyword(&q.rest)
	}
	q.class = classes[string(first.text())]
	if q.class == classAnalyze {
		after := q.rest
		if next := nextKeyword(&after); string(next.text()) != "TABLE" {
			q.class = classRows // MariaDB executes the statement that follows ANALYZE
		}
	}
}

// isGenerated reports whether the server has written the text of a CREATE TABLE ... SELECT itself:
// it does so in UTF-8, whatever the client's character set. MySQL 8 ends the text with START
// TRANSACTION. MariaDB and older MySQL end it with the table's options, and every name is quoted.
func isGenerated(text []byte) bool {
	return bytes.HasPrefix(text, []byte("CREATE TABLE `")) && utf8.Valid(text)
}

// postHeaderLength returns the length of the post-header of an event type, in bytes, as the last
// FORMAT_DESCRIPTION_EVENT states it. usual is the length for types that it does not list.
func (p *Parser) postHeaderLength(k eventType, usual int) int {
	if int(k) <= p.knownTypes {
		return int(p.postHeaders[k])
	}
	return usual
}

// commitStatement handles COMMIT, which ends a transaction on tables of engines without
// transactions. Other transactions end with XID_EVENT.
func (p *Parser) commitStatement(h header) (*binlog.Event, error) {
	if p.transaction.state == stateIdle {
		return nil, errMidTransaction
	}
	return p.commit(h), nil
}

// rollback handles ROLLBACK and ROLLBACK TO. A server logs them only for a transaction that also
// changed tables of an engine without transactions. The binlog does not show which rows stayed.
func (p *Parser) rollback(h header, q queryEventBody) (*binlog.Event, error) {
	if p.transaction.state == stateIdle {
		return nil, errMidTransaction
	}
	if p.transaction.hasMappedRows {
		p.transaction.rolledBack = true
	}
	if next := nextKeyword(&q.rest); string(next.text()) == "TO" {
		return nil, nil
	}
	if p.keeping.active {
		return p.rollbackOpen(h)
	}
	return p.commit(h), nil
}

// statement yields a statement. One that stands alone is a transaction of its own. One within a
// transaction (CREATE TABLE ... SELECT) leaves the position to the transaction's commit.
func (p *Parser) statement(h header, q queryEventBody) *binlog.Event {
	inTransaction := p.transaction.state == stateOpen
	if inTransaction && p.leftOut.all {
		return nil
	}
	if !inTransaction {
		p.endTransaction()
	}
	ev := p.emit(p.history.visibleKind(binlog.Statement, &p.transaction), p.time(h))
	ev.InTransaction = inTransaction
	ev.Skipped = p.leftOut.result(&p.transaction)
	if !p.discarding() || p.transaction.leftOut {
		ev.Database, ev.SQL, ev.Session = string(q.database), string(q.text), q.session
	}
	return ev
}

// rowStatement yields a statement that changes rows, or could. A text of comments alone is ignored.
func (p *Parser) rowStatement(h header, q queryEventBody) (*binlog.Event, error) {
	s := p.dialect.NewScanner(q.text)
	if _, ok := nextWord(&s); !ok || p.discarding() {
		if ok {
			p.leftOut.setUnknown()
		}
		return nil, nil
	}
	if p.transaction.state != stateOpen {
		return nil, reject(
			"changes were logged as a statement instead of rows (in database %s: %q): %w",
			binlog.Clip(q.database, maxQuoted), binlog.Clip(q.text, maxQuoted),
			errStatementFormat,
		)
	}
	ev := p.emit(binlog.RowStatement, p.time(h))
	ev.InTransaction = true
	ev.Database, ev.SQL, ev.Session = string(q.database), string(q.text), q.session
	return ev, nil
}

// class is a group of statements that the parser handles alike.
type class uint8

const (
	classOther      class = iota // in a transaction as classRows, alone as classDefinition
	classBegin                   // begins a transaction
	classCommit                  // ends a transaction
	classRollback                // ends a transaction, or part of it
	classSavepoint               // changes nothing
	classXA                      // begins or ends an XA transaction
	classDefinition              // is yielded as a Statement
	classRows                    // changes rows, or could: is yielded as a RowStatement
	classAnalyze                 // ANALYZE TABLE is a definition, MariaDB's ANALYZE is not
)

// classes holds the class of each first keyword. Other keywords are of classOther.
var classes = map[string]class{
	"BEGIN": classBegin, "COMMIT": classCommit, "ROLLBACK": classRollback,
	"SAVEPOINT": classSavepoint, "RELEASE": classSavepoint, "XA": classXA,
	"CREATE": classDefinition, "ALTER": classDefinition, "DROP": classDefinition,
	"RENAME": classDefinition, "TRUNCATE": classDefinition, "GRANT": classDefinition,
	"REVOKE": classDefinition, "ANALYZE": classAnalyze, "OPTIMIZE": classDefinition,
	"REPAIR": classDefinition, "FLUSH": classDefinition, "SET": classDefinition,
	"INSERT": classRows, "UPDATE": classRows, "DELETE": classRows, "REPLACE": classRows,
	"LOAD": classRows, "WITH": classRows, "SELECT": classRows, "CALL": classRows,
	"DO": classRows, "IMPORT": classRows,
}

// trimSetStatement returns the statement that MariaDB executes for SET STATEMENT variable = value,
// ... FOR statement. Other texts are returned unchanged.
func trimSetStatement(sql []byte, d sqltext.Dialect) []byte {
	for {
		s := d.NewScanner(sql)
		first, second := nextKeyword(&s), nextKeyword(&s)
		if string(first.text()) != "SET" || string(second.text()) != "STATEMENT" ||
			!skipPastFor(&s) {
			return sql
		}
		sql = bytes.TrimLeft(s.Rest(), " \t\r\n\f\v")
	}
}

// skipPastFor skips the first word FOR and all before it, and reports whether there is such a
// word. A user variable @for does not count, nor does a word in parentheses, as in SUBSTRING('x'
// FROM 1 FOR 1).
func skipPastFor(s *sqltext.Scanner) bool {
	afterAt, depth := false, 0
	for token, ok := s.Next(); ok; token, ok = s.Next() {
		switch {
		case string(token.Text) == "(":
			depth++
		case string(token.Text) == ")":
			depth--
		case depth == 0 && !token.Quoted && !afterAt &&
			bytes.EqualFold(token.Text, []byte("FOR")):
			return true
		}
		afterAt = string(token.Text) == "@"
	}
	return false
}

// keyword is a word in capitals. It is a value, so that it costs no allocation.
type keyword struct {
	b [12]byte // longer than every keyword in classes
	n int
}

func (w *keyword) text() []byte { return w.b[:w.n] }

// nextKeyword returns the next word in capitals. It is empty at the end of the text, and for
// quoted text and words that are longer than any keyword.
func nextKeyword(s *sqltext.Scanner) (w keyword) {
	token, ok := nextWord(s)
	if !ok || token.Quoted || len(token.Text) > len(w.b) {
		return w
	}
	for i, c := range token.Text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		w.b[i] = c
	}
	w.n = len(token.Text)
	return w
}

// nextWord returns the next Token that is not an opening parenthesis or a semicolon, which may
// may precede a statement.
func nextWord(s *sqltext.Scanner) (sqltext.Token, bool) {
	for {
		token, ok := s.Next()
		if !ok || string(token.Text) != "(" && string(token.Text) != ";" {
			return token, ok
		}
	}
}
