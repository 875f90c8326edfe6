package events

import (
	"testing"

	"rowfall/binlog"
	"rowfall/internal/race"
)

// BenchmarkTransactions parses transactions with the given number of rows. One operation is one
// row.
func BenchmarkTransactions(b *testing.B) {
	for _, c := range []struct {
		name       string
		rows       int
		compressed bool
	}{
		{"1", 1, false},
		{"4", 4, false},
		{"200", 200, false},
		{"compressed-1", 1, true},
		{"compressed-200", 200, true},
	} {
		m := &eventBuilder{checksum: true}
		m.head(4)
		head := len(m.events)
		for i := range 100 {
			if !c.compressed {
				m.transaction(uint64(i+1), c.rows)
				continue
			}
			m.compressedTransaction(uint64(i+1), c.rows)
		}
		b.Run(c.name, func(b *testing.B) {
			p := newParser(newOneTable())
			nothing := func(*binlog.Event) {}
			if err := feed(p, m.events, nothing); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += 100 * c.rows {
				m.renumber(100)
				if err := feed(p, m.events[head:], nothing); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Parsing costs no allocation, whatever the size of transactions. Without statements that change
// definitions, following them costs nothing either: none is yielded, and each table is looked up
// once.
func TestNoAllocations(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		if compressed && race.Enabled {
			continue // sync.Pool, which zstd uses, drops elements at random then
		}
		m := &eventBuilder{checksum: true}
		m.head(4)
		head := len(m.events)
		for i := range 100 {
			if compressed {
				m.compressedTransaction(uint64(i+1), 1+i%5)
			} else {
				m.transaction(uint64(i+1), 1+i%5)
			}
		}
		tables := newOneTable()
		p := newParser(tables)
		statements := 0
		count := func(ev *binlog.Event) {
			if ev.Kind == binlog.Statement {
				statements++
			}
		}
		if err := feed(p, m.events, count); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(10, func() {
			m.renumber(100)
			if err := feed(p, m.events[head:], count); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("compressed %t: %v allocations in 100 transactions", compressed, n)
		}
		if statements > 0 || tables.lookups > 1 {
			t.Errorf("compressed %t: %d statements, and %d lookups of one table", compressed,
				statements, tables.lookups)
		}
	}
}
