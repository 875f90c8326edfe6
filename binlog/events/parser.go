package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"rowfall/binlog"
	"rowfall/binlog/sqltext"
)

// Options configures a Parser.
type Options struct {
	// MariaDB is set for the events of a MariaDB, unset for those of a MySQL.
	MariaDB bool
	// Missing are transactions that the binlog does not contain, although the server has executed
	// them, as the GTIDs at the beginning of a later file show. After the beginning of that file,
	// the position includes them.
	Missing binlog.GTIDSet
	// GTIDs is set for a server whose transactions have GTIDs, so that positions have a GTID set.
	GTIDs bool
	// SkipChecksum leaves the checksums of events unverified.
	SkipChecksum bool
	// Tables provides the schemas of the mapped tables. It must not be nil, except with TimesOnly.
	Tables Tables
	// TimesOnly yields only the ends of transactions, with their times. The transactions may
	// contain anything, also what a Parser rejects otherwise.
	TimesOnly bool
	// PreparedOnly is as TimesOnly, and also yields the steps of XA transactions, with the rows
	// that Tables, which must implement Prepared, keeps of them. XA COMMIT yields no rows.
	PreparedOnly bool
}

// Parser turns the bytes of events into binlog.Events. It does no I/O: the same bytes from a
// socket, a file or a test give the same events. One goroutine at a time may call its methods.
// After an error a Parser must not be used again.
//
// It has many fields because the meaning of an event depends on the events before it.
type Parser struct {
	// mariaDB, verifyChecksums and trackGTIDs are Options.MariaDB, the inverse of
	// Options.SkipChecksum, and Options.GTIDs.
	mariaDB, verifyChecksums, trackGTIDs bool
	// dialect is that of the server that has written the file.
	dialect sqltext.Dialect
	missing binlog.GTIDSet // Options.Missing

	// These are from the last FORMAT_DESCRIPTION_EVENT: the length of each event type's
	// post-header, the number of types that it lists (0 before the first), and whether events end
	// in a CRC32.
	postHeaders [256]uint8
	knownTypes  int
	checksum    bool

	// file and offset are the end of the last event read, also within a transaction.
	file   string
	offset uint64
	// eventStart is the offset at which the current event begins. fileTime is the time in the
	// header of the last FORMAT_DESCRIPTION_EVENT, in seconds since 1970.
	eventStart uint64
	fileTime   uint32
	// history proves that the binlog is the one that a position belongs to (evidence.go).
	history history
	// position is the result of Position.
	position binlog.Position
	// fileUnknown is set until the server has sent a file and offset that match position's GTID
	// set. A server that is given a GTID set begins to read before it, at the start of a file.
	fileUnknown bool
	// skip is active until the position to start from is reached.
	skip skipper
	// leftOut are the transactions, or tables of transactions, that are left out (leftout.go).
	leftOut leftOut

	transaction transaction
	maps        tableMaps
	payload     payload
	inflater    inflater
	// prepared is Options.Tables, if that implements Prepared. preparedOnly is
	// Options.PreparedOnly.
	prepared     Prepared
	preparedOnly bool
	keeping      keeping
	replay       replay
	// lastTag is the last GTID's tag. Equal tags share its memory.
	lastTag string
	event   binlog.Event
}

// NewParser returns a parser for the events of one connection, or of one file. Call one of the
// Start methods before Next.
func NewParser(o Options) *Parser {
	p := &Parser{mariaDB: o.MariaDB, verifyChecksums: !o.SkipChecksum, trackGTIDs: o.GTIDs}
	p.missing = o.Missing
	p.maps.tables, p.maps.mariaDB = o.Tables, o.MariaDB
	p.leftOut.all = o.TimesOnly || o.PreparedOnly
	p.prepared, _ = o.Tables.(Prepared)
	p.preparedOnly = o.PreparedOnly
	return p
}

// Start prepares for the events after from, of a server that begins to send at from. The parser
// takes ownership of from's GTID set.
func (p *Parser) Start(from binlog.Position) {
	p.position = from
	p.file, p.offset = from.File, from.Offset
	p.fileUnknown = from.File == ""
}

// StartSkipping prepares for events from the beginning of from.File. Nothing is yielded before
// from.Offset, which must be the end of a transaction. With needsGTIDs, from's GTID set is read
// from the file, which must begin with a PREVIOUS_GTIDS_LOG_EVENT; MariaDB has none.
func (p *Parser) StartSkipping(from binlog.Position, needsGTIDs bool) {
	p.Start(from)
	p.skip = skipper{
		file: from.File, end: from.Offset, executed: from.GTID, needsPrevious: needsGTIDs,
	}
}

// Position returns the position after the last Commit or Statement that was yielded. It points into
// the parser: the next call of Next or Pending changes it. It also advances past events that are
// not yielded, but never within a transaction.
func (p *Parser) Position() *binlog.Position { return &p.position }

// Forget makes the parser call Tables again for every table, from the next statement on.
func (p *Parser) Forget() { p.maps.resetPending = true }

// Idle reports whether the parser is between transactions and has reached the starting position.
func (p *Parser) Idle() bool { return p.idle() && !p.skip.active() }

// idle reports whether the parser is between transactions.
func (p *Parser) idle() bool { return p.transaction.state == stateIdle && !p.payload.active }

// Pending returns the next event of a compressed transaction, or of the kept rows of an XA
// transaction, or nil after the last. The event is valid until the next call of Next or Pending.
// Errors are as those of Next.
func (p *Parser) Pending() (*binlog.Event, error) {
	if p.replay.active {
		ev, err := p.nextReplayed()
		if err != nil {
			return nil, p.locate(p.replay.end.typ, p.offset, err)
		}
		return ev, nil
	}
	for p.payload.active {
		raw, err := p.payload.next()
		if err != nil {
			return nil, p.locate(transactionPayloadEvent, p.offset, err)
		}
		if raw == nil {
			if p.transaction.state != stateIdle {
				return nil, p.locate(transactionPayloadEvent, p.offset,
					errors.New("the event is damaged: its transaction has no end"))
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

// Next parses one complete event, from its header to its checksum. It returns nil for an event that
// yields nothing. After each call of Next, call Pending until that returns nil. raw is borrowed
// until the following call of Next; the returned event is valid until the next call of Next or
// Pending.
//
// An error names the event's type and the end of the event before it. A *binlog.RefusedError or a
// *binlog.HistoryError is returned again by a retry; other errors may be caused by a damaged
// connection.
func (p *Parser) Next(raw []byte) (*binlog.Event, error) {
	if len(raw) < HeaderSize {
		return nil, p.locate(0, p.offset, errTruncated)
	}
	if err := CheckStart(raw); err != nil {
		return nil, p.locate(startEventV3, p.offset, err)
	}
	p.inflater.release()
	h := parseHeader(raw)
	if uint64(h.size) != uint64(len(raw)) {
		err := fmt.Errorf("the event is damaged: its header gives %d bytes, and it has %d", h.size,
			len(raw))
		return nil, p.locate(h.typ, p.offset, err)
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

// locate adds an event's type and the end of the event before it to an error.
func (p *Parser) locate(k eventType, offset uint64, err error) error {
	err = fmt.Errorf("read %s event after %s:%d: %w", k, p.file, offset, err)
	var r *binlog.RefusedError
	if errors.As(err, &r) {
		return &binlog.RefusedError{
			After: binlog.Position{File: p.file, Offset: offset},
			Table: r.Table, Err: err,
		}
	}
	return err
}

// reject returns a *binlog.RefusedError, for events that a retry would reject again. locate adds
// the position.
func reject(format string, args ...any) error {
	return &binlog.RefusedError{Err: fmt.Errorf(format, args...)}
}

// body verifies an event's checksum and returns the event without header and checksum.
func (p *Parser) body(h header, raw []byte) ([]byte, error) {
	body := raw[HeaderSize:]
	sum := p.checksum
	switch {
	case h.typ == formatDescriptionEvent:
		// The event itself declares its checksum; formatDescription verifies it.
		return body, nil
	case h.typ == rotateEvent && h.flags&flagArtificial != 0 && p.knownTypes == 0:
		// The server generates this event before it reads its FORMAT_DESCRIPTION_EVENT, so nothing
		// declares whether a checksum follows.
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

var errChecksum = errors.New("the event is damaged: its checksum is wrong; " +
	"check the server's disk and network")

// checksumMatches reports whether an event's last four bytes are the CRC32 of the others.
func checksumMatches(raw []byte) bool {
	n := len(raw) - checksumSize
	return crc32.ChecksumIEEE(raw[:n]) == binary.LittleEndian.Uint32(raw[n:])
}

// advance moves the offset to the end of an event. Of that end the header holds 32 bits, so the
// offset moves forward to the next offset with these bits. This also passes events that the server
// leaves out (ANNOTATE_ROWS_EVENT, skipped GTIDs).
func (p *Parser) advance(h header) {
	switch h.typ {
	case rotateEvent, heartbeatLogEvent, heartbeatLogEventV2:
		return // their handlers set the offset
	}
	switch {
	case h.flags&flagArtificial != 0:
	case h.typ == formatDescriptionEvent:
		// A dump that starts in the middle of a file begins with this event of its head.
		p.offset = max(p.offset, uint64(h.end))
	case h.end != 0:
		p.offset += uint64(h.end - uint32(p.offset))
	default:
		// MariaDB 11.4 leaves the end out within a transaction, except in the last event.
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
		skipped, err := p.addMissing(body)
		ev := p.progress(header{}) // the event's time is the file's, so it is not used
		ev.Skipped = skipped
		return ev, err
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
		if p.discarding() && !p.preparedOnly {
			p.leftOut.setUnknown()
			return p.commit(h), nil
		}
		if err := p.payload.open(body); err != nil {
			return nil, err
		}
		return p.Pending()
	case incidentEvent:
		if p.isLeavingOut() {
			p.leftOut.setUnknown()
			return nil, nil
		}
		return nil, reject("the server reports that changes may be missing from its binlog; " +
			"start again with --from snapshot")
	case stopEvent, binlogCheckpointEvent, gtidListEvent, startEncryptionEvent,
		transactionContextEvent, viewChangeEvent:
		return nil, nil
	}
	return p.dispatchInner(h, body)
}

// dispatchInner handles the types of events that can also be in a compressed transaction.
func (p *Parser) dispatchInner(h header, body []byte) (*binlog.Event, error) {
	if h.typ != tableMapEvent {
		p.maps.inStatement = false
	}
	if p.keeping.active {
		if ev, handled, err := p.keep(h, body); handled {
			return ev, err
		}
	}
	switch h.typ {
	case tableMapEvent:
		p.recordTime(h)
		return nil, p.tableMap(body)
	case writeRowsEvent, updateRowsEvent, deleteRowsEvent,
		writeRowsEventV1, updateRowsEventV1, deleteRowsEventV1,
		writeRowsCompressedEvent, updateRowsCompressedEvent, deleteRowsCompressedEvent,
		writeRowsCompressedEventV1, updateRowsCompressedEventV1, deleteRowsCompressedEventV1,
		partialUpdateRowsEvent:
		return p.rows(h, body)
	case queryEvent, queryCompressedEvent, executeLoadQueryEvent:
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
		// They set variables for the QUERY_EVENT that follows, which is checked itself.
		return nil, nil
	case beginLoadQueryEvent, appendBlockEvent, deleteFileEvent:
		// They are the content of the file for an EXECUTE_LOAD_QUERY_EVENT.
		return nil, nil
	}
	if h.flags&flagIgnorable != 0 && h.typ != partialRowDataEvent {
		return nil, nil
	}
	if p.isLeavingOut() {
		p.leftOut.setUnknown()
		return nil, nil
	}
	switch h.typ {
	case preGAWriteRowsEvent, preGAUpdateRowsEvent, preGADeleteRowsEvent:
		return nil, reject("row events of MySQL 5.1.17 and earlier are not supported")
	case loadEvent, newLoadEvent, createFileEvent, execLoadEvent:
		return nil, reject("a LOAD DATA was logged as a statement: %w", errStatementFormat)
	case partialRowDataEvent:
		return nil, reject("a large event with rows was logged in parts, as MariaDB 12.3 does, " +
			"which is not supported yet: raise binlog_row_event_fragment_threshold on the server")
	}
	return nil, reject("this event is not known to Rowfall (type %d); please report it",
		uint8(h.typ))
}

// Progress returns a Progress event for the current position. Call it only if Idle reports true.
// The event is valid as long as those of Next.
func (p *Parser) Progress() *binlog.Event { return p.progress(header{}) }

func (p *Parser) progress(h header) *binlog.Event {
	return p.emit(binlog.Progress, int64(h.time)*1e6)
}

// emit returns the parser's event with a new kind and time. Events other than Changes release the
// last rows' bytes but keep the memory allocated for rows.
func (p *Parser) emit(k binlog.Kind, time int64) *binlog.Event {
	if k != binlog.Changes {
		p.event.Rows.Release()
	}
	p.event.Kind, p.event.Time = k, time
	p.event.Database, p.event.SQL, p.event.InTransaction = "", "", false
	p.event.Skipped = nil
	p.event.ForeignKeysOff = false
	p.event.XA, p.event.RolledBack = nil, false
	return &p.event
}
