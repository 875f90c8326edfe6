package binlog_test

import (
	"bytes"
	"strings"
	"testing"

	"rowfall/binlog"
)

func one(c binlog.Column) *binlog.Table {
	if c.Name == "" {
		c.Name = "c"
	}
	return &binlog.Table{Database: "d", Name: "t", Columns: []binlog.Column{c}}
}

// What the servers at hand no longer write.
func TestOldAndRareForms(t *testing.T) {
	tests := []struct {
		name       string
		column     binlog.Column
		types      string
		meta       string
		image      string
		text, json string
	}{
		{
			"old datetime",
			binlog.Column{Type: binlog.TypeDatetime},
			"\x0c",
			"",
			"\x00\x80\xc5\xaa\x8b\x68\x12\x00\x00",
			"2024-02-29 12:34:56",
			`"2024-02-29 12:34:56"`,
		},
		{
			"old datetime zero",
			binlog.Column{Type: binlog.TypeDatetime},
			"\x0c",
			"",
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			"0000-00-00 00:00:00",
			`"0000-00-00 00:00:00"`,
		},
		{
			"old timestamp",
			binlog.Column{Type: binlog.TypeTimestamp},
			"\x07",
			"",
			"\x00\xff\xff\xff\x7f",
			"2038-01-19 03:14:07",
			`"2038-01-19 03:14:07"`,
		},
		{
			"old timestamp zero",
			binlog.Column{Type: binlog.TypeTimestamp},
			"\x07",
			"",
			"\x00\x00\x00\x00\x00",
			"0000-00-00 00:00:00",
			`"0000-00-00 00:00:00"`,
		},
		{
			"old time",
			binlog.Column{Type: binlog.TypeTime},
			"\x0b",
			"",
			"\x00\x40\xe2\x01",
			"12:34:56",
			`"12:34:56"`,
		},
		{
			"old negative time",
			binlog.Column{Type: binlog.TypeTime},
			"\x0b",
			"",
			"\x00\xff\xff\xff",
			"-00:00:01",
			`"-00:00:01"`,
		},
		{
			"timestamp past 2038",
			binlog.Column{Type: binlog.TypeTimestamp},
			"\x11",
			"\x00",
			"\x00\xff\xff\xff\xff",
			"2106-02-07 06:28:15",
			`"2106-02-07 06:28:15"`,
		},
		{
			"empty JSON",
			binlog.Column{Type: binlog.TypeJSON},
			"\xf5",
			"\x04",
			"\x00\x00\x00\x00\x00",
			"null",
			`null`,
		},
		{
			"JSON as text",
			binlog.Column{Type: binlog.TypeJSON},
			"\xfc",
			"\x04",
			"\x00\x02\x00\x00\x00{}",
			"{}",
			`{}`,
		},
		{"year 0", binlog.Column{Type: binlog.TypeYear}, "\x0d", "", "\x00\x00", "0000", `0`},
		{
			"long CHAR",
			binlog.Column{Type: binlog.TypeChar, Length: 255, Charset: "utf8mb4"},
			"\xfe",
			"\xce\xfc",
			"\x00\x03\x00a  ",
			"a",
			`"a"`,
		},
		{
			"BINARY padding",
			binlog.Column{Type: binlog.TypeBinary, Length: 4},
			"\xfe",
			"\xfe\x04",
			"\x00\x01a",
			"a\x00\x00\x00",
			`"YQAAAA=="`,
		},
		{
			"vector in a varchar",
			binlog.Column{Type: binlog.TypeVector, Length: 1},
			"\x0f",
			"\x04\x00",
			"\x00\x04\x00\x00\xc0\x3f",
			"[1.5]",
			`"[1.5]"`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, err := binlog.NewImageLayout(
				one(test.column), []byte(test.types), []byte(test.meta), false)
			if err != nil {
				t.Fatal(err)
			}
			var r binlog.Row
			if _, err := r.DecodeImage(l, []byte{1}, []byte(test.image)); err != nil {
				t.Fatal(err)
			}
			if got, err := r.AppendText(nil, 0); err != nil || string(got) != test.text {
				t.Errorf("text %q, %v, want %q", got, err, test.text)
			}
			if got, err := r.AppendJSON(nil, 0); err != nil || string(got) != test.json {
				t.Errorf("JSON %s, %v, want %s", got, err, test.json)
			}
		})
	}
}

// The text and the JSON of columns in every form of character set. MariaDB prints a question mark
// for the beginning of a character at the end of a value; MySQL prints nothing.
func TestCharsets(t *testing.T) {
	for _, test := range []struct {
		charset        string
		size           int
		raw            string
		mySQL, mariaDB string
		json           string // of a MySQL
	}{
		{"latin1", 4, "\xe9\x80 ", "é€ ", "é€ ", `"é€ "`},
		{"cp1251", 4, "\xe6\"\n", "ж\"\n", "ж\"\n", `"ж\"\n"`},
		{"gbk", 8, "\xba\xba\xba", "汉", "汉?", `"汉"`},
		{"ucs2", 8, "\x20\x20\x00\x20\x00\x20", "†  ", "†  ", `"†  "`},
		{"ucs2", 8, "\x00a\x00 \x00b", "a b", "a b", `"a b"`},
		{"utf16le", 16, "a\x00 \x00", "a ", "a ", `"a "`},
		{"utf8mb3", 12, "漢 ", "漢 ", "漢 ", `"漢 "`},
		{"ascii", 4, "a\xff ", "a? ", "a? ", `"a? "`},
	} {
		for _, typ := range []binlog.Type{binlog.TypeVarchar, binlog.TypeChar} {
			for _, mariaDB := range []bool{false, true} {
				types, meta := "\x0f", string([]byte{byte(test.size), 0})
				text, json := test.mySQL, test.json
				if mariaDB {
					text = test.mariaDB
				}
				if typ == binlog.TypeChar {
					types, meta = "\xfe", string([]byte{0xfe, byte(test.size)})
					text = strings.TrimRight(text, " ")
					json = `"` + strings.TrimRight(strings.Trim(json, `"`), " ") + `"`
				}
				c := binlog.Column{Type: typ, Length: 4, Charset: test.charset}
				l, err := binlog.NewImageLayout(one(c), []byte(types), []byte(meta), mariaDB)
				if err != nil {
					t.Fatal(test.charset, err)
				}
				var r binlog.Row
				image := "\x00" + string([]byte{byte(len(test.raw))}) + test.raw
				if _, err := r.DecodeImage(l, all(1), []byte(image)); err != nil {
					t.Fatal(test.charset, err)
				}
				gotText, err := r.AppendText(nil, 0)
				gotJSON, jsonErr := r.AppendJSON(nil, 0)
				if string(gotText) != text || err != nil || jsonErr != nil ||
					!mariaDB && string(gotJSON) != json {
					t.Errorf("%s %q: %q and %s, want %q and %s; %v, %v", test.charset, test.raw,
						gotText, gotJSON, text, json, err, jsonErr)
				}
			}
		}
	}
}

// A column of a character set or type that is not known can be skipped: the mapping may exclude the
// column. Its values cannot be read.
func TestUnknownCharsetAndType(t *testing.T) {
	unknownType := binlog.Column{SQLType: "odd", Unreadable: "type odd is not supported"}
	unknownLabel := binlog.Column{
		Type: binlog.TypeEnum, Values: []string{"?"}, Unreadable: "the label is not known",
	}
	unknownSet := unknownLabel
	unknownSet.Type = binlog.TypeSet
	for _, test := range []struct {
		column             binlog.Column
		types, meta, image string
		want               string // part of the error
	}{
		{
			binlog.Column{Type: binlog.TypeVarchar, Length: 4, Charset: "cp1258"},
			"\x0f", "\x0c\x00", "\x02ab", "character set cp1258 is not known",
		},
		{
			binlog.Column{Type: binlog.TypeVarchar, Length: 4, Charset: "cp1258"},
			"\x8d", "\x0d\x00", "\x02\x00b", "character set cp1258 is not known",
		},
		{unknownType, "\x03", "", "\x01\x00\x00\x00", "type odd is not supported"},
		{unknownType, "\x0f", "\x2c\x01", "\x01\x00a", "type odd is not supported"},
		{unknownType, "\xfc", "\x03", "\x02\x00\x00ab", "type odd is not supported"},
		{unknownType, "\x12", "\x03", "1234567", "type odd is not supported"},
		{unknownType, "\xf6", "\x0a\x02", "12345", "type odd is not supported"},
		{unknownType, "\x10", "\x01\x01", "12", "type odd is not supported"},
		{unknownLabel, "\xfe", "\xf7\x01", "\x01", "the label is not known"},
		{unknownSet, "\xfe", "\xf8\x01", "\x01", "the label is not known"},
		{unknownType, "\xfe", "\xf7\x02", "12", "type odd is not supported"},
		{unknownType, "\xfe", "\xfe\x10", "\x03abc", "type odd is not supported"},
	} {
		table := one(test.column)
		table.Columns = append(table.Columns, binlog.Column{Name: "id", Type: binlog.TypeTinyInt})
		l, err := binlog.NewImageLayout(table, []byte(test.types+"\x01"), []byte(test.meta), true)
		if err != nil {
			t.Fatal(err)
		}
		var r binlog.Row
		image := "\x00" + test.image + "\x07"
		if n, err := r.DecodeImage(l, all(2), []byte(image)); err != nil || n != len(image) {
			t.Fatal(n, err)
		}
		if id, ok := r.Int64(1); id != 7 || !ok {
			t.Errorf("wire type %q: the column behind is %d", test.types, id)
		}
		if _, err := r.AppendText(nil, 0); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("text: %v, want %q", err, test.want)
		}
		if _, err := r.AppendJSON(nil, 0); err == nil {
			t.Error("JSON: no error")
		}
		r.SetText(binlog.NewTextLayout(table), [][]byte{[]byte("?"), []byte("1")})
		if _, err := r.AppendText(nil, 0); (err == nil) != (test.column.Unreadable == "") {
			t.Errorf("wire type %q, read by SELECT: %v", test.types, err)
		}
	}
	if _, err := binlog.NewImageLayout(one(unknownType), []byte("\x99"), nil, true); err == nil {
		t.Error("a wire type that is not known has a layout")
	}
}

func TestBadValues(t *testing.T) {
	tests := []struct {
		name   string
		column binlog.Column
		types  string
		meta   string
		image  string
	}{
		{
			"enum",
			binlog.Column{Type: binlog.TypeEnum, Values: []string{"a"}},
			"\xfe", "\xf7\x01",
			"\x00\x02",
		},
		{
			"set",
			binlog.Column{Type: binlog.TypeSet, Values: []string{"a"}},
			"\xfe", "\xf8\x01",
			"\x00\x02",
		},
		{
			"decimal",
			binlog.Column{Type: binlog.TypeDecimal, Length: 9},
			"\xf6", "\x09\x00",
			"\x00\xff\xff\xff\xff",
		},
		{
			"datetime",
			binlog.Column{Type: binlog.TypeDatetime},
			"\x12", "\x00",
			"\x00\xff\xff\xff\xff\xff",
		},
		{"NaN", binlog.Column{Type: binlog.TypeFloat}, "\x04", "\x04", "\x00\xff\xff\xff\xff"},
		{"JSON", binlog.Column{Type: binlog.TypeJSON}, "\xf5", "\x04", "\x00\x01\x00\x00\x00\x00"},
	}
	for _, test := range tests {
		l, err := binlog.NewImageLayout(
			one(test.column), []byte(test.types), []byte(test.meta), false)
		if err != nil {
			t.Fatal(err)
		}
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, []byte(test.image)); err != nil {
			t.Fatal(err)
		}
		got, err := r.AppendText([]byte("kept"), 0)
		if err == nil || !strings.Contains(err.Error(), "d.t.c") || string(got) != "kept" {
			t.Errorf("%s: text %q, %v", test.name, got, err)
		}
		if got, err := r.AppendJSON([]byte("kept"), 0); err == nil || string(got) != "kept" {
			t.Errorf("%s: JSON %q, %v", test.name, got, err)
		}
	}
}

func shop() *binlog.Table {
	return &binlog.Table{
		Database: "shop",
		Name:     "users",
		Primary:  []int{0},
		Columns: []binlog.Column{
			{Name: "id", Type: binlog.TypeInt},
			{
				Name: "name", Type: binlog.TypeVarchar, Length: 20, Charset: "utf8mb4",
				Nullable: true,
			},
		},
	}
}

func TestRaw(t *testing.T) {
	l, err := binlog.NewImageLayout(shop(), []byte{3, 15}, []byte{80, 0}, false)
	if err != nil {
		t.Fatal(err)
	}
	var r binlog.Row
	for _, test := range []struct {
		image string
		want  []byte
	}{
		{"\x00\x01\x00\x00\x00\x01a", []byte("a")},
		{"\x00\x01\x00\x00\x00\x00", []byte{}},
		{"\x02\x01\x00\x00\x00", nil},
	} {
		if _, err := r.DecodeImage(l, []byte{3}, []byte(test.image)); err != nil {
			t.Fatal(err)
		}
		if got := r.Raw(1); !bytes.Equal(got, test.want) || (got == nil) != (test.want == nil) ||
			r.IsNull(1) != (got == nil) {
			t.Errorf("%q: %q, want %q", test.image, got, test.want)
		}
	}
}
