package binlog_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"rowfall/binlog"
)

// A database whose name has a dot could not be named, and a literal * or ? was a wildcard.
func TestTablePattern(t *testing.T) {
	for _, c := range []struct {
		pattern, database, table string
		want                     bool
	}{
		{"shop.users", "shop", "users", true},
		{"shop.users", "shop", "user", false},
		{"shop.*", "shop", "users", true},
		{"shop.*", "shop", "", true},
		{"*.*_log", "a", "x_log", true},
		{"*.*_log", "a", "x_logs", false},
		{"sho?.u*s*", "shop", "users", true},
		{"sho?.u*s*", "sho", "users", false},
		{"bb.dot.t", "bb", "dot.t", true},
		{"bb.dot.t", "bb.dot", "t", false},
		{"`bb.dot`.t", "bb.dot", "t", true},
		{"`bb.dot`.t", "bb", "dot.t", false},
		{"`bb.dot`.*", "bb.dot", "t", true},
		{"`bb.`*.t", "bb.dot", "t", true},
		{"`bb.`*.t", "bbxdot", "t", false},
		{"`a*`.t", "a*", "t", true},
		{"`a*`.t", "ab", "t", false},
		{"shop.`a?`*", "shop", "a?b", true},
		{"shop.`a?`*", "shop", "axb", false},
		{"`a``b`.t", "a`b", "t", true},
		{"shop.`päck?`", "shop", "päck?", true},
	} {
		p, err := binlog.ParseTablePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.Matches(c.database, c.table); got != c.want {
			t.Errorf("%s names %q, %q: %t, want %t", c.pattern, c.database, c.table, got, c.want)
		}
		if p.String() != c.pattern {
			t.Errorf("%s prints as %s", c.pattern, p)
		}
	}
	for pattern, want := range map[string]string{
		"": "names no table", "shop": "names no table",
		"shop.": "names no table", ".t": "names no table", "``.t": "names no table",
		"`shop.t": "no closing backquote", "a\xff.t": "not UTF-8",
	} {
		if _, err := binlog.ParseTablePattern(pattern); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", pattern, err, want)
		}
	}
	for text, want := range map[string]string{
		"`shop`.`t`": "shop.t", "shop.`a.b`": "shop.a.b",
		"`sh`op.t": "shop.t",
	} {
		if p, err := binlog.ParseTablePattern(text); err != nil || p.String() != want {
			t.Errorf("%s prints as %s, %v, want %s", text, p, err, want)
		}
	}
}

func TestTablePatternCovers(t *testing.T) {
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{"*.*", "shop.*", true},
		{"shop.*", "*.*", false},
		{"shop.u*", "shop.user*", true},
		{"shop.?", "shop.?", true},
		{"shop.?", "shop.*", false},
		{"shop.*", "shop.`*`", true},
		{"shop.`*`", "shop.*", false},
		{"shop.`?`", "shop.?", false},
		{"shop.?", "shop.`*`", true},
	} {
		wide, err1 := binlog.ParseTablePattern(c.wide)
		narrow, err2 := binlog.ParseTablePattern(c.narrow)
		if err1 != nil || err2 != nil || wide.Covers(narrow) != c.want {
			t.Errorf("%s covers %s: %t, want %t (%v, %v)", c.wide, c.narrow, !c.want, c.want, err1,
				err2)
		}
	}
}

// FuzzTablePattern: what PatternOf prints names that table, and printing is stable.
func FuzzTablePattern(f *testing.F) {
	f.Add("shop", "users")
	f.Add("bb.dot", "a`*?.")
	f.Fuzz(func(t *testing.T, database, table string) {
		text := binlog.PatternOf(database, table).String()
		p, err := binlog.ParseTablePattern(text)
		if err != nil || !utf8.ValidString(database+table) {
			return // no server has such names, nor empty ones
		}
		if !p.Matches(database, table) || p.IsWildcard() || p.String() != text {
			t.Errorf("%q.%q prints as %s", database, table, text)
		}
	})
}
