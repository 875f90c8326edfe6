// Package pacing batches small transactions of a busy source. A unit costs about as much as twenty
// rows: a wake-up, a read of the source, a write of the log, and a write to each replica. So while
// units follow each other quickly, the reader of the source pauses before it looks for more, and
// what arrives meanwhile becomes one unit.
//
// The package imports nothing of the module.
package pacing

import "time"

const (
	// Interval is the least time between two units of a busy source. A transaction that arrives in
	// a pause waits 0.3 ms on average.
	Interval = 600 * time.Microsecond
	// busyWithin is the time between two units up to which the source counts as busy.
	busyWithin = 2 * Interval
)

// Pacer decides when a reader pauses. The zero Pacer is ready for use, by one goroutine.
type Pacer struct {
	applied time.Time // when the last unit was applied
	busy    bool      // the last two units followed each other quickly
}

// Applied records that a unit was applied at a time.
func (p *Pacer) Applied(now time.Time) {
	p.busy = now.Sub(p.applied) <= busyWithin
	p.applied = now
}

// Pause waits until the next unit may be applied, and reports whether the source is busy, so that
// it may have sent more. If it is not, Pause returns at once. Call Pause when all that was received
// of the source has been handled. It ends within Interval, so it takes no context.
func (p *Pacer) Pause() (isBusy bool) {
	if !p.busy {
		return false
	}
	if left := Interval - time.Since(p.applied); left > 0 {
		sleep(left)
	}
	p.busy = false // only a further unit shows that the source is still busy
	return true
}
