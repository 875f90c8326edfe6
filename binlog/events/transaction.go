package events

import (
	"errors"
	"fmt"
	"strings"

	"rowfall/binlog"
)

// state is the state of the current transaction; doc.go has the sketch of the transitions.
type state uint8

const (
	stateIdle state = iota // between transactions
	stateGTID              // only its GTID event was read
	stateOpen              // it has begun
)

// transaction holds what the events so far have shown of the current transaction.
type transaction struct {
	state state
	// time is the commit time on the transaction's original server, in microseconds since 1970; 0
	// where the GTID event does not hold it.
	time int64
	// hasMappedRows is set when rows of a mapped table were yielded. From then on only a commit can
	// end the transaction.
	hasMappedRows bool
	// rolledBack is set when rows of mapped tables were yielded that a ROLLBACK has undone in part.
	rolledBack bool
	// discard is set when the data include the transaction already: nothing of it is yielded.
	discard bool
	// leftOut is set along with discard if a binlog.Skip names the transaction: then only its end
	// is yielded.
	leftOut bool
	// skipsTables are the tables whose rows cannot end the parsing.
	skipsTables []string
	// start is the offset of the first event. length is the length in bytes and original the
	// original commit timestamp in the GTID event; 0 where the server does not send them.
	start, length uint64
	original      int64
	// firstTime is the time of the first statement of a MariaDB transaction, in microseconds.
	firstTime int64

	// The GTID, MySQL's (uuid, tag, sequence) or MariaDB's (domain, server, sequence). A sequence
	// of 0 means that the transaction has no GTID.
	uuid           [16]byte
	tag            string
	domain, server uint32
	sequence       uint64
}

var (
	errMidTransaction = reject("the position is in the middle of a transaction; " +
		"take one that the server or Rowfall gave")
	errBrokenOff = errors.New("the binlog ends within a transaction, " +
		"as after a crash of the server; " +
		"start again with --from snapshot")
	errStatementFormat = reject("set binlog_format=ROW on the server, for all sessions, " +
		"and start again with --from snapshot")
)

// breakOff is called before an event that cannot be within a transaction. It returns an error if
// the transaction that is being read has reached a state, or a later one.
func (p *Parser) breakOff(reached state) error {
	if p.transaction.state < reached {
		return nil
	}
	if !p.preparedOnly {
		return errBrokenOff
	}
	p.transaction, p.keeping.active = transaction{}, false // it never committed
	return nil
}

// beginTransaction opens a transaction. Its GTID event, if there is one, was read before.
func (p *Parser) beginTransaction() error {
	if err := p.breakOff(stateOpen); err != nil {
		return err
	}
	if p.transaction.state == stateIdle {
		p.transaction = p.newTransaction(transaction{})
	}
	p.transaction.state = stateOpen
	return nil
}

// startTransaction begins a transaction at its GTID event. The caller sets the GTID and the times.
func (p *Parser) startTransaction(t transaction) error {
	if err := p.breakOff(stateGTID); err != nil {
		return err
	}
	t.state = stateGTID
	p.transaction = p.newTransaction(t)
	return p.checkNew()
}

// commit ends the transaction and returns its Commit.
func (p *Parser) commit(h header) *binlog.Event {
	p.endTransaction()
	ev := p.emit(p.history.visibleKind(binlog.Commit, &p.transaction), p.time(h))
	ev.Skipped = p.leftOut.result(&p.transaction)
	ev.RolledBack = p.transaction.rolledBack
	return ev
}

// endTransaction ends the transaction: its GTID and its end become part of the position.
func (p *Parser) endTransaction() {
	t := &p.transaction
	set := &p.position.GTID
	if p.skip.active() {
		set = &p.skip.executed
	} else {
		p.position.File, p.position.Offset = p.file, p.offset
		p.fileUnknown = false
		p.recordLast()
	}
	if t.sequence != 0 && p.trackGTIDs {
		if p.mariaDB {
			set.AddMariaDB(t.domain, t.server, t.sequence)
		} else {
			set.Add(t.uuid, t.tag, t.sequence)
		}
	}
	t.state = stateIdle
	p.keeping.active = false
}

func (p *Parser) time(h header) int64 {
	if p.transaction.time != 0 {
		return p.transaction.time
	}
	return int64(h.time) * 1e6
}

// gtid handles GTID_LOG_EVENT and ANONYMOUS_GTID_LOG_EVENT. The commit timestamps follow the
// logical clock. Servers before 8.0 end the event after the logical clock, or before it.
func (p *Parser) gtid(h header, body []byte) error {
	var t transaction
	c := cursor{b: body}
	c.byte() // flags
	copy(t.uuid[:], c.bytes(16))
	t.sequence = c.uint64()
	if c.truncated {
		return errTruncated
	}
	if h.typ == anonymousGTIDLogEvent {
		t.sequence = 0
	} else if t.sequence == 0 {
		return errors.New("the event is damaged: its sequence number is 0")
	}
	const logicalClock, hasOriginal = 2, 1 << 55
	if len(c.b) >= 17+7 && c.byte() == logicalClock {
		c.bytes(16)
		immediate := c.uint(7)
		t.time = int64(immediate)
		t.original = t.time
		if immediate&hasOriginal != 0 {
			t.time = int64(immediate &^ hasOriginal)
			t.original = int64(c.uint(7))
			if t.original != 0 {
				t.time = t.original
			}
		}
		if len(c.b) > 0 {
			t.length = c.lengthEncodedInt()
		}
	}
	if c.truncated {
		return errTruncated
	}
	return p.startTransaction(t)
}

// taggedGTID handles GTID_TAGGED_LOG_EVENT, a message of MySQL's mysql::serialization library:
// version, size, and the last field that a reader must support; then fields, each with its number
// before it. Absent fields have their default values. The numbers are cursor.varint's.
func (p *Parser) taggedGTID(_ header, body []byte) error {
	var t transaction
	var immediate, original uint64
	hasOriginal := false
	c := cursor{b: body}
	if version := c.varint(); version != 1 && !c.truncated {
		return reject("version %d of this event is not supported; please report it", version)
	}
	c.varint() // size
	if last := c.varint(); last > 11 && !c.truncated {
		return reject("field %d of this event is required and not supported; "+
			"please report it", last)
	}
	for len(c.b) > 0 && !c.truncated {
		switch field := c.varint(); field {
		case 0: // flags
			c.varint()
		case 1:
			for i := range t.uuid {
				t.uuid[i] = byte(c.varint())
			}
		case 2: // a signed number: its sign is the lowest bit
			t.sequence = c.varint() >> 1
		case 3:
			if tag := c.bytes(c.varint()); string(tag) != p.lastTag {
				p.lastTag = string(tag)
			}
			t.tag = p.lastTag
		case 4, 5, 9, 10, 11: // logical clock, server versions, ticket
			c.varint()
		case 6:
			immediate = c.varint()
		case 7:
			original, hasOriginal = c.varint(), true
		case 8:
			t.length = c.varint()
		default:
			// Later fields are optional.
			c.b = nil
		}
	}
	if c.truncated || t.sequence == 0 {
		return errTruncated
	}
	t.time = int64(original)
	if original == 0 {
		t.time = int64(immediate)
	}
	if t.original = int64(original); !hasOriginal {
		t.original = int64(immediate)
	}
	return p.startTransaction(t)
}

// mariaGTID handles MariaDB's GTID_EVENT, which also begins the transaction, except for a statement
// that stands alone.
func (p *Parser) mariaGTID(h header, body []byte) error {
	c := cursor{b: body}
	t := transaction{server: h.server}
	t.sequence = c.uint64()
	t.domain = c.uint32()
	flags := c.byte()
	if c.truncated {
		return errTruncated
	}
	if err := p.startTransaction(t); err != nil {
		return err
	}
	const standalone, preparedXA = 1, 64
	if flags&standalone != 0 {
		return nil
	}
	if err := p.beginTransaction(); err != nil {
		return err
	}
	if flags&preparedXA != 0 {
		p.startKeeping()
	}
	return nil
}

// ParsePreviousGTIDs returns the GTID set in the body of a PREVIOUS_GTIDS_LOG_EVENT.
func ParsePreviousGTIDs(body []byte) (set binlog.GTIDSet, err error) {
	text, err := previousGTIDsText(body)
	if err != nil {
		return set, err
	}
	return binlog.ParseGTIDSet(text)
}

// previousGTIDsText returns the text form of the GTID set in a PREVIOUS_GTIDS_LOG_EVENT. It holds
// the number of sources and, for each source, a uuid, a tag (only in the tagged format), the number
// of intervals, and the half-open intervals. In the tagged format the lowest and the highest byte
// of the first number are 1, and the number of sources is between them.
func previousGTIDsText(body []byte) (string, error) {
	c := cursor{b: body}
	sources := c.uint64()
	tagged := sources>>56 == 1
	if tagged {
		sources = sources << 8 >> 16
	}
	var text []byte
	for ; sources > 0 && !c.truncated; sources-- {
		var u [16]byte
		copy(u[:], c.bytes(16))
		text = fmt.Appendf(text, "%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
		if tagged {
			if tag := c.bytes(c.varint()); len(tag) > 0 {
				text = append(append(text, ':'), tag...)
			}
		}
		for n := c.uint64(); n > 0 && !c.truncated; n-- {
			first, end := c.uint64(), c.uint64()
			text = fmt.Appendf(text, ":%d-%d", first, end-1)
		}
		text = append(text, ',')
	}
	if c.truncated {
		return "", errTruncated
	}
	return strings.TrimSuffix(string(text), ","), nil
}
