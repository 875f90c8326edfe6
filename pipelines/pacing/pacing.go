// Package pacing batches small transactions of a busy source. A unit costs about as much as twenty
// rows: a wake-up, a read of the source, a write of the log, and a write to each replica. So while
// units follow each other quickly, the reader of the source pauses before its next read, and the
// transactions that arrive in the pause become one unit. If units follow each other quickly all the
// time, the pauses are longer.
//
// The package imports nothing of the module.
package pacing

import "time"

const (
	// shortInterval is the least time between two units of a burst. A transaction that arrives in a
	// pause waits half of the pause on average.
	shortInterval = 300 * time.Microsecond
	// longInterval is the least time between two units of a source that is busy all the time. It is
	// the longest pause.
	longInterval = 750 * time.Microsecond
	// longBelow is the average time between two units below which the interval is longInterval. It
	// is well above longInterval, so that the longer pauses do not end the state that caused them.
	longBelow = 2 * time.Millisecond
	// averageOf is the number of units in whose time the average follows a change. gapLimit is the
	// longest time between two units that the average counts: longer times count as gapLimit.
	averageOf = 32
	gapLimit  = 20 * time.Millisecond
)

// Pacer decides when the reader of a source pauses. New returns a Pacer. Only one goroutine may use
// it.
type Pacer struct {
	applied time.Time     // when the last unit was applied
	average time.Duration // time between two units
	busy    bool          // the last two units followed each other quickly; false after Pause
}

// New returns a Pacer for a source that is not busy.
func New() Pacer { return Pacer{average: gapLimit} }

// interval returns the least time between two units of a busy source.
func (p *Pacer) interval() time.Duration {
	if p.average < longBelow {
		return longInterval
	}
	return shortInterval
}

// Applied records that a unit was applied at the time now.
func (p *Pacer) Applied(now time.Time) {
	gap := min(now.Sub(p.applied), gapLimit)
	p.average += (gap - p.average) / averageOf
	p.busy = gap <= 2*p.interval()
	p.applied = now
}

// Pause waits until the next unit may be applied, and reports whether the source is busy, so that
// more may have arrived. If the source is not busy, Pause returns at once. Call Pause when
// everything that was received of the source has been handled. Pause ends within longInterval, so
// that it needs no context.
func (p *Pacer) Pause() (isBusy bool) {
	if !p.busy {
		return false
	}
	if left := p.interval() - time.Since(p.applied); left > 0 {
		sleep(left)
	}
	p.busy = false // only a further unit shows that the source is still busy
	return true
}
