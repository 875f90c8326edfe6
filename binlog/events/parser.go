package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"rowfall/binlog"
)

// Options says whose events a Parser reads, and what for.
type Options struct {
	// MariaDB says that they are a MariaDB's and not a MySQL's.
	MariaDB bool
	// GTIDs says that the server keeps GTIDs, so that positions have a set.
	GTIDs bool
	// SkipChecksum leaves events unverified.
	SkipChecksum bool
	// Tables says which tables are mapped; it must not be nil.
	Tables Tables
	// XATransactions outlives the parser, for the next one of the same binlog; nil is
	// none to outlive it.
	XATransactions *XATransactions
}

// Parser turns events' bytes into binlog.Events. It does no I/O: the same bytes
// from a socket, a file or a test give the same events. Its methods are for one
// goroutine. After an error it is of no more use. Its fields are what earlier events
// have said of later ones, which is why there are so many.
type Parser struct {
	// maria says that the events are a MariaDB's; verify that checksums are
	// looked at; gtids that the set of GTIDs is known and kept.
	mariaDB, verifyChecksums, trackGTIDs bool

	// From the last FORMAT_DESCRIPTION: the lengths of the types' fixed parts,
	// and whether events end in a CRC32.
	postHeaders [256]uint8
	knownTypes  int
	checksum    bool

	// file and offset are the end of the last event read, transactions or not.
	file   string
	offset uint64
	// eventStart is the offset at which the event that is being read begins, fileTime the time in
	// the header of the last FORMAT_DESCRIPTION.
	eventStart uint64
	fileTime   uint32
	// history is what evidence.go keeps of the transactions read.
	history history
	// position is what the user sees.
	position binlog.Position
	// unplaced says that position is a GTID set alone: where the server begins to
	// read is before it, and so no place to go on from.
	fileUnknown bool
	// skip is active until the position to start from is reached.
	skip skipper

	transaction    transaction
	maps           tableMaps
	payload        payload
	inflater       inflater
	xaTransactions *XATransactions
	// tag is the last GTID's tag, kept so as not to allocate it again.
	lastTag string
	event   binlog.Event
}

// NewParser returns a parser for the events of one connection, or of one file.
// One of the Start methods must be called before Next.
func NewParser(o Options) *Parser {
	p := &Parser{mariaDB: o.MariaDB, verifyChecksums: !o.SkipChecksum, trackGTIDs: o.GTIDs}
	p.maps.tables, p.maps.mariaDB = o.Tables, o.MariaDB
	if p.xaTransactions = o.XATransactions; p.xaTransactions == nil {
		p.xaTransactions = new(XATransactions)
	}
	return p
}

// Start makes p ready for the events after from, of a connection that begins to
// read at from. It takes from over: the caller must not change its set.
func (p *Parser) Start(from binlog.Position) {
	p.position = from
	p.file, p.offset = from.File, from.Offset
	p.fileUnknown = from.File == ""
}

// StartSkipping is Start for a connection that begins to read at the beginning
// of from.File: nothing is yielded before from.Offset, which must be where a
// transaction ends. learn says that from's GTID set is to be found out on the
// way, from the file's PREVIOUS_GTIDS (which MariaDB has not).
func (p *Parser) StartSkipping(from binlog.Position, learn bool) {
	p.Start(from)
	p.skip = skipper{
		file: from.File, end: from.Offset, executed: from.GTID.Clone(), needsPrevious: learn,
	}
}

// Position returns where the parser stands: up to and including the last Commit
// or Statement. It lives: it is valid until the next Next or Pending, and moves
// also past what is not yielded, though never within a transaction.
func (p *Parser) Position() *binlog.Position { return &p.position }

// Forget makes the parser ask Tables again for every table, from the next
// statement on.
func (p *Parser) Forget() { p.maps.resetPending = true }

// Idle reports whether the parser stands between transactions, at a place that
// its user may see.
func (p *Parser) Idle() bool { return p.idle() && !p.skip.active() }

// idle reports whether the parser stands between transactions.
func (p *Parser) idle() bool { return p.transaction.state == stateIdle && !p.payload.active }

// HasPending reports whether the event that Next was given last is not yet read
// to its end.
func (p *Parser) HasPending() bool { return p.payload.active }

// Pending returns the next event out of a compressed transaction, or nil when
// there is none (any more). It is valid until the next call of Next or Pending.
// Errors are as those of Next.
func (p *Parser) Pending() (*binlog.Event, error) {
	for p.payload.active {
		raw, err := p.payload.next()
		if err != nil {
			return nil, p.locate(transactionPayloadEvent, p.offset, err)
		}
		if raw == nil {
			if p.transaction.state != stateIdle {
				return nil, p.locate(transactionPayloadEvent, p.offset, errors.New("the event is damaged: its transaction has no end"))
			}
			return nil, nil
		}
		h := parseHeader(raw)
		ev, err := p.dispatchInner(h, raw[HeaderSize:])
		if err != nil {
			return nil, p.locate(h.typ, p.offset, err)
		}
		if ev != nil {
			return ev, nil
		}
	}
	return nil, nil
}

// Next takes one whole event, from its header to its checksum, and returns what
// it means to the user, or nil if that is nothing. After it, Pending is due
// until it returns nil. raw is borrowed until the call of Next after that, and
// the event returned is valid until the next call of Next or Pending.
//
// An error says which event it was, and where: the end of the one before.
func (p *Parser) Next(raw []byte) (*binlog.Event, error) {
	if len(raw) < HeaderSize {
		return nil, p.locate(0, p.offset, errTruncated)
	}
	p.inflater.release()
	h := parseHeader(raw)
	if uint64(h.size) != uint64(len(raw)) {
		return nil, p.locate(h.typ, p.offset, fmt.Errorf("the event is damaged: it claims %d bytes and has %d", h.size, len(raw)))
	}
	start := p.offset
	body, err := p.body(h, raw)
	if err != nil {
		return nil, p.locate(h.typ, start, err)
	}
	p.advance(h)
	p.eventStart = p.offset - uint64(h.size)
	ev, err := p.dispatch(h, body)
	if err == nil && p.skip.active() {
		var reached bool
		if reached, err = p.skip.reached(h, p.offset, p.idle()); reached {
			p.finishSkipping()
			ev = p.progress(h)
		} else {
			ev = nil
		}
	}
	if err != nil {
		return nil, p.locate(h.typ, start, err)
	}
	if p.transaction.state == stateIdle && !p.payload.active && !p.skip.active() && !p.fileUnknown {
		p.position.File, p.position.Offset = p.file, p.offset
	}
	return ev, nil
}

// place says where an error happened: the end of the event before.
func (p *Parser) locate(k eventType, offset uint64, err error) error {
	err = fmt.Errorf("read %s event after %s:%d: %w", k, p.file, offset, err)
	var r *binlog.RefusedError
	if errors.As(err, &r) {
		return &binlog.RefusedError{After: binlog.Position{File: p.file, Offset: offset}, Table: r.Table, Err: err}
	}
	return err
}

// refuse makes an error of what the same bytes would come to again; place adds
// the place.
func reject(format string, args ...any) error {
	return &binlog.RefusedError{Err: fmt.Errorf(format, args...)}
}

// strip verifies an event's checksum and returns its body without header and
// checksum.
func (p *Parser) body(h header, raw []byte) ([]byte, error) {
	body := raw[HeaderSize:]
	sum := p.checksum
	switch {
	case h.typ == formatDescriptionEvent:
		// It says itself whether it has one, and is parsed with it.
		return body, nil
	case h.typ == rotateEvent && h.flags&flagArtificial != 0 && p.knownTypes == 0:
		// Made before the server read its own FORMAT_DESCRIPTION: only the
		// bytes tell.
		sum = len(body) >= checksumSize && checksumMatches(raw)
	}
	if !sum {
		return body, nil
	}
	if len(body) < checksumSize {
		return nil, errTruncated
	}
	if p.verifyChecksums && !checksumMatches(raw) {
		return nil, errChecksum
	}
	return body[:len(body)-checksumSize], nil
}

var errChecksum = errors.New("the event is damaged: its checksum is wrong; check the server's disk and network")

// checksumMatches reports whether an event's last four bytes are the CRC32 of the
// others.
func checksumMatches(raw []byte) bool {
	n := len(raw) - checksumSize
	return crc32.ChecksumIEEE(raw[:n]) == binary.LittleEndian.Uint32(raw[n:])
}

// advance moves the offset past an event. The header holds but 32 bits of where
// the event ends, so the offset moves on to the next place with these bits;
// events that we are not sent (of skipped GTIDs, ANNOTATE_ROWS) are passed too.
func (p *Parser) advance(h header) {
	switch h.typ {
	case rotateEvent, heartbeatLogEvent, heartbeatLogEventV2:
		return // they say more themselves, or repeat what was said
	}
	switch {
	case h.flags&flagArtificial != 0:
	case h.typ == formatDescriptionEvent:
		// Sent again before the middle of a file, it must not move us.
		p.offset = max(p.offset, uint64(h.end))
	case h.end != 0:
		p.offset += uint64(h.end - uint32(p.offset))
	default:
		// MariaDB 11.4 does not say it within a transaction, but at its end.
		p.offset += uint64(h.size)
	}
}

// dispatch handles an event of the stream.
func (p *Parser) dispatch(h header, body []byte) (*binlog.Event, error) {
	switch h.typ {
	case formatDescriptionEvent:
		return p.formatDescription(h, body)
	case rotateEvent:
		return p.rotate(h, body)
	case previousGTIDsLogEvent:
		if err := p.skip.previousGTIDs(body); err != nil {
			return nil, err
		}
		return p.progress(h), nil
	case heartbeatLogEvent, heartbeatLogEventV2:
		return p.heartbeat(h, body)
	case gtidLogEvent, anonymousGTIDLogEvent:
		return nil, p.gtid(h, body)
	case gtidTaggedLogEvent:
		return nil, p.taggedGTID(h, body)
	case mariaGTIDEvent:
		return nil, p.mariaGTID(h, body)
	case transactionPayloadEvent:
		if p.transaction.state != stateGTID {
			return nil, errMidTransaction
		}
		// A transaction that is not yielded is not decompressed either.
		if p.skip.active() {
			p.endTransaction()
			return nil, nil
		}
		if p.discarding() {
			return p.commit(h), nil
		}
		if err := p.payload.open(body); err != nil {
			return nil, err
		}
		return p.Pending()
	case incidentEvent:
		return nil, reject("the server says that changes may be missing from its binlog; start again with --from snapshot")
	case stopEvent, binlogCheckpointEvent, gtidListEvent, startEncryptionEvent, transactionContextEvent, viewChangeEvent:
		return nil, nil
	}
	return p.dispatchInner(h, body)
}

// inner handles the events that also stand in a compressed transaction.
func (p *Parser) dispatchInner(h header, body []byte) (*binlog.Event, error) {
	if h.typ != tableMapEvent {
		p.maps.inStatement = false
	}
	switch h.typ {
	case tableMapEvent:
		p.recordTime(h)
		return nil, p.tableMap(body)
	case writeRowsEvent, updateRowsEvent, deleteRowsEvent, writeRowsEventV1, updateRowsEventV1, deleteRowsEventV1,
		writeRowsCompressedEvent, updateRowsCompressedEvent, deleteRowsCompressedEvent,
		writeRowsCompressedEventV1, updateRowsCompressedEventV1, deleteRowsCompressedEventV1,
		partialUpdateRowsEvent:
		return p.rows(h, body)
	case queryEvent, queryCompressedEvent:
		return p.query(h, body)
	case xidEvent:
		if p.transaction.state == stateIdle {
			return nil, errMidTransaction
		}
		return p.commit(h), nil
	case xaPrepareLogEvent:
		return p.xaPrepare(h, body)
	case ignorableLogEvent, rowsQueryLogEvent, annotateRowsEvent:
		return nil, nil
	case intvarEvent, randEvent, userVarEvent:
		// They belong to the QUERY that follows, which is judged by itself.
		return nil, nil
	}
	if h.flags&flagIgnorable != 0 {
		return nil, nil
	}
	switch h.typ {
	case loadEvent, newLoadEvent, createFileEvent, appendBlockEvent, execLoadEvent, deleteFileEvent, beginLoadQueryEvent, executeLoadQueryEvent:
		return nil, reject("a LOAD DATA was logged as a statement: %w", errStatementFormat)
	}
	return nil, reject("this event is not known to Rowfall (type %d); please report it", uint8(h.typ))
}

// formatDescription learns how the events that follow are laid out.
func (p *Parser) formatDescription(h header, body []byte) (*binlog.Event, error) {
	c := cursor{b: body}
	version := c.uint16()
	c.bytes(50 + 4) // server version, creation time
	length := c.byte()
	if c.truncated || len(c.b) < 1+checksumSize {
		return nil, errTruncated
	}
	if version != 4 || length != HeaderSize {
		return nil, reject("binlog version %d is not supported: the server is too old", version)
	}
	lengths, algorithm := c.b[:len(c.b)-5], c.b[len(c.b)-5]
	if algorithm > 1 {
		return nil, reject("checksum algorithm %d is unknown; set binlog_checksum=CRC32 on the server", algorithm)
	}
	if algorithm == 1 && p.verifyChecksums && !p.formatChecksumMatches(h, body) {
		return nil, errChecksum
	}
	if p.transaction.state != stateIdle {
		return nil, errBrokenOff
	}
	p.postHeaders = [256]uint8{}
	p.knownTypes = min(copy(p.postHeaders[1:], lengths), 255)
	p.checksum = algorithm == 1
	p.fileTime = h.time
	return p.progress(h), nil
}

// formatChecksumMatches verifies a FORMAT_DESCRIPTION, whose checksum is made
// without the flag that the file is in use.
func (p *Parser) formatChecksumMatches(h header, body []byte) bool {
	var head [HeaderSize]byte
	binary.LittleEndian.PutUint32(head[0:], h.time)
	head[4] = byte(h.typ)
	binary.LittleEndian.PutUint32(head[5:], h.server)
	binary.LittleEndian.PutUint32(head[9:], h.size)
	binary.LittleEndian.PutUint32(head[13:], h.end)
	binary.LittleEndian.PutUint16(head[17:], h.flags&^flagInUse)
	n := len(body) - checksumSize
	sum := crc32.Update(crc32.ChecksumIEEE(head[:]), crc32.IEEETable, body[:n])
	return sum == binary.LittleEndian.Uint32(body[n:])
}

// rotate moves to another file: at its end, and (artificial) at the start.
func (p *Parser) rotate(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state != stateIdle {
		return nil, errBrokenOff
	}
	c := cursor{b: body}
	offset := c.uint64()
	if c.truncated || len(c.b) == 0 {
		return nil, errTruncated
	}
	if p.skip.active() && string(c.b) != p.skip.file {
		if err := p.skip.checkRotate(h, p.offset); err != nil {
			return nil, err
		}
		p.finishSkipping()
	}
	if err := p.checkForward(c.b, offset); err != nil {
		return nil, err
	}
	if p.file != string(c.b) {
		p.file = string(c.b)
	}
	p.offset = offset
	return p.progress(h), nil
}

// heartbeat says where an idle server stands, or how far it has passed what we
// already have.
func (p *Parser) heartbeat(h header, body []byte) (*binlog.Event, error) {
	file, end, wide := body, uint64(h.end), false
	if h.typ == heartbeatLogEventV2 {
		file = nil
		c := cursor{b: body}
		for len(c.b) > 0 && !c.truncated {
			field := c.byte()
			if field == 0 {
				break
			}
			value := cursor{b: c.bytes(c.lengthEncodedInt())}
			switch field {
			case 1:
				file = value.b
			case 2:
				end, wide = value.lengthEncodedInt(), true
				c.truncated = c.truncated || value.truncated
			}
		}
		if c.truncated {
			return nil, errTruncated
		}
	}
	if p.transaction.state != stateIdle {
		return nil, nil
	}
	if string(file) == p.file {
		p.fileUnknown = false
		if !wide && end != 0 {
			// Backwards means that we have been told more already.
			if d := uint32(end) - uint32(p.offset); d < 1<<31 {
				p.offset += uint64(d)
			}
		} else if end > p.offset {
			p.offset = end
		}
	}
	return p.progress(h), nil
}

// Progress returns an event that says where the parser stands; it is valid as
// those of Next. It must stand between transactions (see Idle).
func (p *Parser) Progress() *binlog.Event { return p.progress(header{}) }

func (p *Parser) progress(h header) *binlog.Event {
	return p.emit(binlog.Progress, int64(h.time)*1e6)
}

// emit sets the event to yield. Rows keep what they have allocated, but not the
// bytes of an event that is over.
func (p *Parser) emit(k binlog.Kind, time int64) *binlog.Event {
	if k != binlog.Changes {
		p.event.Rows.Release()
	}
	p.event.Kind, p.event.Time = k, time
	p.event.Database, p.event.SQL, p.event.InTransaction = "", "", false
	return &p.event
}
