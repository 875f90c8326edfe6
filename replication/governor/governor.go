package governor

import (
	"context"
	"sync"
	"time"
)

const (
	memory  = time.Minute      // full resyncs further apart are unrelated
	longest = 30 * time.Second // delay
	free    = 2                // so many in a row are not delayed
	burst   = 100 * time.Millisecond
)

// Governor decides when a full resync may begin and how fast it may go. Its
// methods may be called by any goroutine.
type Governor struct {
	slots chan struct{}
	rate  int64 // bytes a second; 0: no limit

	mu     sync.Mutex
	counts map[string]count
	paid   time.Time // the bytes granted so far are paid for then
}

type count struct {
	times   int
	running int       // of those, that have not ended
	last    time.Time // when one began or ended
}

// New returns a governor of at most slots full resyncs at once (at least one)
// and of rate bytes a second for all of them together, 0 for no limit.
func New(slots int, rate int64) *Governor {
	return &Governor{slots: make(chan struct{}, max(slots, 1)), rate: max(rate, 0), counts: map[string]count{}}
}

// Delay counts a full resync that the replica at addr asks for and returns how
// long it has to wait first. Ended is to be called when it is over.
func (g *Governor) Delay(addr string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for a, c := range g.counts {
		if c.running == 0 && now.Sub(c.last) > memory {
			delete(g.counts, a)
		}
	}
	c := g.counts[addr]
	c.times, c.running, c.last = c.times+1, c.running+1, now
	g.counts[addr] = c
	if c.times <= free {
		return 0
	}
	return min(time.Second<<min(c.times-free-1, 5), longest)
}

// Ended says that a full resync is over, however it went. From then on it counts
// for a minute, so that one that takes longer than that and fails is known, too.
func (g *Governor) Ended(addr string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.counts[addr]; ok {
		c.running, c.last = max(c.running-1, 0), now
		g.counts[addr] = c
	}
}

// Forgive forgets the full resyncs of a replica that came through one.
func (g *Governor) Forgive(addr string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.counts, addr)
}

// Enter waits for a slot; leave gives it back, and may be called again.
func (g *Governor) Enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-g.slots }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Busy is the number of slots taken.
func (g *Governor) Busy() int { return len(g.slots) }

// Piece is the most bytes to send before the next Pay, at most limit: without
// pieces a slow rate would look like a broken connection.
func (g *Governor) Piece(limit int64) int64 {
	if g.rate == 0 {
		return limit
	}
	return min(limit, max(g.rate/int64(time.Second/burst), 1))
}

// Pay grants n bytes and returns how long to wait before they are sent.
func (g *Governor) Pay(n int64, now time.Time) time.Duration {
	if g.rate == 0 {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if idle := now.Add(-burst); g.paid.Before(idle) {
		g.paid = idle
	}
	g.paid = g.paid.Add(time.Duration(float64(n) / float64(g.rate) * float64(time.Second)))
	return max(g.paid.Sub(now), 0)
}
