package pipelines

import (
	"context"
	"fmt"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/benchrow"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// discardingSink applies nothing.
type discardingSink struct{ *sinktest.Memory }

func (discardingSink) Apply(context.Context, *sink.Unit) error { return nil }

// costSource is a source that always has another event.
type costSource struct{ *scriptedSource }

func (s costSource) Present(ctx context.Context) (*binlog.Event, error) { return s.Next(ctx) }

// costTable is benchrow.Table, in the database of scriptedPipeline.
func costTable() *binlog.Table {
	text := func(name, sqlType string, t binlog.Type, length int) binlog.Column {
		return binlog.Column{Name: name, SQLType: sqlType, Type: t, Length: length}
	}
	return &binlog.Table{
		Database: "shop", Name: "people", Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "bigint", Type: binlog.TypeBigInt},
			text("name", "varchar(60)", binlog.TypeVarchar, 60),
			text("email", "varchar(80)", binlog.TypeVarchar, 80),
			text("city", "varchar(40)", binlog.TypeVarchar, 40),
			text("country", "char(2)", binlog.TypeChar, 2),
			{
				Name: "balance", SQLType: "decimal(12,2)", Type: binlog.TypeDecimal,
				Length: 12, Decimals: 2,
			},
			{Name: "visits", SQLType: "int", Type: binlog.TypeInt},
			{Name: "joined", SQLType: "datetime", Type: binlog.TypeDatetime},
		},
	}
}

// BenchmarkCostLoop runs the main loop on transactions that were parsed already, with a sink that
// applies nothing. It includes what BenchmarkCostPlan measures; the rest is what the loop does
// itself for each row and each transaction.
func BenchmarkCostLoop(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			table := costTable()
			layout, err := binlog.NewImageLayout(table, benchrow.Types, benchrow.Metadata, false)
			if err != nil {
				b.Fatal(err)
			}
			source := &scriptedSource{tables: []*binlog.Table{table}}
			memory := sinktest.NewMemory("test")
			_, l := scriptedPipeline(b, memory, source)
			l.sink, l.stream = discardingSink{memory}, costSource{source}
			source.position.GTID, err = binlog.ParseGTIDSet(
				"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-1000000")
			if err != nil {
				b.Fatal(err)
			}
			var images []byte
			for i := range rows {
				images = benchrow.AppendImage(images, i)
			}
			changes, end := binlog.Event{Kind: binlog.Changes, InTransaction: true},
				binlog.Event{Kind: binlog.Commit, Time: 1}
			meter := benchrow.Start(b)
			for b.Loop() {
				changes.Rows.Reset(layout, binlog.Insert, nil, benchrow.Present, images)
				source.position.Offset += 1000
				for _, ev := range []*binlog.Event{&changes, &end} {
					if err := l.handle(b.Context(), ev); err != nil {
						b.Fatal(err)
					}
				}
			}
			meter.Report(b.N * rows)
			if n := l.stats.commands.Load(); n == 0 {
				b.Fatal("no command was written")
			}
		})
	}
}
