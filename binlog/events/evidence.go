package events

import (
	"fmt"
	"strings"

	"rowfall/binlog"
)

// history is what a parser keeps to prove that a binlog is the one that a position belongs to.
type history struct {
	// last is the evidence of the last transaction that was read to its end.
	last binlog.Evidence
	// verifying is set while transactions are read for their evidence only.
	verifying bool
	// discardBefore is where the data stand: transactions that begin before it are read and not yielded.
	// It has no file where none begins before it.
	discardBefore binlog.Position
}

// Verify makes the parser yield no rows until Verified is called: every transaction ends in a
// Commit or Statement without text, after which Last describes it. Call it after a Start method.
func (p *Parser) StartVerifying() { p.history.verifying = true }

// Verified ends what Verify began. The transactions that begin before discardBefore, as file and offset,
// are not yielded either; a position without a file passes over none.
func (p *Parser) StopVerifying(discardBefore binlog.Position) {
	p.history.verifying = false
	p.history.discardBefore = binlog.Position{File: discardBefore.File, Offset: discardBefore.Offset}
}

// Last returns the evidence of the last transaction that was read to its end; it is zero before the
// first, and lives as Position does. The server is for the caller to add.
func (p *Parser) Last() *binlog.Evidence { return &p.history.last }

// Transaction returns the evidence of the transaction whose rows are being yielded. Its end is not
// known yet.
func (p *Parser) Transaction() binlog.Evidence {
	t := &p.transaction
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

// Place returns the end of the last event read, whether or not it is a place to start from.
func (p *Parser) ReadPosition() binlog.Position {
	return binlog.Position{File: p.file, Offset: p.offset}
}

// started completes a transaction that begins with the event being read.
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
	return t
}

// passing reports whether what is being read is not yielded.
func (p *Parser) discarding() bool { return p.skip.active() || p.transaction.discard }

// yielded returns the kind of event that the end of a transaction is to the user.
func (h *history) visibleKind(k binlog.Kind, t *transaction) binlog.Kind {
	if t.discard && !h.verifying {
		return binlog.Progress
	}
	return k
}

// recordTime keeps the time that identifies a MariaDB's transaction: that of its last statement. A
// replica logs the statement with the same time, but not the GTID and XID events around it.
func (p *Parser) recordTime(h header) {
	if p.mariaDB {
		p.transaction.original = int64(h.time) * 1e6
	}
}

// recordLast keeps the evidence of the transaction that ends with the event being read. The
// position must not hold its GTID yet.
func (p *Parser) recordLast() {
	last := &p.history.last
	*last = p.Transaction()
	last.End = p.offset
	if p.mariaDB {
		last.Previous = p.position.GTID.LastOf(last.GTID.Domain)
	}
}

// checkNew rejects a transaction that the stream has brought before: the server counts anew.
func (p *Parser) checkNew() error {
	t := &p.transaction
	if !p.trackGTIDs || p.mariaDB || t.sequence == 0 || p.discarding() ||
		!p.position.GTID.Has(t.uuid, t.tag, t.sequence) {
		return nil
	}
	found := p.Transaction()
	return &binlog.HistoryError{Found: found, Reason: fmt.Sprintf(
		"the server sent GTID %s again, which the stream had passed; "+
			"its GTIDs were reset while it was followed", found.GTID)}
}

// checkForward rejects a ROTATE to a place before the one that was read last: the server's binlog
// files were removed and are counted anew. The first ROTATE of a connection only says where it
// begins, and files of another base name cannot be compared.
func (p *Parser) checkForward(file []byte, offset uint64) error {
	if p.knownTypes == 0 || p.skip.active() {
		return nil
	}
	to := binlog.Position{File: string(file), Offset: offset}
	if baseName(p.file) != baseName(to.File) || p.ReadPosition().CompareFile(to) <= 0 {
		return nil
	}
	return &binlog.HistoryError{Held: p.history.last, Reason: fmt.Sprintf(
		"the binlog goes back from %s to %s; it was reset while it was followed", p.ReadPosition(), to)}
}

// baseName returns the name of a binlog file up to its number.
func baseName(file string) string { return file[:strings.LastIndexByte(file, '.')+1] }
