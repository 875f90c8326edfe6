package jobs

import "time"

// rateLimiter enforces rows_per_second for all workers together. Before a chunk is read it
// acquires time for the chunk's limit of rows; afterwards it releases the time of rows that the
// chunk did not have.
type rateLimiter struct {
	perSecond int       // 0: no limit
	nextFree  time.Time // when all acquired time has passed
}

// delay returns how long the caller must wait before it may acquire.
func (l *rateLimiter) delay(now time.Time) time.Duration { return max(0, l.nextFree.Sub(now)) }

func (l *rateLimiter) acquire(now time.Time, rows int) {
	if l.nextFree.Before(now) {
		l.nextFree = now
	}
	l.nextFree = l.nextFree.Add(l.duration(rows))
}

func (l *rateLimiter) release(rows int) { l.nextFree = l.nextFree.Add(-l.duration(rows)) }

// duration returns the time that a number of rows takes at the limit.
func (l *rateLimiter) duration(rows int) time.Duration {
	if l.perSecond == 0 {
		return 0
	}
	return time.Duration(rows) * time.Second / time.Duration(l.perSecond)
}
