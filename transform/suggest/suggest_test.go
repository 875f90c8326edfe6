package suggest_test

import (
	"testing"

	"rowfall/transform/suggest"
)

func TestNearest(t *testing.T) {
	candidates := []string{"id", "Email", "created_at", "countries"}
	for _, c := range []struct{ name, want string }{
		{"email", "Email"},
		{"emial", "Email"}, // a swap counts once
		{"emil", "Email"},  // a missing letter
		{"creatd_at", "created_at"},
		{"CONTRIES", "countries"},
		{"di", "id"},
		{"x", ""},
		{"password", ""},
		{"", ""},
	} {
		if got := suggest.Nearest(c.name, candidates); got != c.want {
			t.Errorf("Nearest(%q) is %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	got := suggest.DidYouMean("emial", []string{"id", "email"})
	if got != `; did you mean "email"?` {
		t.Errorf("a near name gives %q", got)
	}
	if got = suggest.DidYouMean("password", []string{"id", "email"}); got != "" {
		t.Errorf("no near name gives %q", got)
	}
}
