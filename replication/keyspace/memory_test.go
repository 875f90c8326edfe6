package keyspace_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
)

// size returns a number from an environment variable.
func size(b *testing.B, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s: want a number above 0", name, text)
	}
	return n
}

// resident returns the bytes of memory that a process holds.
func resident(b *testing.B, pid string) float64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) * 1024
		}
	}
	b.Fatal("no VmRSS in ", string(status))
	return 0
}

// rowMemory returns by how much a server grows for rows, in resident bytes: after writing each
// once, and after random updates.
func rowMemory(b *testing.B, kind servers.Kind, rows, updates int) (fresh, updated float64) {
	b.Helper()
	server := servertest.Cache(b, kind, servers.CacheOptions{})
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	pid := strconv.Itoa(server.Pid())
	before := resident(b, pid)
	r := rand.New(rand.NewPCG(1, 1))
	feed(b, conn, rows, func(dst []byte, i int) []byte { return row(dst, i, 1) })
	fresh = resident(b, pid) - before
	feed(b, conn, updates, func(dst []byte, i int) []byte { return row(dst, r.IntN(rows), i) })
	updated = resident(b, pid) - before
	if err := server.Kill(); err != nil {
		b.Fatal(err)
	}
	return fresh, updated
}

// Resident bytes of a row of eight fields under a key of 16 bytes, in this
// process, and in a redis-server and a valkey-server that get the same commands:
// after writing each once, and after random updates. ROWS and UPDATES set the
// numbers, of 1 and 5 million.
func BenchmarkMemoryPerRow(b *testing.B) {
	rows, updates := size(b, "ROWS", 1_000_000), size(b, "UPDATES", 5_000_000)
	redisFresh, redisUpdated := rowMemory(b, servers.Redis, rows, updates)
	_, valkeyUpdated := rowMemory(b, servers.Valkey, rows, updates)

	debug.FreeOSMemory()
	before := resident(b, "self")
	k := keyspace.New(keyspace.Options{})
	r := rand.New(rand.NewPCG(1, 1))
	var u []byte
	for i := range rows {
		u = row(u[:0], i, 1)
		mustApply(b, k, u)
	}
	fresh := resident(b, "self")
	start := cpuTime()
	for i := range updates {
		u = row(u[:0], r.IntN(rows), i)
		mustApply(b, k, u)
	}
	spent := cpuTime() - start
	updated := resident(b, "self")
	m := k.Memory()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	runtime.KeepAlive(k)

	n := float64(rows)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((fresh-before)/n, "fresh-B/row")
	b.ReportMetric((updated-before)/n, "updated-B/row")
	b.ReportMetric(redisFresh/n, "redis-fresh-B/row")
	b.ReportMetric(redisUpdated/n, "redis-updated-B/row")
	b.ReportMetric(valkeyUpdated/n, "valkey-updated-B/row")
	b.ReportMetric((fresh-before)/redisFresh, "fresh-ratio")
	b.ReportMetric((updated-before)/redisUpdated, "updated-ratio")
	b.ReportMetric((updated-before)/valkeyUpdated, "updated-ratio-valkey")
	b.ReportMetric(float64(m.Live)/n, "live-B/row")
	b.ReportMetric(float64(m.Mapped)/n, "mapped-B/row")
	b.ReportMetric(float64(heap.HeapSys-heap.HeapReleased)/n, "go-heap-B/row")
	b.ReportMetric(100*float64(m.Garbage)/float64(m.Live+m.Garbage), "garbage-%")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(updates), "cpu-ns/update")
}

// feed sends n commands to a server and waits for its replies, which must all be integers of one
// digit.
func feed(b *testing.B, conn net.Conn, n int, command func(dst []byte, i int) []byte) {
	const batch, reply = 500, len(":0\r\n")
	out, in := []byte{}, make([]byte, batch*reply)
	for i := 0; i < n; {
		out = out[:0]
		m := min(batch, n-i)
		for range m {
			out = command(out, i)
			i++
		}
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < m*reply; {
			k, err := conn.Read(in[:m*reply-got])
			if err != nil || bytes.IndexByte(in[:k], '-') >= 0 {
				b.Fatalf("%q %v", in[:k], err)
			}
			got += k
		}
	}
}

// What the garbage collector costs while rows are updated at a steady rate:
// ROWS keys (2 million), RATE a second (50,000), for SECONDS (5).
func BenchmarkGC(b *testing.B) {
	rows, rate, seconds := size(b, "ROWS", 2_000_000), size(b, "RATE", 50_000), size(b, "SECONDS",
		5)
	k := keyspace.New(keyspace.Options{})
	var u []byte
	for i := range rows {
		u = row(u[:0], i, 1)
		mustApply(b, k, u)
	}
	r := rand.New(rand.NewPCG(1, 1))
	reportGC(b, k, rows, rate, seconds, "row",
		func(dst []byte, i int) []byte { return row(dst, r.IntN(rows), i) })
}

// reportGC applies commands at a steady rate for some seconds to a keyspace that holds n things of
// a kind. The runtime measures the collector's time by the wall clock: on a loaded machine the
// result is too high, even higher than all CPU time of the process.
func reportGC(b *testing.B, k *keyspace.Keyspace, n, rate, seconds int, kind string,
	command func(dst []byte, i int) []byte,
) {
	b.Helper()
	var u []byte
	runtime.GC()
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	gc, cycles := samples[0].Value.Float64(), samples[1].Value.Uint64()
	idle, allocated := samples[2].Value.Float64(), samples[3].Value.Uint64()
	start, begun := cpuTime(), time.Now()
	var steps []time.Duration
	for i := range rate * seconds {
		if i%max(rate/1000, 1) == 0 { // a group each millisecond
			at := time.Duration(i) * time.Second / time.Duration(rate)
			if ahead := at - time.Since(begun); ahead > 0 {
				<-time.After(ahead)
			}
		}
		u = command(u[:0], i)
		at := time.Now()
		mustApply(b, k, u)
		steps = append(steps, time.Since(at))
	}
	spent, passed := cpuTime()-start, time.Since(begun)
	at := time.Now()
	runtime.GC()
	full := time.Since(at)
	metrics.Read(samples)
	slices.Sort(steps)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*(samples[0].Value.Float64()-gc)/spent.Seconds(), "gc-%-of-cpu")
	b.ReportMetric(100*(samples[0].Value.Float64()-gc)/passed.Seconds(), "gc-%-of-a-core")
	b.ReportMetric(100*(samples[2].Value.Float64()-idle)/passed.Seconds(),
		"gc-idle-%-of-a-core") // of it, on a core that had nothing else to do
	b.ReportMetric(float64(samples[1].Value.Uint64()-cycles), "cycles")
	b.ReportMetric(float64(samples[3].Value.Uint64()-allocated)/float64(rate*seconds),
		"alloc-B/"+kind)
	b.ReportMetric(float64(full.Microseconds()), "full-gc-us")
	b.ReportMetric(float64(rate*seconds)/passed.Seconds(), kind+"s/s")
	b.ReportMetric(float64(steps[len(steps)*999/1000].Microseconds()), "p99.9-us")
	b.ReportMetric(resident(b, "self")/float64(n), "process-B/"+kind)
	runtime.KeepAlive(k)
}

// How long a unit of one row takes, with and without a concurrent read of a snapshot of ROWS keys
// (1 million).
func BenchmarkWriterBesideSnapshot(b *testing.B) {
	rows := size(b, "ROWS", 1_000_000)
	k := keyspace.New(keyspace.Options{})
	var u []byte
	for i := range rows {
		u = row(u[:0], i, 1)
		mustApply(b, k, u)
	}
	r := rand.New(rand.NewPCG(1, 1))
	run := func(more func(n int) bool) []time.Duration {
		var steps []time.Duration
		for n := 0; more(n); n++ {
			u = row(u[:0], r.IntN(rows), n)
			at := time.Now()
			mustApply(b, k, u)
			steps = append(steps, time.Since(at))
			if n%50 == 49 {
				<-time.After(500 * time.Microsecond) // about 50,000 rows a second
			}
		}
		slices.Sort(steps)
		return steps
	}
	normal := run(func(n int) bool { return n < 200_000 })
	at := time.Now()
	s := k.Snapshot()
	taken := time.Since(at)
	done, bytes := make(chan bool), 0
	go func() {
		defer close(done)
		if err := s.Each(func(e keyspace.Entry) error {
			for f, v := range e.Value.Fields {
				bytes += len(f) + len(v)
			}
			return nil
		}); err != nil {
			b.Error(err)
		}
	}()
	beside := run(func(int) bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	})
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", .5}, {"p99", .99}, {"p99.9", .999}, {"max", 1}} {
		of := func(steps []time.Duration) float64 {
			return float64(steps[int(p.at*float64(len(steps)-1))].Nanoseconds()) / 1000
		}
		b.ReportMetric(of(normal), fmt.Sprint("normal-", p.name, "-us"))
		b.ReportMetric(of(beside), fmt.Sprint("beside-", p.name, "-us"))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(taken.Microseconds()), "taken-us")
	b.ReportMetric(float64(len(beside)), "beside-units")
}
