//go:build bench

package bench_test

import (
	"fmt"
	"os"
	"reflect"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// round is the result of one run of a contender over the stream.
type round struct {
	rate    float64 // rows/s at the contender
	replica float64 // rows/s at the replica
	cpu     float64 // seconds per row
}

func newRound(m message) round {
	n := float64(m.Last.Rows - m.First.Rows)
	return round{rate: n / m.Last.Time.Sub(m.First.Time).Seconds(), cpu: cpu(m.First, m.Last) / n}
}

// cpu returns the seconds of CPU used between two moments.
func cpu(first, last usage) float64 {
	return (last.User + last.System - first.User - first.System).Seconds()
}

// measureStream has every contender read the same range of the binlog.
func (b *bench) measureStream() {
	b.source.exec(b.source.conn, `FLUSH BINARY LOGS`)
	base, beforeBase := b.prepareNode("rowfall"), ""
	if b.before {
		beforeBase = b.prepareNode("rowfall-before")
	}
	began := time.Now()
	st := b.source.generate(b.rows)
	b.report.addHeader(
		"The stream: %s rows in %s transactions, %s bytes of binlog, GTIDs on; "+
			"medians of %d rounds",
		thousands(float64(st.rows)),
		thousands(float64(st.transactions)),
		thousands(float64(st.bytes)),
		b.rounds,
	)
	b.Logf("the stream was written in %s", time.Since(began).Round(time.Millisecond))

	rounds := make(map[string][]round)
	for n := range b.rounds {
		one := func(name string, r round) {
			b.Logf(
				"round %d: %-8s %16s, at the replica %16s, %s of CPU per row",
				n+1,
				name,
				rows(r.rate),
				rows(r.replica),
				micros(r.cpu),
			)
			rounds[name] = append(rounds[name], r)
		}
		one("drain", b.runDrainRound(st))
		if b.before {
			one("before", b.runNode(st, beforeBase, "rowfall-before", ""))
		}
		one("node", b.runNode(st, base, "rowfall", fmt.Sprintf("node-%d", n+1)))
		r, cascade := b.runReplica(st, base, fmt.Sprintf("replica-%d", n+1))
		one("replica", r)
		r, plain := b.runCanalRound(st)
		one("canal", r)
		if n == 0 {
			b.compareKeys(cascade, plain)
		}
		cascade.stop()
		plain.stop()
	}
	b.reportStreams(rounds)
}

// reportStreams compares contenders.
func (b *bench) reportStreams(rounds map[string][]round) {
	rate := func(r round) float64 { return r.rate }
	replica := func(r round) float64 { return r.replica }
	spent := func(r round) float64 { return r.cpu }
	compare := func(
		figure, ours, theirs string, value func(round) float64, unit func(float64) string,
		reach goal,
	) {
		own, other := series(rounds[ours], value), series(rounds[theirs], value)
		b.report.compare(figure, own, other, unit, reach)
	}
	b.report.addSection("OLTP stream, compared to canal + go-redis pipelines of 1,000")
	compare("streaming, at the node", "node", "canal", rate, rows, atLeast(3))
	compare("streaming, at a redis replica", "replica", "canal", replica, rows, none)
	compare("CPU per row, node", "node", "canal", spent, micros, atMost(0.12))
	compare("CPU per row, feeding a replica", "replica", "canal", spent, micros, none)
	b.report.addSection("OLTP stream, compared to only reading the binlog with binlog/dump")
	compare("streaming, at the node", "node", "drain", rate, rows, none)
	compare("CPU per row, node", "node", "drain", spent, micros, atMost(2.5))
	if b.before {
		b.report.addSection("OLTP stream, compared to Rowfall before")
		compare("streaming, at the node", "node", "before", rate, rows, none)
		compare("CPU per row, node", "node", "before", spent, micros, none)
	}
}

// prepareNode creates the folder of a node that has loaded the tables while they are empty. Each
// round starts a copy of it, like a node that was down while the stream was written.
func (b *bench) prepareNode(contender string) string {
	dir := b.TempDir()
	c := start(
		b,
		job{
			Contender: contender, MySQL: b.source.addr, Tables: "bench",
			Start: "snapshot", Dir: dir,
		},
	)
	c.expect("ready")
	c.send("go")
	c.expect("done")
	c.stop()
	return dir
}

// startPreparedNode starts a node on a copy of the folder that prepareNode has made.
func (b *bench) startPreparedNode(contender, base string) (c *child, addr string) {
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		b.Fatal(err)
	}
	c = start(b, job{
		Contender: contender, MySQL: b.source.addr, Tables: "bench", Start: "snapshot", Dir: dir,
		Catchup: true,
	})
	return c, c.expect("ready").Addr
}

func (b *bench) runDrainRound(st binlogRange) round {
	c := start(
		b, job{Contender: "drain", MySQL: b.source.addr, Tables: "bench", Start: st.start.String()},
	)
	r := newRound(b.waitForEnd(c, st))
	c.stop()
	return r
}

// waitForEnd waits until a contender has reached the end of the stream.
func (b *bench) waitForEnd(c *child, st binlogRange) message {
	m := c.expect("done")
	if m.Last.Rows != uint64(st.rows) {
		b.Fatalf("%s: read %d rows of %d", c.name, m.Last.Rows, st.rows)
	}
	return m
}

// runNode runs a node without a replica. An empty name of the profile records none.
func (b *bench) runNode(st binlogRange, base, contender, profile string) round {
	c, _ := b.startPreparedNode(contender, base)
	stopProfile := func() {}
	if profile != "" {
		stopProfile = c.profile(b.profiles, profile)
	}
	c.send("go")
	r := newRound(b.waitForEnd(c, st))
	stopProfile()
	c.stop()
	return r
}

// runReplica measures the node's CPU until the replica has the last row.
func (b *bench) runReplica(st binlogRange, base, profile string) (round, server) {
	c, addr := b.startPreparedNode("rowfall", base)
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{ReplicaOf: addr})
	s := dialServer(b, cache.Addr())
	s.stop = func() { _ = cache.Stop() } // the cleanup of the test reports an error
	s.waitForLink()
	stopProfile := c.profile(b.profiles, profile)
	c.send("go")
	at := s.waitForMarker()
	m := b.waitForEnd(c, st)
	c.send("usage")
	last := c.expect("usage").Last
	stopProfile()
	r := newRound(m)
	n := float64(m.Last.Rows - m.First.Rows)
	r.replica, r.cpu = n/at.Sub(m.First.Time).Seconds(), cpu(m.First, last)/n
	if _, err := s.ReplicaOf(b.Context(), "NO", "ONE").Result(); err != nil {
		b.Fatal(err)
	}
	c.stop()
	return r, s
}

func (b *bench) runCanalRound(st binlogRange) (round, server) {
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	c := start(b, job{
		Contender: "canal", MySQL: b.source.addr, Tables: "bench", Start: st.start.String(),
		Redis: cache.Addr(),
	})
	r := newRound(b.waitForEnd(c, st))
	r.replica = r.rate
	c.stop()
	s := dialServer(b, cache.Addr())
	s.stop = func() { _ = cache.Stop() }
	return r, s
}

// compareKeys checks that Rowfall and canal have written the same rows, except for JSON text. A
// contender that did less work would otherwise seem faster.
func (b *bench) compareKeys(ours, theirs server) {
	ctx := b.Context()
	var keys int64
	for iter := theirs.Scan(ctx, 0, "*", 1000).Iterator(); iter.Next(ctx); keys++ {
		if keys%50 != 0 {
			continue
		}
		want, err := theirs.HGetAll(ctx, iter.Val()).Result()
		if err != nil {
			b.Fatal(err)
		}
		got, err := ours.HGetAll(ctx, iter.Val()).Result()
		if err != nil {
			b.Fatal(err)
		}
		delete(want, "details")
		delete(got, "details")
		if !reflect.DeepEqual(got, want) {
			b.Errorf("%s differs: Rowfall has %v, canal %v", iter.Val(), got, want)
			return
		}
	}
	count := int64(0)
	for iter := ours.Scan(ctx, 0, "*", 1000).Iterator(); iter.Next(ctx); {
		if len(iter.Val()) < 8 || iter.Val()[:8] != "rowfall:" {
			count++
		}
	}
	if count != keys {
		b.Errorf("Rowfall's replica has %d keys, canal's Redis %d", count, keys)
	}
}
