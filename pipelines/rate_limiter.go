package pipelines

import "time"

// pace keeps to rows_per_second for all who read: a chunk takes the time of its
// rows before it is read, and gives back what it did not need.
type rateLimiter struct {
	perSecond int       // 0: no limit
	nextFree  time.Time // when the time that was taken is over
}

// wait returns how long nothing more may be taken.
func (l *rateLimiter) delay(now time.Time) time.Duration { return max(0, l.nextFree.Sub(now)) }

func (l *rateLimiter) acquire(now time.Time, rows int) {
	if l.nextFree.Before(now) {
		l.nextFree = now
	}
	l.nextFree = l.nextFree.Add(l.duration(rows))
}

func (l *rateLimiter) release(rows int) { l.nextFree = l.nextFree.Add(-l.duration(rows)) }

func (l *rateLimiter) duration(rows int) time.Duration {
	if l.perSecond == 0 {
		return 0
	}
	return time.Duration(rows) * time.Second / time.Duration(l.perSecond)
}
