package keyspace_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// tableRow appends an HSET of one row of a table with the given number of columns: 4, 8 or 13. Rows
// of 4 columns have two long texts, as those of sysbench have.
func tableRow(dst []byte, columns, id, version int) []byte {
	switch columns {
	case 4:
		return resp.AppendCommand(dst, "HSET", fmt.Sprintf("sbtest:%d", id), "id", fmt.Sprint(id),
			"k", fmt.Sprint(500_000+version), "c", strings.Repeat("c", 119), "pad",
			strings.Repeat("p", 59))
	case 8:
		return row(dst, id, version)
	}
	return resp.AppendCommand(dst, "HSET", fmt.Sprintf("orders:%d", id), "id", fmt.Sprint(id),
		"customer_id", "3123456789", "warehouse", "117", "priority", "5", "total",
		fmt.Sprintf("%d.55", 4000+version), "tax", "812.20",
		"created_at", "2026-11-29 18:20:01.123456", "updated_at", "2026-11-29 18:20:01.123",
		"status", "new", "email", fmt.Sprintf("customer%d@example.com", id), "city", "São Paulo",
		"note", "leave it with the neighbours",
		"details", `{"channel": "web", "items": 4, "gift": false, "codes": ["A1", "B2"]}`)
}

// tableKey is the key of a row that tableRow writes.
func tableKey(columns, id int) string {
	return fmt.Sprintf(map[int]string{4: "sbtest:%d", 8: "users:%010d", 13: "orders:%d"}[columns],
		id)
}

// tableDelta appends an HSET of the changed columns of a row.
func tableDelta(dst []byte, columns, id, version int) []byte {
	key := tableKey(columns, id)
	switch columns {
	case 4:
		return resp.AppendCommand(dst, "HSET", key, "k", fmt.Sprint(500_000+version))
	case 8:
		return resp.AppendCommand(dst, "HSET", key, "status", "gone", "score",
			fmt.Sprint(version%100))
	}
	return resp.AppendCommand(dst, "HSET", key, "total", fmt.Sprintf("%d.55", 4000+version),
		"updated_at", "2026-11-29 18:25:02.456", "status", "shipped")
}

// tablePosition appends the command that moves the position of a pipeline.
func tablePosition(dst []byte, number int) []byte {
	return resp.AppendCommand(dst, "HSET", "rowfall:position:shop", "gtid",
		fmt.Sprintf("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-%d", 1_000_000+number), "offset",
		fmt.Sprint(154*number), "time", fmt.Sprint(1_700_000_000_000_000+number))
}

// tableUnit encodes a unit of size rows, each written by one, with a position.
func tableUnit(number, size int, one func(dst []byte, i int) []byte) []byte {
	u := resp.AppendCommand(nil, "MULTI")
	for i := range size {
		u = one(u, number*size+i)
	}
	return resp.AppendCommand(tablePosition(u, number), "EXEC")
}

// stageBench applies units and counts the CPU time of their rows.
type stageBench struct {
	b    *testing.B
	rows int // of a unit
	k    *keyspace.Keyspace
	done int // units of a pass
	// cpu is the CPU time of each part of a pass, that of the fastest pass.
	cpu []time.Duration
}

func newStageBench(b *testing.B, rows int) *stageBench {
	b.ReportAllocs()
	return &stageBench{b: b, rows: rows}
}

// fill makes a new keyspace with n rows.
func (s *stageBench) fill(n, columns int) {
	s.k = keyspace.New(keyspace.Options{HiddenPrefix: "rowfall:state:"})
	mustApply(s.b, s.k, tablePosition(nil, 0))
	mustApply(s.b, s.k, tablePosition(nil, 0))
	for i := range n {
		mustApply(s.b, s.k, tableRow(nil, columns, i, 0))
	}
}

// run applies all units once. Other processes disturb some parts of each pass, so it keeps the
// shortest time of each part.
func (s *stageBench) run(units [][]byte) {
	s.done = len(units)
	size := max(500/s.rows, 1)
	for i := 0; len(units) > 0; i++ {
		start := cpuTime()
		for _, u := range units[:min(size, len(units))] {
			mustApply(s.b, s.k, u)
		}
		units = units[min(size, len(units)):]
		cpu := cpuTime() - start
		if i == len(s.cpu) {
			s.cpu = append(s.cpu, cpu)
		}
		s.cpu[i] = min(s.cpu[i], cpu)
	}
}

func (s *stageBench) report() {
	sum := time.Duration(0)
	for _, cpu := range s.cpu {
		sum += cpu
	}
	s.b.ReportMetric(float64(sum)/float64(s.done*s.rows), "cpu-ns/row")
}

// BenchmarkStage measures Stage and Publish of units with 1, 10 and 100 rows, for tables of several
// widths. An operation is one pass over all rows. The result is cpu-ns/row.
func BenchmarkStage(b *testing.B) {
	const n = 20_000
	random := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for _, columns := range []int{4, 8, 13} {
		for _, size := range []int{1, 10, 100} {
			for _, c := range []struct {
				name  string
				empty bool
				one   func(dst []byte, i int) []byte
			}{
				{"insert", true, func(dst []byte, i int) []byte {
					return tableRow(dst, columns, i, 1)
				}},
				{"replace", false, func(dst []byte, i int) []byte {
					return tableRow(dst, columns, random[i], 1)
				}},
				{"delta", false, func(dst []byte, i int) []byte {
					return tableDelta(dst, columns, random[i], i)
				}},
				{"delete", false, func(dst []byte, i int) []byte {
					return resp.AppendCommand(dst, "DEL", tableKey(columns, random[i]))
				}},
			} {
				b.Run(fmt.Sprintf("%s/columns=%d/unit=%d", c.name, columns, size),
					func(b *testing.B) {
						s := newStageBench(b, size)
						var all [][]byte
						for i := range n / size {
							all = append(all, tableUnit(i, size, c.one))
						}
						s.fill(n, columns)
						for b.Loop() {
							if c.empty || c.name == "delete" {
								b.StopTimer()
								if s.k = nil; c.empty {
									s.fill(2, columns)
								} else {
									s.fill(n, columns)
								}
								b.StartTimer()
							}
							s.run(all)
						}
						s.report()
					})
			}
		}
	}
}

// BenchmarkStagePosition measures units without rows, which only move the position.
func BenchmarkStagePosition(b *testing.B) {
	const n = 10_000
	s := newStageBench(b, 1)
	var all [][]byte
	for i := range n {
		all = append(all, tablePosition(nil, i))
	}
	s.fill(2, 4)
	for b.Loop() {
		s.run(all)
	}
	s.report()
}
