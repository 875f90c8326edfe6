package sink_test

import (
	"fmt"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
)

// One iteration is a unit of one row. Its GTID set, offset and time differ from the last unit's.
func BenchmarkEncode(b *testing.B) {
	e := sink.NewEncoder("shop")
	var u sink.Unit
	row := resp.AppendCommand(nil, "HSET", "user:7", "name", "Ada")
	steps := make([]sink.Progress, 64)
	for i := range steps {
		steps[i] = progress(b, fmt.Sprintf("%s:1-%d", uuid, 1000+i), "binlog.000001",
			uint64(123456+i))
	}
	var buffer []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		u.Reset()
		u.Commands.Bytes = append(u.Commands.Bytes, row...)
		u.Progress = steps[i%len(steps)]
		buffer = e.Encode(buffer[:0], &u)
	}
}
