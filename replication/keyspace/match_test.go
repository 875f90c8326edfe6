package keyspace

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"*", "", true},
		{"*", "abc", true},
		{"a*c", "abbc", true},
		{"a*c", "abb", false},
		{"?", "", false},
		{"a?c", "abc", true},
		{"user:*:name", "user:1:name", true},
		{"user:*:name", "user:1:names", false},
		{"[abc]", "b", true},
		{"[^abc]", "b", false},
		{"[^abc]", "d", true},
		{"[a-c]x", "bx", true},
		{"[c-a]x", "bx", true},
		{"[\\]]", "]", true},
		{"[abc", "c", true},
		{"[", "a", false},
		{"[^", "a", true},
		{"a\\*b", "a*b", true},
		{"a\\*b", "axb", false},
		{"\\", "\\", true},
		{"**a**", "bab", true},
		{"*a*b*c*", "xxaxxbxxcxx", true},
		{"*[0-9]", "key7", true},
		{"h?llo*", "hallo", true},
	} {
		if got := match([]byte(c.pattern), []byte(c.s)); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

// A backtracking matcher would not finish with this pattern.
func TestMatchIsNotExponential(t *testing.T) {
	if match([]byte(strings.Repeat("a*", 500)+"b"), []byte(strings.Repeat("a", 5000))) {
		t.Error("the pattern matches")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a*[b-d^]\\?", "axxc?")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			return
		}
		got := match([]byte(pattern), []byte(s))
		if want := slow([]byte(pattern), []byte(s)); got != want {
			t.Fatalf("match(%q, %q) = %v", pattern, s, got)
		}
	})
}

// slow is match by exhaustive search.
func slow(p, s []byte) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	if p[0] == '*' {
		return slow(p[1:], s) || len(s) > 0 && slow(p, s[1:])
	}
	if len(s) == 0 {
		return false
	}
	n, ok := matchByte(p, s[0])
	return ok && slow(p[n:], s[1:])
}
