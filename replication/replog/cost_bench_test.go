package replog_test

import (
	"fmt"
	"testing"

	"rowfall/internal/benchrow"
	"rowfall/replication/replog"
)

// BenchmarkCostLog appends units to the log, which flushes every second.
func BenchmarkCostLog(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			l := open(b, b.TempDir(), replog.Config{Fsync: replog.EverySecond, Keep: 64 << 20})
			unit := benchrow.AppendUnit(nil, 4711, rows)
			retained := l.End()
			meter := benchrow.Start(b)
			for b.Loop() {
				if _, err := l.Append(replog.Unit, unit); err != nil {
					b.Fatal(err)
				}
				if l.End()-retained >= 64<<20 {
					retained = l.End()
					if err := l.Retain(retained); err != nil {
						b.Fatal(err)
					}
				}
			}
			meter.Report(b.N * rows)
			b.ReportMetric(float64(len(unit))/float64(rows), "bytes/row")
		})
	}
}
