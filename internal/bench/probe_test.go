//go:build bench

package bench_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a Redis-protocol server seen from outside.
type server struct {
	*redis.Client
	tb   testing.TB
	stop func() // ends the server before the test does, so that it takes no more of the machine
}

func dialServer(tb testing.TB, addr string) server {
	c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: 10 * time.Second})
	tb.Cleanup(func() { c.Close() })
	return server{Client: c, tb: tb}
}

// info returns a field of INFO, empty if there is none.
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

func (s server) number(field string) int64 {
	s.tb.Helper()
	n, err := strconv.ParseInt(s.info(field), 10, 64)
	if err != nil {
		s.tb.Fatalf("INFO %s: %v", field, err)
	}
	return n
}

// until asks again and again; it returns when the answer came that holds.
func (s server) until(what string, holds func() bool) time.Time {
	s.tb.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if holds() {
			return time.Now()
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("%s: still not so after two minutes", what)
		}
		nap(time.Millisecond)
	}
}

// linked waits until the server follows its master.
func (s server) linked() time.Time {
	s.tb.Helper()
	return s.until("the replica is linked", func() bool { return s.info("master_link_status") == "up" })
}

// marked waits for the end of the stream.
func (s server) marked() time.Time {
	s.tb.Helper()
	return s.until("the stream's end is at the replica", func() bool {
		n, err := s.Exists(s.tb.Context(), markerKey).Result()
		if err != nil {
			s.tb.Fatal(err)
		}
		return n == 1
	})
}

// beat reads the beat's sequence number, -1 if there is none.
func (s server) beat(ctx context.Context) (int, error) {
	n, err := s.HGet(ctx, beatKey, "seq").Int()
	if errors.Is(err, redis.Nil) {
		return -1, nil
	}
	return n, err
}

// nap sleeps more exactly than time.Sleep, whose idle process may oversleep a millisecond.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&t, nil) // cut short by a signal it does no harm
}

// pollEvery is the time between two looks at a server: what it adds to a latency is at most that and a round trip.
const pollEvery = time.Millisecond

// watch notes when each beat becomes visible, until ctx ends.
func (s server) watch(ctx context.Context, seen map[int]time.Time) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	last := 0
	for ctx.Err() == nil {
		n, err := s.beat(ctx)
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
		nap(pollEvery)
	}
	return nil
}

// latency is how late a load was at a server.
type latency struct {
	p50, p99, most time.Duration
	samples, lost  int
	rows           int     // that the load changed
	rate           float64 // rows/s of them
}

// latencies paces a load at a rate and times the beats on their way to a server. Visible before the client had the
// commit's OK, as happens, counts as zero.
func latencies(s *source, rate int, d time.Duration, target server) latency {
	s.tb.Helper()
	first := s.number(s.conn, `SELECT seq FROM bench.beat`) + 1
	s.exec(s.conn, `UPDATE bench.beat SET seq = `+strconv.Itoa(first)+` WHERE id = 1`)
	arrived := func(want int) func() bool {
		return func() bool {
			n, err := target.beat(s.tb.Context())
			if err != nil {
				s.tb.Fatal(err)
			}
			return n >= want
		}
	}
	target.until("the first beat is visible", arrived(first))

	ctx, cancel := context.WithCancel(s.tb.Context())
	defer cancel()
	seen := make(map[int]time.Time)
	watched := make(chan error, 1)
	go func() { watched <- target.watch(ctx, seen) }()
	began := time.Now()
	l := s.pace(ctx, rate, d, first+1)
	took := time.Since(began)
	target.until("the last beat is visible", arrived(len(l.commits)-1))
	nap(10 * time.Millisecond) // the watcher looks once more
	cancel()
	if err := <-watched; err != nil {
		s.tb.Fatal(err)
	}
	result := distribution(l.commits, seen, began.Add(time.Second))
	result.rows, result.rate = l.rows, float64(l.rows)/took.Seconds()
	return result
}

// distribution leaves out what was committed before from: the start is not the steady state.
func distribution(commits []time.Time, seen map[int]time.Time, from time.Time) latency {
	var l latency
	var all []time.Duration
	for n, committed := range commits {
		if committed.Before(from) {
			continue
		}
		at, ok := seen[n]
		if !ok {
			l.lost++
			continue
		}
		all = append(all, max(0, at.Sub(committed)))
	}
	if l.samples = len(all); l.samples == 0 {
		return l
	}
	slices.Sort(all)
	l.p50, l.p99, l.most = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	return l
}
