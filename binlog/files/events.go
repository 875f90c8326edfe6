package files

import (
	"errors"
	"fmt"
	"io"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
)

// errOpenTransaction is returned for files that end within a transaction.
var errOpenTransaction = errors.New("the file ends within a transaction: it was cut off, as " +
	"after a crash, or copied while the server wrote it; copy the whole file, and give the files " +
	"that follow it, too")

// errRelayLog is returned for a file whose events have the offsets of another file.
var errRelayLog = errors.New("its events contain the offsets of another file: it is a relay log; " +
	"give the binlog files of the server")

// eventReader reads files and parses their events.
type eventReader struct {
	*reader
	parser *events.Parser
}

// begin returns the position at the beginning of a file. MariaDB's files contain the GTIDs there;
// of MySQL's files, the parser reads them.
func (l *Log) begin(i int) (p binlog.Position, h head, err error) {
	f := &l.files[i]
	if h, err = readHead(f); err != nil {
		return p, h, fmt.Errorf("read binlog file %s: %w", f.path, err)
	}
	return binlog.Position{File: f.name, Offset: firstEvent, GTID: h.gtids}, h, nil
}

// openEvents returns a reader of the events after a position. It reads the position's file from the
// beginning.
func (l *Log) openEvents(from binlog.Position, o events.Options) (*eventReader, error) {
	begin, h, err := l.beginOf(from.File)
	if err != nil {
		return nil, err
	}
	i, _ := l.index(from.File)
	o.MariaDB, o.SkipChecksum = l.flavor == mysql.MariaDB, l.skipChecksum
	o.Missing = l.missing
	r := &eventReader{newReader(l.files[i:]), events.NewParser(o)}
	from.GTID = begin.GTID
	if o.MariaDB && from.Offset <= firstEvent {
		r.parser.Start(from)
	} else {
		// A server that is too old to declare checksums has no GTIDs either.
		hasGTIDs := o.GTIDs && !o.MariaDB && events.DeclaresChecksums(h.version)
		r.parser.StartSkipping(from, hasGTIDs)
	}
	return r, nil
}

// next returns the next event; nil and no error if an event yields nothing. The error at the end of
// the last file is io.EOF. Other errors name the file.
func (r *eventReader) next() (*binlog.Event, error) {
	ev, err := r.parser.Pending()
	if ev != nil || err != nil {
		return ev, err
	}
	before := ""
	if len(r.files) > 0 {
		before = r.files[0].path
	}
	raw, err := r.reader.next()
	if (r.startsFile || errors.Is(err, io.EOF)) && r.parser.InTransaction() {
		err = errOpenTransaction
	} else if errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if len(r.files) > 0 {
		before = r.files[0].path
	}
	if err != nil {
		return nil, fmt.Errorf("read binlog file %s: %w", before, err)
	}
	ev, err = r.parser.Next(raw)
	if err == nil && !r.startsFile && raw[4] != typeRotate &&
		r.parser.ReadPosition().Offset != r.offset {
		err = fmt.Errorf("read binlog file %s: %w", before, errRelayLog)
	}
	return ev, err
}

// unmapped is an events.Tables without tables: no row is decoded.
type unmapped struct{}

func (unmapped) Table(string, string) (*binlog.Table, error) { return nil, nil }
func (unmapped) Mismatch(*binlog.Table, error) error         { return nil }
func (unmapped) RowsSkipped(string, string, binlog.Op, bool) {}
