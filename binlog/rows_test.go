package binlog_test

import (
	"strings"
	"testing"

	"rowfall/binlog"
)

func TestRows(t *testing.T) {
	l, err := binlog.NewImageLayout(shop(), []byte{3, 15}, []byte{80, 0}, false)
	if err != nil {
		t.Fatal(err)
	}
	const a, b = "\x00\x01\x00\x00\x00\x01a", "\x02\x02\x00\x00\x00"
	show := func(r *binlog.Row) string {
		if r == nil {
			return "-"
		}
		s, _ := r.AppendText(nil, 0)
		s, _ = r.AppendText(append(s, '='), 1)
		return string(s)
	}
	run := func(op binlog.Op, bitmap byte, images string) (got []string, err error) {
		var rows binlog.Rows
		rows.Reset(l, op, []byte{bitmap}, []byte{bitmap}, []byte(images))
		for rows.Next() {
			c := rows.Change()
			if c.Op != op || c.Table.Name != "users" || rows.Op() != op || rows.Table() != c.Table {
				t.Errorf("change %v of %v", c.Op, c.Table)
			}
			got = append(got, show(c.Before)+">"+show(c.After))
		}
		return got, rows.Err()
	}
	for _, test := range []struct {
		op     binlog.Op
		bitmap byte
		images string
		want   string
		err    string
	}{
		{binlog.Insert, 3, a + b, "->1=a ->2=", ""},
		{binlog.Delete, 0xff, a + b, "1=a>- 2=>-", ""},
		{binlog.Update, 3, a + b + b + a, "1=a>2= 2=>1=a", ""},
		{binlog.Insert, 3, "", "", ""},
		{binlog.Update, 3, a, "", "ends before column id"},
		{binlog.Insert, 3, a + a[:6], "->1=a", "ends before column name"},
		{binlog.Insert, 3, "\x00\x01\x00\x00\x00\x51", "", "column name has 81 bytes"},
		// MySQL sets the bits beyond the last column: counting bits would
		// take this for a whole row.
		{
			binlog.Insert, 0xfd, a, "",
			"column name is not in the row image; set binlog_row_image=FULL",
		},
	} {
		got, err := run(test.op, test.bitmap, test.images)
		if strings.Join(got, " ") != test.want || (err == nil) != (test.err == "") ||
			err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%v %q: %q, %v; want %q, %q", test.op, test.images, got, err, test.want,
				test.err)
		}
	}
}

// Some versions of MariaDB do not log generated columns. The image of such a row can be read if
// nothing reads the values of these columns.
func TestUnloggedGeneratedColumns(t *testing.T) {
	table := shop()
	for _, name := range []string{"first", "last"} {
		table.Columns = append(table.Columns, binlog.Column{
			Name: name, Type: binlog.TypeInt, Generated: true, Unread: true, Nullable: true,
		})
	}
	table.Columns[0], table.Columns[2] = table.Columns[2], table.Columns[0]
	show := func(images string) string {
		l, err := binlog.NewImageLayout(table, []byte{3, 15, 3, 3}, []byte{80, 0}, true)
		if err != nil {
			t.Fatal(err)
		}
		var rows binlog.Rows
		rows.Reset(l, binlog.Update, []byte{6}, []byte{6}, []byte(images))
		var text []byte
		for rows.Next() {
			for _, r := range []*binlog.Row{rows.Change().Before, rows.Change().After} {
				for i := range 4 {
					if r.IsNull(i) {
						text = append(text, "NULL "...)
						continue
					}
					if text, err = r.AppendText(text, i); err != nil {
						t.Fatal(err)
					}
					text = append(text, ' ')
				}
			}
		}
		if err := rows.Err(); err != nil {
			return err.Error()
		}
		return string(text)
	}
	const images = "\xfc\x01a\x01\x00\x00\x00" + "\xfd\x02\x00\x00\x00"
	if got := show(images); got != "NULL a 1 NULL NULL NULL 2 NULL " {
		t.Errorf("the images are %q", got)
	}
	for cut := range len(images) - 1 {
		if got := show(images[:cut+1]); cut != 6 && !strings.Contains(got, "ends before column") {
			t.Errorf("the first %d bytes are %q", cut+1, got)
		}
	}
	table.Columns[3].Unread = false
	if got := show(images); !strings.Contains(got, "the generated column last is not in the row") ||
		!strings.Contains(got, "columns: {exclude: [last]}") {
		t.Errorf("with a column that is read: %s", got)
	}
}
