package binlog_test

import (
	"testing"

	"rowfall/binlog"
)

// order is a typical row: what an OLTP application updates.
func order(t testing.TB) (*binlog.Layout, []byte) {
	table := &binlog.Table{
		Database: "shop",
		Name:     "orders",
		Primary:  []int{0},
		Columns: []binlog.Column{
			{Name: "id", Type: binlog.TypeBigInt, Unsigned: true},
			{Name: "customer_id", Type: binlog.TypeInt},
			{Name: "quantity", Type: binlog.TypeSmallInt},
			{Name: "price", Type: binlog.TypeDecimal, Length: 12, Decimals: 2},
			{Name: "total", Type: binlog.TypeDecimal, Length: 12, Decimals: 2},
			{Name: "created", Type: binlog.TypeDatetime, Decimals: 6},
			{Name: "updated", Type: binlog.TypeTimestamp},
			{
				Name: "note", Type: binlog.TypeVarchar, Length: 100, Charset: "utf8mb4",
				Nullable: true,
			},
			{Name: "email", Type: binlog.TypeVarchar, Length: 50, Charset: "utf8mb4"},
			{Name: "status", Type: binlog.TypeEnum, Values: []string{"new", "paid", "sent"}},
			{Name: "weight", Type: binlog.TypeDouble},
			{Name: "gift", Type: binlog.TypeTinyInt},
			{Name: "extra", Type: binlog.TypeJSON},
		},
	}
	l, err := binlog.NewImageLayout(table,
		[]byte{8, 3, 2, 0xf6, 0xf6, 0x12, 0x11, 15, 15, 0xfe, 5, 1, 0xf5},
		[]byte{12, 2, 12, 2, 6, 0, 0x90, 1, 200, 0, 0xf7, 1, 8, 4}, false)
	if err != nil {
		t.Fatal(err)
	}
	return l, []byte(
		"\x80\x00" + "\x39\x30\x00\x00\x00\x00\x00\x00" + "\x2a\x00\x00\x00" + "\x03\x00" +
			"\x80\x00\x00\x04\xd2\x38" + "\x80\x00\x00\x0e\x78\x0c" +
			"\x99\xb2\xba\xc8\xb8\x0c\x0a\x14" +
			"\x65\xe0\x7a\x70" +
			"\x14someone@example.test" + "\x02" + "\x00\x00\x00\x00\x00\x00\xf8\x3f" + "\x01" +
			"\x08\x00\x00\x00" + "\x02\x01\x00\x07\x00\x04\x01\x00",
	) // [true]; the note is NULL
}

func TestRowAllocatesNothing(t *testing.T) {
	l, image := order(t)
	var r binlog.Row
	buf := make([]byte, 0, 4096)
	present := all(13)
	allocs := testing.AllocsPerRun(100, func() {
		if n, err := r.DecodeImage(l, present, image); err != nil || n != len(image) {
			t.Fatal(n, len(image), err)
		}
		buf = buf[:0]
		for i := range 13 {
			var err error
			if buf, err = r.AppendText(append(buf, ' '), i); err != nil {
				t.Fatal(err)
			}
			if buf, err = r.AppendJSON(append(buf, ' '), i); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a row", allocs)
	}
	t.Logf("%s", buf)
}

func BenchmarkDecodeImage(b *testing.B) {
	l, image := order(b)
	var r binlog.Row
	present := all(13)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.DecodeImage(l, present, image); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendText decodes one row and renders all its columns.
func BenchmarkAppendText(b *testing.B) {
	l, image := order(b)
	var r binlog.Row
	buf := make([]byte, 0, 4096)
	present := all(13)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.DecodeImage(l, present, image); err != nil {
			b.Fatal(err)
		}
		buf = buf[:0]
		for i := range 13 {
			buf, _ = r.AppendText(buf, i)
		}
	}
}
