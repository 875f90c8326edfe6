package governor

import "time"

// Allowance is the time that one receiver may still take. It is full at the beginning, shrinks
// while the receiver is waited for, and grows with what it takes, up to full again. So the receiver
// may stall now and then, but must keep to a rate over the whole. The caller counts only the time
// in which the receiver was waited for.
type Allowance struct {
	rate int64 // bytes a second
	full time.Duration
	left time.Duration
}

// NewAllowance returns a full allowance of a duration, for a receiver that must take rate bytes a
// second (at least 1).
func NewAllowance(rate int64, full time.Duration) Allowance {
	rate = max(rate, 1)
	return Allowance{rate: rate, full: full, left: full}
}

// For is the longest that the receiver may take for its next n bytes.
func (a *Allowance) For(n int64) time.Duration { return a.left + timeAt(a.rate, n) }

// Spend counts n bytes that the receiver took in a time.
func (a *Allowance) Spend(n int64, took time.Duration) {
	a.left = min(a.For(n)-took, a.full)
}

// timeAt is how long n bytes take at a rate in bytes a second. What no duration can hold is a
// century.
func timeAt(rate, n int64) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	seconds := float64(n) / float64(rate)
	if seconds >= most.Seconds() {
		return most
	}
	return time.Duration(seconds * float64(time.Second))
}

// LoadTime is the longest that a receiver may take to load size bytes: their time at a rate in
// bytes a second (at least 1), and a slack.
func LoadTime(size, rate int64, slack time.Duration) time.Duration {
	return timeAt(max(rate, 1), size) + slack
}
