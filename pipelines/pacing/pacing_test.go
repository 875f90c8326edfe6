package pacing

import (
	"testing"
	"time"
)

// Pause waits only after units that followed each other quickly, and only once after each.
func TestPause(t *testing.T) {
	p := New()
	if p.Pause() {
		t.Error("the first Pause takes the source for busy")
	}
	// The times lie in the past, so that no Pause of this test has to wait.
	at := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		after time.Duration
		busy  bool
	}{
		{time.Second, false},
		{shortInterval, true},
		{2 * shortInterval, true},
		{2*shortInterval + 1, false},
	} {
		at = at.Add(c.after)
		p.Applied(at)
		if got := p.Pause(); got != c.busy {
			t.Errorf("%v after the last unit the source is busy: %v", c.after, got)
		}
		if p.Pause() {
			t.Error("Pause waits twice after one unit")
		}
	}
}

// A source that is busy all the time gets longer pauses, which do not end that state. A burst does
// not.
func TestIntervals(t *testing.T) {
	p := New()
	at := time.Now()
	units := func(n int, gap time.Duration) {
		for range n {
			at = at.Add(gap)
			p.Applied(at)
		}
	}
	units(averageOf/2, shortInterval)
	if p.interval() != shortInterval {
		t.Error("a burst gets the longer pauses")
	}
	units(10*averageOf, shortInterval)
	if p.interval() != longInterval {
		t.Error("a source that is busy all the time gets the shorter pauses")
	}
	units(10*averageOf, longInterval+longInterval/2)
	if p.interval() != longInterval {
		t.Error("longer pauses end the state that caused them")
	}
	units(1, time.Hour)
	units(averageOf, 4*time.Millisecond)
	if p.interval() != shortInterval {
		t.Error("a source that is not busy any more gets the longer pauses")
	}
}

// A pause lasts until the interval has passed since the last unit.
func TestPauseWaits(t *testing.T) {
	p := New()
	p.Applied(time.Now())
	now := time.Now()
	p.Applied(now)
	p.Pause()
	// The clock of the sleep may be a little faster.
	if took := time.Since(now); took < shortInterval-shortInterval/10 {
		t.Errorf("the pause ended %v after the unit", took)
	}
}
