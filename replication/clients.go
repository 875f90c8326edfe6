package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/resp"
)

// clients are the open sessions.
type clients struct {
	n        *Node
	commands map[string]*command // by upper-case name; read only

	sync.Mutex
	all map[int64]*session
	wg  sync.WaitGroup

	memory    atomic.Int64 // bytes that all sessions account for; see session.account
	peak      atomic.Int64 // highest memory since freed memory was last returned to the system
	slowAfter time.Duration
	slowLimit int64 // bytes of replaced data that slow replies may keep; 0: chosen by the node
}

func newClients(n *Node) *clients {
	return &clients{
		n: n, commands: commandTable(n.c.Commands, n.c.AdminSubcommands), all: map[int64]*session{},
		slowAfter: slowReplyAfter,
	}
}

// accept serves connections until the listener closes, and then ends all sessions. The caller
// cancels ctx before it closes the listener, so that no session blocks.
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
		case err != nil: // mostly too many open files, which can pass
			cs.n.c.Logger.Warn().Err(err).Msg("cannot accept a connection")
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

// open starts a session, or rejects the connection if there are too many. It does no I/O itself,
// because the accept loop must not wait for one peer.
func (cs *clients) open(ctx context.Context, conn net.Conn) {
	cs.n.stats.connections.Add(1)
	if tcp, ok := socket(conn).(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: 60 * time.Second, Interval: 20 * time.Second, Count: 3,
		})
		unpace(tcp)
	}
	s := newSession(cs.n, conn)
	cs.Lock()
	if int64(len(cs.all)) >= cs.n.Settings().MaxClients() || ctx.Err() != nil {
		cs.Unlock()
		cs.n.stats.rejected.Add(1)
		cs.reject(conn)
		return
	}
	s.id = cs.n.NextConnectionID()
	cs.all[s.id] = s
	cs.Unlock()
	cs.wg.Go(func() {
		defer cs.remove(s)
		s.serve(ctx)
	})
}

// reject closes a connection, after an error reply if it does not use TLS: a reply over TLS
// would need a handshake first.
func (cs *clients) reject(conn net.Conn) {
	if socket(conn) != conn {
		conn.Close()
		return
	}
	cs.wg.Go(func() {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(resp.AppendError(nil, "ERR max number of clients reached"))
		conn.Close()
	})
}

// socket is the connection below TLS, or conn itself.
func socket(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

func (cs *clients) remove(s *session) {
	s.conn.Close() // an error changes nothing: the session is over
	cs.Lock()
	defer cs.Unlock()
	delete(cs.all, s.id)
}

// kill closes the connections of the sessions that match, and returns their number.
func (cs *clients) kill(match func(*session) bool) int {
	count := 0
	for _, s := range cs.list() {
		if match(s) {
			s.conn.Sever()
			count++
		}
	}
	return count
}

// list returns the sessions, sorted by id.
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

// checkHalfClosed ends the sessions of clients that closed their side of the connection together
// with their last request.
func (cs *clients) checkHalfClosed() {
	cs.Lock()
	defer cs.Unlock()
	for _, s := range cs.all {
		s.conn.CheckHalfClosed()
	}
}

func (cs *clients) count() int {
	cs.Lock()
	defer cs.Unlock()
	return len(cs.all)
}
