package pipelines_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// heapReachable returns the bytes of Go's heap that are in use.
func heapReachable() int64 {
	runtime.GC()
	runtime.GC() // what has a finalizer is freed by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// heapResident returns the bytes that the heap has taken from the system and not returned.
func heapResident() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapSys - m.HeapReleased)
}

// watchHeap samples the heap with its garbage. stop ends this and returns the largest sample.
func watchHeap(ctx context.Context) (stop func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan int64, 1)
	go func() {
		var found int64
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			found = max(found, int64(m.HeapAlloc))
			select {
			case <-ctx.Done():
				most <- found
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 { cancel(); return <-most }
}

// TestHugeValues measures what huge values take on their way, in multiples of one value, and what
// they leave behind. The buffers of plan, unit, sink and stream never shrank, and each of them was
// grown by copying.
func TestHugeValues(t *testing.T) {
	db := servertest.Database(t, servers.MySQL,
		servers.DatabaseOptions{GTID: true, Args: []string{"--max-allowed-packet=1G"}})
	for _, test := range []struct {
		name, write string
		most        float64
	}{
		// Measured: 3.2 to 4.1, and 5.0 to 7.1.
		{"OneOutput", `[{hash: "t:{id}"}]`, 6},
		{
			"ThreeOutputs",
			`[{hash: "t:{id}"}, {string: "v:{id}", value: "{v}"}, {json: "j:{id}"}]`,
			9,
		},
	} {
		if keyspaceOnHeap && test.name != "OneOutput" && os.Getenv("ROWFALL_LONG") == "" {
			continue // a minute under the race detector
		}
		t.Run(test.name, func(t *testing.T) {
			testHugeValues(t, newDatabase(t, db), test.write, hugeValue, test.most)
		})
	}
	if os.Getenv("ROWFALL_LONG") != "" {
		t.Run("Hundreds", func(t *testing.T) {
			testHugeValues(t, newDatabase(t, db), `[{hash: "t:{id}"}]`, hundreds, 6)
		})
	}
}

// waitForLength waits until a replica holds a value of the given length.
func waitForLength(t *testing.T, replica *redis.Client, key string, want int64) {
	t.Helper()
	waitFor(t, "the replica has the value of "+key, func() bool {
		n, err := replica.Do(t.Context(), "HSTRLEN", key, "v").Int64()
		return err == nil && n == want
	})
}

func testHugeValues(t *testing.T, d *database, write string, huge int64, most float64) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)",
		fmt.Sprintf("INSERT INTO t VALUES (1, REPEAT('x', %d))", huge))
	floor := heapReachable()
	var m *runningInstance
	check := func(what string, bytes int64, most float64) {
		t.Helper()
		if keyspaceOnHeap {
			bytes -= m.Node.Status().Memory.Mapped
			most *= 2 // garbage of the keyspace is among it
		}
		if ratio := float64(bytes-floor) / float64(huge); ratio > most {
			t.Errorf("%s takes %.2f times a value, want at most %v", what, ratio, most)
		} else {
			t.Logf("%s takes %.2f times a value", what, ratio)
		}
	}
	watch := watchHeap(t.Context())
	m = runInstance(
		t,
		d.config(
			`.*": {}`,
			`.t": {write: `+write+`}`,
			"max_atomic_rows: 10000",
			"max_atomic_rows: 10000, log: {memory: 1MiB}",
		),
	)
	m.wait(d)
	check("the load", watch(), most)
	check("what the load leaves", heapReachable(), 0.5)
	var replica *redis.Client
	if huge >= hundreds {
		cache := servertest.Cache(t, servers.Redis, servers.CacheOptions{ReplicaOf: m.Node.Addr()})
		replica = redis.NewClient(&redis.Options{Addr: cache.Addr()})
		defer func() { _ = replica.Close() }()
		waitForLength(t, replica, "t:1", huge)
	}
	for _, step := range []struct{ name, sql string }{
		{"an INSERT", "INSERT INTO t VALUES (2, REPEAT('y', %d))"},
		{"an UPDATE", "UPDATE t SET v = REPEAT('z', %d) WHERE id = 2"},
	} {
		watch = watchHeap(t.Context())
		d.exec(fmt.Sprintf(step.sql, huge))
		m.wait(d)
		check(step.name, watch(), most)
		check("what "+step.name+" leaves", heapReachable(), 0.5)
		if replica != nil {
			waitForLength(t, replica, "t:2", huge)
		}
	}
	if !keyspaceOnHeap {
		// Apart from the DELETE, which must be noticed by itself: its unit is small.
		waitFor(t, "the memory of the UPDATE is returned",
			func() bool { return heapResident()-floor < huge })
	}
	d.exec("DELETE FROM t")
	m.wait(d)
	waitFor(t, "the memory of the deleted values is returned",
		func() bool { return m.Node.Status().Memory.Mapped < huge })
	if !keyspaceOnHeap {
		var resident int64
		defer func() {
			t.Logf("%d MiB of the heap are resident, %d were in use before",
				resident>>20, floor>>20)
		}()
		waitFor(t, "the memory of the buffers is returned", func() bool {
			resident = heapResident()
			return resident-floor < huge
		})
	}
}
