package pipelines

import (
	"testing"
	"time"
)

// A follower is behind since the first end that it has not reached, however many ends were sampled
// since. Time without new data does not count.
func TestDelay(t *testing.T) {
	var d delay[int]
	begin := time.Unix(0, 0)
	at := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Second) }
	behind := func(now, reached int) int {
		return int(d.behind(at(now), func(end int) bool { return end <= reached }) / time.Second)
	}
	if n := behind(5, 0); n != 0 {
		t.Errorf("without a sample: %d s", n)
	}
	d.add(at(10), 100)
	d.add(at(20), 100)
	if n := behind(30, 99); n != 20 {
		t.Errorf("%d s behind, want 20", n)
	}
	if n := behind(30, 100); n != 0 {
		t.Errorf("at the end: %d s", n)
	}
	for n := 100; n < 2000; n++ {
		d.add(at(n), n)
		if len(d.samples) > maxDelaySamples {
			t.Fatalf("%d samples", len(d.samples))
		}
	}
	if n := behind(2000, 99); n != 1900 {
		t.Errorf("%d s behind, want 1900", n)
	}
	// Thinned samples make the delay shorter by their distance at most.
	if n := behind(2000, 500); n > 1499 || n < 1460 {
		t.Errorf("%d s behind, want about 1499", n)
	}
}
