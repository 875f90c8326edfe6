package replication

import (
	"context"
	"strconv"
	"time"
)

const maxWait = 365 * 24 * time.Hour

// wait answers WAIT numreplicas timeout: it blocks until that many replicas have acknowledged
// everything that was written before the command, or for timeout milliseconds.
func (s *session) wait(ctx context.Context, args [][]byte) {
	want, err := strconv.Atoi(string(args[1]))
	if err != nil || want < 0 {
		s.fail("ERR value is out of range, must be positive")
		return
	}
	if role, _ := s.n.Role(); role == Replica {
		s.error("ERR WAIT cannot be used with replica instances. Please also note that " +
			"since Redis 4.0 if a replica is configured to be writable (which is not the " +
			"default) writes to replicas are just local and are not propagated.")
		return
	}
	s.block(ctx, args[2], func(ctx context.Context) {
		s.int(int64(s.n.WaitAcked(ctx, want)))
	})
}

// waitAOF answers WAITAOF numlocal numreplicas timeout. It blocks as WAIT does, but until the
// writes are durable: here in the replication log, which takes the place of the AOF, and on
// replicas.
func (s *session) waitAOF(ctx context.Context, args [][]byte) {
	local, err := strconv.Atoi(string(args[1]))
	if err != nil || local < 0 || local > 1 {
		s.fail("ERR value is out of range, value must between 0 and 1")
		return
	}
	want, err := strconv.Atoi(string(args[2]))
	if err != nil || want < 0 {
		s.fail("ERR value is out of range, must be positive")
		return
	}
	if role, _ := s.n.Role(); role == Replica {
		s.error("ERR WAITAOF cannot be used with replica instances. Please also note that " +
			"writes to replicas are just local and are not propagated.")
		return
	}
	s.block(ctx, args[3], func(ctx context.Context) {
		here, there := s.n.WaitDurable(ctx, local, want)
		s.array(2)
		s.int(int64(here))
		s.int(int64(there))
	})
}

// block runs a command that may block. The context of run ends after timeout (in ms; 0: never), and
// when the client leaves. Inside EXEC it has ended already, so that run does not block.
func (s *session) block(ctx context.Context, timeout []byte, run func(ctx context.Context)) {
	ms, err := strconv.ParseInt(string(timeout), 10, 64)
	switch {
	case err != nil || ms > int64(maxWait/time.Millisecond):
		s.fail("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		s.fail("ERR timeout is negative")
		return
	case s.multi.open:
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		run(ctx)
		return
	case s.flush() != nil: // the replies to earlier commands must not wait for this one
		s.closed = true
		return
	}
	if ms > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	s.n.stats.blocked.Add(1)
	defer s.n.stats.blocked.Add(-1)
	s.untilDemoted(ctx, run)
}

// untilDemoted runs a command that waits for replicas. If the node becomes a replica meanwhile, its
// former replicas may acknowledge data that were never written here. The command then ends as in
// Redis: with an error, after which the connection is closed.
func (s *session) untilDemoted(ctx context.Context, run func(ctx context.Context)) {
	changed := s.n.RoleChanged()
	began := len(s.out)
	ctx, cancel := context.WithCancel(ctx)
	demoted := make(chan bool, 1)
	go func() {
		defer cancel()
		select {
		case <-changed:
			demoted <- true
		case <-ctx.Done():
			demoted <- false
		}
	}()
	role, _ := s.n.Role()
	if role == Master {
		s.runBlocking(ctx, run)
	}
	cancel()
	if <-demoted || role == Replica {
		s.out = s.out[:began]
		s.error("UNBLOCKED force unblock from blocking operation, " +
			"instance state changed (master -> replica?)")
		s.closed = true
	}
}
