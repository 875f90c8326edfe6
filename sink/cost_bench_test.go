package sink_test

import (
	"fmt"
	"testing"

	"rowfall/internal/benchrow"
	"rowfall/sink"
)

// BenchmarkCostEncode turns the commands of a transaction into a unit with its position.
func BenchmarkCostEncode(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			e := sink.NewEncoder("bench")
			steps := make([]sink.Progress, 64)
			for i := range steps {
				steps[i] = progress(b, fmt.Sprintf("%s:1-%d", uuid, 1000+i), "binlog.000001",
					uint64(123456+1000*i))
			}
			var commands, buffer []byte
			for i := range rows {
				commands = benchrow.AppendCommand(commands, i)
			}
			var u sink.Unit
			meter := benchrow.Start(b)
			for i := 0; b.Loop(); i++ {
				u.Reset()
				u.Commands.Bytes = append(u.Commands.Bytes, commands...)
				u.Progress = steps[i%len(steps)]
				buffer = e.Encode(buffer[:0], &u)
			}
			meter.Report(b.N * rows)
		})
	}
}
