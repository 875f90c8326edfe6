package events

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rowfall/binlog"
)

// xa handles the XA statements, except XA PREPARE, which has an event type of its own.
func (p *Parser) xa(h header, q queryEventBody) (*binlog.Event, error) {
	switch next := nextKeyword(&q.rest); string(next.text()) {
	case "START", "BEGIN":
		if p.mariaDB && p.transaction.state == stateOpen {
			return nil, nil
		}
		return nil, p.beginTransaction()
	case "END":
		return nil, nil
	case "ROLLBACK":
		// It ends a prepared transaction, of which no row was yielded.
		p.xaTransactions.finish(xidOf(q.text, "rollback"))
		return p.commit(h), nil
	case "COMMIT":
		return p.xaCommit(h, q.text)
	}
	return nil, reject("statement %q is not known to Rowfall; please report it",
		binlog.Clip(q.text, maxQuoted))
}

// xaPrepare handles XA_PREPARE_LOG_EVENT, which ends the first phase of an XA transaction, or all
// of one that was committed in one phase.
func (p *Parser) xaPrepare(h header, body []byte) (*binlog.Event, error) {
	c := cursor{b: body}
	onePhase := c.byte() != 0
	format, global, branch := c.uint32(), c.uint32(), c.uint32()
	g, b := c.bytes(uint64(global)), c.bytes(uint64(branch))
	if c.truncated {
		return nil, errTruncated
	}
	if p.transaction.state == stateIdle {
		return nil, errMidTransaction
	}
	// A transaction that is left out is not recorded as prepared, so that its XA COMMIT is not
	// passed silently: its rows become visible only then.
	if onePhase || p.discarding() {
		return p.commit(h), nil
	}
	if p.transaction.hasMappedRows {
		return nil, reject(
			"an XA transaction with rows of mapped tables was committed in two phases, " +
				"which Rowfall does not support; commit it in one phase, " +
				"or take its tables out of the mapping, and start again with --from snapshot",
		)
	}
	xid := fmt.Sprintf("X'%x',X'%x',%d", g, b, int32(format))
	p.xaTransactions.prepare(xid, xaTransaction{
		p.transaction.skippedRows, p.transaction.leftOutTables,
	})
	return p.commit(h), nil
}

// xaCommit handles the XA COMMIT of a prepared transaction. It has no rows of mapped tables if its
// XA PREPARE was seen, except of tables whose rows were left out; otherwise its rows are unknown.
func (p *Parser) xaCommit(h header, query []byte) (*binlog.Event, error) {
	if !p.skip.active() && p.transaction.state != stateOpen || p.mariaDB {
		xid := xidOf(query, "commit")
		prepared, found := p.xaTransactions.finish(xid)
		if p.discarding() {
			if !found {
				p.leftOut.setUnknown()
			}
			p.leftOut.addTables(prepared.leftOutTables)
			return p.commit(h), nil
		}
		shown := strconv.Quote(binlog.Clip(xid, maxQuoted))
		for _, table := range prepared.leftOutTables {
			// Is the gap of the XA PREPARE closed already? Only now its rows become visible, so a
			// job may have read the table without them.
			if slices.Contains(p.transaction.skipsTables, table) {
				continue
			}
			return nil, withTable(table, reject("XA transaction %s commits rows of %s that were "+
				"skipped when it was prepared; skip them here, too, and then read the table "+
				"again with rowfall backfill", shown, table))
		}
		for _, r := range prepared.skippedRows {
			p.maps.tables.RowsSkipped(r.database, r.name, r.op, false)
		}
		if !found {
			return nil, reject("XA transaction %s was prepared before the starting position, "+
				"so its rows are unknown; "+
				"start from an earlier position or with --from snapshot", shown)
		}
	}
	return p.commit(h), nil
}

// xidOf returns the xid of an XA COMMIT or XA ROLLBACK statement, in the form in which servers log
// it.
func xidOf(query []byte, verb string) string {
	_, xid, _ := strings.Cut(strings.ToLower(string(query)), verb)
	return strings.ReplaceAll(strings.ReplaceAll(xid, " ", ""), "x'", "X'")
}

// XATransactions holds the XA transactions that were prepared without rows of mapped tables. A
// finished transaction is kept for a while, because a connection may have read more than was
// applied, and the next connection reads it again. One parser at a time may use it. The zero value
// is empty.
type XATransactions struct{ prepared, finished, finishedBefore xaTransactions }

// xaTransactions are prepared transactions by their xids.
type xaTransactions map[string]xaTransaction

// xaTransaction has the fields of the same names of a transaction that was prepared.
type xaTransaction struct {
	skippedRows   []skippedRows
	leftOutTables []string
}

// maxXATransactions bounds each of the maps of XATransactions.
const maxXATransactions = 10_000

// prepare adds a transaction whose XA PREPARE was seen.
func (s *XATransactions) prepare(xid string, t xaTransaction) {
	if s.prepared == nil || len(s.prepared) >= maxXATransactions {
		s.prepared = make(xaTransactions)
	}
	s.prepared[xid] = t
}

// finish ends a transaction. It returns the transaction, and whether its XA PREPARE was seen.
func (s *XATransactions) finish(xid string) (t xaTransaction, found bool) {
	for _, m := range []xaTransactions{s.finished, s.finishedBefore} {
		if t, ok := m[xid]; ok {
			delete(s.prepared, xid)
			return t, true
		}
	}
	t, found = s.prepared[xid]
	if !found {
		return t, false
	}
	if s.finished == nil || len(s.finished) >= maxXATransactions {
		s.finishedBefore, s.finished = s.finished, make(xaTransactions)
	}
	delete(s.prepared, xid)
	s.finished[xid] = t
	return t, true
}
