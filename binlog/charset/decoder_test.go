package charset_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"rowfall/binlog/charset"
)

func find(tb testing.TB, name string, s charset.Server) *charset.Decoder {
	tb.Helper()
	d, ok := charset.Find(name, s)
	if !ok || d == nil {
		tb.Fatalf("%s has no decoder for %s", s, name)
	}
	return d
}

// The expected texts are what MySQL 9.7 and MariaDB 10.11 print; TestServers compares all.
func TestDecoder(t *testing.T) {
	for _, test := range []struct{ charset, text, mySQL, mariaDB string }{
		{"latin1", "a\xe9\x80\x81", "aé€\u0081", "aé€\u0081"},
		{"cp1251", "\xe6\x98", "ж?", "ж?"},
		{"koi8r", "\xd6", "ж", "ж"},
		{"swe7", "[\\]{|}", "ÄÖÅäöå", "ÄÖÅäöå"},
		{"tis620", "\xa1", "ก", "ก"},
		{"ascii", "a\xe9", "a?", "a?"},
		{"gbk", "\xba\xba\x81\x60", "汉乣", "汉乣"},
		{"gbk", "\xba\xba\xba", "汉", "汉?"},
		{"gbk", "\xff\xffa\xa1", "?a", "??a?"},
		{"big5", "\xa5\x5c", "功", "功"},
		{"sjis", "\x83\x5c\xb1\x80a", "ソｱ?a", "ソｱ?a"},
		{"gb2312", "\xba\x3a", "汉", "?:"},
		{"ujis", "\x8f\xb0\xa1\x8e\xb1\xb0\xa1\x8f\xb0", "丂ｱ亜", "丂ｱ亜??"},
		{"euckr", "\xc7\xd1\xa2\xe8", "한?", "한?"},
		{"ucs2", "\x20\x20\xd8\x00\x20", "†\xed\xa0\x80", "†\xed\xa0\x80?"},
		{"utf16", "\xd8\x42\xdf\xb7\xdc\x00", "𠮷?", "𠮷??"},
		{"utf16le", "\x42\xd8\xb7\xdf\x61\x00", "𠮷a", "𠮷a"},
		{"utf32", "\x00\x02\x0b\xb7", "𠮷", "𠮷"},
		{"utf32", "\x00\x11\x00\x00", "\xf4\x90\x80\x80", "????"},
		{"utf8mb3", "é\xf0\x9f\x98\x80\xed\xa0\x80", "é???????", "é????\xed\xa0\x80"},
		{"utf8", "漢", "漢", "漢"},
		{"utf8mb3", "漢字é漢字é\xf0\x9f\x98\x80a", "漢字é漢字é????a", "漢字é漢字é????a"},
		{"utf8mb3", "漢字é漢字é漢字é漢字éa", "漢字é漢字é漢字é漢字éa", "漢字é漢字é漢字é漢字éa"},
	} {
		for s, want := range []string{test.mySQL, test.mariaDB} {
			d := find(t, test.charset, charset.Server(s))
			if got := d.Append([]byte("-"), []byte(test.text)); string(got) != "-"+want {
				t.Errorf("%s, %s %q: %q, want %q", charset.Server(s), test.charset, test.text, got,
					want)
			}
		}
	}
	d := find(t, "gb18030", charset.MySQL)
	got := d.Append(nil, []byte("\x95\x32\x82\x36\x81\x30\x84\x36\x81\x30"))
	if string(got) != "𠀀\u00a5" {
		t.Errorf("gb18030: %q", got)
	}
	for _, name := range []string{"utf8mb4", "binary"} {
		if d, ok := charset.Find(name, charset.MySQL); d != nil || !ok {
			t.Errorf("%s: %v, %v", name, d, ok)
		}
	}
	for _, name := range []string{"gb18030", "nonsense", ""} {
		if d, ok := charset.Find(name, charset.MariaDB); d != nil || ok {
			t.Errorf("MariaDB's %q: %v, %v", name, d, ok)
		}
	}
}

func TestConvert(t *testing.T) {
	for _, test := range []struct {
		charset, text, want string
		isExact             bool
	}{
		{"gbk", "a?\xba\xba", "a?汉", true},
		{"gbk", "\xba\xba\xff\xff", "汉?", false},
		{"gbk", "\xba\xba\xba", "汉", false},
		{"cp1251", "\x98", "?", false},
		{"utf16", "\x00?", "?", true},
	} {
		got, isExact := find(t, test.charset, charset.MySQL).Convert(nil, []byte(test.text))
		if string(got) != test.want || isExact != test.isExact {
			t.Errorf("%s %q: %q, %v", test.charset, test.text, got, isExact)
		}
	}
}

func TestRepresent(t *testing.T) {
	for name, want := range map[string]string{
		"latin1": "aé???", "swe7": "aé???", "cp1251": "a?ж??", "gbk": "aéж漢?", "ascii": "a????",
		"utf8mb3": "aéж漢?", "ucs2": "aéж漢?", "utf16": "aéж漢𠮷", "gb18030": "aéж漢𠮷",
	} {
		if got := find(t, name, charset.MySQL).Represent("aéж漢𠮷"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := find(t, "swe7", charset.MariaDB).Represent("[a]"); got != "?a?" {
		t.Errorf("swe7: %q", got)
	}
}

// all are character sets of every form.
var all = []string{
	"armscii8", "ascii", "big5", "cp1251", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk",
	"latin1", "sjis", "swe7", "ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8mb3",
}

func TestDecoderAllocatesNothing(t *testing.T) {
	text := []byte("abc \xe9\x8f\xb0\xa1\xd8\x42\xdf\xb7\x81\x30\x81\x30\xba\xba")
	buf := make([]byte, 0, 256)
	for _, name := range all {
		d := find(t, name, charset.MySQL)
		if n := testing.AllocsPerRun(100, func() {
			buf = d.Append(buf[:0], text)
			for rest := text; len(rest) > 0; {
				var size int
				buf, size = d.AppendNext(buf[:0], rest)
				rest = rest[size:]
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzDecoder checks that no bytes make a decoder panic or write more than four bytes for one, and
// that the ways to decode agree.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("\x8f\xb0\xa1\x81\x30\x81\x30\xd8\x42\xdf\xb7"))
	f.Add([]byte("a\x00\xff\xfe\x8f"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, name := range all {
			for _, s := range []charset.Server{charset.MySQL, charset.MariaDB} {
				d, ok := charset.Find(name, s)
				if !ok {
					continue
				}
				got := d.Append(nil, text)
				if len(got) > 4*len(text) {
					t.Fatalf("%s %s %x: %d bytes", s, name, text, len(got))
				}
				var single []byte
				for rest := text; len(rest) > 0; {
					var n int
					if single, n = d.AppendNext(single, rest); n < 1 || n > len(rest) {
						t.Fatalf("%s %s %x: a character of %d bytes", s, name, rest, n)
					}
					rest = rest[n:]
				}
				converted, _ := d.Convert(nil, text)
				if !bytes.Equal(got, single) || !bytes.Equal(got, converted) {
					t.Fatalf("%s %s %x: %q, %q, %q", s, name, text, got, single, converted)
				}
				if utf8.Valid(text) && name == "utf8mb3" && len(got) < len(text) &&
					!bytes.ContainsRune(got, '?') {
					t.Fatalf("%q becomes %q", text, got)
				}
			}
		}
	})
}

// BenchmarkAppend converts texts of 60 characters. "copy" is what a utf8mb4 text costs.
func BenchmarkAppend(b *testing.B) {
	chinese := bytes.Repeat([]byte("\xba\xba\xd7\xd6"), 30)
	for _, bench := range []struct {
		name, charset string
		text          []byte
	}{
		{"latin1 ASCII", "latin1", bytes.Repeat([]byte("abcdef"), 10)},
		{"latin1", "latin1", bytes.Repeat([]byte("ab\xe9def"), 10)},
		{"cp1251", "cp1251", bytes.Repeat([]byte("\xe6"), 60)},
		{"gbk", "gbk", chinese},
		{"gb18030", "gb18030", chinese},
		{"utf8mb3", "utf8mb3", bytes.Repeat([]byte("漢"), 60)},
		{"utf16", "utf16", bytes.Repeat([]byte("\x6f\x22"), 60)},
	} {
		d := find(b, bench.charset, charset.MySQL)
		buf := make([]byte, 0, 1024)
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = d.Append(buf[:0], bench.text)
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		text := bytes.Repeat([]byte("漢"), 60)
		b.ReportAllocs()
		for b.Loop() {
			buf = append(buf[:0], text...)
		}
	})
}
