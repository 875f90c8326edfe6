package events

import (
	"fmt"

	"rowfall/binlog"
)

// history is the parser's part in proving that a binlog has the history that a position belongs to.
type history struct {
	// last is the evidence of the last transaction that was read to its end.
	last binlog.Evidence
	// verifying is set while transactions are read only for their evidence.
	verifying bool
	// discardBefore is the position that the data include: transactions that begin before it are
	// read and not yielded. Without a file, none is discarded.
	discardBefore binlog.Position
}

// StartVerifying makes the parser yield no rows until StopVerifying is called: every transaction
// ends in a Commit, or in a Statement without text, after which Last describes it. Call it after a
// Start method.
func (p *Parser) StartVerifying() { p.history.verifying = true }

// StopVerifying ends what StartVerifying began. Transactions that begin before the file and offset
// of discardBefore are not yielded either. A position without a file discards none.
func (p *Parser) StopVerifying(discardBefore binlog.Position) {
	p.history.verifying = false
	p.history.discardBefore = binlog.Position{
		File:   discardBefore.File,
		Offset: discardBefore.Offset,
	}
}

// Last returns the evidence of the last transaction that was read to its end, zero before the
// first. It stays valid and changes with the next call of Next or Pending, as Position does. The
// caller adds the server.
func (p *Parser) Last() *binlog.Evidence { return &p.history.last }

// FileTime returns the file that is being read, and the time at which the server began the file, in
// seconds since 1970. The time is 0 until the file's FORMAT_DESCRIPTION_EVENT was read.
func (p *Parser) FileTime() (file string, begun uint32) { return p.file, p.fileTime }

// Transaction returns the evidence of the transaction whose rows are being yielded, without its
// end, which is not known yet. On MariaDB its time is that of the first statement, so that the
// evidence is the same at each of the transaction's rows.
func (p *Parser) Transaction() binlog.Evidence {
	e := p.evidenceOf(&p.transaction)
	if p.mariaDB {
		e.Time = p.transaction.firstTime
	}
	return e
}

func (p *Parser) evidenceOf(t *transaction) binlog.Evidence {
	e := binlog.Evidence{
		Time: t.original, Length: t.length,
		File: p.file, Start: t.start, FileTime: p.fileTime,
	}
	if t.sequence != 0 {
		e.GTID = binlog.GTID{
			MariaDB: p.mariaDB, UUID: t.uuid, Tag: t.tag,
			Domain: t.domain, Server: t.server, Sequence: t.sequence,
		}
	}
	return e
}

// ReadPosition returns the end of the last event read, as file and offset. Unlike Position it may
// lie within a transaction.
func (p *Parser) ReadPosition() binlog.Position {
	return binlog.Position{File: p.file, Offset: p.offset}
}

// newTransaction sets the fields of a transaction that begins with the current event.
func (p *Parser) newTransaction(t transaction) transaction {
	t.start = p.eventStart
	switch h := &p.history; {
	case h.verifying:
		t.discard = true
	case h.discardBefore.File != "":
		at := binlog.Position{File: p.file, Offset: t.start}
		if t.discard = at.CompareFile(h.discardBefore) < 0; !t.discard {
			h.discardBefore = binlog.Position{}
		}
	}
	p.matchSkip(&t)
	return t
}

// discarding reports whether the current transaction is read without being yielded.
func (p *Parser) discarding() bool { return p.skip.active() || p.transaction.discard }

// visibleKind returns the kind of event to yield at the end of a transaction: for a discarded one
// it is Progress instead of k, unless it is left out because of a binlog.Skip.
func (h *history) visibleKind(k binlog.Kind, t *transaction) binlog.Kind {
	if t.discard && !t.leftOut && !h.verifying {
		return binlog.Progress
	}
	return k
}

// recordTime sets a MariaDB transaction's original time to that of its last statement. A replica
// logs the statement with the same time, but gives its GTID and XID events times of its own. The
// rows that an XA COMMIT replays belong to another transaction.
func (p *Parser) recordTime(h header) {
	if t := &p.transaction; p.mariaDB && !p.replay.active {
		t.original = int64(h.time) * 1e6
		if t.firstTime == 0 {
			t.firstTime = t.original
		}
	}
}

// recordLast stores the evidence of the transaction that ends with the current event. Call it
// before the position includes the transaction's GTID.
func (p *Parser) recordLast() {
	last := &p.history.last
	*last = p.evidenceOf(&p.transaction)
	last.End = p.offset
	if p.mariaDB {
		last.Previous = p.position.GTID.LastOf(last.GTID.Domain)
	}
}

// checkNew returns a HistoryError if the position already includes the transaction's GTID: the
// server was reset and assigns GTIDs from 1 again.
func (p *Parser) checkNew() error {
	t := &p.transaction
	if !p.trackGTIDs || p.mariaDB || t.sequence == 0 || p.discarding() ||
		!p.position.GTID.Has(t.uuid, t.tag, t.sequence) {
		return nil
	}
	found := p.Transaction()
	return &binlog.HistoryError{Found: found, Reason: fmt.Sprintf(
		"the server sent GTID %s again, which the position already includes; "+
			"its GTIDs were reset while the stream was open", found.GTID)}
}

// checkForward returns a HistoryError for a ROTATE to an earlier position: the server's binlog
// files were removed, and are numbered from 1 again. The first ROTATE of a connection only names
// the starting position. Files of different base names cannot be compared.
func (p *Parser) checkForward(file []byte, offset uint64) error {
	if p.knownTypes == 0 || p.skip.active() {
		return nil
	}
	to := binlog.Position{File: string(file), Offset: offset}
	if binlog.BaseName(p.file) != binlog.BaseName(to.File) ||
		p.ReadPosition().CompareFile(to) <= 0 {
		return nil
	}
	return &binlog.HistoryError{Held: p.history.last, Reason: fmt.Sprintf(
		"the binlog goes back from %s to %s; it was reset while the stream was open",
		p.ReadPosition(), to)}
}
