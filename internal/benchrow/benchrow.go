// Package benchrow has the row that the benchmarks CostX of all packages share, so that the costs
// of the stages can be added up: a row of eight columns, inserted by a transaction of one or of
// many rows. docs/performance.md shows the sum.
package benchrow

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"rowfall/replication/resp"
)

// Table is the definition of the row's table, as tests of package transform write it.
const Table = "bench.people: id bigint pk; name varchar(60); email varchar(80); " +
	"city varchar(40); country char(2); balance decimal(12,2); visits int; joined datetime"

// Types and Metadata are those of a table map event: BIGINT, three VARCHAR, CHAR, DECIMAL, INT and
// DATETIME.
var (
	Types    = []byte{8, 15, 15, 15, 254, 246, 3, 18}
	Metadata = []byte{60, 0, 80, 0, 40, 0, 254, 2, 12, 2, 0}
)

// Present is the bitmap of the columns in an image.
var Present = []byte{0xff}

// Sizes are the numbers of rows of a transaction that benchmarks compare: a small transaction, and
// one whose own cost is divided among many rows.
var Sizes = []int{1, 100}

// AppendImage appends a row's image, as a rows event holds it.
func AppendImage(dst []byte, i int) []byte {
	id := strconv.Itoa(i)
	name, email := "customer number "+id, id+"@example.com"
	dst = binary.LittleEndian.AppendUint64(append(dst, 0), uint64(i)) // no column is NULL
	dst = append(append(dst, byte(len(name))), name...)
	dst = append(append(dst, byte(len(email))), email...)
	dst = append(dst, "\x07Zürich\x02CH"...)
	dst = append(dst, 0x80, 0, 0, 4, 210, 56) // 1234.56
	dst = binary.LittleEndian.AppendUint32(dst, uint32(1000+i%1000))
	return append(dst, 0x99, 0xb2, 0x42, 0, 0) // 2024-01-01 00:00:00
}

// AppendCommand appends the command that the row becomes.
func AppendCommand(dst []byte, i int) []byte {
	id := strconv.Itoa(i)
	return resp.AppendCommand(dst, "HSET", "people:"+id, "id", id,
		"name", "customer number "+id, "email", id+"@example.com", "city", "Zürich",
		"country", "CH", "balance", "1234.56", "visits", strconv.Itoa(1000+i%1000),
		"joined", "2024-01-01 00:00:00")
}

// AppendUnit appends the unit of a transaction: rows from first on, and the position.
func AppendUnit(dst []byte, first, rows int) []byte {
	dst = resp.AppendCommand(dst, "MULTI")
	for i := first; i < first+rows; i++ {
		dst = AppendCommand(dst, i)
	}
	dst = resp.AppendCommand(dst, "HSET", "rowfall:position:bench",
		"gtid", fmt.Sprintf("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-%d", first+1),
		"offset", strconv.Itoa(1000*first), "time", "1700000000000000")
	return resp.AppendCommand(dst, "EXEC")
}

// Meter measures the CPU time and the allocations of this process. CPU time depends less on other
// work of the machine than the time that passes.
type Meter struct {
	b      *testing.B
	used   time.Duration // without the part since Resume
	began  time.Duration
	before runtime.MemStats
}

// Start begins to measure.
func Start(b *testing.B) *Meter {
	m := &Meter{b: b}
	runtime.ReadMemStats(&m.before)
	m.Resume()
	return m
}

// Pause leaves out the CPU time until Resume.
func (m *Meter) Pause() { m.used += cpuTime(m.b) - m.began }

// Resume ends Pause.
func (m *Meter) Resume() { m.began = cpuTime(m.b) }

// Report ends the measurement, and reports its results for each row.
func (m *Meter) Report(rows int) {
	m.Pause()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	n := float64(rows)
	m.b.ReportMetric(float64(m.used.Nanoseconds())/n, "cpu-ns/row")
	m.b.ReportMetric(float64(after.Mallocs-m.before.Mallocs)/n, "allocs/row")
	m.b.ReportMetric(0, "ns/op") // leaves out the time of an operation
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
