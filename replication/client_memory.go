package replication

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"rowfall/replication/keyspace"
)

// Each session has up to 16 KiB of input and 16 KiB of replies at rest. The memory beyond that is
// accounted for by part, and summed for each session and for all of them. The link to the upstream
// has no session.
const (
	memoryArgs  = iota // arguments of the command that is arriving
	memoryQueue        // commands between MULTI and EXEC
	memoryReply        // replies that are not sent yet
	memoryParts
)

const (
	maxClientArgs = 64 << 20 // bytes of one command; see resp.Reader.SetAccount
	// returnMemoryAt is the number of bytes by which the sessions' memory falls before freed memory
	// is returned to the system at once.
	returnMemoryAt = 32 << 20
)

// memoryLimitError ends a client's connection.
type memoryLimitError struct{ text string }

func (e *memoryLimitError) Error() string { return e.text }

// account sets the bytes that a part of the session's memory has now. An error means that the
// session must end.
func (s *session) account(part, bytes int) error {
	delta := int64(bytes - s.memory[part])
	if delta == 0 {
		return nil
	}
	s.memory[part] = bytes
	s.memoryTotal.Add(delta)
	total := s.n.clients.memory.Add(delta)
	s.n.clients.raisePeak(total)
	if limit := s.n.Settings().ClientMemory(); delta > 0 && limit > 0 && total > limit {
		return s.n.clients.evict(s, limit)
	}
	return nil
}

// accountArgs accounts for the memory of the session's Reader.
func (s *session) accountArgs(bytes int) error {
	if bytes > maxClientArgs {
		return &memoryLimitError{fmt.Sprintf(
			"command is too large: its arguments take more than %d bytes", maxClientArgs)}
	}
	return s.account(memoryArgs, bytes)
}

// releaseMemory accounts for the end of a session.
func (s *session) releaseMemory() {
	for part := range s.memory {
		_ = s.account(part, 0) // less memory cannot exceed a limit
	}
}

// raisePeak raises the peak to total, if total is higher.
func (cs *clients) raisePeak(total int64) {
	for peak := cs.peak.Load(); total > peak; peak = cs.peak.Load() {
		if cs.peak.CompareAndSwap(peak, total) {
			return
		}
	}
}

// freedMuch reports whether the sessions' memory is far below its peak, and if so starts a new
// peak.
func (cs *clients) freedMuch() bool {
	peak, total := cs.peak.Load(), cs.memory.Load()
	if peak-total < returnMemoryAt || total > peak/2 {
		return false
	}
	cs.peak.Store(total)
	return true
}

// crowded reports whether the sessions have used half of maxmemory-clients, so that each of them
// should use little.
func (cs *clients) crowded() bool {
	limit := cs.n.Settings().ClientMemory()
	return limit > 0 && cs.memory.Load() > limit/2
}

// evict closes the connections of the sessions with the most memory, until the others are below
// limit together. The error is for self, if self is one of the evicted sessions.
func (cs *clients) evict(self *session, limit int64) error {
	cs.Lock()
	defer cs.Unlock()
	total := int64(0)
	for _, s := range cs.all {
		if !s.evicted {
			total += s.memoryTotal.Load()
		}
	}
	for total > limit {
		var largest *session
		for _, s := range cs.all {
			if !s.evicted && (largest == nil || s.memoryTotal.Load() > largest.memoryTotal.Load()) {
				largest = s
			}
		}
		if largest == nil {
			break
		}
		bytes := largest.memoryTotal.Load()
		largest.evicted = true
		total -= bytes
		cs.n.c.Logger.Warn().Stringer("client", largest.conn.RemoteAddr()).Int64("bytes", bytes).
			Int64("maxmemory_clients", limit).
			Msg("clients use more than maxmemory-clients: the connection of the largest is closed")
		if largest != self {
			largest.conn.Sever()
		}
	}
	if self.evicted {
		return &memoryLimitError{"the clients of this node use more memory than " +
			"maxmemory-clients, and this one the most"}
	}
	return nil
}

// A reply that is sent in chunks pins the data that the writer replaces meanwhile, and after a full
// resync all of the old data.
const (
	slowReplyAfter = 10 * time.Second
	slowReplyLeast = 256 << 20 // bytes of replaced data that slow replies may always pin
	slowReplyShare = 8         // they may pin 1/slowReplyShare of the data, if that is more
)

// slowReply is a reply of which a part has been sent.
type slowReply struct {
	keys  *keyspace.Keyspace
	since time.Time
	base  int64 // bytes of replaced data when the reply began
}

// replaced returns the bytes of replaced data that are still in memory, and those of live data.
func replaced(k *keyspace.Keyspace) (replaced, live int64) {
	m := k.Memory()
	return m.Garbage + m.Retired, m.Live
}

// beginReply records that a reply from keys is sent before all of it is rendered.
func (s *session) beginReply(keys *keyspace.Keyspace) {
	if keys != nil && s.reply.Load() == nil {
		base, _ := replaced(keys)
		s.reply.Store(&slowReply{keys, time.Now(), base})
	}
}

// watch bounds what slow replies pin, returns freed memory, and ends the sessions of clients that
// have left, once a second until ctx ends.
func (cs *clients) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			cs.evictSlow(now)
			cs.checkHalfClosed()
			if cs.freedMuch() {
				debug.FreeOSMemory() // Go itself returns freed memory only after minutes
			}
		case <-ctx.Done():
			return
		}
	}
}

// evictSlow closes the connections of clients that read a reply so slowly that it pins much of the
// data replaced since.
func (cs *clients) evictSlow(now time.Time) {
	current := cs.n.Keyspace()
	pinned, live := replaced(current)
	limit := max(slowReplyLeast, live/slowReplyShare)
	if cs.slowLimit > 0 {
		limit = cs.slowLimit
	}
	cs.Lock()
	defer cs.Unlock()
	for _, s := range cs.all {
		r := s.reply.Load()
		if r == nil || now.Sub(r.since) < cs.slowAfter {
			continue
		}
		if r.keys == current && pinned-r.base <= limit {
			continue
		}
		cs.n.c.Logger.Warn().Stringer("client", s.conn.RemoteAddr()).Dur("since", now.Sub(r.since)).
			Msg("a client reads its reply too slowly, which keeps replaced data in memory: " +
				"its connection is closed")
		s.conn.Sever()
	}
}
