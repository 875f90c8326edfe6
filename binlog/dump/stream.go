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
	// A stream ends with an error when the server has sent no byte for silentHeartbeats heartbeats
	// and leastSilence.
	silentHeartbeats = 20
	leastSilence     = 10 * time.Second
)

// ErrEnded is returned when the server has ended the stream without giving a reason.
var ErrEnded = errors.New("the server ended the stream")

// Config configures a Stream.
type Config struct {
	MySQL mysql.Config
	// ServerID is the server id under which the stream registers as a replica, 1 to 2^32-1. A
	// server ends the stream of an older replica with the same id.
	ServerID uint32
	// Heartbeat is the interval of heartbeats from an idle server; 0 means 500 ms. A server that is
	// silent for 20 heartbeats, and for 10 s, ends the stream.
	Heartbeat time.Duration
	// SkipChecksum leaves the checksums of events unverified. Verifying costs a few nanoseconds per
	// row.
	SkipChecksum bool
	// TimesOnly yields only the ends of transactions, with their times, whatever they contain.
	// Tables may then be nil.
	TimesOnly bool
	// Tables provides the schemas of mapped tables; it must not be nil. If it implements
	// events.Prepared, rows of XA transactions are yielded at the XA COMMIT. Next calls it in the
	// caller's goroutine, once per version of a table that it meets in the binlog (see
	// Stream.Forget).
	Tables events.Tables
	// PreparedOnly yields only the ends of transactions, and the steps of XA transactions with
	// their rows, see events.Options.
	PreparedOnly bool
	// Last is the evidence of the last transaction that the position to start from includes. Open
	// requests it again and fails with a *binlog.HistoryError if the server has another one in its
	// place. The zero value skips this check.
	Last binlog.Evidence
	// OwnThread makes Next wait in a system call on a thread of its own, on Linux and if the
	// process has a processor to spare (see package blocking). This saves CPU for each small
	// transaction.
	OwnThread bool
	Logger    zerolog.Logger
}

// Stream is a connection that follows a binlog. One goroutine at a time may use it, except for Wake
// and Close, which any goroutine may call.
type Stream struct {
	conn    *mysql.Conn
	net     net.Conn
	silence time.Duration
	packets packetBuffer
	parser  *events.Parser
	// err is the error that ended the stream.
	err error
	// unproved is the reason why the server's history could not be compared; empty if it was.
	unproved string

	// readDeadline is the read deadline that was set last.
	readDeadline time.Time

	wake struct {
		sync.Mutex
		// woken is set by Wake, until Next has returned a Progress for it.
		woken bool
		// interrupted is set while the read deadline lies in the past to end a read.
		interrupted bool
		// watched is the Done channel of the last Next's context; stop ends the watch of that
		// context.
		watched <-chan struct{}
		stop    func() bool
		closed  bool
	}
}

// Open connects and requests the binlog after from, which needs a GTID set (on a server with GTIDs)
// or a file and offset. Where from has both, MySQL uses the GTID set. MariaDB uses file and offset
// if the GTIDs before it are the set, and the set otherwise.
//
// At a file and offset without GTIDs, a MySQL with GTIDs is read from the file's beginning, which
// holds the GTID set; Next yields nothing before the offset.
//
// A *binlog.RefusedError or *binlog.HistoryError is returned again by a retry; other errors may not
// be.
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
	if c.OwnThread {
		s.conn.WaitInKernel()
		s.net = s.conn.NetConn()
	}
	server := s.conn.Server()
	c.Logger.Info().Str("addr", s.conn.Addr()).Str("version", server.Version).
		Str("file", from.File).Uint64("offset", from.Offset).Bool("gtid", hasGTIDs(server)).
		Bool("proved", s.unproved == "").Msg("following binlog")
	return s, nil
}

// connect opens a connection that has requested no binlog yet.
func connect(ctx context.Context, c Config) (*Stream, error) {
	conn, err := mysql.Dial(ctx, c.MySQL)
	if err != nil {
		return nil, err
	}
	s := &Stream{
		conn: conn, net: conn.NetConn(),
		silence: max(silentHeartbeats*c.Heartbeat, leastSilence),
	}
	if err := s.prepare(ctx, c); err != nil {
		return nil, s.fail(err)
	}
	return s, nil
}

// fail closes a stream that could not be opened, and returns its error.
func (s *Stream) fail(err error) error {
	_ = s.Close()
	return fmt.Errorf("follow binlog of %s: %w", s.conn.Addr(), err)
}

// Next returns the next event, which is valid until the next call. It waits until there is one,
// until ctx ends, or until Wake, for which it returns a Progress. After ctx's error Next may be
// called again. Any other error is final.
//
// A *binlog.RefusedError or *binlog.HistoryError is returned again by a retry. An error of the
// server is a *mysql.ServerError; mysql.CodeBinlogMissing means that the server does not have the
// binlog after the position.
func (s *Stream) Next(ctx context.Context) (*binlog.Event, error) {
	return s.next(ctx, true)
}

// Present is Next, but returns nil instead of waiting for the server. Only Next returns a Progress
// for Wake.
func (s *Stream) Present(ctx context.Context) (*binlog.Event, error) {
	return s.next(ctx, false)
}

// next is Next if willWait is set, and Present otherwise.
func (s *Stream) next(ctx context.Context, willWait bool) (*binlog.Event, error) {
	for s.err == nil {
		ev, err := s.parser.Pending()
		if ev == nil && err == nil {
			packet, ok := s.packets.next()
			if !ok && !willWait {
				return nil, nil
			}
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

// packet handles one packet: an event, an error, or the end of the stream.
func (s *Stream) packet(b []byte) (*binlog.Event, error) {
	switch {
	case len(b) > events.HeaderSize && b[0] == 0:
		return s.parser.Next(b[1:])
	case len(b) > 0 && b[0] == 0xff:
		return nil, s.serverError(mysql.ParseError(b))
	case len(b) > 0 && b[0] == 0xfe:
		return nil, fmt.Errorf("read binlog of %s: %w", s.conn.Addr(), ErrEnded)
	}
	return nil, fmt.Errorf("read binlog of %s: a packet of %d bytes has no event",
		s.conn.Addr(), len(b))
}

// serverError adds the remedy to a server's error. CodeBinlogMissing is the code for every reason
// why the server cannot read its binlog for a replica; only the message tells them apart.
func (s *Stream) serverError(err error) error {
	err = fmt.Errorf("read binlog of %s: %w", s.conn.Addr(), err)
	var se *mysql.ServerError
	if !errors.As(err, &se) || se.Code != mysql.CodeBinlogMissing {
		return err
	}
	switch {
	case strings.Contains(se.Message, "exceeded max_allowed_packet"):
		return s.unsent(se)
	case strings.Contains(se.Message, "same server_"):
		return err
	case isOfGTIDMode(se):
		return &GTIDModeError{err}
	case strings.Contains(se.Message, "more GTIDs than"):
		return &binlog.HistoryError{
			Reason: "the server lacks transactions that it committed itself: " + se.Message,
		}
	case strings.Contains(se.Message, "truncated"):
		return fmt.Errorf("%w; the server crashed while it wrote this: "+
			"start again with --from snapshot", err)
	}
	return fmt.Errorf("%w; if the position was purged, start again with --from snapshot", err)
}

// unsent returns the error for an event that the server cannot send. The server sends events of up
// to 1 GiB to replicas, whatever its max_allowed_packet is, so that no setting helps.
func (s *Stream) unsent(err error) error {
	at := s.parser.ReadPosition()
	tables := s.parser.StatementTables()
	err = fmt.Errorf("read binlog of %s after %s: %w", s.conn.Addr(), at,
		&binlog.UnsentError{Tables: tables, Err: err})
	if !s.parser.InTransaction() {
		// The position includes the event's transaction, and the server reads over the event.
		err = fmt.Errorf("%w; start after its binlog file with --from gtid:SET, where SET are the "+
			"GTIDs at the beginning of the next file", err)
	}
	refused := &binlog.RefusedError{After: at, Err: err}
	if len(tables) == 1 {
		refused.Table = tables[0]
	}
	return refused
}

// wait reads once from the server, or reports that Wake was called instead.
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

// prepareRead sets the read deadline. It reports whether Next must return a Progress for a Wake;
// within a transaction that waits for the end.
func (s *Stream) prepareRead() bool {
	now := time.Now()
	s.wake.Lock()
	defer s.wake.Unlock()
	if s.wake.woken && s.parser.Idle() {
		s.wake.woken = false
		return true
	}
	// The deadline is moved rarely: setting it costs more than a small read.
	if s.wake.interrupted || s.readDeadline.Sub(now) < s.silence {
		s.readDeadline = now.Add(s.silence + s.silence/4)
		_ = s.net.SetReadDeadline(s.readDeadline)
		s.wake.interrupted = false
	}
	return false
}

// watchContext makes the end of ctx interrupt reads. Successive calls with one context watch it
// once.
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

// interrupt ends a read that is waiting.
func (s *Stream) interrupt() {
	s.wake.Lock()
	defer s.wake.Unlock()
	s.interruptLocked()
}

func (s *Stream) interruptLocked() {
	s.wake.interrupted = true
	_ = s.net.SetReadDeadline(time.Unix(1, 0))
}

// Position returns the position after the last Commit or Statement. It points into the stream: the
// next call of Next changes it. It also advances past events that are not yielded, but never within
// a transaction. A stream that was opened at a GTID set has no file until the server has sent a
// transaction or a heartbeat.
func (s *Stream) Position() *binlog.Position { return s.parser.Position() }

// Wake makes a waiting Next return a Progress event. If none is waiting, the next call that would
// wait returns it. Within a transaction this happens at the transaction's end.
func (s *Stream) Wake() {
	s.wake.Lock()
	defer s.wake.Unlock()
	s.wake.woken = true
	s.interruptLocked()
}

// Forget makes the stream call Tables again for every table, from the next statement on.
func (s *Stream) Forget() { s.parser.Forget() }

// Skip replaces the transactions that are left out when the stream reaches them. Of a transaction
// that is left out entirely, only statements and the end are yielded, with Event.Skipped set. Call
// it between transactions.
func (s *Stream) Skip(skips []binlog.Skip) { s.parser.Skip(skips) }

// InTransaction reports whether a transaction has begun and not ended, also after an error.
// Transaction describes it.
func (s *Stream) InTransaction() bool { return s.parser.InTransaction() }

// Server returns the server's version and variables at the time of the connection.
func (s *Stream) Server() mysql.Server { return s.conn.Server() }

// Close ends the connection; a waiting Next returns an error. It may be called more than once.
func (s *Stream) Close() error {
	s.wake.Lock()
	s.wake.closed = true
	s.unwatchContextLocked()
	s.wake.Unlock()
	return s.conn.Close()
}
