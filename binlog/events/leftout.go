package events

import (
	"slices"

	"rowfall/binlog"
)

// leftOut holds the requests to leave out transactions. current lists the tables found so far in
// the transaction that is being left out.
type leftOut struct {
	// all is set if Options.TimesOnly or Options.PreparedOnly is set.
	all     bool
	skips   []binlog.Skip
	current binlog.Skipped
}

// Skip replaces the transactions that are left out when the parser reaches them. Of a transaction
// that is left out entirely, only statements and the end are yielded, with Event.Skipped set. Of
// one that is left out for some tables, everything is yielded, but rows of these tables that cannot
// be read are not an error. Call Skip between transactions.
func (p *Parser) Skip(skips []binlog.Skip) { p.leftOut.skips = skips }

// InTransaction reports whether a transaction has begun and not ended; Transaction describes it.
func (p *Parser) InTransaction() bool { return !p.idle() }

// matchSkip applies the requests to a transaction that begins. It ignores a transaction that is
// discarded already, because the position includes that transaction.
func (p *Parser) matchSkip(t *transaction) {
	if t.discard || p.skip.active() {
		return
	}
	if p.leftOut.all {
		t.discard, t.leftOut = true, true
		p.leftOut.current = binlog.Skipped{}
		return
	}
	if len(p.leftOut.skips) == 0 {
		return
	}
	e := p.evidenceOf(t)
	for _, s := range p.leftOut.skips {
		if !s.At.Names(&e) {
			continue
		}
		if t.skipsTables = s.Tables; len(s.Tables) == 0 {
			t.discard, t.leftOut = true, true
			p.leftOut.current = binlog.Skipped{}
		}
		return
	}
}

// isLeavingOut reports whether the current event need not be known, because it is left out.
func (p *Parser) isLeavingOut() bool {
	return p.leftOut.all || p.transaction.leftOut && p.transaction.state != stateIdle
}

// leavesOut reports whether rows of a table are left out of the transaction.
func (t *transaction) leavesOut(database, name string) bool {
	return len(t.skipsTables) > 0 && slices.Contains(t.skipsTables, database+"."+name)
}

// addTable records the table of a table map, if the transaction is being left out. wide is set if
// table ids have six bytes.
func (l *leftOut) addTable(t *transaction, c cursor, wide bool) {
	if !t.leftOut {
		return
	}
	c.tableID(wide)
	c.bytes(2) // flags
	name := string(c.name()) + "." + string(c.name())
	if c.truncated {
		l.setUnknown()
		return
	}
	l.addTables([]string{name})
}

// addTables adds tables to those of the transaction that is being left out. If no transaction is
// being left out, it has no effect.
func (l *leftOut) addTables(names []string) {
	for _, name := range names {
		if !slices.Contains(l.current.Tables, name) {
			l.current.Tables = append(l.current.Tables, name)
		}
	}
}

// setUnknown records that the transaction being left out may have changed tables that were not
// found. If no transaction is being left out, it has no effect.
func (l *leftOut) setUnknown() { l.current.Unknown = true }

// result returns the tables found in a transaction that was left out; nil for other transactions.
func (l *leftOut) result(t *transaction) *binlog.Skipped {
	if !t.leftOut {
		return nil
	}
	return &binlog.Skipped{Tables: slices.Clone(l.current.Tables), Unknown: l.current.Unknown}
}
