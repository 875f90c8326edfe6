//go:build bench

package bench_test

import (
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// bench is one run.
type bench struct {
	*testing.T
	source *source
	report report

	rows, rounds, tableRows int
	seconds                 time.Duration
	profiles                string // folder for CPU profiles; "": no profiles
}

func TestBench(t *testing.T) {
	began := time.Now()
	in := servertest.Need(t, servers.MySQL, servers.Redis)
	b := &bench{
		T: t, rows: envNumber(t, "ROWS", 500_000), rounds: envNumber(t, "ROUNDS", 3),
		tableRows: envNumber(t, "TABLE_ROWS", 500_000),
		seconds:   time.Duration(envNumber(t, "SECONDS", 8)) * time.Second,
		profiles:  os.Getenv("ROWFALL_BENCH_PROFILE"),
	}
	b.report.addHeader(
		"%d cores, %s %s/%s, %s, %s",
		runtime.NumCPU(),
		runtime.Version(),
		runtime.GOOS,
		runtime.GOARCH,
		in.Version(servers.MySQL),
		in.Version(servers.Redis),
	)
	b.report.addHeader("Load average before: %s", loadAverage())
	b.source = newSource(t)
	b.measureStream()
	b.measureLatency()
	b.measureTable()
	b.report.addNote(
		"Servers, load and contenders share the cores: only ratios within one run are " +
			"meaningful. " +
			"CPU is that of the contender's process alone.",
	)
	b.report.addNote("The run took %s.", time.Since(began).Round(time.Second))
	fmt.Println(&b.report)
}

// loadAverage returns the load average, which shows whether the machine is busy with other work.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// envNumber returns the number in an environment variable ROWFALL_BENCH_name, or a default value.
func envNumber(t *testing.T, name string, value int) int {
	text := os.Getenv("ROWFALL_BENCH_" + name)
	if text == "" {
		return value
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ROWFALL_BENCH_%s=%q: want a number of at least 1", name, text)
	}
	return n
}

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
	base := b.prepareNode()
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
		one("node", b.runNode(st, base, fmt.Sprintf("node-%d", n+1)))
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

// reportStreams compares contenders within each round, because the machine's speed differs from
// round to round.
func (b *bench) reportStreams(rounds map[string][]round) {
	rate := func(r round) float64 { return r.rate }
	replica := func(r round) float64 { return r.replica }
	spent := func(r round) float64 { return r.cpu }
	compare := func(
		figure, ours, theirs string, value func(round) float64, unit func(float64) string,
		goal func(ratio float64) string,
	) {
		var own, other, ratios []float64
		for n, r := range rounds[ours] {
			own, other = append(own, value(r)), append(other, value(rounds[theirs][n]))
			ratios = append(ratios, own[n]/other[n])
		}
		b.report.addRow(
			figure,
			unit(median(own)),
			unit(median(other)),
			times(median(ratios)),
			goal(median(ratios)),
		)
	}
	none := func(float64) string { return "" }
	fast := func(ratio float64) string { return goalText("at least 3x", ratio >= 3) }
	cheap := func(ratio float64) string { return goalText("at most 0.2x", ratio <= 0.2) }
	b.report.addSection("OLTP stream, compared to canal + go-redis pipelines of 1,000")
	compare("streaming, at the node", "node", "canal", rate, rows, fast)
	compare("streaming, at a redis replica", "replica", "canal", replica, rows, none)
	compare("CPU per row, node", "node", "canal", spent, micros, cheap)
	compare("CPU per row, feeding a replica", "replica", "canal", spent, micros, cheap)
	b.report.addSection("OLTP stream, compared to only reading the binlog with binlog/dump")
	compare("streaming, at the node", "node", "drain", rate, rows, none)
	compare("CPU per row, node", "node", "drain", spent, micros, none)
}

// prepareNode creates the folder of a node that has loaded the tables while they are empty. Each
// round starts a copy of it, like a node that was down while the stream was written.
func (b *bench) prepareNode() string {
	dir := b.TempDir()
	c := start(
		b,
		job{
			Contender: "rowfall", MySQL: b.source.addr, Tables: "bench",
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
func (b *bench) startPreparedNode(base string) (c *child, addr string) {
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		b.Fatal(err)
	}
	c = start(b, job{
		Contender: "rowfall", MySQL: b.source.addr, Tables: "bench", Start: "snapshot", Dir: dir,
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

func (b *bench) runNode(st binlogRange, base, profile string) round {
	c, _ := b.startPreparedNode(base)
	stopProfile := c.profile(b.profiles, profile)
	c.send("go")
	r := newRound(b.waitForEnd(c, st))
	stopProfile()
	c.stop()
	return r
}

// runReplica measures the node's CPU until the replica has the last row.
func (b *bench) runReplica(st binlogRange, base, profile string) (round, server) {
	c, addr := b.startPreparedNode(base)
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

// liveResult is the result of a contender under a live load.
type liveResult struct {
	latency
	cpu float64 // seconds per row
}

// measureLive runs a live load with a contender and measures latency at target.
func (b *bench) measureLive(c *child, name string, rate int, target server) liveResult {
	stopProfile := c.profile(b.profiles, fmt.Sprintf("live-%s-%d", name, rate))
	defer stopProfile()
	c.send("usage")
	first := c.expect("usage").Last
	l := measureLatencies(b.source, rate, b.seconds, target)
	c.send("usage")
	return liveResult{l, cpu(first, c.expect("usage").Last) / float64(l.rows)}
}

// measureLatency measures latency under live loads, first of Rowfall and then of the canal
// handler.
func (b *bench) measureLatency() {
	b.source.exec(b.source.conn, `INSERT INTO bench.beat VALUES (1, 0)`)
	rates := []int{1000, 10_000}
	c := start(b, job{
		Contender: "rowfall", MySQL: b.source.addr, Tables: "bench", Start: "snapshot",
		Dir: b.TempDir(),
	})
	addr := c.expect("ready").Addr
	c.send("go")
	c.expect("done")
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{ReplicaOf: addr})
	replica := dialServer(b, cache.Addr())
	replica.waitForLink()
	node := dialServer(b, addr)
	// The targets are measured one after the other, so that no probe reads from the node while the
	// replica is measured.
	var atNode, ours, theirs []liveResult
	for _, rate := range rates {
		ours = append(ours, b.measureLive(c, "replica", rate, replica))
		atNode = append(atNode, b.measureLive(c, "node", rate, node))
	}
	c.stop()
	_ = cache.Stop() // the cleanup of the test reports an error

	plain := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	c = start(b, job{
		Contender: "canal", MySQL: b.source.addr, Tables: "bench", Start: b.source.end().String(),
		Redis: plain.Addr(), FlushAfter: time.Millisecond,
	})
	c.expect("ready")
	for _, rate := range rates {
		theirs = append(theirs, b.measureLive(c, "canal", rate, dialServer(b, plain.Addr())))
	}
	c.stop()
	b.reportLatency(rates, atNode, ours, theirs)
}

func (b *bench) reportLatency(rates []int, atNode, atReplica, atRival []liveResult) {
	b.report.addSection(
		"Latency from commit to visible, p50 / p99, compared to canal + go-redis pipelines of 1 ms",
	)
	for i, rate := range rates {
		node, replica, rival := atNode[i], atReplica[i], atRival[i]
		goal := ""
		switch {
		case replica.rate < 0.95*float64(rate): // the load was too low to compare with the goal
			goal = "the load was not reached: MySQL committed " + rows(replica.rate)
		case rate == 10_000:
			goal = goalText("p99 under 50 ms", replica.p99 < 50*time.Millisecond)
		}
		name := thousands(float64(rate)) + " rows/s"
		b.report.addRow(
			name+", at the node", node.String(), rival.String(),
			times(node.p99.Seconds()/rival.p99.Seconds()), "",
		)
		b.report.addRow(
			name+", at a redis replica", replica.String(), rival.String(),
			times(replica.p99.Seconds()/rival.p99.Seconds()), goal,
		)
		b.report.addRow(
			name+", CPU per row",
			micros(replica.cpu),
			micros(rival.cpu),
			times(replica.cpu/rival.cpu),
			"",
		)
		for j, l := range []liveResult{node, replica, rival} {
			b.report.addNote(
				"Latency at %s, %s: load %s, %d commits timed, %d never visible, maximum %s.", name,
				[]string{"node", "replica", "canal"}[j], rows(l.rate), l.samples, l.missed,
				millis(l.max),
			)
		}
	}
	b.report.addNote("The probe reads every %s, which is part of each latency.", pollInterval)
}

// measureTable measures the initial load of a table and the memory of its rows.
func (b *bench) measureTable() {
	b.source.exec(b.source.conn, fmt.Sprintf(insertPeople, b.tableRows))
	n := float64(b.tableRows)
	selected := b.selectAll()

	c := start(b, job{
		Contender: "rowfall", MySQL: b.source.addr, Tables: "census", Start: "snapshot",
		Dir: b.TempDir(),
	})
	addr := c.expect("ready").Addr
	stopProfile := c.profile(b.profiles, "snapshot")
	c.send("go")
	m := c.expect("done")
	stopProfile()
	if m.Last.Rows != uint64(b.tableRows) {
		b.Fatalf("rowfall: loaded %d rows of %d", m.Last.Rows, b.tableRows)
	}
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	s := dialServer(b, cache.Addr())
	resident := s.number("used_memory_rss")
	began := time.Now()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.ReplicaOf(b.Context(), host, port).Err(); err != nil {
		b.Fatal(err)
	}
	synced := s.waitForLink().Sub(began)
	c.stop()
	if keys := s.DBSize(b.Context()).Val(); keys < int64(b.tableRows) {
		b.Fatalf("the replica has %d keys of %d", keys, b.tableRows)
	}
	resident = s.number("used_memory_rss") - resident

	b.report.addSection(
		fmt.Sprintf("Initial load of %s rows of eight fields, and their memory", thousands(n)),
	)
	took := m.Last.Time.Sub(m.First.Time).Seconds()
	b.report.addRow(
		"initial load of the node, compared to the SELECT", rows(n/took), rows(n/selected),
		times(selected/took), "",
	)
	b.report.addRow("CPU per row of the initial load", micros(cpu(m.First, m.Last)/n), "", "", "")
	b.report.addRow("full resync of a replica", rows(n/synced.Seconds()), "", "", "")
	held, other := float64(m.Last.Resident-m.First.Resident), float64(resident)
	b.report.addRow(
		"resident memory per row", bytesPerRow(held/n), bytesPerRow(other/n), times(held/other), "",
	)
	held -= float64(m.Window)
	b.report.addRow(
		fmt.Sprintf("the same without the log's window of %d MiB", m.Window>>20),
		bytesPerRow(held/n),
		bytesPerRow(other/n),
		times(held/other),
		"",
	)
}

// selectAll returns the seconds that the server needs to send the table.
func (b *bench) selectAll() float64 {
	began, n := time.Now(), 0
	err := b.source.conn.Stream(
		b.Context(), `SELECT * FROM census.people`, func([][]byte) error { n++; return nil },
	)
	if err != nil {
		b.Fatal(err)
	}
	if n != b.tableRows {
		b.Fatalf("SELECT returned %d rows of %d", n, b.tableRows)
	}
	return time.Since(began).Seconds()
}
