package replication_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// joinTime returns the time from REPLICAOF on a fresh server until its link is up.
func joinTime(b *testing.B, kind servers.Kind, master string, args ...string) time.Duration {
	b.Helper()
	srv := servertest.Cache(b, kind, servers.CacheOptions{Args: args})
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	host, port, _ := net.SplitHostPort(master)
	began := time.Now()
	if _, err := conn.Write(unit("REPLICAOF", host, port)); err != nil {
		b.Fatal(err)
	}
	waitInfo(b, srv.Addr(), "replication", "master_link_status", "up")
	took := time.Since(began)
	if err := srv.Kill(); err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkFullResync compares a full resync of a Redis 8 from a node, with and without an existing
// snapshot file, with one from a Redis 8 master in the same run. It does the same with Valkey, and
// measures what the plain form costs a Redis 7.0.
func BenchmarkFullResync(b *testing.B) {
	servertest.Need(b, servers.Redis, servers.RedisStable, servers.Valkey)
	rows := benchRows()
	packed, plain := benchNode(b, replication.Config{AssumeReplicas: "7.0"}), benchNode(b,
		replication.Config{})
	applyRows(b, packed, 0, rows)
	applyRows(b, plain, 0, rows)
	masters := map[servers.Kind]string{}
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		srv := servertest.Cache(b, kind,
			servers.CacheOptions{Args: []string{"--repl-diskless-sync-delay", "0"}})
		load(b, srv.Addr(), rows, row)
		masters[kind] = srv.Addr()
	}
	swap := []string{"--repl-diskless-load", "swapdb"}
	for b.Loop() {
		fresh := joinTime(b, servers.Redis, packed.Addr())
		there := joinTime(b, servers.Redis, packed.Addr())
		diskless := joinTime(b, servers.Redis, packed.Addr(), swap...)
		redis := joinTime(b, servers.Redis, masters[servers.Redis])
		redisDiskless := joinTime(b, servers.Redis, masters[servers.Redis], swap...)
		toValkey := joinTime(b, servers.Valkey, packed.Addr())
		valkey := joinTime(b, servers.Valkey, masters[servers.Valkey])
		stable := joinTime(b, servers.RedisStable, packed.Addr())
		stablePlain := joinTime(b, servers.RedisStable, plain.Addr())
		b.Logf("%d rows to redis 8: new file %v, file there %v, there and diskless load %v",
			rows, fresh, there, diskless)
		b.Logf("from redis 8 %v, diskless load %v", redis, redisDiskless)
		b.Logf("to valkey 9: file there %v, from valkey 9 %v; to redis 7.0: packed %v, plain %v",
			toValkey, valkey, stable, stablePlain)
		b.ReportMetric(redis.Seconds()/fresh.Seconds(), "x-redis/new-file")
		b.ReportMetric(redis.Seconds()/there.Seconds(), "x-redis/file-there")
		b.ReportMetric(redisDiskless.Seconds()/diskless.Seconds(), "x-redis/diskless")
		b.ReportMetric(valkey.Seconds()/toValkey.Seconds(), "x-valkey/file-there")
		b.ReportMetric(stablePlain.Seconds()/stable.Seconds(), "x-plain-7.0")
	}
}

// BenchmarkJoins measures the CPU time of this process for one join and for ten joins, over three
// rounds.
func BenchmarkJoins(b *testing.B) {
	rows := benchRows()
	for b.Loop() {
		var all [2]time.Duration
		for range 3 {
			var used, kernel [2]time.Duration
			for i, count := range []int{1, 10} {
				used[i], kernel[i] = joinCPU(b, rows, count)
				all[i] += used[i]
			}
			b.Logf("%d rows: one join %v (of it in the kernel %v), ten %v (%v)", rows, used[0],
				kernel[0], used[1], kernel[1])
		}
		b.ReportMetric(all[1].Seconds()/all[0].Seconds(), "x-cpu-of-ten")
	}
}

// joinCPU returns the CPU time of count joins at once, and the kernel's part of it.
func joinCPU(b *testing.B, rows, count int) (all, kernel time.Duration) {
	b.Helper()
	n := benchNode(b, replication.Config{})
	defer n.Close()
	applyRows(b, n, 0, rows)
	runtime.GC() // the garbage of the rows must not count as work of the joins
	was, inKernel := cpu()
	stop := followers(b, n, count)
	defer stop()
	all, kernel = cpu()
	if st := n.Status(); st.Snapshot.Written > 1 || st.FullSyncs != int64(count) {
		b.Errorf("%d snapshots for %d joins", st.Snapshot.Written, st.FullSyncs)
	}
	return all - was, kernel - inKernel
}
