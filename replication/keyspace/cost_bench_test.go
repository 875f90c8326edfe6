package keyspace_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"rowfall/internal/benchrow"
	"rowfall/replication/keyspace"
)

// costRows is the number of rows of the keyspace. Each key exists already when a benchmark begins.
const costRows = 200_000

// costUnits returns units of rows, in an order that CPU caches cannot predict.
func costUnits(rows int) [][]byte {
	all := make([][]byte, 0, costRows/rows)
	for i := range costRows / rows {
		all = append(all, benchrow.AppendUnit(nil, i*7919*rows%costRows, rows))
	}
	return all
}

// BenchmarkCostStage stages units in a keyspace that has their keys, and publishes each. The metric
// publish-ns/row is the part of Publish: the median time by the clock, with the reading of it.
func BenchmarkCostStage(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			k := keyspace.New(keyspace.Options{HiddenPrefix: "rowfall:"})
			all := costUnits(rows)
			for _, u := range all {
				mustApply(b, k, u)
			}
			publishing := make([]time.Duration, 0, 100_000)
			meter := benchrow.Start(b)
			for i := 0; b.Loop(); i++ {
				if err := k.Stage(all[i%len(all)]); err != nil {
					b.Fatal(err)
				}
				staged := time.Now()
				k.Publish()
				if len(publishing) < cap(publishing) {
					publishing = append(publishing, time.Since(staged))
				}
			}
			meter.Report(b.N * rows)
			slices.Sort(publishing)
			median := publishing[len(publishing)/2]
			b.ReportMetric(float64(median.Nanoseconds())/float64(rows), "publish-ns/row")
		})
	}
}
