package replication_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rowfall/internal/benchrow"
	"rowfall/replication"
	"rowfall/replication/replog"
)

// BenchmarkCostNode applies units to a node that has their keys, from one caller. With a replica,
// which is a process of its own, the cost includes sending: a unit of one row is sent by the
// caller's goroutine, and a unit of 100 rows by the replica's goroutine, which is woken. With
// pause=1ms each unit finds the process asleep. The cost then includes the timer that wakes the
// caller, in place of the socket that wakes a pipeline.
//
// The cost without a replica, less that of BenchmarkCostStage and BenchmarkCostLog, is that of the
// appender's turn and checks. The cost with a replica, less that without, is that of sending.
func BenchmarkCostNode(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		for _, pause := range []time.Duration{0, time.Millisecond} {
			for _, replicas := range []int{0, 1} {
				name := fmt.Sprintf("rows=%d/pause=%s/replicas=%d", rows, pause, replicas)
				b.Run(name, func(b *testing.B) { costOfNode(b, rows, pause, replicas) })
			}
		}
	}
}

func costOfNode(b *testing.B, rows int, pause time.Duration, replicas int) {
	const keys = 20_000
	units := make([][]byte, keys/rows)
	n := benchNode(b, replication.Config{})
	apply := func(i int) {
		if _, err := n.Apply(context.Background(), 0, units[i%len(units)]); err != nil {
			b.Fatal(err)
		}
	}
	for i := range units {
		units[i] = benchrow.AppendUnit(nil, i*rows, rows)
		apply(i)
	}
	defer followers(b, n, replicas)()
	meter := benchrow.Start(b)
	for i := 0; b.Loop(); i++ {
		if pause > 0 {
			time.Sleep(pause)
		}
		apply(i)
	}
	eventuallyB(b, func() bool {
		for _, r := range n.Status().Replicas {
			if r.Sent != n.Offset() {
				return false
			}
		}
		return true
	})
	meter.Report(b.N * rows)
}

// BenchmarkCostFsync applies units to a node without replicas with each fsync policy of its log.
func BenchmarkCostFsync(b *testing.B) {
	for _, policy := range []replog.Fsync{replog.Never, replog.EverySecond, replog.Always} {
		for _, rows := range benchrow.Sizes {
			b.Run(fmt.Sprintf("%v/rows=%d", policy, rows), func(b *testing.B) {
				n := benchNode(b, replication.Config{Log: replog.Config{Fsync: policy}})
				unit := benchrow.AppendUnit(nil, 4711, rows)
				meter := benchrow.Start(b)
				for b.Loop() {
					if _, err := n.Apply(context.Background(), 0, unit); err != nil {
						b.Fatal(err)
					}
				}
				meter.Report(b.N * rows)
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "us/unit")
			})
		}
	}
}
