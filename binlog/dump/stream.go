package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
)

const (
	defaultHeartbeat = 500 * time.Millisecond
	// A server is given up after silentHeartbeats heartbeats without a byte, though
	// not before leastSilence.
	silentHeartbeats = 20
	leastSilence     = 10 * time.Second
)

// ErrEnded is returned when the server has ended the stream without giving a reason.
var ErrEnded = errors.New("the server ended the stream")

// Config says what to follow.
type Config struct {
	MySQL mysql.Config
	// ServerID is the replica id (1 to 2^32-1) we show; two followers of one
	// server with one id evict each other.
	ServerID uint32
	// Heartbeat is how often an idle server says that it lives; 0 means 500 ms.
	// A server that stays silent for 20 heartbeats (at least 10 s) is given up.
	Heartbeat time.Duration
	// SkipChecksum leaves events unverified. The checksum costs a few
	// nanoseconds per row.
	SkipChecksum bool
	// Tables says which tables are mapped; it must not be nil. It is asked by
	// Next, in its goroutine, once per version of a table that the binlog shows
	// (see Stream.Forget).
	Tables events.Tables
	// XATransactions is what one stream hands on to the next of the same binlog; nil
	// where there is no next.
	XATransactions *events.XATransactions
	// Last is the evidence of the last transaction that the position to start from includes. Open
	// requests it again and fails with a *binlog.HistoryError if the server has another one in its
	// place. The zero value skips this check.
	Last   binlog.Evidence
	Logger zerolog.Logger
}

// Stream is a followed binlog. Its methods are for one goroutine, but for Wake
// and Close.
type Stream struct {
	conn    *mysql.Conn
	net     net.Conn
	silence time.Duration
	packets packetBuffer
	parser  *events.Parser
	// err ended the stream.
	err error
	// unproved is why the server's history could not be compared; empty if it was.
	unproved string

	// due is the read deadline that was set last.
	readDeadline time.Time

	wake struct {
		sync.Mutex
		// woken is set until a Next has answered with a Progress.
		woken bool
		// interrupted says that the read deadline was put into the past.
		interrupted bool
		// watched is the Done channel of the last Next's context, stop ends
		// its watch.
		watched <-chan struct{}
		stop    func() bool
		closed  bool
	}
}

// Open connects and asks for the binlog after from, which must be a real place:
// a GTID set, on a server that keeps them, or a file and offset. Where both are
// given MySQL goes by the GTID set, MariaDB by file and offset if it has these
// GTIDs there, else by the set.
//
// Opened at a file and offset, a MySQL that keeps GTIDs is read from the file's
// beginning so that the position's GTID set becomes known; Next yields nothing
// before the offset.
func Open(ctx context.Context, c Config, from binlog.Position) (*Stream, error) {
	if c.Heartbeat <= 0 {
		c.Heartbeat = defaultHeartbeat
	}
	s, err := connect(ctx, c)
	if err != nil {
		return nil, err
	}
	if s, err = s.proveAndRequest(ctx, c, from); err != nil {
		return nil, err
	}
	server := s.conn.Server()
	c.Logger.Info().Str("addr", s.conn.Addr()).Str("version", server.Version).
		Str("file", from.File).Uint64("offset", from.Offset).Bool("gtid", hasGTIDs(server)).
		Bool("proved", s.unproved == "").Msg("following binlog")
	return s, nil
}

// connect opens a connection that has asked for nothing yet.
func connect(ctx context.Context, c Config) (*Stream, error) {
	conn, err := mysql.Dial(ctx, c.MySQL)
	if err != nil {
		return nil, err
	}
	s := &Stream{conn: conn, net: conn.NetConn(), silence: max(silentHeartbeats*c.Heartbeat, leastSilence)}
	if err := s.prepare(ctx, c); err != nil {
		return nil, s.fail(err)
	}
	return s, nil
}

// fail closes a stream that cannot be opened.
func (s *Stream) fail(err error) error {
	_ = s.Close()
	return fmt.Errorf("follow binlog of %s: %w", s.conn.Addr(), err)
}

// Next returns the next event; it is valid until the next call. It waits until
// there is one, until ctx ends, or until Wake, which makes it return a Progress.
// After ctx's error it may be called again; any other error is final.
//
// An error of the server is a *mysql.ServerError; code 1236 means that it has
// not got the binlog that we asked for.
func (s *Stream) Next(ctx context.Context) (*binlog.Event, error) {
	for s.err == nil {
		ev, err := s.parser.Pending()
		if ev == nil && err == nil {
			packet, ok := s.packets.next()
			if !ok {
				woken, err := s.wait(ctx)
				if woken {
					return s.parser.Progress(), nil
				}
				if err != nil {
					return nil, err
				}
				continue
			}
			ev, err = s.packet(packet)
		}
		if err != nil {
			s.err = s.withServer(err)
			break
		}
		if ev != nil {
			return ev, nil
		}
	}
	return nil, s.err
}

// packet handles a packet: an event, an error, or the end.
func (s *Stream) packet(b []byte) (*binlog.Event, error) {
	switch {
	case len(b) > events.HeaderSize && b[0] == 0:
		return s.parser.Next(b[1:])
	case len(b) > 0 && b[0] == 0xff:
		return nil, s.serverError(mysql.ParseError(b))
	case len(b) > 0 && b[0] == 0xfe:
		return nil, fmt.Errorf("read binlog of %s: %w", s.conn.Addr(), ErrEnded)
	}
	return nil, fmt.Errorf("read binlog of %s: a packet of %d bytes is no event", s.conn.Addr(), len(b))
}

// serverError adds the remedy to an error of the server. Code 1236 is one for
// all that keeps it from reading its binlog for us.
func (s *Stream) serverError(err error) error {
	err = fmt.Errorf("read binlog of %s: %w", s.conn.Addr(), err)
	var se *mysql.ServerError
	if !errors.As(err, &se) || se.Code != mysql.CodeBinlogMissing {
		return err
	}
	switch {
	case strings.Contains(se.Message, "same server_"):
		return err
	case strings.Contains(se.Message, "more GTIDs than"):
		return &binlog.HistoryError{Reason: "the server has not got all transactions that it committed itself: " + se.Message}
	case strings.Contains(se.Message, "truncated"):
		return fmt.Errorf("%w; the server crashed while it wrote this: start again with --from snapshot", err)
	}
	return fmt.Errorf("%w; if the position was purged, start again with --from snapshot", err)
}

// wait reads once from the server. It reports whether it was woken instead.
func (s *Stream) wait(ctx context.Context) (woken bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.watchContext(ctx)
	if s.prepareRead() {
		return true, nil
	}
	// A ctx that ended before the deadline was set has interrupted in vain.
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err = s.packets.fill(s.net)
	if err == nil {
		return false, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.wake.Lock()
		interrupted := s.wake.interrupted
		s.wake.Unlock()
		if interrupted {
			return false, ctx.Err()
		}
		err = fmt.Errorf("the server has been silent for %v", s.silence)
	} else if errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection")
	}
	s.err = fmt.Errorf("read binlog of %s: %w", s.conn.Addr(), err)
	return false, s.err
}

// prepareRead sets the read deadline and reports whether there is a Wake to
// answer, which must wait until a transaction's end.
func (s *Stream) prepareRead() bool {
	now := time.Now()
	s.wake.Lock()
	defer s.wake.Unlock()
	if s.wake.woken && s.parser.Idle() {
		s.wake.woken = false
		return true
	}
	// Not before every read, which would cost more than a small read itself.
	if s.wake.interrupted || s.readDeadline.Sub(now) < s.silence {
		s.readDeadline = now.Add(s.silence + s.silence/4)
		_ = s.net.SetReadDeadline(s.readDeadline)
		s.wake.interrupted = false
	}
	return false
}

// watch makes the end of ctx interrupt reads. Callers pass the same context
// again and again: it is watched once.
func (s *Stream) watchContext(ctx context.Context) {
	s.wake.Lock()
	defer s.wake.Unlock()
	if s.wake.watched == ctx.Done() || s.wake.closed {
		return
	}
	s.unwatchContextLocked()
	s.wake.watched = ctx.Done()
	if s.wake.watched != nil {
		s.wake.stop = context.AfterFunc(ctx, s.interrupt)
	}
}

func (s *Stream) unwatchContextLocked() {
	if s.wake.stop != nil {
		s.wake.stop()
	}
	s.wake.watched, s.wake.stop = nil, nil
}

// poke interrupts a read.
func (s *Stream) interrupt() {
	s.wake.Lock()
	defer s.wake.Unlock()
	s.interruptLocked()
}

func (s *Stream) interruptLocked() {
	s.wake.interrupted = true
	_ = s.net.SetReadDeadline(time.Unix(1, 0))
}

// Position returns where the stream stands: up to and including the last Commit
// or Statement. It lives: it is valid until the next Next, and moves also past
// what is not yielded, though never within a transaction. A stream that goes by a
// GTID set has no file until a transaction or a heartbeat shows it.
func (s *Stream) Position() *binlog.Position { return s.parser.Position() }

// Buffered reports whether the server's next packet is here already.
func (s *Stream) Buffered() bool { return s.parser.HasPending() || s.packets.complete() }

// Wake makes a waiting Next return a Progress event; if none waits, the next
// one that would. Within a transaction it takes effect at its end. Any
// goroutine may call it.
func (s *Stream) Wake() {
	s.wake.Lock()
	defer s.wake.Unlock()
	s.wake.woken = true
	s.interruptLocked()
}

// Forget makes the stream ask Tables again for every table, from the next
// statement on.
func (s *Stream) Forget() { s.parser.Forget() }

// Server returns what the server said of itself.
func (s *Stream) Server() mysql.Server { return s.conn.Server() }

// Close ends the connection; a waiting Next returns an error. It may be called
// more than once and from any goroutine.
func (s *Stream) Close() error {
	s.wake.Lock()
	s.wake.closed = true
	s.unwatchContextLocked()
	s.wake.Unlock()
	return s.conn.Close()
}
