package replication

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"rowfall/replication/keyspace"
)

// Each connection holds up to 16 KiB of input and 16 KiB of replies of its own. Beyond that it
// holds, by part, arguments that arrive, commands between MULTI and EXEC, and replies on their way.
// That is counted, for each client and for all of them. The link to the upstream is no client.
const (
	heldArgs = iota
	heldQueue
	heldReply
	heldParts
)

const (
	maxClientArgs       = 64 << 20  // of one command, with what each argument takes beside its bytes
	defaultClientMemory = 256 << 20 // maxmemory-clients
	// releaseAtOnce is by how much the held bytes must fall before the system gets memory back.
	releaseAtOnce = 32 << 20
)

// memoryLimitError ends a client's connection.
type memoryLimitError struct{ text string }

func (e *memoryLimitError) Error() string { return e.text }

// hold notes that a part of what the session holds has so many bytes now. The error says that the
// session must end.
func (s *session) hold(part, bytes int) error {
	delta := int64(bytes - s.held[part])
	if delta == 0 {
		return nil
	}
	s.held[part] = bytes
	s.heldAll.Add(delta)
	total := s.n.clients.held.Add(delta)
	s.n.clients.raisePeak(total)
	if limit := s.n.settings.clientMemory.Load(); delta > 0 && limit > 0 && total > limit {
		return s.n.clients.evict(s, limit)
	}
	return nil
}

// holdArgs is hold for what the session's Reader holds.
func (s *session) holdArgs(bytes int) error {
	if bytes > maxClientArgs {
		return &memoryLimitError{fmt.Sprintf(
			"command is too large: its arguments take more than %d bytes", maxClientArgs)}
	}
	return s.hold(heldArgs, bytes)
}

// raisePeak notes that the clients hold so many bytes.
func (cs *clients) raisePeak(held int64) {
	for peak := cs.peak.Load(); held > peak; peak = cs.peak.Load() {
		if cs.peak.CompareAndSwap(peak, held) {
			return
		}
	}
}

// releasedMuch reports whether the clients hold much less than they did, and if so begins anew.
func (cs *clients) releasedMuch() bool {
	peak, held := cs.peak.Load(), cs.held.Load()
	if peak-held < releaseAtOnce || held > peak/2 {
		return false
	}
	cs.peak.Store(held)
	return true
}

// release ends the counting for a session that is over.
func (s *session) release() {
	for part := range s.held {
		_ = s.hold(part, 0) // what shrinks cannot exceed anything
	}
}

// crowded reports whether the clients hold so much that each of them should hold little.
func (cs *clients) crowded() bool {
	limit := cs.n.settings.clientMemory.Load()
	return limit > 0 && cs.held.Load() > limit/2
}

// evict closes the connections of the clients that hold most, until the others hold less than
// limit. The error is for a session that is one of them.
func (cs *clients) evict(self *session, limit int64) error {
	cs.Lock()
	defer cs.Unlock()
	total := int64(0)
	for _, s := range cs.all {
		if !s.evicted {
			total += s.heldAll.Load()
		}
	}
	for total > limit {
		var largest *session
		for _, s := range cs.all {
			if !s.evicted && (largest == nil || s.heldAll.Load() > largest.heldAll.Load()) {
				largest = s
			}
		}
		if largest == nil {
			break
		}
		held := largest.heldAll.Load()
		largest.evicted = true
		total -= held
		cs.n.logger.Warn().Stringer("client", largest.conn.RemoteAddr()).
			Int64("bytes", held).Int64("maxmemory_clients", limit).
			Msg("the clients hold more than maxmemory-clients: " +
				"the connection of the one that holds most is closed")
		if largest != self {
			largest.cut()
		}
	}
	if self.evicted {
		return &memoryLimitError{
			"the clients of this node hold more than maxmemory-clients, and this one holds most",
		}
	}
	return nil
}

// A reply that is sent piece by piece keeps what the writer replaces meanwhile, and after a full
// resync all of the old data.
const (
	slowReplyAfter = 10 * time.Second
	slowReplyLeast = 256 << 20 // bytes of replaced data that slow replies may keep
	slowReplyShare = 8         // or one part in so many of the data, if that is more
)

// slowReply is a reply that is being sent.
type slowReply struct {
	keys  *keyspace.Keyspace
	since time.Time
	base  int64 // bytes of replaced data at its beginning
}

func replaced(k *keyspace.Keyspace) (replaced, live int64) {
	m := k.Memory()
	return m.Garbage + m.Retired, m.Live
}

// beginReply notes that a reply from keys is sent before it is whole.
func (s *session) beginReply(keys *keyspace.Keyspace) {
	if keys != nil && s.reply.Load() == nil {
		base, _ := replaced(keys)
		s.reply.Store(&slowReply{keys, time.Now(), base})
	}
}

// watch looks after the memory of clients once a second, until ctx ends.
func (cs *clients) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			cs.dropSlow(now)
			if cs.releasedMuch() {
				debug.FreeOSMemory() // Go returns freed memory only after minutes
			}
		case <-ctx.Done():
			return
		}
	}
}

// dropSlow closes the connections of clients that take a reply so slowly that it keeps much of what
// was replaced since.
func (cs *clients) dropSlow(now time.Time) {
	current := cs.n.Keyspace()
	kept, live := replaced(current)
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
		if r.keys == current && kept-r.base <= limit {
			continue
		}
		cs.n.logger.Warn().Stringer("client", s.conn.RemoteAddr()).Dur("since", now.Sub(r.since)).
			Msg("a client takes its reply too slowly, and replaced data stay in memory for it: " +
				"its connection is closed")
		s.cut()
	}
}
