package binlog_test

import (
	"encoding/json"
	"testing"

	"rowfall/binlog"
)

// FuzzRowImage decodes whatever bytes as a row of each captured table: no
// panic, nothing beyond the image, and JSON that is JSON.
func FuzzRowImage(f *testing.F) {
	var layouts []*binlog.Layout
	for _, c := range loadCaptures(f) {
		for _, ct := range c.Tables {
			l, err := binlog.NewImageLayout(
				ct.table(), unhex(f, ct.Types), unhex(f, ct.Meta), false)
			if err != nil {
				f.Fatal(err)
			}
			for i, r := range ct.Rows {
				if i%7 == 0 {
					f.Add(uint8(len(layouts)), unhex(f, r.Image))
				}
			}
			layouts = append(layouts, l)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, image []byte) {
		l := layouts[int(which)%len(layouts)]
		columns := l.Table().Columns
		var rows binlog.Rows
		rows.Reset(l, binlog.Insert, nil, all(len(columns)), image)
		for rows.Next() {
			r := rows.Change().After
			for i := range columns {
				if len(r.Raw(i)) > len(image) {
					t.Fatalf("%s is longer than the image", columns[i].Name)
				}
				text, err := r.AppendText(nil, i)
				if err == nil && len(text) > 1<<10+40*len(image) {
					t.Fatalf("%s: %d bytes of text from %d", columns[i].Name, len(text), len(image))
				}
				out, err := r.AppendJSON(nil, i)
				// MariaDB's JSON is the user's text, and MySQL's
				// strings are not checked again.
				if err == nil && columns[i].Type != binlog.TypeJSON && !json.Valid(out) {
					t.Fatalf("%s: %q is no JSON", columns[i].Name, out)
				}
				r.Int64(i)
				r.Uint64(i)
				r.Float64(i)
			}
		}
	})
}

// FuzzTableMap reads whatever bytes as a table map.
func FuzzTableMap(f *testing.F) {
	var tables []*binlog.Table
	for _, c := range loadCaptures(f) {
		for _, ct := range c.Tables {
			f.Add(uint8(len(tables)), unhex(f, ct.Types), unhex(f, ct.Meta), []byte{0, 1, 2, 3})
			tables = append(tables, ct.table())
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, types, meta, image []byte) {
		table := tables[int(which)%len(tables)]
		l, err := binlog.NewImageLayout(table, types, meta, false)
		if err != nil {
			return
		}
		var r binlog.Row
		if _, err := r.DecodeImage(l, all(len(types)), image); err != nil {
			return
		}
		for i := range types {
			_, _ = r.AppendText(nil, i)
		}
	})
}

// FuzzJSON renders whatever bytes as binary JSON.
func FuzzJSON(f *testing.F) {
	l, err := binlog.NewImageLayout(one(binlog.Column{Type: binlog.TypeJSON}), []byte{0xf5},
		[]byte{4}, false)
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range loadCaptures(f) {
		for _, ct := range c.Tables {
			if ct.Name == "js" {
				for _, r := range ct.Rows {
					f.Add(unhex(f, r.Image))
				}
			}
		}
	}
	f.Add(
		[]byte("\x02\x02\x00\x0a\x00\x02\x00\x00\x02\x00\x00"),
	) // an array that holds itself twice
	f.Fuzz(func(t *testing.T, b []byte) {
		image := []byte{0, byte(len(b)), byte(len(b) >> 8), byte(len(b) >> 16), 0}
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, append(image, b...)); err != nil {
			t.Fatal(err)
		}
		text, err := r.AppendText(nil, 0)
		if err == nil && len(text) > 100+100*len(b) {
			t.Fatalf("%d bytes of text from %d", len(text), len(b))
		}
	})
}

// FuzzDecimal reads packed decimals of any precision and scale.
func FuzzDecimal(f *testing.F) {
	f.Add(uint8(10), uint8(2), []byte("\x80\x00\x04\xd2\x38"))
	f.Add(uint8(65), uint8(30), []byte{0x7f})
	f.Fuzz(func(t *testing.T, precision, scale uint8, b []byte) {
		c := binlog.Column{Type: binlog.TypeDecimal, Length: int(precision), Decimals: int(scale)}
		l, err := binlog.NewImageLayout(one(c), []byte{0xf6}, []byte{precision, scale}, false)
		if err != nil {
			return
		}
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, append([]byte{0}, b...)); err != nil {
			return
		}
		text, err := r.AppendText(nil, 0)
		if err == nil && (len(text) > int(precision)+3 || text[0] != '-' && !json.Valid(text)) {
			t.Fatalf("DECIMAL(%d,%d) %q", precision, scale, text)
		}
	})
}
