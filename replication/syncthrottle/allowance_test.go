package syncthrottle_test

import (
	"testing"
	"time"

	"rowfall/replication/syncthrottle"
)

// A receiver must reach the rate on average. Short stalls are allowed. A receiver below the rate is
// over its time when the allowance is spent, however regularly it takes chunks.
func TestAllowance(t *testing.T) {
	const chunk = 1 << 20
	for _, tc := range []struct {
		name  string
		rate  int64 // of the receiver, bytes per second
		stall time.Duration
		every int           // chunks between two stalls
		lasts time.Duration // until the receiver is over its time; 0: never
	}{
		{name: "fast", rate: 100 << 20},
		{
			name: "twice the rate with stalls of 4 minutes", rate: 2 << 20, stall: 4 * time.Minute,
			every: 1000,
		},
		{name: "17 kB/s", rate: 17_000, lasts: 5 * time.Minute},
		{name: "half the rate", rate: 512 << 10, lasts: 10 * time.Minute},
		{
			name: "stalls of 6 minutes", rate: 100 << 20, stall: 6 * time.Minute, every: 1000,
			lasts: 6 * time.Minute,
		},
	} {
		a := syncthrottle.NewAllowance(1<<20, 5*time.Minute)
		took := time.Duration(0)
		over := false
		for i := 1; i <= 5000 && !over; i++ {
			d := time.Duration(float64(chunk) / float64(tc.rate) * float64(time.Second))
			if tc.every > 0 && i%tc.every == 0 {
				d += tc.stall
			}
			over = d > a.For(chunk)
			took += d
			a.Spend(chunk, d)
		}
		if over != (tc.lasts > 0) || over && (took < tc.lasts || took > tc.lasts+2*time.Minute) {
			t.Errorf("%s: over its time: %v, after %v", tc.name, over, took)
		}
	}
}

func TestLoadTime(t *testing.T) {
	for _, tc := range []struct {
		size, rate int64
		want       time.Duration
	}{
		{0, 1 << 20, time.Minute},
		{600 << 20, 1 << 20, 11 * time.Minute},
		{100 << 30, 1 << 20, 102400*time.Second + time.Minute},
		{1 << 62, 1, 100*365*24*time.Hour + time.Minute},
	} {
		if got := syncthrottle.LoadTime(tc.size, tc.rate, time.Minute); got != tc.want {
			t.Errorf("%d bytes at %d bytes per second: %v, want %v", tc.size, tc.rate, got, tc.want)
		}
	}
}
