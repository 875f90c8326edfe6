package syncthrottle

import "time"

// Allowance is the time that one receiver may still take. It starts full, shrinks while the sender
// waits for the receiver, and grows with the bytes that the receiver takes, up to full again. A
// receiver may so stall now and then, but must reach a rate on average. The caller counts only the
// time in which the sender waited for the receiver.
type Allowance struct {
	rate int64 // bytes per second
	full time.Duration
	left time.Duration
}

// NewAllowance returns an allowance of full, for a receiver that must take rate bytes per second
// (at least 1).
func NewAllowance(rate int64, full time.Duration) Allowance {
	rate = max(rate, 1)
	return Allowance{rate: rate, full: full, left: full}
}

// For returns how long the receiver may take for its next n bytes.
func (a *Allowance) For(n int64) time.Duration { return a.left + timeAt(a.rate, n) }

// Spend records that the receiver took n bytes in this time.
func (a *Allowance) Spend(n int64, took time.Duration) {
	a.left = min(a.For(n)-took, a.full)
}

// timeAt returns how long n bytes take at a rate in bytes per second, at most a century.
func timeAt(rate, n int64) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	seconds := float64(n) / float64(rate)
	if seconds >= most.Seconds() {
		return most
	}
	return time.Duration(seconds * float64(time.Second))
}

// LoadTime returns how long a receiver may take to load size bytes: their time at rate bytes per
// second (at least 1), and slack.
func LoadTime(size, rate int64, slack time.Duration) time.Duration {
	return timeAt(max(rate, 1), size) + slack
}
