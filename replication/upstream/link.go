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

// Config is the address of an upstream, and how to connect.
type Config struct {
	Addr       string        // host:port
	User       string        // empty: the default user
	Password   string        // empty: no AUTH
	ListenPort int           // announced as the port of this node; 0: not announced
	AnnounceIP string        // announced as the host of this node; empty: the peer's address
	Timeout    time.Duration // of the connect, and of each read and write; positive
	TLS        *tls.Config   // nil: plain TCP; without a ServerName the host of Addr is verified
}

// Link is one connection to an upstream. Any goroutine may call Ack, KeepAlive, LastIO and Close.
// One goroutine at a time may call the other methods.
type Link struct {
	c      Config
	conn   net.Conn
	r      *resp.Reader
	lastIO atomic.Int64 // unix nanoseconds
	fault  error        // found after the records of a batch; the next Next returns it

	write sync.Mutex // serializes messages on conn
}

// ReplyError is an error reply of the upstream. Text is the reply with its leading "-".
type ReplyError struct{ Text string }

func (e *ReplyError) Error() string { return "upstream replied " + e.Text }

// ContentError is a fault of the data that the upstream sends, not of the connection. A new request
// from the same offset gets the same data.
type ContentError struct{ err error }

func (e *ContentError) Error() string { return e.err.Error() }
func (e *ContentError) Unwrap() error { return e.err }

func contentf(format string, a ...any) error { return &ContentError{fmt.Errorf(format, a...)} }

// Dial connects and performs the handshake of a replica up to, but without, PSYNC. The link closes
// when ctx ends. An error reply of the upstream is a *ReplyError.
func Dial(ctx context.Context, c Config) (*Link, error) {
	d := net.Dialer{Timeout: c.Timeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to upstream: %w", err)
	}
	if c.TLS != nil {
		if conn, err = encrypt(ctx, conn, c); err != nil {
			return nil, fmt.Errorf("TLS handshake with upstream %s: %w", c.Addr, err)
		}
	}
	l := &Link{c: c, conn: conn}
	l.r = newReader(&timedConn{l})
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err := l.handshake(); err != nil {
		stop()
		conn.Close()
		return nil, fmt.Errorf("handshake with upstream %s: %w", c.Addr, err)
	}
	return l, nil
}

// newReader returns a Reader for a replication stream. Servers limit the number of arguments of
// their clients' commands only by the length of the command.
func newReader(r io.Reader) *resp.Reader {
	reader := resp.NewReader(r, readBuffer)
	reader.SetLimits(resp.MaxStreamArgs, resp.MaxBulk)
	return reader
}

// encrypt performs the TLS handshake under a deadline. The first write would perform it, too, but
// its reads would have no deadline. encrypt closes conn if the handshake fails.
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

// forHost returns config with the host of addr as the name to verify, unless config has a name.
func forHost(config *tls.Config, addr string) *tls.Config {
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr)
	return config
}

// timedConn applies the link's time-out to every read. Masters send a PING every 10 s by default,
// so a longer silence means that the upstream is gone.
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

// LastIO returns the time at which bytes were last received.
func (l *Link) LastIO() time.Time { return time.Unix(0, l.lastIO.Load()) }

// RemoteAddr returns the upstream's address.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// LocalAddr returns this node's address on the connection.
func (l *Link) LocalAddr() net.Addr { return l.conn.LocalAddr() }

// Close closes the connection. A blocked read or write returns with an error.
func (l *Link) Close() error { return l.conn.Close() }

// handshake authenticates and announces this node. It ends before PSYNC.
func (l *Link) handshake() error {
	if err := l.call("PING"); err != nil && !isTolerated(err) {
		return err
	}
	if l.c.Password != "" {
		args := []string{"AUTH", l.c.Password}
		if l.c.User != "" {
			args = []string{"AUTH", l.c.User, l.c.Password}
		}
		if err := l.call(args...); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	var options [][]string
	if l.c.ListenPort != 0 {
		options = append(options, []string{"listening-port", strconv.Itoa(l.c.ListenPort)})
	}
	if l.c.AnnounceIP != "" {
		options = append(options, []string{"ip-address", l.c.AnnounceIP})
	}
	options = append(options, []string{"version", announcedVersion},
		[]string{"capa", "eof", "capa", "psync2", "capa", "rdb-listpack"})
	for _, option := range options {
		// An upstream that rejects an option may still serve PSYNC.
		if err := l.call(append([]string{"REPLCONF"}, option...)...); err != nil && !isReply(err) {
			return err
		}
	}
	return nil
}

// announcedVersion is the newest Valkey version whose snapshots package rdb parses. A Valkey 9
// writes its snapshot for the oldest version that a waiting replica announces. For an older one,
// or for none, it cannot write hash fields that expire: it forks, aborts, and closes the
// connection without a reason. Announced as 9.1, the node receives the snapshot and rejects such a
// key by name. Redis and older Valkey servers ignore the version.
const announcedVersion = "9.1.0"

// isTolerated reports whether the handshake can continue after this error reply to PING: the
// upstream requires authentication, and AUTH follows.
func isTolerated(err error) bool {
	var re *ReplyError
	return errors.As(err, &re) && (strings.HasPrefix(re.Text, "-NOAUTH") ||
		strings.HasPrefix(re.Text, "-NOPERM") ||
		strings.HasPrefix(re.Text, "-ERR operation not permitted"))
}

// isReply reports whether err is an error reply, and not a fault of the connection.
func isReply(err error) bool { return errors.As(err, new(*ReplyError)) }

// call sends one command and reads its reply of one line.
func (l *Link) call(args ...string) error {
	if err := l.send(resp.AppendCommand(nil, args...)); err != nil {
		return err
	}
	_, err := l.reply()
	return err
}

// reply reads one line. It skips empty lines, which masters send to keep the connection alive.
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

// Sync is the upstream's reply to PSYNC.
type Sync struct {
	Full   bool
	ID     string        // the replication id from here on; empty: unchanged
	Offset replog.Offset // of a full resync: the last byte that the snapshot contains
}

// PSync requests the replication stream of replication id id after offset have. An empty id
// requests a full resync. failover sends PSYNC with FAILOVER, which makes the upstream the master
// first: the upstream was a replica of this node until now.
func (l *Link) PSync(id string, have replog.Offset, failover bool) (Sync, error) {
	first := strconv.FormatInt(int64(have)+1, 10)
	if id == "" {
		id, first = "?", "-1"
	}
	args := []string{"PSYNC", id, first}
	if failover {
		args = append(args, "FAILOVER")
	}
	if err := l.send(resp.AppendCommand(nil, args...)); err != nil {
		return Sync{}, err
	}
	line, err := l.reply()
	if err != nil {
		return Sync{}, fmt.Errorf("request resync: %w", err)
	}
	return parseSync(line)
}

// parseSync parses the reply to PSYNC.
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
			return Sync{}, fmt.Errorf("request resync: upstream replied %q: %w", line, err)
		}
		return Sync{Full: true, ID: f[0], Offset: at}, nil
	}
	return Sync{}, fmt.Errorf("request resync: upstream replied %q", line)
}

// Ack acknowledges what has been applied, and, for WAITAOF on the upstream, what is durable.
// Servers before 7.2 ignore FACK.
func (l *Link) Ack(applied, synced replog.Offset) error {
	durable := min(applied, synced)
	return l.send(resp.AppendCommand(nil,
		"REPLCONF", "ACK", applied.String(), "FACK", durable.String()))
}

// KeepAlive sends an empty line, which resets the time-out of a master that waits for its replica.
// It is for the time between the start of a snapshot and the first Ack.
func (l *Link) KeepAlive() error { return l.send([]byte("\n")) }

// Payload reads the header of the snapshot that follows +FULLRESYNC. Other bytes are a
// *ContentError.
func (l *Link) Payload() (*Payload, error) {
	line, err := l.reply()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read snapshot header: the upstream granted a full resync and "+
			"closed the connection instead of sending its snapshot; its own log holds the "+
			"reason: %w", err)
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

// Batch is a sequence of complete records of the stream, byte for byte as received.
type Batch struct {
	buf   []byte
	start int    // offset of the first record in buf
	recs  []span // all records, in order
	room  []span // the whole array of which recs is a part
}

// span is one record of a batch.
type span struct {
	kind replog.Kind
	end  int // offset in buf
}

// Len returns the number of records.
func (b *Batch) Len() int { return len(b.recs) }

// Kind returns the kind of record i, from 0.
func (b *Batch) Kind(i int) replog.Kind { return b.recs[i].kind }

// First returns the bytes of the first n records, at least 1. They are valid until the next Next.
func (b *Batch) First(n int) []byte {
	end := b.recs[n-1].end
	return b.buf[b.start:end:end]
}

// Discard removes the first n records, at least 1.
func (b *Batch) Discard(n int) {
	b.start = b.recs[n-1].end
	b.recs = b.recs[n:]
}

const (
	batchSize = 256 << 10
	keepBatch = 4 << 20 // a larger buffer is released before the next batch
)

// Next replaces the records of b by those that have been received, at least one. It blocks only for
// the first record, and for the rest of a record whose beginning has been received. A batch ends
// after a GETACK, so that the caller can reply at once.
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
		complete := len(b.buf)
		kind, err := l.record(b)
		if err != nil && len(b.recs) > 0 {
			// The records before the fault are valid. The next call returns the fault.
			b.buf = b.buf[:complete]
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

// record appends one record to b: a command, or all commands from MULTI to EXEC.
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
			// Its length in the upstream's offsets is uncertain, and so would be every later
			// offset.
			return 0, contentf("read upstream's stream: inline command or empty line: %.64q", raw)
		}
		if len(b.buf)-start+len(raw) > replog.MaxPayload {
			return 0, contentf(
				"read upstream's stream: a command or transaction is longer than %d bytes",
				replog.MaxPayload)
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

// kindOf returns the record kind of a single command.
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

// is reports whether b is word in any case.
func is(b []byte, word string) bool {
	return len(b) == len(word) && bytes.EqualFold(b, []byte(word))
}
