package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

const (
	sessionBuffer = 16 << 10
	flushAt       = 64 << 10  // reply bytes that are sent before the reply or the pipeline ends
	flushCrowded  = 16 << 10  // the same, while the clients hold much memory
	keepReply     = 128 << 10 // a larger reply buffer is not kept
	replyPiece    = 256 << 10 // reply bytes for which a client has the time-out
	maxQueued     = 64 << 20  // bytes of memory between MULTI and EXEC
	queuedArg     = 40        // what an argument takes beside its bytes
	queuedCommand = 64        // and a command
	handshakeTime = 10 * time.Second
)

// clients are the open sessions.
type clients struct {
	n *Node

	sync.Mutex
	all    map[int64]*session
	nextID int64
	wg     sync.WaitGroup

	held      atomic.Int64 // what all sessions hold; see hold
	peak      atomic.Int64 // the most that they held since memory was last returned to the system
	slowAfter time.Duration
	slowLimit int64 // 0: chosen by the node
}

// accept serves connections until the listener closes, then ends them all. ctx
// must have ended by then, so that no session waits for anything else.
func (cs *clients) accept(ctx context.Context, l net.Listener) {
	defer cs.wg.Wait()
	defer cs.kill(func(*session) bool { return true })
	cs.wg.Go(func() { cs.watch(ctx) })
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, mostly: it can pass
			cs.n.logger.Warn().Err(err).Msg("cannot accept a connection")
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		cs.open(ctx, conn)
	}
}

// open starts a session, or says that there are too many. It reads and writes
// nothing itself: whoever connects next must not wait for this peer.
func (cs *clients) open(ctx context.Context, conn net.Conn) {
	cs.n.stats.connections.Add(1)
	if tcp, ok := socket(conn).(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 20 * time.Second, Count: 3})
		unpace(tcp)
	}
	s := newSession(cs.n, conn)
	cs.Lock()
	if int64(len(cs.all)) >= cs.n.settings.maxClients.Load() || ctx.Err() != nil {
		cs.Unlock()
		cs.n.stats.rejected.Add(1)
		if socket(conn) != conn { // TLS: a word would take a handshake
			conn.Close()
			return
		}
		cs.wg.Go(func() {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(resp.AppendError(nil, "ERR max number of clients reached"))
			conn.Close()
		})
		return
	}
	s.id = cs.nextIDLocked()
	cs.all[s.id] = s
	cs.Unlock()
	cs.wg.Go(func() {
		defer cs.remove(s)
		s.serve(ctx)
	})
}

func (cs *clients) nextIDLocked() int64 {
	cs.nextID++
	return cs.nextID
}

// socket is the connection below TLS, or conn itself.
func socket(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

// cut ends the session's connection; its goroutines see the end. It does not wait
// for a stuck peer as the farewell of TLS does.
func (s *session) cut() { socket(s.conn).Close() }

func (cs *clients) remove(s *session) {
	s.conn.Close() // whatever it says, the session is over
	cs.Lock()
	defer cs.Unlock()
	delete(cs.all, s.id)
}

// kill closes the sessions that match and returns how many they were.
func (cs *clients) kill(match func(*session) bool) int {
	count := 0
	for _, s := range cs.list() {
		if match(s) {
			s.cut()
			count++
		}
	}
	return count
}

// list returns the sessions by id.
func (cs *clients) list() []*session {
	cs.Lock()
	defer cs.Unlock()
	list := make([]*session, 0, len(cs.all))
	for _, s := range cs.all {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *session) int { return int(a.id - b.id) })
	return list
}

func (cs *clients) count() int {
	cs.Lock()
	defer cs.Unlock()
	return len(cs.all)
}

// session is one client connection. Its goroutine reads commands, executes them
// in order and sends the replies when no further command waits.
type session struct {
	n      *Node
	id     int64
	conn   net.Conn
	r      *resp.Reader
	opened time.Time

	proto  int
	authed bool
	out    []byte
	w      *resp.Writer // renders replies from the keyspace behind out, and sends them in pieces
	err    error        // why no reply can be sent any more
	closed bool         // after the replies so far, hang up
	follow *psync       // it asked to become a replica
	repl   announced
	multi  queue

	replica atomic.Pointer[replica] // set once it is one

	held    [heldParts]int // the session's goroutine only
	heldAll atomic.Int64
	evicted bool // guarded by the lock of clients
	reply   atomic.Pointer[slowReply]
	pinned  *keyspace.Keyspace // what the reply that is being rendered reads; the session's goroutine only

	about struct { // what CLIENT LIST shows
		sync.Mutex
		name, lib, libVersion string
		proto                 int
		lastCommand           string
		lastAt                time.Time
	}
}

// queue holds the commands between MULTI and EXEC.
type queue struct {
	open      bool
	broken    bool // one of them was refused: EXEC refuses all
	needsData bool // one of them does: EXEC is refused while they are not there
	bytes     int
	args      [][][]byte
}

func newSession(n *Node, conn net.Conn) *session {
	s := &session{n: n, conn: conn, r: resp.NewReader(conn, sessionBuffer), proto: 2, authed: n.c.Password == "", opened: time.Now()}
	if !s.authed {
		s.r.SetLimits(10, 16<<10)
	}
	s.r.SetHold(s.holdArgs)
	s.w = resp.NewWriter(flushAt, s.sendRendered)
	return s
}

// serve runs the session until the client leaves, is killed, or the node stops.
func (s *session) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.release()
	if err := s.handshake(ctx); err != nil {
		s.n.logger.Debug().Err(err).Stringer("client", s.conn.RemoteAddr()).Msg("no TLS with a client")
		return
	}
	for !s.closed {
		args, _, err := s.r.ReadCommand()
		if err != nil {
			if errors.As(err, new(*resp.ProtocolError)) || errors.As(err, new(*memoryLimitError)) {
				s.out = resp.AppendError(s.out, "ERR "+err.Error())
			}
			s.flush() //nolint:errcheck // the session is over
			return
		}
		if len(args) > 0 {
			s.n.stats.commands.Add(1)
			s.dispatch(ctx, args)
		}
		if s.err != nil {
			return
		}
		if s.r.Buffered() == 0 || len(s.out) >= flushAt || s.closed || s.follow != nil {
			if s.flush() != nil {
				return
			}
		}
		if p := s.follow; p != nil {
			s.follow = nil
			if s.serveReplica(ctx, p) {
				return
			}
			s.out = resp.AppendError(s.out, p.refusal)
			if s.flush() != nil {
				return
			}
		}
	}
}

// handshake is that of TLS, for which a peer has a moment only: until then it has
// shown nothing, and takes one of the connections that maxclients allows.
func (s *session) handshake(ctx context.Context) error {
	t, ok := s.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(handshakeTime, s.n.timeout()))
	defer cancel()
	return t.HandshakeContext(ctx)
}

// flush sends the replies and releases a large buffer. A buffer of medium size is kept while the
// clients together hold little.
func (s *session) flush() error {
	if len(s.out) > 0 && s.err == nil {
		if s.err = s.holdReply(); s.err == nil {
			s.err = s.send(s.out)
		}
	}
	s.out = s.out[:0]
	if cap(s.out) > keepReply || cap(s.out) > sessionBuffer && s.n.clients.crowded() {
		s.out = nil
	}
	if err := s.holdReply(); s.err == nil {
		s.err = err
	}
	return s.err
}

// holdReply counts the reply buffer.
func (s *session) holdReply() error { return s.hold(heldReply, max(cap(s.out)-sessionBuffer, 0)) }

// send writes bytes of replies. A client that takes nothing for the time-out is cut off, however
// slowly it takes a large reply.
func (s *session) send(b []byte) error {
	var err error
	for len(b) > 0 && err == nil {
		piece := b[:min(len(b), replyPiece)]
		b = b[len(piece):]
		if err = s.conn.SetWriteDeadline(time.Now().Add(s.n.timeout())); err == nil {
			_, err = s.conn.Write(piece)
		}
	}
	if err != nil {
		return fmt.Errorf("send reply: %w", err)
	}
	return nil
}

// sendRendered sends a piece of a reply from the keyspace before the rest is rendered.
func (s *session) sendRendered(b []byte) error {
	s.beginReply(s.pinned)
	// The buffer, and what is appended to it before it is full.
	if err := s.hold(heldReply, 2*flushAt); err != nil {
		return err
	}
	return s.send(b)
}

// upper returns a command's name in upper case, in buf unless it is too long for one.
func upper(buf *[32]byte, name []byte) []byte {
	if len(name) > len(buf) {
		return name
	}
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

// dispatch answers one command, or queues it inside MULTI.
func (s *session) dispatch(ctx context.Context, args [][]byte) {
	var buf [32]byte
	name := upper(&buf, args[0])
	c, known := commands[string(name)]
	if string(name) == "POST" || string(name) == "HOST:" {
		// A web page made a browser talk to us; what follows would be taken for commands.
		s.n.logger.Warn().Stringer("client", s.conn.RemoteAddr()).Msg("a client speaks HTTP: its connection is closed")
		s.closed = true
		return
	}
	if !s.authed && (!known || !c.anyone) {
		s.out = resp.AppendError(s.out, "NOAUTH Authentication required.")
		return
	}
	if s.isStranger() && administers(name, args) {
		s.multi.broken = s.multi.open
		s.out = resp.AppendError(s.out, denied)
		return
	}
	why, queued := s.n.refusal.Load(), s.multi.open && (!known || !c.unqueued)
	if (why != nil || queued) && s.faulty(name, args) {
		s.multi.broken = s.multi.open
		return
	}
	needsData := (why != nil || queued) && s.needsData(c, known, name)
	if why != nil && needsData {
		s.multi.broken = s.multi.open
		s.out = resp.AppendError(s.out, *why)
		return
	}
	if queued {
		s.enqueue(args, needsData)
		return
	}
	s.execute(ctx, s.n.Keyspace(), name, args)
}

// unpin notes that no reply is being sent from the keyspace any more.
func (s *session) unpin() {
	s.pinned = nil
	if s.reply.Load() != nil {
		s.reply.Store(nil)
	}
}

// reader answers reads: the keyspace as it is, or a view of it.
type reader interface {
	Execute(w *resp.Writer, args [][]byte) (handled bool)
}

// needsData says whether a command is not answered while the data are not there,
// or too old: those that need the data, and PING, by which others learn of it.
func (s *session) needsData(c command, known bool, name []byte) bool {
	_, owners := s.n.c.Commands[string(name)]
	return known && c.needsData || !known && !owners
}

// execute answers one command: ours, the owner's, or a read of the keyspace.
func (s *session) execute(ctx context.Context, keys reader, name []byte, args [][]byte) {
	if c, ok := commands[string(name)]; ok {
		if !c.takes(len(args)) {
			s.wrongArgs(name)
			return
		}
		s.note(c.name)
		c.run(s, ctx, args)
		return
	}
	if h, ok := s.n.c.Commands[string(name)]; ok {
		if s.multi.open { // it holds what all of them read, and would for as long as it waits
			ended, cancel := context.WithCancel(ctx)
			cancel()
			s.out = h(ended, s.out, s.proto, args)
			return
		}
		// It may block: what was answered before it must not wait for that.
		if s.flush() != nil {
			s.closed = true
			return
		}
		s.attended(ctx, func(ctx context.Context) { s.out = h(ctx, s.out, s.proto, args) })
		return
	}
	if k, ok := keys.(*keyspace.Keyspace); ok { // else it is the view of an EXEC, which is pinned
		s.pinned = k
		defer s.unpin()
	}
	s.w.Reset(s.out, s.proto)
	if s.n.clients.crowded() {
		s.w.SetSize(flushCrowded)
	} else {
		s.w.SetSize(flushAt)
	}
	handled := keys.Execute(s.w, args)
	s.out = s.w.Bytes()
	if s.w.Err() != nil {
		s.err = s.w.Err()
	}
	if handled {
		return
	}
	s.faulty(name, args) // it writes, or there is no such command
}

// attended runs a command that may block. Its context ends with the session, also
// when the client leaves meanwhile.
func (s *session) attended(ctx context.Context, run func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ahead sync.WaitGroup
	ahead.Go(func() {
		if err := s.r.Ahead(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
	})
	run(ctx)
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // what was read ahead is kept
	ahead.Wait()
	_ = s.conn.SetReadDeadline(time.Time{})
}

// faulty answers a command that gets an error whatever the data are. As in Redis
// that comes before LOADING and MASTERDOWN. What the owner's commands take is the
// owner's matter.
func (s *session) faulty(name []byte, args [][]byte) bool {
	c, ours := commands[string(name)]
	_, owners := s.n.c.Commands[string(name)]
	kind, arity := keyspace.LookUp(string(name))
	read, write := kind == keyspace.ReadCommand, kind == keyspace.WriteCommand
	takes := command{args: arity}.takes(len(args))
	switch {
	case ours && !c.takes(len(args)), !ours && !owners && (read || write) && !takes:
		s.wrongArgs(name)
	case ours && c.noMulti && s.multi.open:
		s.out = resp.AppendError(s.out, "ERR Command not allowed inside a transaction")
	case ours || owners || read:
		return false
	case write:
		s.out = resp.AppendError(s.out, "READONLY You can't write against a read only replica.")
	default:
		s.unknown(args)
	}
	return true
}

// enqueue keeps a command for EXEC, or only says so if EXEC will refuse all of them.
func (s *session) enqueue(args [][]byte, needsData bool) {
	q := &s.multi
	if q.broken {
		s.out = resp.AppendSimple(s.out, "QUEUED")
		return
	}
	size := queuedCommand + queuedArg*len(args)
	for _, a := range args {
		size += len(a)
	}
	if q.bytes+size > maxQueued {
		s.out = resp.AppendError(s.out, "ERR transaction is too large")
		q.broken = true
		return
	}
	kept := make([][]byte, len(args))
	for i, a := range args {
		kept[i] = slices.Clone(a)
	}
	if err := s.hold(heldQueue, q.bytes+size); err != nil {
		s.fail("ERR %v", err)
		s.closed = true
		return
	}
	q.args, q.bytes = append(q.args, kept), q.bytes+size
	q.needsData = q.needsData || needsData
	s.out = resp.AppendSimple(s.out, "QUEUED")
}

// note remembers the command for CLIENT LIST.
func (s *session) note(name string) {
	s.about.Lock()
	s.about.lastCommand, s.about.lastAt, s.about.proto = name, time.Now(), s.proto
	s.about.Unlock()
}

func (s *session) ok() { s.out = append(s.out, "+OK\r\n"...) }

func (s *session) fail(format string, a ...any) {
	s.out = resp.AppendError(s.out, fmt.Sprintf(format, a...))
}

func (s *session) wrongArgs(name []byte) {
	s.fail("ERR wrong number of arguments for '%s' command", lower(name))
}

func lower(b []byte) string {
	c := slices.Clone(b)
	for i := range c {
		if 'A' <= c[i] && c[i] <= 'Z' {
			c[i] += 'a' - 'A'
		}
	}
	return string(c)
}

// unknown answers as Redis does, showing at most 128 bytes of what came.
func (s *session) unknown(args [][]byte) {
	shown := ""
	for _, a := range args[1:] {
		if len(shown) >= 128 {
			break
		}
		shown += fmt.Sprintf("'%.*s' ", 128-len(shown), a)
	}
	s.fail("ERR unknown command '%.128s', with args beginning with: %s", args[0], shown)
}
