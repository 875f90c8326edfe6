//go:build bench

package bench_test

import (
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// measureBigMemory feeds the same rows to a redis-server and to a node, one after the other, and
// compares their memory.
func (b *bench) measureBigMemory() {
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	dialServer(b, cache.Addr()).feed(b.bigRows, func(commands []byte, i int) []byte {
		return appendFedRow(commands, i, 0)
	})
	theirs := process{b, cache.Pid()}.resident()
	_ = cache.Stop() // the cleanup of the test reports an error

	c := start(b, job{Contender: "fed", Dir: b.TempDir(), Rows: b.bigRows})
	c.expect("ready")
	node := process{b, c.cmd.Process.Pid}
	ours, largest := node.resident(), node.largest()
	c.stop()

	reach := atMost(0.6)
	if b.bigRows != 10_000_000 {
		reach = func(float64) string { return "(the goal is for 10,000,000 rows)" }
	}
	b.report.addSection("Resident memory of the whole process, compared to redis-server")
	b.reportMemory("fed with "+thousands(float64(b.bigRows))+" rows", b.bigRows,
		[2]float64{ours, theirs}, reach)
	b.report.addNote("The largest resident memory of the fed node: %s.", mib(largest))
}
