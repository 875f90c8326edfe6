package keyspace_test

import (
	"fmt"
	"runtime"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// row is a HSET of a complete row: eight fields, about 110 bytes of payload.
func row(dst []byte, id, version int) []byte {
	return resp.AppendCommand(dst, "HSET", fmt.Sprintf("users:%010d", id), "id", fmt.Sprint(id),
		"name", fmt.Sprintf("name-%d", version), "email", "someone@example.com", "country", "SE",
		"status", "active", "created", "2024-01-01 00:00:00", "age", "42", "score", "17")
}

func units(n, versions int) [][]byte {
	all := make([][]byte, 0, n)
	for i := range n {
		all = append(all, row(nil, i, versions))
	}
	return all
}

func mustApply(b testing.TB, k *keyspace.Keyspace, unit []byte) {
	if err := k.Stage(unit); err != nil {
		b.Fatal(err)
	}
	k.Publish()
}

// applyAll applies units repeatedly, in an order that CPU caches cannot predict.
func applyAll(b *testing.B, k *keyspace.Keyspace, all [][]byte) {
	b.ReportAllocs()
	start := cpuTime()
	i := 0
	for b.Loop() {
		mustApply(b, k, all[i*7919%len(all)])
		i++
	}
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
}

// A unit is one HSET of a complete row into an existing key.
func BenchmarkStageHSET(b *testing.B) {
	const n = 100_000
	k := keyspace.New(keyspace.Options{})
	for _, u := range units(n, 1) {
		mustApply(b, k, u)
	}
	all := units(n, 2)
	applyAll(b, k, all)
}

// A unit is one HSET of a row under a new key.
func BenchmarkStageHSETFresh(b *testing.B) {
	const n = 200_000
	all := units(n, 1)
	b.ReportAllocs()
	var k *keyspace.Keyspace
	i := 0
	for b.Loop() {
		if i%n == 0 {
			k = keyspace.New(keyspace.Options{})
		}
		mustApply(b, k, all[i%n])
		i++
	}
}

// A unit is MULTI, four rows and a position, EXEC; results are per unit.
func BenchmarkStageUnit(b *testing.B) {
	const n = 20_000
	k := keyspace.New(keyspace.Options{HiddenPrefix: "rowfall:state:"})
	var all [][]byte
	for i := range n {
		u := resp.AppendCommand(nil, "MULTI")
		for j := range 4 {
			u = row(u, 4*i+j, 1)
		}
		u = resp.AppendCommand(u, "HSET", "rowfall:position:shop", "gtid",
			fmt.Sprintf("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-%d", i), "file", "binlog.000003",
			"offset", fmt.Sprint(154*i), "time", "1700000000000000", "state", "streaming")
		all = append(all, resp.AppendCommand(u, "EXEC"))
	}
	applyAll(b, k, all)
}

func BenchmarkStageField(b *testing.B) {
	const n = 100_000
	k := keyspace.New(keyspace.Options{})
	var all [][]byte
	for i, u := range units(n, 1) {
		mustApply(b, k, u)
		all = append(all,
			resp.AppendCommand(nil, "HSET", fmt.Sprintf("users:%010d", i), "score", "18"))
	}
	applyAll(b, k, all)
}

func BenchmarkStageDEL(b *testing.B) {
	const n = 100_000
	all := units(n, 1)
	var dels [][]byte
	for i := range n {
		dels = append(dels, resp.AppendCommand(nil, "DEL", fmt.Sprintf("users:%010d", i)))
	}
	k := keyspace.New(keyspace.Options{})
	i := 0
	for b.Loop() {
		if i%n == 0 {
			b.StopTimer()
			for _, u := range all {
				mustApply(b, k, u)
			}
			b.StartTimer()
		}
		mustApply(b, k, dels[i%n])
		i++
	}
}

func BenchmarkStageBig(b *testing.B) {
	for _, c := range []struct{ name, command string }{
		{"SADD", "SADD"}, {"ZADD", "ZADD"}, {"HSET", "HSET"},
	} {
		b.Run(c.name, func(b *testing.B) {
			const n = 200_000
			var all [][]byte
			for i := range n {
				args := []string{c.command, "big"}
				switch c.command {
				case "ZADD":
					args = append(args, fmt.Sprint(i*7919%n), fmt.Sprintf("member:%d", i))
				case "HSET":
					args = append(args, fmt.Sprintf("member:%d", i), "some value")
				default:
					args = append(args, fmt.Sprintf("member:%d", i))
				}
				all = append(all, resp.AppendCommand(nil, args...))
			}
			b.ReportAllocs()
			k := keyspace.New(keyspace.Options{})
			i := 0
			for b.Loop() {
				if i%n == 0 {
					k = keyspace.New(keyspace.Options{})
				}
				mustApply(b, k, all[i%n])
				i++
			}
		})
	}
}

func BenchmarkExecute(b *testing.B) {
	const n = 100_000
	k := keyspace.New(keyspace.Options{})
	for _, u := range units(n, 1) {
		mustApply(b, k, u)
	}
	names := make([][]byte, n)
	for i := range names {
		names[i] = fmt.Appendf(nil, "users:%010d", i)
	}
	for _, name := range []string{"HGETALL", "HGET", "TYPE"} {
		b.Run(name, func(b *testing.B) {
			args := [][]byte{[]byte(name), nil}
			if name == "HGET" {
				args = append(args, []byte("score"))
			}
			var w resp.Writer
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				args[1] = names[i*7919%n]
				w.Reset(w.Bytes()[:0], 2)
				k.Execute(&w, args)
				i++
			}
		})
	}
}

// A million rows: bytes per row, and the cost of a snapshot.
func BenchmarkSnapshot(b *testing.B) {
	const n = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	k := keyspace.New(keyspace.Options{})
	var u []byte
	for i := range n {
		u = row(u[:0], i, 1)
		mustApply(b, k, u)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		k.Snapshot().Close()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/row")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/n, "objects/row")
}
