//go:build bench

package bench_test

import (
	"fmt"
	"strconv"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// liveResult is the result of a contender under a live load.
type liveResult struct {
	load float64 // rows/s of the load while CPU was measured
	cpu  float64 // seconds per row, in a run without the latency probe

	// visible is the latency at the contender's Redis, which for Rowfall is a replica of the node;
	// atNode is that at the node itself.
	visible, atNode latency
}

// liveContender is a contender that waits for a live load.
type liveContender struct {
	*child
	name   string
	target server  // where rows become visible
	node   *server // Rowfall's node
	stop   func()
}

// startLiveRowfall starts a node and its replica.
func (b *bench) startLiveRowfall(contender string) liveContender {
	c := start(b, job{
		Contender: contender, MySQL: b.source.addr, Tables: "bench", Start: "snapshot",
		Dir: b.TempDir(),
	})
	addr := c.expect("ready").Addr
	c.send("go")
	c.expect("done")
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{ReplicaOf: addr})
	replica, node := dialServer(b, cache.Addr()), dialServer(b, addr)
	replica.waitForLink()
	return liveContender{c, contender, replica, &node, func() {
		c.stop()
		_ = cache.Stop() // the cleanup of the test reports an error
	}}
}

// startLiveCanal starts the canal handler with a Redis.
func (b *bench) startLiveCanal() liveContender {
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	c := start(b, job{
		Contender: "canal", MySQL: b.source.addr, Tables: "bench", Start: b.source.end().String(),
		Redis: cache.Addr(), FlushAfter: time.Millisecond,
	})
	c.expect("ready")
	return liveContender{c, "canal", dialServer(b, cache.Addr()), nil, func() {
		c.stop()
		_ = cache.Stop() // the cleanup of the test reports an error
	}}
}

// measureLive measures CPU and latency under live loads. Contenders of one load take turns, so that
// they meet the same state of the machine.
func (b *bench) measureLive() {
	b.source.exec(b.source.conn, `INSERT INTO bench.beat VALUES (1, 0)`)
	b.report.addSection("Live load: CPU, and latency from commit to visible, " +
		"compared to canal + go-redis pipelines of 1 ms")
	for _, rate := range []int{1000, 10_000} {
		ours := b.measureLiveContender(b.startLiveRowfall("rowfall"), rate)
		theirs := b.measureLiveContender(b.startLiveCanal(), rate)
		b.reportLive(rate, ours, theirs)
		if b.before {
			before := b.measureLiveContender(b.startLiveRowfall("rowfall-before"), rate)
			b.reportLiveBefore(rate, ours, before)
		}
	}
	b.report.addNote("The probe reads every %s on average, which is part of each latency. "+
		"It does not run while the CPU of a live load is measured.", pollInterval)
}

// warmUp is the duration of a load before the measured ones.
const warmUp = 2 * time.Second

// measureLiveContender measures a contender and stops it.
func (b *bench) measureLiveContender(c liveContender, rate int) (r liveResult) {
	defer c.stop()
	b.runQuietLoad(rate, warmUp, c.target)
	stopProfile := c.profile(b.profiles, fmt.Sprintf("live-%s-%d", c.name, rate))
	c.send("usage")
	first := c.expect("usage").Last
	var changed int
	changed, r.load = b.runQuietLoad(rate, b.seconds, c.target)
	c.send("usage")
	r.cpu = cpu(first, c.expect("usage").Last) / float64(changed)
	stopProfile()
	r.visible = measureLatencies(b.source, rate, b.seconds, c.target)
	if c.node != nil {
		r.atNode = measureLatencies(b.source, rate, b.seconds, *c.node)
	}
	return r
}

// runQuietLoad runs a load, and waits until its end is visible at a server, which it reads only ten
// times a second. It returns the number of rows that the load changed, and its rate.
func (b *bench) runQuietLoad(rate int, d time.Duration, target server) (int, float64) {
	b.Helper()
	first := b.source.number(b.source.conn, `SELECT seq FROM bench.beat`) + 1
	began := time.Now()
	l := b.source.runLoad(b.Context(), rate, d, first)
	took := time.Since(began)
	target.waitUntilEvery(100*time.Millisecond, "the last heartbeat is visible",
		target.hasHeartbeat(len(l.commits)-1))
	return l.rows, float64(l.rows) / took.Seconds()
}

// reachedLoad returns a text if a load was too low to compare a figure with its goal.
func reachedLoad(rate int, load float64) (text string, reached bool) {
	if load < 0.95*float64(rate) {
		return "the load was not reached: MySQL committed " + rows(load), false
	}
	return "", true
}

func (b *bench) reportLive(rate int, ours, theirs liveResult) {
	name := thousands(float64(rate)) + " rows/s"
	cheap := atMost(0.5)
	if rate == 10_000 {
		cheap = atMost(0.33)
	}
	spent, ok := reachedLoad(rate, min(ours.load, theirs.load))
	if ok {
		spent = cheap(ours.cpu / theirs.cpu)
	}
	b.report.addRow(name+", CPU per row", micros(ours.cpu), micros(theirs.cpu),
		times(ours.cpu/theirs.cpu), spent)
	late, ok := reachedLoad(rate, ours.visible.rate)
	if ok && rate == 10_000 {
		late = goalText("p99 under 50 ms", ours.visible.p99 < 50*time.Millisecond)
	}
	ratio := func(l latency) string { return times(l.p99.Seconds() / theirs.visible.p99.Seconds()) }
	b.report.addRow(name+", p50 / p99 at a redis replica", ours.visible.String(),
		theirs.visible.String(), ratio(ours.visible), late)
	b.report.addRow(name+", p50 / p99 at the node", ours.atNode.String(),
		theirs.visible.String(), ratio(ours.atNode), "")
	b.noteLatency("replica", name, ours.visible)
	b.noteLatency("node", name, ours.atNode)
	b.noteLatency("canal", name, theirs.visible)
}

// reportLiveBefore compares two versions of Rowfall.
func (b *bench) reportLiveBefore(rate int, now, before liveResult) {
	name := thousands(float64(rate)) + " rows/s"
	b.report.addRow("  before: CPU per row", micros(now.cpu), micros(before.cpu),
		times(now.cpu/before.cpu), "")
	p99 := now.visible.p99.Seconds() / before.visible.p99.Seconds()
	more := now.visible.p50 - before.visible.p50
	b.report.addRow("  before: p50 / p99 at a redis replica", now.visible.String(),
		before.visible.String(), times(p99), goalText("p99 at most 1.2x, p50 at most 0.3 ms more",
			p99 <= 1.2 && more <= 300*time.Microsecond))
	b.noteLatency("replica before", name, before.visible)
}

func (b *bench) noteLatency(target, load string, l latency) {
	b.report.addNote(
		"Latency at %s, %s: load %s, %s commits timed, %d never visible, maximum %s.",
		load, target, rows(l.rate), strconv.Itoa(l.samples), l.missed, millis(l.max),
	)
}
