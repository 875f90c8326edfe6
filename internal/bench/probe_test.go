//go:build bench

package bench_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a client of a Redis-protocol server that is being measured.
type server struct {
	*redis.Client
	tb   testing.TB
	stop func() // stops the server before the test ends, to free its CPU and memory
}

func dialServer(tb testing.TB, addr string) server {
	c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: 10 * time.Second})
	tb.Cleanup(func() { c.Close() })
	return server{Client: c, tb: tb}
}

// info returns a field of INFO; "" if INFO does not have the field.
func (s server) info(field string) string {
	s.tb.Helper()
	text, err := s.Info(s.tb.Context(), "everything").Result()
	if err != nil {
		s.tb.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v
		}
	}
	return ""
}

// waitUntil polls each millisecond until done returns true, and returns the time after that call.
// It fails the test after waitTimeout.
func (s server) waitUntil(what string, done func() bool) time.Time {
	s.tb.Helper()
	return s.waitUntilEvery(time.Millisecond, what, done)
}

// waitTimeout bounds each wait.
const waitTimeout = 5 * time.Minute

func (s server) waitUntilEvery(period time.Duration, what string, done func() bool) time.Time {
	s.tb.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		if done() {
			return time.Now()
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("waited %s: %s", waitTimeout, what)
		}
		preciseSleep(period)
	}
}

// waitForLink waits until the server's link to its master is up.
func (s server) waitForLink() time.Time {
	s.tb.Helper()
	return s.waitUntil(
		"the replica is linked", func() bool { return s.info("master_link_status") == "up" },
	)
}

// waitForMarker waits until the end of the stream has reached the server.
func (s server) waitForMarker() time.Time {
	s.tb.Helper()
	return s.waitUntil("the replica has the end of the stream", func() bool {
		n, err := s.Exists(s.tb.Context(), markerKey).Result()
		if err != nil {
			s.tb.Fatal(err)
		}
		return n == 1
	})
}

// heartbeat returns the sequence number of the heartbeat row; -1 if the server does not have it.
func (s server) heartbeat(ctx context.Context) (int, error) {
	n, err := s.HGet(ctx, heartbeatKey, "seq").Int()
	if errors.Is(err, redis.Nil) {
		return -1, nil
	}
	return n, err
}

// hasHeartbeat returns a function that reports whether a heartbeat is visible.
func (s server) hasHeartbeat(want int) func() bool {
	return func() bool {
		n, err := s.heartbeat(s.tb.Context())
		if err != nil {
			s.tb.Fatal(err)
		}
		return n >= want
	}
}

// preciseSleep sleeps more precisely than time.Sleep, which may oversleep by a millisecond in an
// idle process.
func preciseSleep(d time.Duration) {
	t := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&t, nil) // a shorter sleep after a signal does no harm
}

// pollInterval is the average time between two reads of a server. It adds at most one and a half of
// itself and one round trip to a measured latency.
const pollInterval = time.Millisecond

// recordHeartbeats records in seen when each heartbeat becomes visible, until ctx ends.
func (s server) recordHeartbeats(ctx context.Context, seen map[int]time.Time) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	last := 0
	for ctx.Err() == nil {
		n, err := s.heartbeat(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		now := time.Now()
		if last == 0 {
			last = n
		}
		for ; last < n; last++ {
			seen[last+1] = now
		}
		// Reads at a fixed rate would come at the same moment after each heartbeat.
		preciseSleep(pollInterval/2 + rand.N(pollInterval))
	}
	return nil
}

// latency is the distribution of times from commit until visible.
type latency struct {
	p50, p99, max   time.Duration
	samples, missed int     // heartbeats that were timed, and that never became visible
	rows            int     // rows that the load changed
	rate            float64 // rows/s of the load
}

// measureLatencies runs a load at a rate and times its heartbeats until they are visible at a
// server. A heartbeat may be visible before the client has the commit's OK; that counts as zero.
func measureLatencies(s *source, rate int, d time.Duration, target server) latency {
	s.tb.Helper()
	first := s.number(s.conn, `SELECT seq FROM bench.beat`) + 1
	s.exec(s.conn, `UPDATE bench.beat SET seq = `+strconv.Itoa(first)+` WHERE id = 1`)
	target.waitUntil("the first heartbeat is visible", target.hasHeartbeat(first))

	ctx, cancel := context.WithCancel(s.tb.Context())
	defer cancel()
	seen := make(map[int]time.Time)
	recorded := make(chan error, 1)
	go func() { recorded <- target.recordHeartbeats(ctx, seen) }()
	began := time.Now()
	l := s.runLoad(ctx, rate, d, first+1)
	took := time.Since(began)
	target.waitUntil("the last heartbeat is visible", target.hasHeartbeat(len(l.commits)-1))
	preciseSleep(10 * time.Millisecond) // let recordHeartbeats read once more
	cancel()
	if err := <-recorded; err != nil {
		s.tb.Fatal(err)
	}
	result := distribution(l.commits, seen, began.Add(time.Second))
	result.rows, result.rate = l.rows, float64(l.rows)/took.Seconds()
	return result
}

// distribution computes the latencies of commits. It skips commits before `from`, because the
// beginning is not the steady state.
func distribution(commits []time.Time, seen map[int]time.Time, from time.Time) latency {
	var l latency
	var all []time.Duration
	for n, committed := range commits {
		if committed.Before(from) {
			continue
		}
		at, ok := seen[n]
		if !ok {
			l.missed++
			continue
		}
		all = append(all, max(0, at.Sub(committed)))
	}
	if l.samples = len(all); l.samples == 0 {
		return l
	}
	slices.Sort(all)
	l.p50, l.p99, l.max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	return l
}
