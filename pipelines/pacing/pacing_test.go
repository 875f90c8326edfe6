package pacing

import (
	"testing"
	"time"
)

// Pause waits only after units that followed each other quickly, and only once after each.
func TestPause(t *testing.T) {
	var p Pacer
	if p.Pause() {
		t.Error("the first Pause takes the source for busy")
	}
	// The times lie in the past, so that no Pause of this test has to wait.
	at := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		after time.Duration
		busy  bool
	}{{time.Second, false}, {Interval, true}, {busyWithin, true}, {busyWithin + 1, false}} {
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

// A pause lasts until Interval has passed since the last unit.
func TestPauseWaits(t *testing.T) {
	var p Pacer
	p.Applied(time.Now())
	now := time.Now()
	p.Applied(now)
	p.Pause()
	// The clock of the sleep may be a little faster.
	if took := time.Since(now); took < Interval-Interval/10 {
		t.Errorf("the pause ended %v after the unit", took)
	}
}
