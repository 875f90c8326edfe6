package replication_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// BenchmarkApply is one caller that writes row-sized units, each waited for.
func BenchmarkApply(b *testing.B) {
	n, err := replication.Open(
		replication.Config{
			Listen: "127.0.0.1:0", Dir: b.TempDir(),
			Log: replog.Config{Keep: 256 << 20}, Logger: zerolog.Nop(),
		},
	)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	units := make([][]byte, 1<<14)
	size := 0
	for i := range units {
		id := strconv.Itoa(i)
		units[i] = atomically(
			unit("HSET", "user:"+id, "id", id, "name", "user number "+id, "email",
				id+"@example.com", "country", "DE", "created", "2024-01-01 00:00:00", "status",
				"active"),
		)
		size += len(units[i])
	}
	b.SetBytes(int64(size / len(units)))
	b.ReportAllocs()
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		if _, err := n.Apply(ctx, 0, units[i%len(units)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
	n.Close()
	<-done
}
