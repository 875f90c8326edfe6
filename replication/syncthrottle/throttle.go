package syncthrottle

import (
	"context"
	"sync"
	"time"
)

const (
	forgetAfter = time.Minute      // full resyncs further apart than this are unrelated
	maxDelay    = 30 * time.Second // of one full resync
	freeRetries = 2                // full resyncs in a row without a delay
	burst       = 100 * time.Millisecond
)

// Throttle decides when a full resync may start and how fast it may send. Any goroutine may call
// its methods.
type Throttle struct {
	slots chan struct{}
	rate  int64 // bytes per second; 0: unlimited

	mu       sync.Mutex
	attempts map[string]attempts // by the replica's address
	// spentUntil is the virtual time up to which the byte budget is spent: a token bucket that is
	// stored as a time.
	spentUntil time.Time
}

// attempts are the recent full resyncs of one replica.
type attempts struct {
	count   int
	running int       // started and not ended
	last    time.Time // when the last one started or ended
}

// New returns a Throttle that allows slots full resyncs at once (at least 1), and rate bytes per
// second for all of them together (0: unlimited).
func New(slots int, rate int64) *Throttle {
	return &Throttle{
		slots: make(chan struct{}, max(slots, 1)), rate: max(rate, 0),
		attempts: map[string]attempts{},
	}
}

// Delay counts a full resync of the replica at addr and returns how long the full resync must
// wait before it starts. The caller calls Ended when the full resync is over.
func (t *Throttle) Delay(addr string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, a := range t.attempts {
		if a.running == 0 && now.Sub(a.last) > forgetAfter {
			delete(t.attempts, other)
		}
	}
	a := t.attempts[addr]
	a.count, a.running, a.last = a.count+1, a.running+1, now
	t.attempts[addr] = a
	if a.count <= freeRetries {
		return 0
	}
	return min(time.Second<<min(a.count-freeRetries-1, 5), maxDelay)
}

// Ended records that a full resync succeeded or failed. The throttle remembers it for a minute
// from now on, so that a replica whose full resyncs fail after more than a minute is delayed, too.
func (t *Throttle) Ended(addr string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a, ok := t.attempts[addr]; ok {
		a.running, a.last = max(a.running-1, 0), now
		t.attempts[addr] = a
	}
}

// Reset forgets the full resyncs of a replica; the caller calls it when one has succeeded.
func (t *Throttle) Reset(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.attempts, addr)
}

// Acquire waits for a slot. It returns the error of ctx if ctx ends first. Only the first call of
// release has an effect.
func (t *Throttle) Acquire(ctx context.Context) (release func(), err error) {
	select {
	case t.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-t.slots }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Busy returns the number of slots in use.
func (t *Throttle) Busy() int { return len(t.slots) }

// ChunkSize returns the number of bytes to send before the next Reserve, at most limit. At a low
// rate chunks are small, because a long pause would look like a broken connection.
func (t *Throttle) ChunkSize(limit int64) int64 {
	if t.rate == 0 {
		return limit
	}
	return min(limit, max(t.rate/int64(time.Second/burst), 1))
}

// Reserve takes n bytes from the budget and returns how long to wait before they are sent.
func (t *Throttle) Reserve(n int64, now time.Time) time.Duration {
	if t.rate == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if idle := now.Add(-burst); t.spentUntil.Before(idle) {
		t.spentUntil = idle
	}
	cost := time.Duration(float64(n) / float64(t.rate) * float64(time.Second))
	t.spentUntil = t.spentUntil.Add(cost)
	return max(t.spentUntil.Sub(now), 0)
}
