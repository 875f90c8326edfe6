package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/clientconn"
	"rowfall/replication/keyspace"
	"rowfall/replication/node"
	"rowfall/replication/resp"
)

const (
	sessionBuffer = 16 << 10  // bytes of input, and of replies, that each session may hold at rest
	flushAt       = 64 << 10  // bytes of replies that are sent before the pipeline ends
	flushCrowded  = 16 << 10  // the same, while the clients together hold much memory
	keepReply     = 128 << 10 // a reply buffer above this size is released after the flush
	replyChunk    = 256 << 10 // bytes of a reply that a client must take within the time-out
	handshakeTime = 10 * time.Second
)

// Limits before authentication, as in Redis.
const (
	anonymousArgs = 10
	anonymousBulk = 16 << 10
)

// session is one client connection. Its goroutine reads commands, executes them in order, and sends
// the replies when no further command is buffered. This happens within conn.Serve, except for
// commands that may block, and for the connection of a replica. It has more than 15 fields, because
// a command may read or change any state of its connection.
type session struct {
	n      *Node
	id     int64
	conn   *clientconn.Conn
	r      *resp.Reader
	opened time.Time

	proto  int // RESP version of the replies, 2 or 3
	authed bool
	out    []byte       // replies that are not sent yet
	w      *resp.Writer // appends replies from the keyspace to out, and sends long ones in chunks
	err    error        // why no more replies can be sent
	closed bool         // close the connection after the replies so far
	ended  bool         // the connection is at its end or broken, or err is set
	blocks blockingCall // a command that may block, until it is executed
	remote bool         // the client is on another host
	follow *node.PSync  // set by PSYNC and SYNC: the session is to become a replica's
	repl   node.Announced
	multi  queue

	isReplica atomic.Bool // the session is a replica's

	memory      [memoryParts]int // bytes by part; only the session's goroutine uses it
	memoryTotal atomic.Int64     // their sum
	evicted     bool             // guarded by the lock of clients
	reply       atomic.Pointer[slowReply]
	pinned      *keyspace.Keyspace // what the current reply reads; as memory

	info clientInfo
}

// clientInfo is what CLIENT LIST shows of a session.
type clientInfo struct {
	sync.Mutex
	name, lib, libVersion string
	proto                 int
	lastCommand           string
	lastAt                time.Time
}

func newSession(n *Node, conn net.Conn) *session {
	c := clientconn.New(conn)
	s := &session{
		n: n, conn: c, r: resp.NewReader(c, sessionBuffer), proto: 2,
		authed: n.c.Password == "", opened: time.Now(), remote: isRemote(conn),
	}
	if !s.authed {
		s.r.SetLimits(anonymousArgs, anonymousBulk)
	}
	s.r.SetAccount(s.accountArgs)
	s.w = resp.NewWriter(flushAt, s.sendRendered)
	return s
}

// serve runs the session until the client leaves, is killed, or the node stops.
func (s *session) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.releaseMemory()
	if err := s.handshake(ctx); err != nil {
		s.n.c.Logger.Debug().Err(err).Stringer("client", s.conn.RemoteAddr()).
			Msg("TLS handshake failed")
		return
	}
	for !s.closed && !s.ended {
		if s.conn.Serve(func() bool { return s.executeArrived(ctx) }) != nil {
			return
		}
		s.executeBlocking(ctx)
		if s.flush() != nil {
			return
		}
		if p := s.follow; p != nil {
			s.follow = nil
			rejection := s.serveReplica(ctx, *p)
			if rejection == "" {
				return
			}
			s.error(rejection)
			if s.flush() != nil {
				return
			}
		}
	}
}

// executeArrived executes the commands that have arrived. It returns true once all of them are
// executed and their replies are sent. It returns false if the session ends, or if it continues
// outside of conn.Serve.
func (s *session) executeArrived(ctx context.Context) (wait bool) {
	for {
		args, _, err := s.r.ReadCommand()
		if err == clientconn.ErrWait { //nolint:errorlint // Read returns it as it is
			// Are replies left to send? Then only a part of the next command has arrived, and the
			// client may wait for these replies before it sends the rest.
			if len(s.out) > 0 && s.flush() != nil {
				s.ended = true
				return false
			}
			return true
		}
		if err != nil {
			if errors.As(err, new(*resp.ProtocolError)) || errors.As(err, new(*memoryLimitError)) {
				s.error("ERR " + err.Error())
			}
			s.ended = true
			return false
		}
		if len(args) > 0 {
			s.n.stats.commands.Add(1)
			s.dispatch(ctx, args)
		}
		switch {
		case s.err != nil:
			s.ended = true
			return false
		case s.closed || s.follow != nil || s.blocks.command != nil:
			return false
		case (s.r.Buffered() == 0 || len(s.out) >= flushAt) && s.flush() != nil:
			s.ended = true
			return false
		}
	}
}

// blockingCall is a command that may block, with its arguments.
type blockingCall struct {
	command *command
	args    [][]byte
}

// executeBlocking executes the command that ended conn.Serve, if a command did.
func (s *session) executeBlocking(ctx context.Context) {
	if c := s.blocks; c.command != nil {
		s.blocks = blockingCall{}
		s.execute(ctx, s.n.Keyspace(), c.command, c.args)
	}
}

// handshake completes the TLS handshake on a connection with TLS. The time for it is short, because
// the peer is unknown until then and occupies one of maxclients connections.
func (s *session) handshake(ctx context.Context) error {
	t, ok := s.conn.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(handshakeTime, s.n.Settings().Timeout()))
	defer cancel()
	return t.HandshakeContext(ctx)
}

// serveReplica hands the connection of a replica over to package node. If PSYNC is rejected, it
// returns the error reply, and the session stays a client's. An empty rejection means that the
// connection has ended.
func (s *session) serveReplica(ctx context.Context, p node.PSync) (rejection string) {
	return s.n.ServeReplica(ctx, &node.ReplicaConn{
		Conn: s.conn.Conn, Socket: s.conn.Socket(), Reader: s.r, Announced: s.repl,
		Admitted: func() { s.isReplica.Store(true) },
	}, p)
}

// isRemote reports whether a client is on another host.
func isRemote(conn net.Conn) bool {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

// isUnauthenticatedRemote reports whether the client is on another host, and sent no password
// because the node has no password.
func (s *session) isUnauthenticatedRemote() bool { return s.remote && s.n.c.Password == "" }

// flush sends the replies and releases a large buffer. A buffer of medium size is kept unless the
// clients together hold much memory.
func (s *session) flush() error {
	if len(s.out) > 0 && s.err == nil {
		if s.err = s.accountReply(); s.err == nil {
			s.err = s.send(s.out)
		}
	}
	s.out = s.out[:0]
	if cap(s.out) > keepReply || cap(s.out) > sessionBuffer && s.n.clients.crowded() {
		s.out = nil
	}
	if err := s.accountReply(); s.err == nil {
		s.err = err
	}
	return s.err
}

// accountReply accounts for the reply buffer.
func (s *session) accountReply() error {
	return s.account(memoryReply, max(cap(s.out)-sessionBuffer, 0))
}

// send writes replies to the socket. The time-out applies to each chunk, so that it ends clients
// that take nothing, and does not end a client that takes a large reply slowly.
func (s *session) send(b []byte) error {
	var err error
	for len(b) > 0 && err == nil {
		chunk := b[:min(len(b), replyChunk)]
		b = b[len(chunk):]
		err = s.conn.WriteWithin(chunk, s.n.Settings().Timeout())
	}
	if err != nil {
		return fmt.Errorf("send reply: %w", err)
	}
	return nil
}

// sendRendered sends a part of a reply from the keyspace before the rest is rendered.
func (s *session) sendRendered(b []byte) error {
	s.beginReply(s.pinned)
	// The buffer, and what is appended to it before it is full.
	if err := s.account(memoryReply, 2*flushAt); err != nil {
		return err
	}
	return s.send(b)
}

// recordCommand stores the last command for CLIENT LIST.
func (s *session) recordCommand(name string) {
	s.info.Lock()
	s.info.lastCommand, s.info.lastAt, s.info.proto = name, time.Now(), s.proto
	s.info.Unlock()
}
