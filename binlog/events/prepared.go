package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
)

// Prepared may be implemented by Tables. Then rows of XA transactions in two phases are yielded at
// the XA COMMIT. Without it they are yielded at the XA PREPARE, as if they were visible then.
//
// The caller of Next keeps the events that Event.XA has, and gives them back when the parser
// reaches the XA COMMIT.
type Prepared interface {
	// KeepsRows reports whether rows of a table must be kept until the XA COMMIT. It is called once
	// for each table map of an XA transaction.
	KeepsRows(database, name string) bool
	// Find returns what is kept of the transaction with an XID. An empty XID means the transaction
	// that is being read, of which XAPart events were yielded.
	Find(xid string) (kept Kept, found bool)
}

// Kept is what is kept of a prepared XA transaction.
type Kept struct {
	// Tables are the tables that the transaction has changed. MissesAll is set if they are not
	// known.
	Tables    []string
	MissesAll bool
	// Parts is the number of parts, and Part returns one of them: what Event.XA.Events were.
	Parts int
	Part  func(n int) ([]byte, error)
}

const (
	// MaxPart is the size in bytes from which on the kept events are yielded as an XAPart. Only an
	// event that is larger makes a larger part.
	MaxPart = 1 << 20
	// MaxPrepared is the largest size in bytes of the events that are kept of one XA transaction.
	// Of a larger transaction only the names of the tables are kept.
	MaxPrepared = 256 << 20
)

// maxPart and maxPrepared are MaxPart and MaxPrepared. Variables for tests.
var maxPart, maxPrepared = MaxPart, MaxPrepared

// keeping collects the events of the XA transaction that is being read.
type keeping struct {
	active bool
	// events are the kept events that were not yielded yet, of size bytes in all. isYielded is set
	// if they were yielded as the last event, and parts counts these.
	events    []byte
	isYielded bool
	parts     int
	size      int
	tooLarge  bool
	// hasStatement is set if changes of rows were logged as text.
	hasStatement bool
	// ids holds the table ids of the transaction's table maps.
	ids map[uint64]keptTable
	// tables are those with rows that are kept, and missing those with rows that are not.
	tables, missing []string
}

type keptTable struct {
	name   string
	isKept bool
}

// startKeeping is called at the beginning of an XA transaction.
func (p *Parser) startKeeping() {
	if p.prepared == nil || p.skip.active() || p.transaction.discard && !p.preparedOnly {
		return
	}
	k := &p.keeping
	*k = keeping{active: true, events: k.events[:0], ids: make(map[uint64]keptTable)}
	if cap(k.events) > keptBuffer {
		k.events = nil
	}
}

// hasRows reports whether the transaction has rows that are to be kept.
func (k *keeping) hasRows() bool { return len(k.tables) > 0 || k.tooLarge }

// result returns a step of the transaction, with what was not yielded yet.
func (k *keeping) result(step binlog.XAStep) *binlog.XA {
	xa := &binlog.XA{Step: step}
	if k.active {
		xa.Events, xa.TooLarge = k.unyielded(), k.tooLarge
		xa.Tables, xa.Missing = k.tables, k.missing
	}
	if k.tooLarge {
		xa.Tables, xa.Missing = nil, append(slices.Clone(k.missing), k.tables...)
	}
	return xa
}

func (k *keeping) unyielded() []byte {
	if k.isYielded {
		return nil
	}
	return k.events
}

// keep handles an event of an XA transaction whose rows are not visible yet. handled is false for
// events that are handled as in other transactions.
func (p *Parser) keep(h header, body []byte) (ev *binlog.Event, handled bool, err error) {
	c := cursor{b: body}
	isKept := false
	switch {
	case h.typ == tableMapEvent:
		p.recordTime(h)
		isKept, err = p.keepTable(c)
	case h.typ == queryEvent || h.typ == queryCompressedEvent || h.typ == executeLoadQueryEvent:
		q, err := p.parseQuery(h, body)
		if err != nil || !q.isKept() {
			return nil, err != nil, err
		}
		p.keeping.hasStatement = p.keeping.hasStatement || q.class != classRollback
		// Which tables the statement has changed is examined at the XA COMMIT.
		isKept = true
	case h.typ.isRows():
		isKept, err = p.keepRows(h, c)
	default:
		return nil, false, nil
	}
	if err != nil || !isKept {
		return nil, true, err
	}
	ev = p.keepEvent(h, body)
	// Which tables a statement has changed is not known without its text.
	if p.keeping.tooLarge && p.keeping.hasStatement {
		return nil, true, reject("an XA transaction of more than %d bytes has changes that were "+
			"logged as a statement instead of rows: %w", maxPrepared, errStatementFormat)
	}
	return ev, true, nil
}

// isKept reports whether a statement of an XA transaction is handled at the XA COMMIT.
func (q *queryEventBody) isKept() bool {
	if q.class == classRollback {
		rest := q.rest
		next := nextKeyword(&rest)
		return string(next.text()) == "TO"
	}
	return q.class == classRows || q.class == classOther
}

func (p *Parser) keepTable(c cursor) (bool, error) {
	id := c.tableID(p.sixByteIDs(tableMapEvent))
	c.bytes(2) // flags
	database, name := string(c.name()), string(c.name())
	if c.truncated {
		return false, errTruncated
	}
	t := keptTable{database + "." + name, p.prepared.KeepsRows(database, name)}
	if t.isKept && p.transaction.leavesOut(database, name) {
		t.isKept = false
		k := &p.keeping
		if !slices.Contains(k.missing, t.name) {
			k.missing = append(k.missing, t.name)
		}
	}
	p.keeping.ids[id] = t
	return t.isKept, nil
}

func (p *Parser) keepRows(h header, c cursor) (bool, error) {
	id := c.tableID(p.sixByteIDs(h.typ))
	flags := c.uint16()
	if c.truncated {
		return false, errTruncated
	}
	k := &p.keeping
	t, found := k.ids[id]
	if !found && !isStatementEnd(h.typ, id, flags, c) {
		return false, reject("rows of table id %d have no table map before them; %w",
			id, errMidTransaction)
	}
	if t.isKept && !slices.Contains(k.tables, t.name) {
		k.tables = append(k.tables, t.name)
	}
	return t.isKept, nil
}

// keepEvent adds an event, with its header and without its checksum. It returns an event if enough
// of them were collected.
func (p *Parser) keepEvent(h header, body []byte) *binlog.Event {
	k := &p.keeping
	if k.isYielded {
		k.events, k.isYielded = k.events[:0], false
	}
	k.size += HeaderSize + len(body)
	if k.tooLarge = k.tooLarge || k.size > maxPrepared; k.tooLarge {
		k.events = nil
		return nil
	}
	h.size = uint32(HeaderSize + len(body))
	k.events = append(h.append(k.events), body...)
	if len(k.events) < maxPart {
		return nil
	}
	ev := p.emit(binlog.PreparedRows, p.time(h))
	ev.InTransaction = true
	ev.XA = k.result(binlog.XAPart)
	k.isYielded = true
	k.parts++
	return ev
}

// replay yields the kept events of an XA transaction, and then its Commit.
type replay struct {
	active bool
	kept   Kept
	part   int    // the next one
	rest   []byte // of the present part
	// last are the events after the last part.
	last   []byte
	isLast bool
	xa     *binlog.XA
	end    header // of the event that commits
}

// replayOpen yields the rows of the transaction that is being read, which ends with the present
// event.
func (p *Parser) replayOpen(h header) (*binlog.Event, error) {
	k := &p.keeping
	if !k.active {
		return p.commit(h), nil
	}
	xa := k.result(binlog.XACommit)
	xa.Events = nil
	if p.preparedOnly || k.tooLarge {
		return p.commitXA(h, xa), nil
	}
	r := replay{last: k.unyielded()}
	if k.parts > 0 {
		r.kept, _ = p.prepared.Find("")
		r.xa = xa
	}
	return p.replayKept(h, r)
}

// replayKept yields the first of the kept events.
func (p *Parser) replayKept(h header, r replay) (*binlog.Event, error) {
	p.transaction.state = stateOpen
	p.keeping.active, p.maps.inStatement = false, false
	r.active, r.end = true, h
	p.replay = r
	return p.nextReplayed()
}

// nextReplayed returns the next event that the kept events yield, and at their end the Commit.
func (p *Parser) nextReplayed() (*binlog.Event, error) {
	r := &p.replay
	for {
		raw, err := r.next()
		if err != nil {
			return nil, fmt.Errorf("read the rows of an XA transaction: %w", err)
		}
		if raw == nil {
			break
		}
		h := parseHeader(raw)
		h.time = r.end.time
		if ev, err := p.dispatchInner(h, raw[HeaderSize:]); ev != nil || err != nil {
			return ev, err
		}
	}
	xa, end := r.xa, r.end
	p.replay = replay{}
	if xa == nil {
		return p.commit(end), nil
	}
	return p.commitXA(end, xa), nil
}

// next returns the next kept event, or nil after the last one.
func (r *replay) next() ([]byte, error) {
	for len(r.rest) == 0 {
		switch {
		case r.part < r.kept.Parts:
			var err error
			if r.rest, err = r.kept.Part(r.part); err != nil {
				return nil, err
			}
			r.part++
		case !r.isLast:
			r.rest, r.isLast = r.last, true
		default:
			return nil, nil
		}
	}
	size := 0
	if len(r.rest) >= HeaderSize {
		size = int(binary.LittleEndian.Uint32(r.rest[9:]))
	}
	if size < HeaderSize || size > len(r.rest) {
		return nil, errors.New("the kept events are damaged")
	}
	raw := r.rest[:size:size]
	r.rest = r.rest[size:]
	return raw, nil
}
