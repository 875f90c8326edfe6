package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

const readBuffer = 256 << 10

// Config says whom to connect to and how.
type Config struct {
	Addr       string        // host:port
	User       string        // empty: the default user
	Password   string        // empty: no AUTH
	ListenPort int           // what we announce; 0: nothing
	AnnounceIP string        // where others reach us, if not where we come from
	Timeout    time.Duration // for connecting, and for each read and each write
	TLS        *tls.Config   // nil: plain; without a ServerName the host of Addr is verified
}

// Link is one connection to an upstream. Ack, KeepAlive, LastIO and Close may be
// called by any goroutine, everything else by one.
type Link struct {
	c      Config
	conn   net.Conn
	r      *resp.Reader
	lastIO atomic.Int64 // unix nanoseconds
	fault  error        // of the stream, found behind records that were whole

	write sync.Mutex // one message at a time on conn
}

// ReplyError is an error reply of the upstream.
type ReplyError struct{ Text string }

func (e *ReplyError) Error() string { return "upstream answered " + e.Text }

// ContentError is a fault of what the upstream sends, not of the connection. Who
// asks again from the same place gets the same.
type ContentError struct{ err error }

func (e *ContentError) Error() string { return e.err.Error() }
func (e *ContentError) Unwrap() error { return e.err }

func contentf(format string, a ...any) error { return &ContentError{fmt.Errorf(format, a...)} }

// Dial connects and shakes hands as a replica, up to PSYNC. The link is closed
// when ctx ends.
func Dial(ctx context.Context, c Config) (*Link, error) {
	d := net.Dialer{Timeout: c.Timeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to upstream: %w", err)
	}
	if c.TLS != nil {
		if conn, err = encrypt(ctx, conn, c); err != nil {
			return nil, fmt.Errorf("shake TLS hands with upstream %s: %w", c.Addr, err)
		}
	}
	l := &Link{c: c, conn: conn}
	l.r = newReader(&timedConn{l})
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err := l.handshake(); err != nil {
		stop()
		conn.Close()
		return nil, fmt.Errorf("shake hands with upstream %s: %w", c.Addr, err)
	}
	return l, nil
}

// newReader takes what an upstream's clients could send it: servers let a command
// have as many arguments as its length allows.
func newReader(r io.Reader) *resp.Reader {
	reader := resp.NewReader(r, readBuffer)
	reader.SetLimits(resp.MaxStreamArgs, resp.MaxBulk)
	return reader
}

// encrypt shakes hands at once: left to the first write, its reads would have no
// deadline. It closes conn if that fails.
func encrypt(ctx context.Context, conn net.Conn, c Config) (net.Conn, error) {
	t := tls.Client(conn, forHost(c.TLS, c.Addr))
	err := conn.SetDeadline(time.Now().Add(c.Timeout))
	if err == nil {
		err = t.HandshakeContext(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// forHost is config with the name to verify, unless it says one itself.
func forHost(config *tls.Config, addr string) *tls.Config {
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr)
	return config
}

// timedConn gives every read the link's timeout, so that a silent upstream is
// noticed: masters send a PING every 10 s.
type timedConn struct{ l *Link }

func (t *timedConn) Read(p []byte) (int, error) {
	if err := t.l.conn.SetReadDeadline(time.Now().Add(t.l.c.Timeout)); err != nil {
		return 0, err
	}
	n, err := t.l.conn.Read(p)
	if n > 0 {
		t.l.lastIO.Store(time.Now().UnixNano())
	}
	return n, err
}

// LastIO is when bytes last came from the upstream.
func (l *Link) LastIO() time.Time { return time.Unix(0, l.lastIO.Load()) }

// RemoteAddr is the upstream's end of the connection.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// LocalAddr is our end of the connection.
func (l *Link) LocalAddr() net.Addr { return l.conn.LocalAddr() }

// Close ends the connection; a blocked read returns.
func (l *Link) Close() error { return l.conn.Close() }

func (l *Link) handshake() error {
	if err := l.ask("PING"); err != nil && !isTolerated(err) {
		return err
	}
	if l.c.Password != "" {
		args := []string{"AUTH", l.c.Password}
		if l.c.User != "" {
			args = []string{"AUTH", l.c.User, l.c.Password}
		}
		if err := l.ask(args...); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	if l.c.ListenPort != 0 {
		// An upstream that does not know an option still serves PSYNC.
		if err := l.ask("REPLCONF", "listening-port", strconv.Itoa(l.c.ListenPort)); err != nil && !isReply(err) {
			return err
		}
	}
	if l.c.AnnounceIP != "" {
		if err := l.ask("REPLCONF", "ip-address", l.c.AnnounceIP); err != nil && !isReply(err) {
			return err
		}
	}
	if err := l.ask("REPLCONF", "version", announcedVersion); err != nil && !isReply(err) {
		return err
	}
	if err := l.ask("REPLCONF", "capa", "eof", "capa", "psync2", "capa", "rdb-listpack"); err != nil && !isReply(err) {
		return err
	}
	return nil
}

// announcedVersion is the newest Valkey version whose snapshots package rdb parses. A Valkey 9
// writes its snapshot for the oldest version that a waiting replica announces. For an older one,
// or for none, it cannot write hash fields that expire: it forks, aborts, and closes the
// connection without a reason. Announced as 9.1, the node receives the snapshot and rejects such a
// key by name. Redis and older Valkey servers ignore the version.
const announcedVersion = "9.1.0"

// isTolerated says whether a refused PING still lets the handshake go on: AUTH
// comes next.
func isTolerated(err error) bool {
	var re *ReplyError
	return errors.As(err, &re) && (strings.HasPrefix(re.Text, "-NOAUTH") || strings.HasPrefix(re.Text, "-NOPERM") ||
		strings.HasPrefix(re.Text, "-ERR operation not permitted"))
}

func isReply(err error) bool {
	var re *ReplyError
	return errors.As(err, &re)
}

// ask sends one command and reads its one-line answer.
func (l *Link) ask(args ...string) error {
	if err := l.send(resp.AppendCommand(nil, args...)); err != nil {
		return err
	}
	_, err := l.reply()
	return err
}

// reply reads one line, passing the empty ones that keep the link alive.
func (l *Link) reply() (string, error) {
	for {
		line, err := l.r.ReadLine()
		if err != nil {
			return "", fmt.Errorf("read reply: %w", err)
		}
		if len(line) == 0 {
			continue
		}
		if line[0] == '-' {
			return "", &ReplyError{string(line)}
		}
		return string(line), nil
	}
}

func (l *Link) send(b []byte) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.c.Timeout)); err != nil {
		return fmt.Errorf("send to upstream: %w", err)
	}
	if _, err := l.conn.Write(b); err != nil {
		return fmt.Errorf("send to upstream: %w", err)
	}
	return nil
}

// Sync is the upstream's answer to PSYNC.
type Sync struct {
	Full   bool
	ID     string        // the replication id from here on; empty: unchanged
	Offset replog.Offset // of a full resync: what its snapshot contains
}

// PSync asks for the stream under id after offset have. An empty id asks for a
// full resync. With failover the upstream, a replica of ours until now, is to
// become the master first.
func (l *Link) PSync(id string, have replog.Offset, failover bool) (Sync, error) {
	first := strconv.FormatInt(int64(have)+1, 10)
	if id == "" {
		id, first = "?", "-1"
	}
	ask := []string{"PSYNC", id, first}
	if failover {
		ask = append(ask, "FAILOVER")
	}
	if err := l.send(resp.AppendCommand(nil, ask...)); err != nil {
		return Sync{}, err
	}
	line, err := l.reply()
	if err != nil {
		return Sync{}, fmt.Errorf("ask for a resync: %w", err)
	}
	return parseSync(line)
}

// parseSync reads the answer to PSYNC.
func parseSync(line string) (Sync, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	f := strings.Fields(rest)
	switch {
	case word == "+CONTINUE" && len(f) == 0:
		return Sync{}, nil
	case word == "+CONTINUE" && len(f) == 1:
		return Sync{ID: f[0]}, nil
	case word == "+FULLRESYNC" && len(f) == 2:
		at, err := replog.ParseOffset(f[1])
		if err != nil {
			return Sync{}, fmt.Errorf("ask for a resync: upstream answered %q: %w", line, err)
		}
		return Sync{Full: true, ID: f[0], Offset: at}, nil
	}
	return Sync{}, fmt.Errorf("ask for a resync: upstream answered %q", line)
}

// Ack tells the upstream what has been applied and what of it is on disk, which
// WAITAOF asks for. Servers before 7.2 stop reading before FACK.
func (l *Link) Ack(applied, synced replog.Offset) error {
	return l.send(resp.AppendCommand(nil, "REPLCONF", "ACK", applied.String(), "FACK", min(applied, synced).String()))
}

// KeepAlive tells an upstream that waits for us to load that we live: an empty line,
// which masters take from a replica for no more than that. It is meant for the time
// from the snapshot's beginning to the first Ack.
func (l *Link) KeepAlive() error { return l.send([]byte("\n")) }

// Payload reads the header of the snapshot that follows a full resync.
func (l *Link) Payload() (*Payload, error) {
	line, err := l.reply()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read snapshot header: the upstream granted a full resync and closed the connection instead of sending its snapshot; "+
			"its own log holds the reason: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read snapshot header: %w", err)
	}
	if mark, ok := strings.CutPrefix(line, "$EOF:"); ok && len(mark) == markLen {
		return newMarked(l.r, []byte(mark)), nil
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(line, "$"), 10, 64)
	if line[0] != '$' || err != nil || n < 0 {
		return nil, contentf("read snapshot header: upstream sent %q", line)
	}
	return newSized(l.r, n), nil
}

// Batch is a run of whole records of the stream, exactly as received.
type Batch struct {
	buf   []byte
	start int    // of the first record in buf
	recs  []span // of all, in order
	room  []span // what recs is a part of
}

type span struct {
	kind replog.Kind
	end  int
}

// Len is the number of records.
func (b *Batch) Len() int { return len(b.recs) }

// Kind is the kind of record i.
func (b *Batch) Kind(i int) replog.Kind { return b.recs[i].kind }

// First returns the bytes of the first n records.
func (b *Batch) First(n int) []byte {
	end := b.recs[n-1].end
	return b.buf[b.start:end:end]
}

// Drop takes the first n records away.
func (b *Batch) Drop(n int) {
	b.start = b.recs[n-1].end
	b.recs = b.recs[n:]
}

const (
	batchSize = 256 << 10
	keepBatch = 4 << 20 // a larger buffer is not kept for the next batch
)

// Next replaces b's content by the records that have come, at least one. It
// blocks for that one only, and to complete a record whose beginning has come.
// A batch ends after a GETACK, so that the caller can answer at once.
func (l *Link) Next(b *Batch) error {
	if l.fault != nil {
		return l.fault
	}
	if cap(b.buf) > keepBatch {
		b.buf = nil
	}
	b.buf, b.start, b.recs = b.buf[:0], 0, b.room[:0]
	defer func() { b.room = b.recs }()
	for {
		whole := len(b.buf)
		kind, err := l.record(b)
		if err != nil && len(b.recs) > 0 {
			// What came before the fault counts; the next call returns it.
			b.buf = b.buf[:whole]
			l.fault = err
			return nil
		}
		if err != nil {
			return err
		}
		b.recs = append(b.recs, span{kind, len(b.buf)})
		if kind == replog.GetAck || len(b.buf) >= batchSize || l.r.Buffered() == 0 {
			return nil
		}
	}
}

// record reads one record: a command, or all from MULTI to EXEC.
func (l *Link) record(b *Batch) (replog.Kind, error) {
	start, open := len(b.buf), false
	for {
		args, raw, err := l.r.ReadCommand()
		var garbled *resp.ProtocolError
		if errors.As(err, &garbled) {
			return 0, contentf("read upstream's stream: %w", err)
		}
		if err != nil {
			return 0, fmt.Errorf("read upstream's stream: %w", err)
		}
		if len(raw) == 0 || raw[0] != '*' || len(args) == 0 {
			// Its length in the stream is not known for certain, so no offset after it would be.
			return 0, contentf("read upstream's stream: it holds an inline command or an empty line: %.64q", raw)
		}
		if len(b.buf)-start+len(raw) > replog.MaxPayload {
			return 0, contentf("read upstream's stream: a command or transaction is longer than %d bytes", replog.MaxPayload)
		}
		b.buf = append(b.buf, raw...)
		switch {
		case open && is(args[0], "EXEC"):
			return replog.Unit, nil
		case open:
		case is(args[0], "MULTI"):
			open = true
		default:
			return kindOf(args), nil
		}
	}
}

func kindOf(args [][]byte) replog.Kind {
	switch {
	case is(args[0], "PING"):
		return replog.Ping
	case is(args[0], "SELECT"):
		return replog.Select
	case len(args) > 1 && is(args[0], "REPLCONF") && is(args[1], "GETACK"):
		return replog.GetAck
	}
	return replog.Unit
}

func is(b []byte, word string) bool { return len(b) == len(word) && bytes.EqualFold(b, []byte(word)) }
