package transform_test

import (
	"testing"

	"rowfall/binlog"
	"rowfall/transform"
)

const benchTable = "shop.orders: id int unsigned pk; customer_id int unsigned; " +
	"status varchar(20); total decimal(10,2); currency char(3); note varchar(200) null; " +
	"created_at datetime; updated_at datetime"

func imageLayout(b testing.TB, table *binlog.Table) *binlog.Layout {
	l, err := binlog.NewImageLayout(table,
		[]byte{3, 3, 15, 246, 254, 15, 18, 18},
		[]byte{20, 0, 10, 2, 254, 3, 200, 0, 0, 0}, false)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// image makes a row image of benchTable as the binlog holds it.
func image(id, customer byte, status string) []byte {
	out := []byte{0b00100000, id, 0, 0, 0, customer, 0, 0, 0, byte(len(status))}
	out = append(out, status...)
	out = append(out, 0x80, 0, 0, 12, 50) // 12.50
	out = append(out, 3, 'E', 'U', 'R')
	return append(out, 0x99, 0xb3, 0x42, 0xa0, 0, 0x99, 0xb3, 0x42, 0xa0, 0)
}

func benchPlan(b *testing.B, mapping string) (*transform.Plan, *binlog.Change) {
	table := parseTable(b, benchTable)
	p, err := transform.Compile(parseMapping(b, mapping), table)
	if err != nil {
		b.Fatal(err)
	}
	layout := imageLayout(b, table)
	c := &binlog.Change{
		Table: table, Op: binlog.Update, Before: new(binlog.Row), After: new(binlog.Row),
	}
	if _, err := c.Before.DecodeImage(layout, []byte{0xff}, image(200, 7, "paid")); err != nil {
		b.Fatal(err)
	}
	if _, err := c.After.DecodeImage(layout, []byte{0xff}, image(200, 7, "shipped")); err != nil {
		b.Fatal(err)
	}
	return p, c
}

func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name, mapping string
		mode          transform.Mode
		insert        bool
	}{
		{"HashInsert", `"*.*": {}`, transform.FullRow, true},
		{"HashUpdateFullRow", `"*.*": {}`, transform.FullRow, false},
		{"HashUpdateDelta", `"*.*": {}`, transform.Delta, false},
		{"JSON", `"*.*": {write: [{json: "o:{id}"}]}`, transform.FullRow, true},
		{
			"SortedSet", `"*.*": {write: [{sorted_set: o, member: "{id}", score: created_at}]}`,
			transform.FullRow, true,
		},
		{
			"SharedSet", `"*.*": {write: [{set: states, member: "{status}", shared: true}]}`,
			transform.FullRow, false,
		},
		{
			"String", `"*.*": {write: [{string: "s:{id}", value: "{status}"}]}`,
			transform.FullRow, true,
		},
		{
			"FieldOfSharedHash", `"*.*": {write: [{hash: h, field: "{id}", value: "{status}"}]}`,
			transform.FullRow, true,
		},
		{
			"Set", `"*.*": {write: [{set: "c:{customer_id}", member: "{id}"}]}`,
			transform.FullRow, true,
		},
		{
			"List", `"*.*": {write: [{list: l, value: "{id}", max_len: 100}]}`,
			transform.FullRow, true,
		},
		{"Stream", `"*.*": {write: [{stream: e, max_len: 100}]}`, transform.FullRow, false},
		{
			"Publish", `"*.*": {write: [{publish: "news:{id}", message: "{status}"}]}`,
			transform.FullRow, true,
		},
		{
			"WhereAndAdd", `"*.*": {
				where: 'status != "deleted" and total > 5', columns: {add: {gross: total * 1.19}}}`,
			transform.FullRow, true,
		},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p, c := benchPlan(b, bench.mapping)
			if bench.insert {
				c.Before, c.Op = nil, binlog.Insert
			}
			var u transform.Commands
			b.ReportAllocs()
			for b.Loop() {
				u.Reset()
				if err := p.Append(&u, c, bench.mode, transform.Origin{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestNoAllocation checks that appending a row does not allocate.
func TestNoAllocation(t *testing.T) {
	table := parseTable(t, benchTable)
	layout := imageLayout(t, table)
	var before, after binlog.Row
	old, now := image(200, 7, "paid"), image(200, 7, "shipped")
	for _, mapping := range []string{
		`"*.*": {}`,
		`"*.*": {
			where: 'status != "deleted" and total > 5',
			write: [{json: "o:{id}"}, {set: "c:{customer_id|hex}", member: "{id}"},
				{set: states, member: "{status}", shared: true}]}`,
		`"*.*": {write: [
			{hash: "o:{id}", ttl: 30d, ttl_jitter: 10%}, {json: "j:{id}", expire_at: created_at},
			{hash: c, field: "{id}", ttl: 1h}, {set: s, member: "{id}", expire_at: id * 2}]}`,
		`"*.*": {write: [
			{string: "s:{id}", value: "{status}"}, {sorted_set: o, member: "{id}", score: total},
			{list: l, value: "{id}", max_len: 100}, {stream: e, max_len: 100},
			{publish: "news:{id}", message: "{status}"}]}`,
		`"*.*": {columns: {mask: {status: sha256, customer_id: redact, note: "truncate:2"}}}`,
	} {
		p, err := transform.Compile(parseMapping(t, mapping), table)
		if err != nil {
			t.Fatal(err)
		}
		var u transform.Commands
		c := binlog.Change{Table: table, Before: &before, After: &after}
		for _, mode := range []transform.Mode{transform.FullRow, transform.Delta} {
			run := func() {
				u.Reset()
				if _, err := before.DecodeImage(layout, []byte{0xff}, old); err != nil {
					t.Fatal(err)
				}
				if _, err := after.DecodeImage(layout, []byte{0xff}, now); err != nil {
					t.Fatal(err)
				}
				if err := p.Append(&u, &c, mode, transform.Origin{}); err != nil {
					t.Fatal(err)
				}
			}
			run()
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("%s, %s: %v allocations", mapping, mode, n)
			}
		}
	}
}
