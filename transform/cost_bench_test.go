package transform_test

import (
	"bytes"
	"fmt"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/benchrow"
	"rowfall/transform"
)

// costRow returns the plan of the shared row, and a change that inserts row i.
func costRow(t testing.TB, i int) (*transform.Plan, *binlog.Change) {
	t.Helper()
	table := parseTable(t, benchrow.Table)
	p, err := transform.Compile(parseMapping(t, `"*.*": {}`), table)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := binlog.NewImageLayout(table, benchrow.Types, benchrow.Metadata, false)
	if err != nil {
		t.Fatal(err)
	}
	c := &binlog.Change{Table: table, Op: binlog.Insert, After: new(binlog.Row)}
	image := benchrow.AppendImage(nil, i)
	n, err := c.After.DecodeImage(layout, benchrow.Present, image)
	if err != nil || n != len(image) {
		t.Fatalf("%d bytes of %d decoded: %v", n, len(image), err)
	}
	return p, c
}

// The benchmarks of the stages before and after this package work with the same row.
func TestCostRow(t *testing.T) {
	p, c := costRow(t, 4711)
	var u transform.Commands
	if err := p.Append(&u, c, transform.Delta, transform.Origin{}); err != nil {
		t.Fatal(err)
	}
	if want := benchrow.AppendCommand(nil, 4711); !bytes.Equal(u.Bytes, want) {
		t.Errorf("commands %q, want %q", u.Bytes, want)
	}
}

// BenchmarkCostPlan turns decoded rows into commands.
func BenchmarkCostPlan(b *testing.B) {
	for _, rows := range benchrow.Sizes {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			p, c := costRow(b, 4711)
			var u transform.Commands
			meter := benchrow.Start(b)
			for b.Loop() {
				u.Reset()
				for range rows {
					if err := p.Append(&u, c, transform.Delta, transform.Origin{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			meter.Report(b.N * rows)
		})
	}
}
