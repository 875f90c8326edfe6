package sqltext_test

import (
	"slices"
	"strings"
	"testing"

	"rowfall/binlog/sqltext"
)

func TestSplit(t *testing.T) {
	for sql, want := range map[string]string{
		"":                                      "",
		"GRANT SELECT ON `a``b`.* TO":           "GRANT SELECT ON <a`b> . * TO",
		"`x ON DELETE CASCADE` 'it''s \\' a' b": "<x ON DELETE CASCADE> <it's ' a> b",
		"a /* `b` */ c # d\n-- e\nf --g":        "a c f - - g",
		"/*!50100 PARTITION */ /*M!100301 C*/":  "PARTITION C",
		"UNION=(`a`,b.`c`)":                     "UNION = ( <a> , b . <c> )",
		"`unfinished":                           "<unfinished>",
		"/* unfinished":                         "",
		"é_$1":                                  "é_$1",
		"a--\x01b\nc --":                        "a c",
		"5--3":                                  "5 - - 3",
	} {
		var got []string
		for _, w := range sqltext.Split(sql) {
			text := w.Text
			if w.Quoted {
				text = "<" + text + ">"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is %q, want %s", sql, got, want)
		}
	}
	if w := (sqltext.Word{Text: "on"}); !w.Is("ON") || !w.IsName() {
		t.Error("a keyword is compared with its case")
	}
	if w := (sqltext.Word{Text: "ON", Quoted: true}); w.Is("ON") || !w.IsName() {
		t.Error("a quoted name is taken for a keyword")
	}
	if w := (sqltext.Word{Text: ","}); !w.Is(",") || w.IsName() {
		t.Error("a comma is taken for a name")
	}
}

// Tokens keep their quotes, are parts of the text, and cost no allocation.
func TestScanner(t *testing.T) {
	sql := []byte("a /*!80000 `b``c`*/ 'it\\'s';x")
	var got []string
	s := sqltext.NewScanner(sql)
	for token, ok := s.Next(); ok; token, ok = s.Next() {
		got = append(got, string(token.Text))
		if quoted := strings.ContainsAny(string(token.Text), "`'"); token.Quoted != quoted {
			t.Errorf("%s: quoted is %t", token.Text, token.Quoted)
		}
		if token.Quoted && len(got) == 3 && string(s.Rest()) != ";x" {
			t.Errorf("after %s the rest is %q", token.Text, s.Rest())
		}
	}
	if want := []string{"a", "`b``c`", "'it\\'s'", ";", "x"}; !slices.Equal(got, want) {
		t.Errorf("tokens are %q, want %q", got, want)
	}
	if n := testing.AllocsPerRun(100, func() {
		s := sqltext.NewScanner(sql)
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The session's sql_mode decides about quotes and escapes, the server's version about comments.
func TestDialect(t *testing.T) {
	for _, c := range []struct {
		dialect sqltext.Dialect
		sql     string
		want    string
	}{
		{sqltext.Dialect{}, `"a\"b" 'c\n\%' d`, `s:a"b s:c` + "\n" + `\% d`},
		{sqltext.Dialect{ANSIQuotes: true}, `"a\" "b""c" 'd'`, `n:a\ n:b"c s:d`},
		{sqltext.Dialect{NoBackslashEscapes: true}, `'a\' "b\" c`, `s:a\ s:b\ c`},
		{
			sqltext.Dialect{Version: 80030},
			"/*!80029 a*/ /*!80031 b*/ /*M!100000 c*/ /*! d*/", "a d",
		},
		{sqltext.Dialect{Version: 80030}, "/*!080029 a*/ /*!999999 b*/ /*!123 c*/", "a 123 c"},
		{
			sqltext.Dialect{MariaDB: true, Version: 101106},
			"/*!50100 a*/ /*!80000 b*/ /*M!100301 c*/ /*M!110000 d*/ /*!100000 e*/", "a c e",
		},
	} {
		var got []string
		s := c.dialect.NewScanner([]byte(c.sql))
		for token, ok := s.Next(); ok; token, ok = s.Next() {
			switch {
			case c.dialect.IsString(token):
				got = append(got, "s:"+c.dialect.Unquote(token))
			case token.Quoted:
				got = append(got, "n:"+c.dialect.Unquote(token))
			default:
				got = append(got, string(token.Text))
			}
		}
		if strings.Join(got, " ") != c.want || s.Unterminated() {
			t.Errorf("%s in %+v is %q, want %s", c.sql, c.dialect, got, c.want)
		}
	}
	for _, sql := range []string{"a 'b", "a `b``", "/* c", "/*!99999 c", "'a\\'"} {
		s := sqltext.Dialect{Version: 80000}.NewScanner([]byte(sql))
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
		if !s.Unterminated() {
			t.Errorf("%s is taken for complete", sql)
		}
	}
}

// A name in backquotes is one word, whatever characters it holds.
func FuzzSplit(f *testing.F) {
	f.Add("a`b", "it's \"c\" -- /* #")
	f.Fuzz(func(t *testing.T, a, b string) {
		quote := sqltext.QuoteName
		want := []sqltext.Word{
			{Text: "ON"},
			{Text: a, Quoted: true},
			{Text: "."},
			{Text: b, Quoted: true},
		}
		if got := sqltext.Split("ON " + quote(a) + "." + quote(b)); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		sqltext.Split(a + b)
	})
}
