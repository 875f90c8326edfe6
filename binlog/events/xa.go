package events

import (
	"fmt"
	"strings"

	"rowfall/binlog"
)

// UnpreparedError is returned for the XA COMMIT of a transaction that Prepared does not find: its
// XA PREPARE lies before the starting position. The position does not include the XA COMMIT.
type UnpreparedError struct{ XID string }

func (e *UnpreparedError) Error() string {
	return fmt.Sprintf("XA transaction %q was prepared before the starting position, "+
		"so its rows are unknown", binlog.Clip(e.XID, maxQuoted))
}

// xa handles the XA statements, except XA PREPARE, which has an event type of its own.
func (p *Parser) xa(h header, q queryEventBody) (*binlog.Event, error) {
	switch next := nextKeyword(&q.rest); string(next.text()) {
	case "START", "BEGIN":
		if p.mariaDB && p.transaction.state == stateOpen {
			return nil, nil
		}
		if err := p.beginTransaction(); err != nil {
			return nil, err
		}
		p.startKeeping()
		return nil, nil
	case "END":
		return nil, nil
	case "ROLLBACK":
		return p.xaRollback(h, q.text)
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
	if onePhase {
		return p.replayOpen(h)
	}
	xa := p.keeping.result(binlog.XAPrepare)
	xa.XID = fmt.Sprintf("X'%x',X'%x',%d", g, b, int32(format))
	return p.commitXA(h, xa), nil
}

// xaCommit handles XA COMMIT. The rows of a prepared transaction that Prepared has kept are yielded
// before the Commit.
func (p *Parser) xaCommit(h header, query []byte) (*binlog.Event, error) {
	if !p.mariaDB && p.transaction.state == stateOpen {
		return p.replayOpen(h) // in one phase
	}
	xa := &binlog.XA{Step: binlog.XACommit, XID: xidOf(query, "commit")}
	t := &p.transaction
	if p.prepared == nil || p.preparedOnly || p.discarding() && !t.leftOut {
		if t.leftOut {
			p.leftOut.setUnknown()
		}
		return p.commitXA(h, xa), nil
	}
	kept, found := p.prepared.Find(xa.XID)
	switch {
	case t.leftOut:
		p.leftOut.addTables(kept.Tables)
		if !found || kept.MissesAll {
			p.leftOut.setUnknown()
		}
		return p.commitXA(h, xa), nil
	case !found:
		return nil, &UnpreparedError{xa.XID}
	}
	return p.replayKept(h, replay{xa: xa, kept: kept})
}

// xaRollback handles XA ROLLBACK. The rows of a prepared transaction were not yielded. A
// transaction that was not prepared is logged only if it also changed tables of an engine without
// transactions, as with ROLLBACK.
func (p *Parser) xaRollback(h header, query []byte) (*binlog.Event, error) {
	if p.keeping.active {
		return p.rollbackOpen(h)
	}
	xa := &binlog.XA{Step: binlog.XARollback, XID: xidOf(query, "rollback")}
	return p.commitXA(h, xa), nil
}

// rollbackOpen handles the rollback of an XA transaction that was not prepared.
func (p *Parser) rollbackOpen(h header) (*binlog.Event, error) {
	p.transaction.rolledBack = p.keeping.hasRows()
	return p.replayOpen(h)
}

// commitXA ends a transaction with a Commit that describes a step of an XA transaction. The step of
// a discarded transaction is not described, because the data include it.
func (p *Parser) commitXA(h header, xa *binlog.XA) *binlog.Event {
	t := &p.transaction
	ev := p.commit(h)
	if ev.Kind == binlog.Commit && (!t.discard || t.leftOut) {
		ev.XA = xa
	}
	return ev
}

// xidOf returns the xid of an XA COMMIT or XA ROLLBACK statement, in the form in which servers log
// it.
func xidOf(query []byte, verb string) string {
	_, xid, _ := strings.Cut(strings.ToLower(string(query)), verb)
	return strings.ReplaceAll(strings.ReplaceAll(xid, " ", ""), "x'", "X'")
}
