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
	profiles                string // folder, empty: none
}

func TestBench(t *testing.T) {
	began := time.Now()
	in := servertest.Need(t, servers.MySQL, servers.Redis)
	b := &bench{
		T: t, rows: knob(t, "ROWS", 500_000), rounds: knob(t, "ROUNDS", 3), tableRows: knob(t, "TABLE_ROWS", 500_000),
		seconds: time.Duration(knob(t, "SECONDS", 8)) * time.Second, profiles: os.Getenv("ROWFALL_BENCH_PROFILE"),
	}
	b.report.say("%d cores, %s %s/%s, %s, %s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		in.Version(servers.MySQL), in.Version(servers.Redis))
	b.report.say("Load average before: %s", loadAverage())
	b.source = newSource(t)
	b.streams()
	b.latency()
	b.table()
	b.report.note("Servers, load and contenders share the cores: only ratios within one run mean something. CPU is that of the contender's process alone.")
	b.report.note("The run took %s.", time.Since(began).Round(time.Second))
	fmt.Println(&b.report)
}

// loadAverage tells whether the machine had other work.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func knob(t *testing.T, name string, value int) int {
	text := os.Getenv("ROWFALL_BENCH_" + name)
	if text == "" {
		return value
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ROWFALL_BENCH_%s: %q is not a number of 1 or more", name, text)
	}
	return n
}

// round is what a contender did with the stream once.
type round struct {
	rate    float64 // rows/s where the contender hands them on
	replica float64 // rows/s at the replica
	cpu     float64 // seconds per row
}

func newRound(m message) round {
	n := float64(m.Last.Rows - m.First.Rows)
	return round{rate: n / m.Last.Time.Sub(m.First.Time).Seconds(), cpu: cpu(m.First, m.Last) / n}
}

func cpu(first, last usage) float64 {
	return (last.User + last.System - first.User - first.System).Seconds()
}

// streams lets every contender read the same stretch of binlog.
func (b *bench) streams() {
	b.source.exec(b.source.conn, `FLUSH BINARY LOGS`)
	base := b.emptyNode()
	began := time.Now()
	st := b.source.generate(b.rows)
	b.report.say("The stream: %s rows in %s transactions, %s bytes of binlog, GTIDs on; medians of %d rounds",
		thousands(float64(st.rows)), thousands(float64(st.transactions)), thousands(float64(st.bytes)), b.rounds)
	b.Logf("the stream was written in %s", time.Since(began).Round(time.Millisecond))

	rounds := make(map[string][]round)
	for n := range b.rounds {
		one := func(name string, r round) {
			b.Logf("round %d: %-8s %16s, at the replica %16s, %s of CPU per row", n+1, name, rows(r.rate), rows(r.replica), micros(r.cpu))
			rounds[name] = append(rounds[name], r)
		}
		one("drain", b.drain(st))
		one("node", b.node(st, base, fmt.Sprintf("node-%d", n+1)))
		r, cascade := b.replica(st, base, fmt.Sprintf("replica-%d", n+1))
		one("replica", r)
		r, plain := b.canal(st)
		one("canal", r)
		if n == 0 {
			b.same(cascade, plain)
		}
		cascade.stop()
		plain.stop()
	}
	b.reportStreams(rounds)
}

// reportStreams compares contenders within each round, because the machine differs from round to round.
func (b *bench) reportStreams(rounds map[string][]round) {
	rate := func(r round) float64 { return r.rate }
	replica := func(r round) float64 { return r.replica }
	spent := func(r round) float64 { return r.cpu }
	compare := func(figure, ours, theirs string, value func(round) float64, unit func(float64) string, aim func(ratio float64) string) {
		var own, other, ratios []float64
		for n, r := range rounds[ours] {
			own, other = append(own, value(r)), append(other, value(rounds[theirs][n]))
			ratios = append(ratios, own[n]/other[n])
		}
		b.report.add(figure, unit(median(own)), unit(median(other)), times(median(ratios)), aim(median(ratios)))
	}
	none := func(float64) string { return "" }
	fast := func(ratio float64) string { return goal("at least 3x", ratio >= 3) }
	cheap := func(ratio float64) string { return goal("at most 0.2x", ratio <= 0.2) }
	b.report.section("OLTP stream, beside canal + go-redis pipelines of 1,000")
	compare("streaming, at the node", "node", "canal", rate, rows, fast)
	compare("streaming, at a redis replica", "replica", "canal", replica, rows, none)
	compare("CPU per row, node", "node", "canal", spent, micros, cheap)
	compare("CPU per row, feeding a replica", "replica", "canal", spent, micros, cheap)
	b.report.section("OLTP stream, beside reading the binlog by binlog/dump and nothing else")
	compare("streaming, at the node", "node", "drain", rate, rows, none)
	compare("CPU per row, node", "node", "drain", spent, micros, none)
}

// emptyNode makes the folder of a node that has loaded the tables, which are empty yet: rounds start from copies of it,
// as a node does that was away while the stream was written.
func (b *bench) emptyNode() string {
	dir := b.TempDir()
	c := start(b, job{Contender: "rowfall", MySQL: b.source.addr, Tables: "bench", Start: "snapshot", Dir: dir})
	c.expect("ready")
	c.tell("go")
	c.expect("done")
	c.stop()
	return dir
}

// returning starts a node that was away.
func (b *bench) returning(base string) (c *child, addr string) {
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		b.Fatal(err)
	}
	c = start(b, job{Contender: "rowfall", MySQL: b.source.addr, Tables: "bench", Start: "snapshot", Dir: dir, Catchup: true})
	return c, c.expect("ready").Addr
}

func (b *bench) drain(st stretch) round {
	c := start(b, job{Contender: "drain", MySQL: b.source.addr, Tables: "bench", Start: st.start.String()})
	r := newRound(b.complete(c, st))
	c.stop()
	return r
}

// complete waits for a contender's end of the stream.
func (b *bench) complete(c *child, st stretch) message {
	m := c.expect("done")
	if m.Last.Rows != uint64(st.rows) {
		b.Fatalf("%s: saw %d rows of %d", c.name, m.Last.Rows, st.rows)
	}
	return m
}

func (b *bench) node(st stretch, base, profile string) round {
	c, _ := b.returning(base)
	stopProfile := c.profile(b.profiles, profile)
	c.tell("go")
	r := newRound(b.complete(c, st))
	stopProfile()
	c.stop()
	return r
}

// replica counts the node's CPU up to the moment when the replica has the last row.
func (b *bench) replica(st stretch, base, profile string) (round, server) {
	c, addr := b.returning(base)
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{ReplicaOf: addr})
	s := dialServer(b, cache.Addr())
	s.stop = func() { _ = cache.Stop() } // the test's end tells of it
	s.linked()
	stopProfile := c.profile(b.profiles, profile)
	c.tell("go")
	at := s.marked()
	m := b.complete(c, st)
	c.tell("usage")
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

func (b *bench) canal(st stretch) (round, server) {
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	c := start(b, job{Contender: "canal", MySQL: b.source.addr, Tables: "bench", Start: st.start.String(), Redis: cache.Addr()})
	r := newRound(b.complete(c, st))
	r.replica = r.rate
	c.stop()
	s := dialServer(b, cache.Addr())
	s.stop = func() { _ = cache.Stop() }
	return r, s
}

// same checks that both ways led to the same rows, JSON text aside: a contender that did less would win.
func (b *bench) same(ours, theirs server) {
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

// live is what a contender did under a live load.
type live struct {
	latency
	cpu float64 // seconds per row
}

// pace puts a contender under a live load and watches its rows arrive.
func (b *bench) pace(c *child, name string, rate int, target server) live {
	stopProfile := c.profile(b.profiles, fmt.Sprintf("live-%s-%d", name, rate))
	defer stopProfile()
	c.tell("usage")
	first := c.expect("usage").Last
	l := latencies(b.source, rate, b.seconds, target)
	c.tell("usage")
	return live{l, cpu(first, c.expect("usage").Last) / float64(l.rows)}
}

// latency paces live loads, at Rowfall and then at the handler.
func (b *bench) latency() {
	b.source.exec(b.source.conn, `INSERT INTO bench.beat VALUES (1, 0)`)
	rates := []int{1000, 10_000}
	c := start(b, job{Contender: "rowfall", MySQL: b.source.addr, Tables: "bench", Start: "snapshot", Dir: b.TempDir()})
	addr := c.expect("ready").Addr
	c.tell("go")
	c.expect("done")
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{ReplicaOf: addr})
	replica := dialServer(b, cache.Addr())
	replica.linked()
	node := dialServer(b, addr)
	// One after the other, so that the node's CPU holds no reads while the replica is watched.
	var atNode, ours, theirs []live
	for _, rate := range rates {
		ours = append(ours, b.pace(c, "replica", rate, replica))
		atNode = append(atNode, b.pace(c, "node", rate, node))
	}
	c.stop()
	_ = cache.Stop() // the test's end tells of it

	plain := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	c = start(b, job{
		Contender: "canal", MySQL: b.source.addr, Tables: "bench", Start: b.source.end().String(), Redis: plain.Addr(), FlushAfter: time.Millisecond,
	})
	c.expect("ready")
	for _, rate := range rates {
		theirs = append(theirs, b.pace(c, "canal", rate, dialServer(b, plain.Addr())))
	}
	c.stop()
	b.reportLatency(rates, atNode, ours, theirs)
}

func (b *bench) reportLatency(rates []int, atNode, atReplica, atRival []live) {
	b.report.section("Latency from commit to visible, p50 / p99, beside canal + go-redis pipelines of 1 ms")
	for i, rate := range rates {
		node, replica, rival := atNode[i], atReplica[i], atRival[i]
		aim := ""
		switch {
		case replica.rate < 0.95*float64(rate): // too little for a verdict
			aim = "the load did not come about: MySQL took " + rows(replica.rate)
		case rate == 10_000:
			aim = goal("p99 under 50 ms", replica.p99 < 50*time.Millisecond)
		}
		name := thousands(float64(rate)) + " rows/s"
		b.report.add(name+", at the node", node.String(), rival.String(), times(node.p99.Seconds()/rival.p99.Seconds()), "")
		b.report.add(name+", at a redis replica", replica.String(), rival.String(), times(replica.p99.Seconds()/rival.p99.Seconds()), aim)
		b.report.add(name+", CPU per row", micros(replica.cpu), micros(rival.cpu), times(replica.cpu/rival.cpu), "")
		for j, l := range []live{node, replica, rival} {
			b.report.note("Latency at %s, %s: %s really came, %d commits timed, %d never seen, the longest %s.",
				name, []string{"node", "replica", "canal"}[j], rows(l.rate), l.samples, l.lost, millis(l.most))
		}
	}
	b.report.note("The probe looks every %s, which is part of each latency.", pollEvery)
}

// table loads rows by SELECT, and weighs them.
func (b *bench) table() {
	b.source.exec(b.source.conn, fmt.Sprintf(fillPeople, b.tableRows))
	n := float64(b.tableRows)
	selected := b.selectAll()

	c := start(b, job{Contender: "rowfall", MySQL: b.source.addr, Tables: "census", Start: "snapshot", Dir: b.TempDir()})
	addr := c.expect("ready").Addr
	stopProfile := c.profile(b.profiles, "snapshot")
	c.tell("go")
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
	synced := s.linked().Sub(began)
	c.stop()
	if keys := s.DBSize(b.Context()).Val(); keys < int64(b.tableRows) {
		b.Fatalf("the replica holds %d keys of %d", keys, b.tableRows)
	}
	resident = s.number("used_memory_rss") - resident

	b.report.section(fmt.Sprintf("First load of %s rows of eight fields, and their memory", thousands(n)))
	took := m.Last.Time.Sub(m.First.Time).Seconds()
	b.report.add("snapshot to the node, beside the SELECT alone", rows(n/took), rows(n/selected), times(selected/took), "")
	b.report.add("CPU per row of the snapshot", micros(cpu(m.First, m.Last)/n), "", "", "")
	b.report.add("full resync of a replica", rows(n/synced.Seconds()), "", "", "")
	held, other := float64(m.Last.Resident-m.First.Resident), float64(resident)
	b.report.add("resident memory per row", bytesPerRow(held/n), bytesPerRow(other/n), times(held/other), "")
	held -= float64(m.Window)
	b.report.add(fmt.Sprintf("the same without the log's window of %d MiB", m.Window>>20), bytesPerRow(held/n), bytesPerRow(other/n), times(held/other), "")
}

// selectAll returns the seconds that the server needs to send the table.
func (b *bench) selectAll() float64 {
	began, n := time.Now(), 0
	err := b.source.conn.Stream(b.Context(), `SELECT * FROM census.people`, func([][]byte) error { n++; return nil })
	if err != nil {
		b.Fatal(err)
	}
	if n != b.tableRows {
		b.Fatalf("SELECT gave %d rows of %d", n, b.tableRows)
	}
	return time.Since(began).Seconds()
}
