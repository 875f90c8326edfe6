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
		t.Error("a keyword is compared by its case")
	}
	if w := (sqltext.Word{Text: "ON", Quoted: true}); w.Is("ON") || !w.IsName() {
		t.Error("a quoted name is a keyword")
	}
	if w := (sqltext.Word{Text: ","}); !w.Is(",") || w.IsName() {
		t.Error("a comma is a name")
	}
}

// A name in backquotes is one word, whatever it holds.
func FuzzSplit(f *testing.F) {
	f.Add("a`b", "it's \"c\" -- /* #")
	f.Fuzz(func(t *testing.T, a, b string) {
		quote := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
		want := []sqltext.Word{{Text: "ON"}, {Text: a, Quoted: true}, {Text: "."}, {Text: b, Quoted: true}}
		if got := sqltext.Split("ON " + quote(a) + "." + quote(b)); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		sqltext.Split(a + b)
	})
}
