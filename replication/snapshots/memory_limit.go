package snapshots

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/keyspace"
)

const (
	leastLimit = 1 << 30               // bytes; the default is at least this
	limitShare = 4                     // the default is at least the data's memory divided by this
	maxPause   = 10 * time.Millisecond // per unit
)

// memoryLimit bounds the memory of a snapshot that is being written: data replaced since its
// point stay in memory until its end. Beyond the limit each unit is delayed, the longer the
// more memory is kept. Beyond twice the limit the snapshot is aborted. Of a large collection
// only the changed nodes count.
//
// A nil memoryLimit, where no snapshot is being written, limits nothing.
type memoryLimit struct {
	node  Node
	keys  *keyspace.Keyspace
	base  int64 // bytes of replaced data that were there at the point
	limit int64 // bytes
	pause atomic.Int64
	abort context.CancelCauseFunc

	mu      sync.Mutex
	ended   bool
	release func() // ends the write stall; nil: no write stall
}

// newMemoryLimit is called at the snapshot's point, between two units.
func newMemoryLimit(
	n Node, limit int64, keys *keyspace.Keyspace, abort context.CancelCauseFunc,
) *memoryLimit {
	m := keys.Memory()
	if limit == 0 {
		limit = max(leastLimit, m.Live/limitShare)
	}
	return &memoryLimit{
		node: n, keys: keys, base: m.Garbage + m.Retired, limit: limit, abort: abort,
	}
}

// CheckMemory applies Config.Memory to the snapshot that is being written. The appender calls
// it after each unit, with the keyspace that the unit changed.
func (s *Store) CheckMemory(keys *keyspace.Keyspace) { s.limit.Load().check(keys) }

func (l *memoryLimit) check(keys *keyspace.Keyspace) {
	if l == nil || keys != l.keys {
		return
	}
	m := keys.Memory()
	over := m.Garbage + m.Retired - l.base - l.limit
	if over <= 0 {
		l.pause.Store(0)
		return
	}
	if over > l.limit {
		l.abort(fmt.Errorf("it was aborted because data replaced since it began take more than "+
			"twice the %d bytes of snapshot_memory; raise that, or use a faster disk", l.limit))
	}
	l.pause.Store(max(int64(float64(maxPause)*min(float64(over)/float64(l.limit), 1)), 1))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release == nil && !l.ended {
		l.release = l.node.Stall(
			fmt.Sprintf("a snapshot is being written, and data replaced since it began take more "+
				"than the %d bytes of snapshot_memory: writing is slowed", l.limit),
		)
	}
}

// DataReplaced aborts the running snapshot after a full resync has replaced the keyspace: its
// data are not needed, and CheckMemory does not see them any more.
func (s *Store) DataReplaced() {
	if l := s.limit.Load(); l != nil {
		l.abort(errDataReplaced)
		l.end()
	}
}

// end ends the delays and the write stall.
func (l *memoryLimit) end() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.pause.Store(0)
	if l.release != nil {
		l.release()
		l.release = nil
	}
}

// Throttle delays a unit or batch while a snapshot keeps more than Config.Memory, by at most
// 10 ms. It returns early with an error if ctx ends.
func (s *Store) Throttle(ctx context.Context) error {
	l := s.limit.Load()
	if l == nil {
		return nil
	}
	pause := l.pause.Load()
	if pause == 0 {
		return nil
	}
	t := time.NewTimer(time.Duration(pause))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
