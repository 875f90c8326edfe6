package syncthrottle_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"rowfall/replication/syncthrottle"
)

var start = time.Unix(1_700_000_000, 0)

func TestDelayGrowsAndIsReset(t *testing.T) {
	g := syncthrottle.New(1, 0)
	now := start
	for i, want := range []time.Duration{0, 0, 1, 2, 4, 8, 16, 30, 30} {
		if got := g.Delay("a", now); got != want*time.Second {
			t.Errorf("the delay of resync %d is %v, want %v", i+1, got, want*time.Second)
		}
		now = now.Add(time.Second)
		g.Ended("a", now)
	}
	if got := g.Delay("b", now); got != 0 {
		t.Errorf("another replica waits %v", got)
	}
	if got := g.Delay("a", now.Add(2*time.Minute)); got != 0 {
		t.Errorf("two minutes later it waits %v", got)
	}
	for range 5 {
		g.Delay("c", now)
	}
	g.Reset("c")
	if got := g.Delay("c", now); got != 0 {
		t.Errorf("after a full resync that succeeded it waits %v", got)
	}
}

// A replica whose loads fail after more than a minute is delayed like one whose loads fail at once.
func TestLongFullSyncsAreCounted(t *testing.T) {
	g := syncthrottle.New(1, 0)
	now := start
	for i, want := range []time.Duration{0, 0, 1, 2, 4} {
		if got := g.Delay("a", now); got != want*time.Second {
			t.Errorf("the delay of resync %d is %v, want %v", i+1, got, want*time.Second)
		}
		now = now.Add(10 * time.Minute)
		g.Delay("other", now) // Delay drops old attempts
		g.Ended("a", now)
		now = now.Add(time.Second)
	}
	now = now.Add(2 * time.Minute)
	if got := g.Delay("a", now); got != 0 {
		t.Errorf("two minutes after the last it waits %v", got)
	}
	g.Reset("a")
	g.Ended("a", now)
	if got := g.Delay("a", now); got != 0 {
		t.Errorf("after a full resync that succeeded it waits %v", got)
	}
}

func TestSlots(t *testing.T) {
	g := syncthrottle.New(2, 0)
	a, err := g.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := g.Acquire(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Acquire(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a third Acquire returns %v", err)
	}
	a()
	a()
	if got := g.Busy(); got != 1 {
		t.Errorf("%d slots are in use", got)
	}
	c, err := g.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b()
	c()
}

// Whatever the size of the chunks, the bytes take the time of the rate, less one burst.
func TestRate(t *testing.T) {
	g := syncthrottle.New(1, 1<<20)
	now, sent := start, int64(0)
	for sent < 10<<20 {
		n := g.ChunkSize(1 << 20)
		now = now.Add(g.Reserve(n, now))
		sent += n
	}
	if took := now.Sub(start); took < 9800*time.Millisecond || took > 10100*time.Millisecond {
		t.Errorf("10 MiB at 1 MiB/s took %v", took)
	}
	// The budget of an idle time is lost.
	now = now.Add(time.Hour)
	if wait := g.Reserve(1<<20, now); wait < 800*time.Millisecond {
		t.Errorf("after a pause a MiB waits only %v", wait)
	}
	if n := syncthrottle.New(1, 0).ChunkSize(1 << 20); n != 1<<20 {
		t.Errorf("without a rate a chunk is %d", n)
	}
}
