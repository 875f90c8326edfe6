package binlog_test

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"testing"

	"rowfall/binlog"
)

// hiresTypes are the temporal types with the sizes of their values by fractional digits, in
// MariaDB's format of version 5.3.
var hiresTypes = []struct {
	typ   binlog.Type
	wire  byte
	sizes [7]int
	text  *regexp.Regexp
}{
	{
		binlog.TypeTime, 11,
		[7]int{3, 4, 4, 5, 5, 5, 6},
		regexp.MustCompile(`^-?\d{2,3}:[0-5]\d:[0-5]\d(\.\d+)?$`),
	},
	{
		binlog.TypeDatetime, 12,
		[7]int{8, 6, 6, 7, 7, 7, 8},
		regexp.MustCompile(`^\d{4}-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d(\.\d+)?$`),
	},
	{
		binlog.TypeTimestamp, 7,
		[7]int{4, 5, 5, 6, 6, 7, 7},
		regexp.MustCompile(`^\d{4}-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d(\.\d+)?$`),
	},
}

// Values as a MariaDB 10.11 with mysql56_temporal_format=OFF has logged them; the type matrix of
// package pipelines has all digits.
func TestHires(t *testing.T) {
	const hour, million = 3600, 1000000
	datetime := func(year, month, day, seconds uint64) uint64 {
		return (((year*13+month)*32+day)*24*hour + seconds)
	}
	for _, test := range []struct {
		typ    int
		digits int
		units  uint64
		want   string // empty: an error
	}{
		{0, 3, (839*hour + 1) * 1000, "00:00:01.000"},
		{0, 3, 839*hour*1000 - 1500, "-00:00:01.500"},
		{0, 6, 839*hour*million - (838*hour+59*60+59)*million, "-838:59:59.000000"},
		{0, 1, (839*hour+838*hour+59*60+59)*10 + 9, "838:59:59.9"},
		{0, 1, 2 * 839 * hour * 10, ""},
		{0, 2, 0, ""},
		{1, 6, datetime(9999, 12, 31, 86399)*million + 999999, "9999-12-31 23:59:59.999999"},
		{1, 1, 0, "0000-00-00 00:00:00.0"},
		{1, 2, datetime(2024, 0, 10, 3661) * 100, "2024-00-10 01:01:01.00"},
		{1, 1, datetime(10000, 1, 1, 0) * 10, ""},
		{2, 1, 1<<8 | 5, "1970-01-01 00:00:01.5"},
		{2, 6, 0x7fffffff<<24 | 999999, "2038-01-19 03:14:07.999999"},
		{2, 2, 0, "0000-00-00 00:00:00.00"},
		{2, 1, 1<<8 | 10, ""},
	} {
		kind := hiresTypes[test.typ]
		c := binlog.Column{Type: kind.typ, Decimals: test.digits}
		l, err := binlog.NewImageLayout(one(c), []byte{kind.wire}, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		value := binary.BigEndian.AppendUint64(nil, test.units)[8-kind.sizes[test.digits]:]
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, append([]byte{0}, value...)); err != nil {
			t.Fatal(err)
		}
		got, err := r.AppendText(nil, 0)
		json, _ := r.AppendJSON(nil, 0)
		if string(got) != test.want || (err == nil) != (test.want != "") ||
			err == nil && string(json) != `"`+test.want+`"` {
			t.Errorf("type %d of %d digits, %d: %q, %v, JSON %s, want %q", test.typ, test.digits,
				test.units, got, err, json, test.want)
		}
	}
}

// A MySQL never writes fractional seconds in an old format: the schema is of another time.
func TestHiresOfMySQL(t *testing.T) {
	for _, kind := range hiresTypes {
		c := binlog.Column{Type: kind.typ, Decimals: 3}
		if _, err := binlog.NewImageLayout(one(c), []byte{kind.wire}, nil, false); err == nil {
			t.Errorf("type %d of a MySQL is read", kind.wire)
		}
	}
}

// FuzzHires reads arbitrary bytes as temporal values: a text has the form of its type.
func FuzzHires(f *testing.F) {
	f.Add(uint8(0), uint8(6), []byte("\x80\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(uint8(1), uint8(3), []byte("\x01\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(uint8(2), uint8(1), []byte("\x7f\xff\xff\xff\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, which, digits uint8, b []byte) {
		kind, n := hiresTypes[int(which)%len(hiresTypes)], int(digits)%7
		c := binlog.Column{Type: kind.typ, Decimals: n}
		l, err := binlog.NewImageLayout(one(c), []byte{kind.wire}, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		image := append([]byte{0}, append(b, make([]byte, 8)...)[:kind.sizes[n]]...)
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, image); err != nil {
			t.Fatal(err)
		}
		text, err := r.AppendText(nil, 0)
		if err == nil && !kind.text.Match(text) {
			t.Errorf("%x prints as %q", image[1:], fmt.Sprint(string(text)))
		}
	})
}

// A YEAR(2) prints two digits in row images, too.
func TestShortYear(t *testing.T) {
	c := binlog.Column{Type: binlog.TypeYear, SQLType: "year(2)"}
	c.SetArguments([]int{2}, "")
	l, err := binlog.NewImageLayout(one(c), []byte{13}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		stored     byte
		text, json string
		number     uint64
	}{
		{101, "01", "1", 1}, {70, "70", "70", 70}, {100, "00", "0", 0}, {169, "69", "69", 69},
	} {
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, []byte{0, test.stored}); err != nil {
			t.Fatal(err)
		}
		var fromSelect binlog.Row
		fromSelect.SetText(binlog.NewTextLayout(l.Table()), [][]byte{[]byte(test.text)})
		for _, row := range []*binlog.Row{&r, &fromSelect} {
			text, err := row.AppendText(nil, 0)
			json, jsonErr := row.AppendJSON(nil, 0)
			n, ok := row.Uint64(0)
			if err != nil || jsonErr != nil || !ok || string(text) != test.text ||
				string(json) != test.json || n != test.number {
				t.Errorf("%d: %q, %v, %q, %v, %d, want %+v", test.stored, text, err, json,
					jsonErr, n, test)
			}
		}
	}
}
