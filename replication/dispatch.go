package replication

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

const deniedError = "DENIED a node without a password is administrated from its own host only: " +
	"connect to it there by a loopback address, or give it a password"

// dispatch executes one command, or queues it between MULTI and EXEC.
func (s *session) dispatch(ctx context.Context, args [][]byte) {
	c := s.resolve(args[0])
	if c.isHTTP(args[0]) {
		// A web page made a browser connect. The body of its request could contain commands.
		s.n.c.Logger.Warn().Stringer("client", s.conn.RemoteAddr()).
			Msg("a client speaks HTTP: its connection is closed")
		s.closed = true
		return
	}
	// May this client send commands at all?
	if !s.authed && !c.flags.has(noAuth) {
		s.error("NOAUTH Authentication required.")
		return
	}
	// Does the command change the node, and is it enough that the client can reach the node?
	if s.isUnauthenticatedRemote() && c.isAdmin(args) {
		s.multi.broken = s.multi.open
		s.error(deniedError)
		return
	}
	unreadable, queued := s.unreadable(), s.multi.open && !c.flags.has(immediate)
	// Is the command an error whatever the data are? In Redis, too, such an error comes first.
	if (unreadable != "" || queued) && s.rejectEarly(c, args) {
		s.multi.broken = s.multi.open
		return
	}
	// Does the command need data that are missing or stale?
	if unreadable != "" && c.flags.has(needsData) {
		s.multi.broken = s.multi.open
		s.error(unreadable)
		return
	}
	if queued {
		s.enqueue(c, args)
		return
	}
	if c.mayBlock() {
		s.blocks = blockingCall{c, args}
		return
	}
	s.execute(ctx, s.n.Keyspace(), c, args)
}

// resolve returns the row of the command that has this name in any case.
func (s *session) resolve(name []byte) *command {
	var room [resp.MaxName]byte
	if c := s.n.clients.commands[string(resp.Upper(&room, name))]; c != nil {
		return c
	}
	return &unknownRow
}

// reader answers read commands: the keyspace as it is, or a view of it.
type reader interface {
	Run(w *resp.Writer, r keyspace.Row, args [][]byte)
}

// execute executes one command. keys is the keyspace, or the view that an EXEC has pinned.
func (s *session) execute(ctx context.Context, keys reader, c *command, args [][]byte) {
	switch c.kind {
	case nodeCommand:
		if !c.takes(len(args)) {
			s.wrongArgs(c.name)
			return
		}
		s.recordCommand(c.name)
		c.run(s, ctx, args)
	case ownerCommand:
		s.executeOwner(ctx, c, args)
	case readCommand:
		s.executeRead(keys, c, args)
	default:
		s.rejectEarly(c, args)
	}
}

// executeOwner executes a command of Config.Commands, which may block.
func (s *session) executeOwner(ctx context.Context, c *command, args [][]byte) {
	if s.multi.open { // a blocked EXEC would keep the data that it has pinned
		ended, cancel := context.WithCancel(ctx)
		cancel()
		s.out = c.handler(ended, s.out, s.proto, args)
		return
	}
	// The replies to earlier commands must not wait for this one.
	if s.flush() != nil {
		s.closed = true
		return
	}
	s.runBlocking(ctx, func(ctx context.Context) { s.out = c.handler(ctx, s.out, s.proto, args) })
}

// executeRead renders the reply of a read command.
func (s *session) executeRead(keys reader, c *command, args [][]byte) {
	if k, ok := keys.(*keyspace.Keyspace); ok { // an EXEC has pinned its view itself
		s.pinned = k
		defer s.unpin()
	}
	s.w.Reset(s.out, s.proto)
	if s.n.clients.crowded() {
		s.w.SetSize(flushCrowded)
	} else {
		s.w.SetSize(flushAt)
	}
	keys.Run(s.w, c.row, args)
	s.out = s.w.Bytes()
	if s.w.Err() != nil {
		s.err = s.w.Err()
	}
}

// unpin records that no reply from the keyspace is being sent any more.
func (s *session) unpin() {
	s.pinned = nil
	if s.reply.Load() != nil {
		s.reply.Store(nil)
	}
}

// runBlocking runs a command that may block. The context of run ends with the session, and when
// the client closes its connection.
func (s *session) runBlocking(ctx context.Context, run func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ahead sync.WaitGroup
	ahead.Go(func() {
		if err := s.r.Ahead(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
	})
	run(ctx)
	// A deadline in the past ends the read. The reader keeps the bytes that it has read ahead.
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	ahead.Wait()
	_ = s.conn.SetReadDeadline(time.Time{})
}

// rejectEarly appends the error of a command that is an error whatever the data are, and reports
// whether it did. In Redis such an error comes before LOADING and MASTERDOWN. The owner checks the
// arguments of its commands itself.
func (s *session) rejectEarly(c *command, args [][]byte) bool {
	switch {
	case c.kind == unknownCommand:
		s.unknown(args)
	case c.kind == ownerCommand:
		return false
	case !c.takes(len(args)):
		s.wrongArgs(c.name)
	case c.kind == writeCommand:
		s.error("READONLY You can't write against a read only replica.")
	case c.flags.has(noMulti) && s.multi.open:
		s.error("ERR Command not allowed inside a transaction")
	default:
		return false
	}
	return true
}
