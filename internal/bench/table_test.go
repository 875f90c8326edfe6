//go:build bench

package bench_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// tableLoad is the initial load of the table by a node.
type tableLoad struct {
	rate float64 // rows/s
	cpu  float64 // seconds per row
}

// measureTable measures the initial load of a table, the full resync of a replica that joins
// afterwards, and the memory of both after updates of the rows.
func (b *bench) measureTable() {
	for n := 0; n < b.tableRows; n += batchRows {
		b.source.exec(b.source.conn,
			fmt.Sprintf(insertPeople, n+1, min(n+batchRows, b.tableRows)))
	}
	// Whether the load divides the table depends on the estimate of its rows.
	b.source.exec(b.source.conn, `ANALYZE TABLE census.people`)
	var selected, rates, costs, before, beforeCosts, joined []float64
	var c *child
	var addr string
	for n := range b.rounds {
		if c != nil {
			c.stop()
		}
		selected = append(selected, b.selectAll())
		if b.before {
			old, addr, l := b.loadTable("rowfall-before", 0, "")
			before, beforeCosts = append(before, l.rate), append(beforeCosts, l.cpu)
			_, rate, stop := b.joinReplica(addr)
			joined = append(joined, rate)
			stop()
			old.stop()
		}
		var l tableLoad
		c, addr, l = b.loadTable("rowfall", 2, fmt.Sprintf("snapshot-%d", n+1))
		rates, costs = append(rates, l.rate), append(costs, l.cpu)
	}
	n := thousands(float64(b.tableRows))
	b.report.addSection("Initial load of " + n + " rows of eight fields, two SELECTs at a time")
	b.report.compare("initial load, compared to the SELECT", rates, selected, rows, atLeast(0.3))
	if b.before {
		b.report.compare("  before: initial load", rates, before, rows, atLeast(2))
	}
	b.report.addRow("CPU per row of the initial load", micros(median(costs)), "", "",
		goalText("at most 1.3 µs", median(costs) <= 1.3e-6))
	replica, rate, stop := b.joinReplica(addr)
	if b.before {
		b.report.compare("  before: CPU per row", costs, beforeCosts, micros, none)
		b.report.compare("full resync of an idle replica, compared to before",
			[]float64{rate}, []float64{median(joined)}, rows, none)
	} else {
		b.report.addRow("full resync of an idle replica", rows(rate), "", "", "")
	}
	b.measureUpdated(c, replica)
	c.stop()
	stop()
	for _, parallel := range []int{1, 4} {
		c, _, l := b.loadTable("rowfall", parallel, "")
		c.stop()
		b.report.addNote("With parallel: %d the initial load is %s, with %s of CPU per row.",
			parallel, rows(l.rate), micros(l.cpu))
	}
}

// loadTable starts a node that loads the table.
func (b *bench) loadTable(
	contender string, parallel int, profile string,
) (c *child, addr string, l tableLoad) {
	c = start(b, job{
		Contender: contender, MySQL: b.source.addr, Tables: "census", Start: "snapshot",
		Dir: b.TempDir(), Parallel: parallel,
	})
	addr = c.expect("ready").Addr
	stopProfile := func() {}
	if profile != "" {
		stopProfile = c.profile(b.profiles, profile)
	}
	c.send("go")
	m := c.expect("done")
	stopProfile()
	if m.Last.Rows != uint64(b.tableRows) {
		b.Fatalf("%s: loaded %d rows of %d", contender, m.Last.Rows, b.tableRows)
	}
	n := float64(b.tableRows)
	return c, addr, tableLoad{
		n / m.Last.Time.Sub(m.First.Time).Seconds(), cpu(m.First, m.Last) / n,
	}
}

// selectAll returns the rate at which the server sends the table, in rows/s.
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
	return float64(n) / time.Since(began).Seconds()
}

// replica is a redis-server that has all rows of a node.
type replica struct {
	server
	process process
}

// joinReplica attaches an idle Redis to a node that has loaded the table. It returns the rate of
// the full resync in rows/s.
func (b *bench) joinReplica(addr string) (r replica, rate float64, stop func()) {
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	r = replica{dialServer(b, cache.Addr()), process{b, cache.Pid()}}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := r.ReplicaOf(b.Context(), host, port).Err(); err != nil {
		b.Fatal(err)
	}
	synced := r.waitForLink().Sub(began)
	if keys := r.DBSize(b.Context()).Val(); keys < int64(b.tableRows) {
		b.Fatalf("the replica has %d keys of %d", keys, b.tableRows)
	}
	return r, float64(b.tableRows) / synced.Seconds(), func() {
		_ = cache.Stop() // the cleanup of the test reports an error
	}
}

// measureUpdated updates the rows, and compares the memory of a node and its replica.
func (b *bench) measureUpdated(c *child, r replica) {
	node, redis := process{b, c.cmd.Process.Pid}, r.process
	loaded := [2]float64{node.resident(), redis.resident()}
	took := b.updatePeople(r.server)
	updated := [2]float64{node.resident(), redis.resident()}
	b.report.addSection("Resident memory of the whole process, compared to a redis replica")
	b.reportMemory("after the initial load", b.tableRows, loaded, none)
	reach := atMost(0.75)
	if b.tableRows != 1_000_000 {
		reach = func(float64) string { return "(the goal is for 1,000,000 rows)" }
	}
	b.reportMemory(fmt.Sprintf("after %s updates", thousands(float64(b.updates))), b.tableRows,
		updated, reach)
	b.report.addNote("The largest resident memory of the node: %s, of redis: %s. "+
		"The rows were updated in %s.",
		mib(node.largest()), mib(redis.largest()), took.Round(time.Second))
}

// reportMemory reports the bytes of a node and of another server that hold the same rows.
func (b *bench) reportMemory(figure string, n int, held [2]float64, reach goal) {
	text := func(bytes float64) string { return mib(bytes) + ", " + bytesPerRow(bytes/float64(n)) }
	ratio := held[0] / held[1]
	b.report.addRow(figure, text(held[0]), text(held[1]), times(ratio), reach(ratio))
}

// updateRows is the number of rows that one statement updates.
const updateRows = 1000

// updatePeople updates rows of the table in ranges in random order, each row as often as the
// others, and waits until a replica has the last update. Text columns change their length.
func (b *bench) updatePeople(replica server) time.Duration {
	began := time.Now()
	order := rand.New(rand.NewPCG(1, 1))
	done := 0
	for pass := 1; done < b.updates; pass++ {
		for _, i := range order.Perm((b.tableRows + updateRows - 1) / updateRows) {
			if done >= b.updates {
				break
			}
			b.source.exec(b.source.conn, fmt.Sprintf(updatePeople, pass, pass,
				i*updateRows+1, (i+1)*updateRows))
			done += min(updateRows, b.tableRows-i*updateRows)
		}
	}
	b.source.exec(b.source.conn, `UPDATE census.people SET name = 'the last' WHERE id = 1`)
	replica.waitUntilEvery(100*time.Millisecond, "the replica has the last update", func() bool {
		name, err := replica.HGet(b.Context(), "people:1", "name").Result()
		if err != nil {
			b.Fatal(err)
		}
		return name == "the last"
	})
	return time.Since(began)
}
