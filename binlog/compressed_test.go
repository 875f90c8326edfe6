package binlog_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"

	"rowfall/binlog"
)

// compressedValue returns a value of a MariaDB's COMPRESSED column: its header with the length that
// is given, and the stream of the text.
func compressedValue(t testing.TB, text string, length uint32, isRaw bool) []byte {
	t.Helper()
	b := []byte{0x84}
	if isRaw {
		b[0] |= 0x08
	}
	var stream bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&stream)
	if isRaw {
		w, _ = flate.NewWriter(&stream, flate.BestCompression)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(b, length), stream.Bytes()...)
}

// compressedLayouts are those of a VARCHAR(100) in latin1, a LONGTEXT and a TINYBLOB.
func compressedLayouts(t testing.TB) []*binlog.Layout {
	t.Helper()
	var layouts []*binlog.Layout
	for _, test := range []struct {
		column      binlog.Column
		types, meta string
	}{
		{
			binlog.Column{Type: binlog.TypeVarchar, Length: 100, Charset: "latin1"},
			"\x8d", "\x65\x00",
		},
		{
			binlog.Column{Type: binlog.TypeText, Charset: "utf8mb4", SQLType: "longtext"},
			"\x8c", "\x04",
		},
		{binlog.Column{Type: binlog.TypeBlob, SQLType: "tinyblob"}, "\x8c", "\x01"},
	} {
		l, err := binlog.NewImageLayout(
			one(test.column), []byte(test.types), []byte(test.meta), true)
		if err != nil {
			t.Fatal(err)
		}
		layouts = append(layouts, l)
	}
	return layouts
}

// decodeValue points r at an image with one value.
func decodeValue(t testing.TB, r *binlog.Row, l *binlog.Layout, prefix int, value []byte) {
	t.Helper()
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(value)))[:prefix]
	image := append(append([]byte{0}, size...), value...)
	if _, err := r.DecodeImage(l, []byte{1}, image); err != nil {
		t.Fatal(err)
	}
}

func TestCompressed(t *testing.T) {
	layouts := compressedLayouts(t)
	long := strings.Repeat("ä", 5000)
	for _, test := range []struct {
		name       string
		layout     int
		value      []byte
		text, json string // no text: the value is an error
	}{
		{"empty", 0, nil, "", `""`},
		{"stored", 0, []byte("\x00a\xe9 "), "aé ", `"aé "`},
		{"zlib", 0, compressedValue(t, "\xe9\"", 2, false), "é\"", `"é\""`},
		{"deflate", 0, compressedValue(t, "\xe9", 1, true), "é", `"é"`},
		{"long", 1, compressedValue(t, long, 10000, true), long, `"` + long + `"`},
		{"bytes", 2, compressedValue(t, "abc", 3, false), "abc", `"YWJj"`},
		{"stored bytes", 2, []byte("\x00\x00"), "\x00", `"AA=="`},

		{"unknown method", 0, []byte("\x91\x01a"), "", ""},
		{"no length", 0, []byte("\x80"), "", ""},
		{"length of five bytes", 0, []byte("\x85\x00\x00\x00\x00\x01abcdef"), "", ""},
		{"length without stream", 0, []byte("\x84\x00\x00\x00\x01"), "", ""},
		{"longer than its type", 0, compressedValue(t, long, 10000, true), "", ""},
		{"longer than its header", 1, compressedValue(t, "abc", 2, false), "", ""},
		{"shorter than its header", 1, compressedValue(t, "abc", 4, true), "", ""},
		{"torn", 1, compressedValue(t, "abc", 3, false)[:10], "", ""},
		{"checksum", 1, append(compressedValue(t, "abc", 3, false)[:15], 1), "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r binlog.Row
			decodeValue(t, &r, layouts[test.layout], []int{1, 4, 1}[test.layout], test.value)
			text, err := r.AppendText([]byte("+"), 0)
			json, jsonErr := r.AppendJSON(nil, 0)
			if test.json == "" {
				if err == nil || jsonErr == nil || string(text) != "+" {
					t.Errorf("%q, %v; %q, %v", text, err, json, jsonErr)
				}
				return
			}
			if err != nil || string(text) != "+"+test.text || jsonErr != nil ||
				string(json) != test.json {
				t.Errorf("%.100q, %v; %.100q, %v", text, err, json, jsonErr)
			}
		})
	}
}

// The bound of a text's length: a compressed value has none, so that limits of columns read it.
func TestTextBound(t *testing.T) {
	layouts := compressedLayouts(t)
	for _, test := range []struct {
		column      binlog.Column
		types, meta string
		value       string
		bound       int
		ok          bool
	}{
		{
			binlog.Column{Type: binlog.TypeVarchar, Length: 9, Charset: "utf8mb4"},
			"\x0f", "\x24\x00",
			"\x03abc", 3, true,
		},
		{
			binlog.Column{Type: binlog.TypeVarchar, Length: 9, Charset: "latin1"},
			"\x0f", "\x09\x00",
			"\x03abc", 12, true,
		},
		{binlog.Column{Type: binlog.TypeBinary, Length: 9}, "\xfe", "\xfe\x09", "\x01a", 9, true},
		{binlog.Column{Type: binlog.TypeJSON}, "\xf5", "\x04", "\x01\x00\x00\x00a", 0, false},
		{layouts[0].Table().Columns[0], "\x8d", "\x65\x00", "\x02\x00a", 0, false},
	} {
		l, err := binlog.NewImageLayout(
			one(test.column), []byte(test.types), []byte(test.meta), true)
		if err != nil {
			t.Fatal(err)
		}
		var r binlog.Row
		if _, err := r.DecodeImage(l, []byte{1}, []byte("\x00"+test.value)); err != nil {
			t.Fatal(err)
		}
		if n, ok := r.TextBound(0); n != test.bound || ok != test.ok {
			t.Errorf("wire type %q: %d, %v, want %d, %v", test.types, n, ok, test.bound, test.ok)
		}
	}
}

// A header with a length that the stream cannot have is rejected before memory is allocated.
func TestCompressedHostileLength(t *testing.T) {
	var r binlog.Row
	decodeValue(t, &r, compressedLayouts(t)[1], 4, compressedValue(t, "abc", 0xfffffff0, false))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := r.AppendText(nil, 0); err == nil {
		t.Fatal("no error")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<22 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// FuzzCompressed reads arbitrary bytes as values of COMPRESSED columns: a text is never longer than
// its type permits.
func FuzzCompressed(f *testing.F) {
	f.Add(uint8(0), compressedValue(f, "abc", 3, false))
	f.Add(uint8(1), compressedValue(f, strings.Repeat("a", 1000), 1000, true))
	f.Add(uint8(2), []byte("\x00abc"))
	layouts := compressedLayouts(f)
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		which %= uint8(len(layouts))
		value = value[:min(len(value), []int{101, 1 << 20, 255}[which])]
		var r binlog.Row
		decodeValue(t, &r, layouts[which], []int{1, 4, 1}[which], value)
		text, err := r.AppendText(nil, 0)
		if most := []int{3 * 101, 1100 * len(value), 255}[which]; len(text) > most {
			t.Errorf("%d bytes of text, at most %d fit", len(text), most)
		}
		if _, jsonErr := r.AppendJSON(nil, 0); (jsonErr == nil) != (err == nil) {
			t.Errorf("text: %v, JSON: %v", err, jsonErr)
		}
	})
}
