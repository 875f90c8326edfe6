package binlog_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"rowfall/binlog"
)

// updateRow decodes an update of one row.
func updateRow(
	t testing.TB, l *binlog.Layout, present []byte, isPartial bool, images string,
) (*binlog.Row, error) {
	t.Helper()
	var rows binlog.Rows
	full := all(len(l.Table().Columns))
	if isPartial {
		rows.ResetPartial(l, full, present, []byte(images))
	} else {
		rows.Reset(l, binlog.Update, full, present, []byte(images))
	}
	if !rows.Next() {
		if err := rows.Err(); !errors.As(err, new(*binlog.RefusedError)) {
			t.Fatalf("%v is no RefusedError", err)
		}
		return nil, rows.Err()
	}
	after := rows.Change().After
	if rows.Next() || rows.Err() != nil {
		t.Fatalf("there is another row, or an error: %v", rows.Err())
	}
	return after, nil
}

// With binlog_row_image=FULL_NODUP, MariaDB leaves out of the new image what an update has not
// changed. A generated column is not taken from the old image, because it changes with others.
func TestNewImageWithoutUnchangedColumns(t *testing.T) {
	table := &binlog.Table{Database: "d", Name: "t"}
	for _, name := range []string{"id", "a", "b", "g"} {
		table.Columns = append(table.Columns, binlog.Column{
			Name: name, Type: binlog.TypeTinyInt, Nullable: true, Generated: name == "g",
		})
	}
	l, err := binlog.NewImageLayout(table, []byte("\x01\x01\x01\x01"), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		present string
		after   string
		want    string
	}{
		{"\xfc", "\xfc\x09\x08", "1 NULL 9 8"},
		{"\xfa", "\xfc\x07\x08", "1 7 3 8"}, // the value of b is from the old image
		{"\xfe", "\xf9\x09\x08", "1 NULL 9 8"},
		{"\x08", "\xfe\x08", "1 NULL 3 8"},
		{"\x02", "\xfe\x07", "column g is not in the row image"},
		{"\xfa", "\xfc\x07", "ends before column g"},
		{"", "", "a bitmap of 0 bytes"},
	} {
		// The old image is id=1, a=NULL, b=3, g=2 (the columns that are not NULL follow).
		images := "\xf2\x01\x03\x02" + test.after
		row, err := updateRow(t, l, []byte(test.present), false, images)
		got := ""
		if err == nil {
			var texts []string
			for i := range table.Columns {
				text, err := row.AppendText(nil, i)
				if err != nil {
					t.Fatal(err)
				}
				if row.IsNull(i) {
					text = []byte("NULL")
				}
				texts = append(texts, string(text))
			}
			got = strings.Join(texts, " ")
		} else {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("present %x: %s, want %s", test.present, got, test.want)
		}
	}
}

// jsonLayout is the layout of a table with one JSON column.
func jsonLayout(t testing.TB) *binlog.Layout {
	t.Helper()
	l, err := binlog.NewImageLayout(one(binlog.Column{Type: binlog.TypeJSON}), []byte{0xf5},
		[]byte{4}, false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func withLength(b string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(b)))) + b
}

// change is one change of a JSON value. path and value are shorter than 251 bytes.
func change(operation byte, path, value string) string {
	s := string([]byte{operation, byte(len(path))}) + path
	if operation == 2 {
		return s
	}
	return s + string([]byte{byte(len(value))}) + value
}

// Changes that do not fit the old value, and damaged ones, are errors.
func TestChangesOfJSON(t *testing.T) {
	const (
		object = "\x00\x01\x00\x0c\x00\x0b\x00\x01\x00\x05\x07\x00a" // {"a": 7}
		array  = "\x02\x02\x00\x0a\x00\x05\x01\x00\x05\x02\x00"      // [1, 2]
		three  = "\x05\x03\x00"                                      // 3
		itself = "\x02\x01\x00\x07\x00\x02\x00\x00"                  // an array that holds itself
	)
	l := jsonLayout(t)
	for _, test := range []struct{ old, changes, want string }{
		{object, "", `{"a": 7}`},
		{object, change(0, "$.a", three), `{"a": 3}`},
		{object, change(1, "$.b", three) + change(2, "$.a", ""), `{"b": 3}`},
		{object, change(1, `$."\u0041a"`, three), `{"a": 7, "Aa": 3}`},
		{
			object, change(0, "$.a", object) + change(1, "$.a.bb", array),
			`{"a": {"a": 7, "bb": [1, 2]}}`,
		},
		{array, change(1, "$[0]", three), `[3, 1, 2]`},
		{array, change(1, "$[9]", three), `[1, 2, 3]`},
		{array, change(1, "$[last]", three), `[1, 3, 2]`},
		{array, change(1, "$[last-5]", three), `[3, 1, 2]`},
		{array, change(0, "$[last-1]", three), `[3, 2]`},
		{array, change(2, "$[0]", "") + change(2, "$[0]", ""), `[]`},
		{array, change(2, "$[2]", ""), "does not fit"},
		{array, change(0, "$[last-2]", three), "does not fit"},
		{array, change(0, "$.a", three), "does not fit"},
		{object, change(0, "$[0]", three), "does not fit"},
		{object, change(1, "$.a", three), "does not fit"},
		{object, change(0, "$.b", three), "does not fit"},
		{object, change(0, "$.a.b", three), "does not fit"},
		{object, change(0, "$", three), "not understood"},
		{object, change(0, "a", three), "not understood"},
		{object, change(0, "$.", three), "not understood"},
		{object, change(0, "$[", three), "not understood"},
		{object, change(0, "$[-1]", three), "not understood"},
		{object, change(0, "$[last+1]", three), "not understood"},
		{object, change(0, `$."a`, three), "not understood"},
		{object, change(3, "$.a", three), "corrupt"},
		{object, change(0, "$.a", ""), "corrupt"},
		{object, "\x00", "corrupt"},
		{object, "\x00\x09$.a", "corrupt"},
		{"", change(0, "$.a", three), "does not fit"},
		{itself, change(0, "$"+strings.Repeat("[0]", 80), three), "corrupt"},
	} {
		// The options say that JSON columns may be logged as changes, and the bit that this one is.
		images := "\xfe" + withLength(test.old) + "\x01\x01\xfe" + withLength(test.changes)
		row, err := updateRow(t, l, all(1), true, images)
		got := ""
		if err == nil {
			text, err := row.AppendText(nil, 0)
			if err != nil {
				t.Errorf("%q: %v", test.changes, err)
			}
			got = string(text)
		} else {
			got = err.Error()
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%q: %s, want %s", test.changes, got, test.want)
		}
	}
	for images, want := range map[string]string{
		"\xff" + "\x01\x01\xfe" + withLength(change(0, "$.a", three)): "binlog_row_image=FULL",
		"\xfe" + withLength(object) + "\x02\x01\xfe":                  "unknown bits",
		"\xfe" + withLength(object):                                   "ends early",
		"\xfe" + withLength(object) + "\x01":                          "ends early",
	} {
		if _, err := updateRow(t, l, all(1), true, images); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", images, err, want)
		}
	}
	// Without the bit, the new image holds the whole value.
	row, err := updateRow(t, l, all(1), true,
		"\xfe"+withLength(object)+"\x00\xfe"+withLength(array))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := row.AppendText(nil, 0); err != nil || string(text) != "[1, 2]" {
		t.Errorf("the whole value is %q, %v", text, err)
	}
}

// FuzzChangesOfJSON applies arbitrary bytes as changes to arbitrary bytes. The value and the memory
// are in proportion to the size of the event.
func FuzzChangesOfJSON(f *testing.F) {
	l := jsonLayout(f)
	f.Add([]byte("\x00\x01\x00\x0c\x00\x0b\x00\x01\x00\x05\x07\x00a"),
		[]byte("\x00\x03$.a\x03\x05\x03\x00"))
	f.Add([]byte("\x02\x02\x00\x0a\x00\x05\x01\x00\x05\x02\x00"),
		[]byte("\x01\x04$[0]\x03\x05\x03\x00\x02\x04$[1]"))
	// An array that holds itself twice.
	f.Add([]byte("\x02\x02\x00\x0a\x00\x02\x00\x00\x02\x00\x00"),
		[]byte("\x00\x07$[0][1]\x03\x05\x03\x00\x02\x0a$[1][0][0]"))
	f.Fuzz(func(t *testing.T, old, changes []byte) {
		images := "\xfe" + withLength(string(old)) + "\x01\x01\xfe" + withLength(string(changes))
		var rows binlog.Rows
		var before, now runtime.MemStats
		rows.ResetPartial(l, all(1), all(1), []byte(images))
		runtime.ReadMemStats(&before)
		for rows.Next() {
			row := rows.Change().After
			if n := len(row.Raw(0)); n > 100+10*len(images) {
				t.Fatalf("%d bytes from an event of %d", n, len(images))
			}
			_, _ = row.AppendJSON(nil, 0)
		}
		runtime.ReadMemStats(&now)
		if used := now.TotalAlloc - before.TotalAlloc; used > uint64(1<<20+100*len(images)) {
			t.Fatalf("%d bytes are allocated for an event of %d", used, len(images))
		}
	})
}
