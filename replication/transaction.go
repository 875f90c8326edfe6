package replication

import (
	"context"
	"slices"
)

const (
	maxQueued     = 64 << 20 // bytes of memory between MULTI and EXEC
	queuedArg     = 40       // bytes that an argument takes besides its content
	queuedCommand = 64       // bytes that a command takes besides its arguments
)

// queue holds the commands between MULTI and EXEC.
type queue struct {
	open      bool
	broken    bool // one of the commands was rejected, so EXEC discards all of them
	needsData bool // one of the commands needs data, so EXEC fails while the data are missing
	bytes     int
	commands  []queuedCall
}

// queuedCall is a command and its arguments, with the name as the first.
type queuedCall struct {
	command *command
	args    [][]byte
}

// enqueue keeps a copy of a command for EXEC. If EXEC will discard the commands, enqueue only
// appends the reply.
func (s *session) enqueue(c *command, args [][]byte) {
	q := &s.multi
	if q.broken {
		s.simple("QUEUED")
		return
	}
	size := queuedCommand + queuedArg*len(args)
	for _, a := range args {
		size += len(a)
	}
	if q.bytes+size > maxQueued {
		s.error("ERR transaction is too large")
		q.broken = true
		return
	}
	kept := make([][]byte, len(args))
	for i, a := range args {
		kept[i] = slices.Clone(a)
	}
	if err := s.account(memoryQueue, q.bytes+size); err != nil {
		s.fail("ERR %v", err)
		s.closed = true
		return
	}
	q.commands, q.bytes = append(q.commands, queuedCall{c, kept}), q.bytes+size
	q.needsData = q.needsData || c.flags.has(needsData)
	s.simple("QUEUED")
}

func (s *session) multiCommand(context.Context, [][]byte) {
	if s.multi.open {
		s.fail("ERR MULTI calls can not be nested")
		return
	}
	s.multi = queue{open: true}
	s.ok()
}

func (s *session) discard(context.Context, [][]byte) {
	if !s.multi.open {
		s.fail("ERR DISCARD without MULTI")
		return
	}
	s.endQueue()
	s.ok()
}

// endQueue releases the commands between MULTI and EXEC.
func (s *session) endQueue() {
	s.multi = queue{}
	_ = s.account(memoryQueue, 0) // less memory cannot exceed a limit
}

// exec executes the queued commands. All of them read the data of one moment, and none blocks.
func (s *session) exec(ctx context.Context, _ [][]byte) {
	q := s.multi
	defer s.endQueue()
	unreadable := s.unreadable()
	switch {
	case !q.open:
		s.fail("ERR EXEC without MULTI")
		return
	case unreadable != "" && q.needsData: // the data became unreadable after MULTI
		s.fail("EXECABORT Transaction discarded because of: %s", unreadable)
		return
	case q.broken:
		s.fail("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	s.pinned = s.n.Keyspace()
	defer s.unpin()
	all := make([][][]byte, len(q.commands))
	for i, call := range q.commands {
		all[i] = call.args
	}
	keys := s.pinned.View(all)
	defer keys.Close()
	s.array(len(q.commands))
	for _, call := range q.commands {
		s.execute(ctx, keys, call.command, call.args)
		if len(s.out) >= flushAt {
			s.beginReply(s.pinned)
			s.flush() //nolint:errcheck // s.err holds it
		}
		if s.err != nil {
			return
		}
	}
}
