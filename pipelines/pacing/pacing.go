// Package pacing batches small transactions of a busy source. A unit costs about as much as twenty
// rows: a wake-up, a read of the source, a write of the log, and a write to each replica. So while
// units follow each other quickly, the reader of the source pauses before it looks for more, and
// what arrives meanwhile becomes one unit. The more often units come, the longer are the pauses.
//
// The package imports nothing of the module.
package pacing

import "time"

const (
	// shortInterval is the least time between two units of a burst. A transaction that arrives in a
	// pause waits half of it on average.
	shortInterval = 500 * time.Microsecond
	// LongInterval is the least time between two units of a source that is busy all the time. It is
	// the longest pause.
	LongInterval = 750 * time.Microsecond
	// longBelow is the average time between two units below which a source is busy all the time. It
	// is well above LongInterval, so that the longer pauses do not end the state that caused them.
	longBelow = 2 * time.Millisecond
	// averageOf is the number of units that the average is about. gapLimit is the longest time
	// between two units that counts, so that an idle source is not busy after one burst.
	averageOf = 32
	gapLimit  = 20 * time.Millisecond
)

// Pacer decides when a reader pauses. Use New. It is for one goroutine.
type Pacer struct {
	applied time.Time     // when the last unit was applied
	average time.Duration // time between two units
	busy    bool          // the last two units followed each other quickly
}

// New returns a Pacer for a source that is not busy.
func New() Pacer { return Pacer{average: gapLimit} }

// interval returns the least time between two units of a busy source.
func (p *Pacer) interval() time.Duration {
	if p.average < longBelow {
		return LongInterval
	}
	return shortInterval
}

// Applied records that a unit was applied at a time.
func (p *Pacer) Applied(now time.Time) {
	gap := min(now.Sub(p.applied), gapLimit)
	p.average += (gap - p.average) / averageOf
	p.busy = gap <= 2*p.interval()
	p.applied = now
}

// Pause waits until the next unit may be applied, and reports whether the source is busy, so that
// it may have sent more. If it is not, Pause returns at once. Call Pause when all that was received
// of the source has been handled. It ends within LongInterval, so it takes no context.
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
