package events

import (
	"fmt"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/benchrow"
)

// costTable returns the table that benchrow.Table defines.
func costTable() *binlog.Table {
	text := func(name string, t binlog.Type, length int) binlog.Column {
		return binlog.Column{Name: name, Type: t, Length: length}
	}
	return &binlog.Table{
		Database: "bench", Name: "people", Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", Type: binlog.TypeBigInt},
			text("name", binlog.TypeVarchar, 60), text("email", binlog.TypeVarchar, 80),
			text("city", binlog.TypeVarchar, 40), text("country", binlog.TypeChar, 2),
			{Name: "balance", Type: binlog.TypeDecimal, Length: 12, Decimals: 2},
			{Name: "visits", Type: binlog.TypeInt},
			{Name: "joined", Type: binlog.TypeDatetime},
		},
	}
}

// costTransaction adds a transaction that inserts shared rows.
func (m *eventBuilder) costTransaction(sequence uint64, rows int) {
	m.add(gtidLogEvent, 0, gtidBody(sequence))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	definition := []byte{1, 0, 0, 0, 0, 0, 1, 0}
	definition = append(definition, "\x05bench\x00\x06people\x00"...)
	definition = append(append(definition, byte(len(benchrow.Types))), benchrow.Types...)
	definition = append(append(definition, byte(len(benchrow.Metadata))), benchrow.Metadata...)
	m.add(tableMapEvent, 0, append(definition, 0, metaSignedness, 1, 0))
	images := []byte{1, 0, 0, 0, 0, 0, 1, 0, 2, 0, byte(len(benchrow.Types))}
	images = append(images, benchrow.Present...)
	for i := range rows {
		images = benchrow.AppendImage(images, int(sequence)*rows+i)
	}
	m.add(writeRowsEvent, 0, images)
	m.add(xidEvent, 0, make([]byte, 8))
}

// BenchmarkCostParse parses the events of transactions and finds the columns of each row. The
// values are not converted to text yet.
func BenchmarkCostParse(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			const transactions = 1000
			m := &eventBuilder{checksum: true}
			m.head(4)
			head := len(m.events)
			for i := range transactions {
				m.costTransaction(uint64(i+1), rows)
			}
			p := newParser(&oneTable{table: costTable()})
			read := 0
			count := func(ev *binlog.Event) {
				if ev.Kind == binlog.Changes {
					read++
				}
			}
			if err := feed(p, m.events, count); err != nil {
				b.Fatal(err)
			}
			if read != transactions {
				b.Fatalf("%d events of rows were read, want %d", read, transactions)
			}
			meter := benchrow.Start(b)
			for b.Loop() {
				meter.Pause()
				m.renumber(transactions)
				meter.Resume()
				if err := feed(p, m.events[head:], count); err != nil {
					b.Fatal(err)
				}
			}
			meter.Report(b.N * transactions * rows)
		})
	}
}
