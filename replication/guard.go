package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/keyspace"
)

const (
	guardLeast  = 1 << 30               // bytes a snapshot may keep, unless told
	guardShare  = 4                     // or one part in so many of the data, if that is more
	slowestUnit = 10 * time.Millisecond // how much Apply is slowed at most
)

// guard bounds the memory of a snapshot that is being written: what has been
// replaced since its moment stays until its end. Past the limit Apply, or what
// comes from the upstream, is slowed, the more the further; past twice the limit
// the snapshot is given up. Of a large collection only the nodes count that changed.
type guard struct {
	n      *Node
	keys   *keyspace.Keyspace
	base   int64 // bytes that were not in use at its moment either
	limit  int64
	pause  atomic.Int64 // nanoseconds for each unit
	giveUp context.CancelCauseFunc

	mu       sync.Mutex
	ended    bool
	released func() // tells that writing goes on; nil: it was not slowed
}

// newGuard is called by the appender at the snapshot's moment.
func (n *Node) newGuard(keys *keyspace.Keyspace, giveUp context.CancelCauseFunc) *guard {
	m := keys.Memory()
	limit := n.c.SnapshotMemory
	if limit == 0 {
		limit = max(guardLeast, m.Live/guardShare)
	}
	return &guard{n: n, keys: keys, base: m.Garbage + m.Retired, limit: limit, giveUp: giveUp}
}

// look is called by the appender after each unit.
func (g *guard) look(keys *keyspace.Keyspace) {
	if g == nil || keys != g.keys {
		return
	}
	m := keys.Memory()
	over := m.Garbage + m.Retired - g.base - g.limit
	if over <= 0 {
		g.pause.Store(0)
		return
	}
	if over > g.limit {
		g.giveUp(fmt.Errorf("it was given up because data replaced since it began take more than twice the %d bytes of snapshot_memory; "+
			"raise that, or use a faster disk", g.limit))
	}
	g.pause.Store(max(int64(float64(slowestUnit)*min(float64(over)/float64(g.limit), 1)), 1))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.released == nil && !g.ended {
		g.released = g.n.hold(fmt.Sprintf("a snapshot is being written, and data replaced since it began take more than the %d bytes of snapshot_memory: writing is slowed", g.limit))
	}
}

// outdated gives the snapshot up when a full resync has taken the data's place:
// nobody needs it, and nobody else looks at what it keeps.
func (g *guard) outdated() {
	if g != nil {
		g.giveUp(errors.New("a full resync replaced the data meanwhile"))
		g.end()
	}
}

// end lets everybody go on at full speed.
func (g *guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.pause.Store(0)
	if g.released != nil {
		g.released()
		g.released = nil
	}
}

// await is called before each unit or batch.
func (g *guard) await(ctx context.Context) error {
	if g == nil {
		return nil
	}
	if pause := g.pause.Load(); pause > 0 {
		return sleep(ctx, time.Duration(pause))
	}
	return nil
}
