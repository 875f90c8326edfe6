package binlog_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"rowfall/binlog"
)

// capture is what a real server wrote to its binlog and answered to SELECTs for
// the same rows. Cells that are no UTF-8 are "hex:..." in the file.
type capture struct {
	Server string
	Tables []captureTable
}

type captureTable struct {
	Name        string
	Columns     []binlog.Column
	Types, Meta string
	Rows        []struct {
		Image string
		// Plain is SELECT *, Cells is SELECT with SelectExpr.
		Plain, Cells []*string
	}
}

func (t *captureTable) table() *binlog.Table {
	return &binlog.Table{Database: "e2e", Name: t.Name, Columns: t.Columns, Primary: []int{0}}
}

func loadCaptures(t testing.TB) []capture {
	t.Helper()
	var all []capture
	for _, file := range []string{"testdata/mysql-9.7.json", "testdata/mariadb-10.11.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c capture
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func cell(t testing.TB, s *string) []byte {
	switch {
	case s == nil:
		return nil
	case strings.HasPrefix(*s, "hex:"):
		return unhex(t, (*s)[4:])
	}
	return []byte(*s)
}

// all returns a bitmap with every column present and, as MySQL does it, the
// padding set.
func all(columns int) []byte {
	b := make([]byte, (columns+7)/8)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// printsOtherwise lists the exceptions that the package's comment names: columns
// whose text is not what SELECT prints.
func printsOtherwise(c *binlog.Column) bool {
	switch c.Type {
	case binlog.TypeFloat, binlog.TypeBit, binlog.TypeVector:
		return true
	}
	return strings.Contains(c.SQLType, "zerofill") || strings.HasPrefix(c.SQLType, "double(")
}

// A row read from the binlog, the same row read by SELECT and what the server
// prints are the same bytes.
func TestRowsOfRealServers(t *testing.T) {
	for _, c := range loadCaptures(t) {
		for _, ct := range c.Tables {
			t.Run(c.Server+"/"+ct.Name, func(t *testing.T) {
				table := ct.table()
				images, err := binlog.NewImageLayout(
					table, unhex(t, ct.Types), unhex(t, ct.Meta), false)
				if err != nil {
					t.Fatal(err)
				}
				texts := binlog.NewTextLayout(table)
				for _, r := range ct.Rows {
					image := unhex(t, r.Image)
					var a, b binlog.Row
					if n, err := a.DecodeImage(images, all(len(ct.Columns)), image); err != nil ||
						n != len(image) {
						t.Fatalf("image %s: read %d of %d bytes: %v", r.Image, n, len(image), err)
					}
					cells := make([][]byte, len(r.Cells))
					for i := range cells {
						cells[i] = cell(t, r.Cells[i])
					}
					b.SetText(texts, cells)
					for i := range ct.Columns {
						compareCell(t, &a, &b, i, cell(t, r.Plain[i]))
					}
				}
			})
		}
	}
}

func compareCell(t *testing.T, image, text *binlog.Row, i int, plain []byte) {
	t.Helper()
	c := &image.Table().Columns[i]
	if image.IsNull(i) != (plain == nil) || text.IsNull(i) != (plain == nil) {
		t.Fatalf("%s: NULL in only one of the rows", c.Name)
	}
	x, err := image.AppendText([]byte("<"), i)
	if err != nil {
		t.Fatal(err)
	}
	y, err := text.AppendText([]byte("<"), i)
	if err != nil {
		t.Fatal(err)
	}
	if string(x) != string(y) {
		t.Errorf("%s %s: image %q, SELECT %q", c.Name, c.SQLType, x, y)
	}
	if !printsOtherwise(c) && string(x[1:]) != string(plain) {
		t.Errorf("%s %s: image %q, the server prints %q", c.Name, c.SQLType, x[1:], plain)
	}
	compareText(t, image, i, x[1:])
	compareText(t, text, i, y[1:])
	jx, err := image.AppendJSON(nil, i)
	if err != nil {
		t.Fatal(err)
	}
	jy, err := text.AppendJSON(nil, i)
	if err != nil {
		t.Fatal(err)
	}
	if string(jx) != string(jy) || !json.Valid(jx) {
		t.Errorf("%s %s: JSON of the image %s, of the SELECT %s", c.Name, c.SQLType, jx, jy)
	}
	ix, okX := image.Int64(i)
	iy, okY := text.Int64(i)
	ux, okUX := image.Uint64(i)
	uy, okUY := text.Uint64(i)
	fx, okFX := image.Float64(i)
	fy, okFY := text.Float64(i)
	if ix != iy && okX || okX != okY || ux != uy && okUX || okUX != okUY || fx != fy ||
		okFX != okFY {
		t.Errorf("%s %s = %q: image %d %t, %d %t, %v %t; SELECT %d %t, %d %t, %v %t", c.Name,
			c.SQLType, x, ix, okX, ux, okUX, fx, okFX, iy, okY, uy, okUY, fy, okFY)
	}
}

// compareText checks that a text which needs no decoding is the column's text.
func compareText(t *testing.T, r *binlog.Row, i int, want []byte) {
	t.Helper()
	c := &r.Table().Columns[i]
	if got, ok := r.Text(i); ok && (!bytes.Equal(got, want) || r.IsNull(i)) {
		t.Errorf("%s %s: the row holds %q, the text is %q", c.Name, c.SQLType, got, want)
	}
	if all := r.Texts(); all != nil && (!bytes.Equal(all[i], want) ||
		(all[i] == nil) != r.IsNull(i)) {
		t.Errorf("%s %s: the row holds %q, the text is %q", c.Name, c.SQLType, all[i], want)
	}
}

// Any schema but the right one that differs in what a table map tells is
// refused by name.
func TestLayoutRefusesOtherSchemas(t *testing.T) {
	for _, c := range loadCaptures(t) {
		for _, ct := range c.Tables {
			types, meta := unhex(t, ct.Types), unhex(t, ct.Meta)
			for i := range ct.Columns {
				changed := ct
				changed.Columns = append([]binlog.Column(nil), ct.Columns...)
				col := &changed.Columns[i]
				col.Type = binlog.TypeBigInt
				if ct.Columns[i].Type == binlog.TypeBigInt {
					col.Type = binlog.TypeInt
				}
				_, err := binlog.NewImageLayout(changed.table(), types, meta, false)
				if err == nil || !strings.Contains(err.Error(), "e2e."+ct.Name+"."+col.Name+":") ||
					!strings.Contains(err.Error(), "binlog_row_metadata=FULL") {
					t.Errorf("%s %s as an integer: %v", col.Name, col.SQLType, err)
				}
			}
			short := ct
			short.Columns = ct.Columns[1:]
			if _, err := binlog.NewImageLayout(short.table(), types, meta, false); err == nil ||
				!strings.Contains(err.Error(), "columns") {
				t.Errorf("%s without a column: %v", ct.Name, err)
			}
			if len(meta) > 0 {
				if _, err := binlog.NewImageLayout(ct.table(), types,
					meta[:len(meta)-1], false); err == nil {
					t.Errorf("%s with its metadata cut: no error", ct.Name)
				}
			}
			if _, err := binlog.NewImageLayout(ct.table(), types,
				append(meta[:len(meta):len(meta)], 0), false); err == nil {
				t.Errorf("%s with more metadata: no error", ct.Name)
			}
		}
	}
}
