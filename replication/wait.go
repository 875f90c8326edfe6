package replication

import (
	"context"
	"strconv"
	"time"

	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

const (
	maxWait   = 365 * 24 * time.Hour
	syncCheck = 10 * time.Millisecond // how often WAITAOF looks whether the log is durable
)

// wait is WAIT numreplicas timeout-ms: it blocks until so many replicas have
// acknowledged everything that was written before it.
func (s *session) wait(ctx context.Context, args [][]byte) {
	want, err := strconv.Atoi(string(args[1]))
	if err != nil || want < 0 {
		s.fail("ERR value is out of range, must be positive")
		return
	}
	if role, _ := s.n.Role(); role == Replica {
		s.fail("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.")
		return
	}
	s.block(ctx, args[2], func(ctx context.Context) {
		s.out = resp.AppendInt(s.out, int64(s.n.waitAcked(ctx, want)))
	})
}

// waitAOF is WAITAOF numlocal numreplicas timeout-ms: as WAIT, for what is on
// disk, here and there. Our log stands for the AOF.
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
		s.fail("ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.")
		return
	}
	s.block(ctx, args[3], func(ctx context.Context) {
		here, there := s.n.waitDurable(ctx, local, want)
		s.out = resp.AppendArray(s.out, 2)
		s.out = resp.AppendInt(resp.AppendInt(s.out, int64(here)), int64(there))
	})
}

// block runs a command that waits until timeout (ms, 0: for ever) or until its
// client leaves. Inside EXEC nothing waits.
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
	case s.flush() != nil: // what was answered before it must not wait for it
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

// untilDemoted runs a command that waits for replicas. When the node becomes
// another's replica they may acknowledge what was never written here, so it ends
// as in Redis: with an error, and the connection with it.
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
		s.attended(ctx, run)
	}
	cancel()
	if <-demoted || role == Replica {
		s.out = resp.AppendError(s.out[:began], "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
		s.closed = true
	}
}

// waitAcked waits until want replicas have acknowledged everything written so
// far or ctx ends, and returns how many have.
func (n *Node) waitAcked(ctx context.Context, want int) int {
	at := replog.Offset(n.appender.written.Load())
	count, more := n.replicas.reached(at)
	if count >= want || ctx.Err() != nil {
		return count
	}
	if _, err := n.appender.submit(ctx, 0, nil, n.appender.getAck); err != nil {
		return count
	}
	for {
		select {
		case <-more:
		case <-ctx.Done():
		}
		count, more = n.replicas.reached(at)
		if count >= want || ctx.Err() != nil {
			return count
		}
	}
}

// waitDurable is waitAcked for what the log and the replicas have on disk.
func (n *Node) waitDurable(ctx context.Context, local, want int) (here, there int) {
	at := replog.Offset(n.appender.written.Load())
	look := func() (bool, <-chan struct{}) {
		if here = 0; n.log.Synced() >= at {
			here = 1
		}
		var more <-chan struct{}
		there, more = n.replicas.durable(at)
		return here >= local && there >= want || ctx.Err() != nil, more
	}
	done, more := look()
	if !done && there < want {
		if _, err := n.appender.submit(ctx, 0, nil, n.appender.getAck); err != nil {
			return here, there
		}
	}
	tick := time.NewTicker(syncCheck)
	defer tick.Stop()
	for !done {
		select {
		case <-more:
		case <-tick.C:
		case <-ctx.Done():
		}
		done, more = look()
	}
	return here, there
}
