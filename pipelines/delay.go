package pipelines

import "time"

// maxDelaySamples limits the samples of a delay.
const maxDelaySamples = 128

// delay measures how long a follower is behind, in a history whose end was sampled. Clocks of other
// machines play no part.
type delay[T comparable] struct {
	samples []delaySample[T] // oldest first, with different ends
	// step is the least time between two samples. It grows with the delay, so that the number of
	// samples is bounded.
	step time.Duration
}

// delaySample is the end of a history and the time at which the history first had it.
type delaySample[T comparable] struct {
	time time.Time
	end  T
}

// add records the end of the history. If no follower reaches the samples for long, every other
// sample is discarded, which makes the delay shorter by one step at most.
func (d *delay[T]) add(now time.Time, end T) {
	n := len(d.samples)
	if n > 0 {
		last := d.samples[n-1]
		if last.end == end || now.Sub(last.time) < d.step {
			return
		}
	}
	if n == maxDelaySamples {
		d.step = 2 * now.Sub(d.samples[0].time) / maxDelaySamples
		kept := d.samples[:0]
		for i := 0; i < maxDelaySamples; i += 2 {
			kept = append(kept, d.samples[i])
		}
		d.samples = kept
	}
	d.samples = append(d.samples, delaySample[T]{now, end})
}

// behind returns how long ago the history had an end that the follower has not reached; 0 if the
// follower has reached every sample.
func (d *delay[T]) behind(now time.Time, hasReached func(end T) bool) time.Duration {
	for len(d.samples) > 0 && hasReached(d.samples[0].end) {
		d.samples = d.samples[1:]
	}
	if len(d.samples) == 0 {
		d.step = 0
		return 0
	}
	return now.Sub(d.samples[0].time)
}
