package governor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"rowfall/replication/governor"
)

var start = time.Unix(1_700_000_000, 0)

func TestDelayGrowsAndIsForgotten(t *testing.T) {
	g := governor.New(1, 0)
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
	g.Forgive("c")
	if got := g.Delay("c", now); got != 0 {
		t.Errorf("once it came through it waits %v", got)
	}
}

// A load that takes longer than a minute and fails, again and again, is as bad as
// one that fails at once.
func TestLongFullSyncsAreCounted(t *testing.T) {
	g := governor.New(1, 0)
	now := start
	for i, want := range []time.Duration{0, 0, 1, 2, 4} {
		if got := g.Delay("a", now); got != want*time.Second {
			t.Errorf("the delay of resync %d is %v, want %v", i+1, got, want*time.Second)
		}
		now = now.Add(10 * time.Minute)
		g.Delay("other", now) // which forgets who is to be forgotten
		g.Ended("a", now)
		now = now.Add(time.Second)
	}
	now = now.Add(2 * time.Minute)
	if got := g.Delay("a", now); got != 0 {
		t.Errorf("two minutes after the last it waits %v", got)
	}
	g.Forgive("a")
	g.Ended("a", now)
	if got := g.Delay("a", now); got != 0 {
		t.Errorf("once it came through it waits %v", got)
	}
}

func TestSlots(t *testing.T) {
	g := governor.New(2, 0)
	a, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := g.Enter(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Enter(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a third one gets %v", err)
	}
	a()
	a()
	if got := g.Busy(); got != 1 {
		t.Errorf("%d slots are taken", got)
	}
	c, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b()
	c()
}

// However the bytes are cut, they take their time, short of one burst.
func TestRate(t *testing.T) {
	g := governor.New(1, 1<<20)
	now, sent := start, int64(0)
	for sent < 10<<20 {
		n := g.Piece(1 << 20)
		now = now.Add(g.Pay(n, now))
		sent += n
	}
	if took := now.Sub(start); took < 9800*time.Millisecond || took > 10100*time.Millisecond {
		t.Errorf("10 MiB at 1 MiB/s took %v", took)
	}
	// A pause is not saved up.
	now = now.Add(time.Hour)
	if wait := g.Pay(1<<20, now); wait < 800*time.Millisecond {
		t.Errorf("after a pause a MiB waits only %v", wait)
	}
	if n := governor.New(1, 0).Piece(1 << 20); n != 1<<20 {
		t.Errorf("without a rate a piece is %d", n)
	}
}
