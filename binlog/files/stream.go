package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"rowfall/binlog"
	"rowfall/binlog/events"
)

// ErrEnd is returned by Next at the end of the stretch.
var ErrEnd = errors.New("the end of the binlog files is reached")

// Config configures a Stream.
type Config struct {
	// Tables provides the schemas of mapped tables.
	Tables events.Tables
	// Server identifies the server in the evidence of transactions.
	Server string
	// PreparedOnly yields only the ends of transactions, and the steps of XA transactions with
	// their rows, see events.Options.
	PreparedOnly bool
}

// Stream yields the changes of a stretch. One goroutine at a time may use it, except for Wake and
// Read.
type Stream struct {
	log    *Log
	reader *eventReader
	end    binlog.Position
	server string
	begun  bool
	woken  atomic.Bool
	start  int64        // bytes of the files before the stretch
	read   atomic.Int64 // see Read
	err    error
}

// Stream returns a stream of a stretch that Find has found. Close it.
func (l *Log) Stream(s *Stretch, c Config) (*Stream, error) {
	r, err := l.openEvents(s.Start, events.Options{
		GTIDs: s.HasGTIDs, Tables: c.Tables, PreparedOnly: c.PreparedOnly,
	})
	if err != nil {
		return nil, err
	}
	return &Stream{
		log: l, reader: r, end: s.End, server: c.Server, start: l.bytesTo(&s.Start),
	}, nil
}

// Next returns the next event, which is valid until the next call. The first one is a Progress
// event at the start of the stretch. The error at the end is ErrEnd. Every error is final, except
// that of ctx.
func (s *Stream) Next(ctx context.Context) (*binlog.Event, error) {
	if s.err != nil {
		return nil, s.err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		isIdle := s.reader.parser.Idle()
		if isIdle {
			s.read.Store(s.log.bytesTo(s.Position()) - s.start)
		}
		if isIdle && (!s.begun || s.woken.Swap(false)) {
			s.begun = true
			return s.reader.parser.Progress(), nil
		}
		if isIdle && s.Position().CompareFile(s.end) >= 0 {
			return nil, s.fail(ErrEnd)
		}
		ev, err := s.reader.next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s lies beyond the end of the binlog files", s.end)
		}
		if err != nil {
			return nil, s.fail(err)
		}
		if ev != nil {
			s.begun = true
			return ev, nil
		}
	}
}

func (s *Stream) fail(err error) error {
	s.err = err
	return err
}

// Read returns the number of bytes up to the last transaction read, from the start of the stretch.
// Any goroutine may call it.
func (s *Stream) Read() int64 { return s.read.Load() }

// Position returns the position after the last Commit or Statement, as that of a dump.Stream.
func (s *Stream) Position() *binlog.Position { return s.reader.parser.Position() }

// Present is Next, but returns nil at the end of the files.
func (s *Stream) Present(ctx context.Context) (*binlog.Event, error) {
	if s.err == nil && s.Position().CompareFile(s.end) >= 0 {
		return nil, nil
	}
	return s.Next(ctx)
}

// Fill returns false: Present returns everything that the files have.
func (s *Stream) Fill() bool { return false }

// Wake makes Next return a Progress event, between transactions. Any goroutine may call it.
func (s *Stream) Wake() { s.woken.Store(true) }

// Forget makes the stream call Tables again for every table, from the next statement on.
func (s *Stream) Forget() { s.reader.parser.Forget() }

// Skip replaces the transactions that are left out.
func (s *Stream) Skip(skips []binlog.Skip) { s.reader.parser.Skip(skips) }

// Close closes the files.
func (s *Stream) Close() error {
	s.reader.close()
	return nil
}

// InTransaction reports whether a transaction has begun and not ended.
func (s *Stream) InTransaction() bool { return s.reader.parser.InTransaction() }

// Last returns the evidence of the last transaction; zero before the first.
func (s *Stream) Last() binlog.Evidence { return s.withServer(*s.reader.parser.Last()) }

// PositionEvidence returns the evidence of a position before the first transaction.
func (s *Stream) PositionEvidence(at binlog.Position) binlog.Evidence {
	file, begun := s.reader.parser.FileTime()
	if begun == 0 || file != at.File {
		return binlog.Evidence{}
	}
	return binlog.Evidence{Server: s.server, File: at.File, End: at.Offset, FileTime: begun}
}

// Transaction returns the evidence of the transaction that is being read.
func (s *Stream) Transaction() binlog.Evidence {
	return s.withServer(s.reader.parser.Transaction())
}

func (s *Stream) withServer(e binlog.Evidence) binlog.Evidence {
	if !e.IsZero() {
		e.Server = s.server
	}
	return e
}

// Unproved returns why the history could not be compared: files have no server to compare with.
func (s *Stream) Unproved() string { return "the transactions come from binlog files" }

// FilesBefore returns the names of the files up to the one in which a stretch starts.
func (l *Log) FilesBefore(s *Stretch) (names []string) {
	for i := range l.files {
		names = append(names, l.files[i].name)
		if l.files[i].name == s.Start.File {
			break
		}
	}
	return names
}

// StreamBefore returns a stream from the beginning of a file to the start of a stretch. Close it.
func (l *Log) StreamBefore(file string, s *Stretch, c Config) (*Stream, error) {
	begin, _, err := l.beginOf(file)
	if err != nil {
		return nil, err
	}
	return l.Stream(&Stretch{Start: begin, End: s.Start}, c)
}

// StatementsBefore calls visit for each statement between the beginning of the files and the start
// of a stretch.
func (l *Log) StatementsBefore(
	ctx context.Context, s *Stretch, visit func(*binlog.Event),
) error {
	begin, _, err := l.begin(0)
	if err != nil || begin.CompareFile(s.Start) >= 0 {
		return err
	}
	before := Stretch{Start: begin, End: s.Start}
	stream, err := l.Stream(&before, Config{Tables: unmapped{}})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for {
		ev, err := stream.Next(ctx)
		if errors.Is(err, ErrEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		if ev.Kind == binlog.Statement {
			visit(ev)
		}
	}
}
