package binlog_test

import (
	"testing"

	"rowfall/binlog"
)

func TestClip(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"", 3, ""},
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc..."},
		{"abüdefg", 6, "ab..."}, // a character is not cut in two
		{"abcd", 3, "..."},
		{"\x80\x80\x80\x80\x80", 4, "..."},
	} {
		if got := binlog.Clip(c.text, c.most); got != c.want {
			t.Errorf("%q in %d bytes is %q, want %q", c.text, c.most, got, c.want)
		}
		if got := binlog.Clip([]byte(c.text), c.most); got != c.want {
			t.Errorf("the bytes of %q in %d bytes are %q, want %q", c.text, c.most, got, c.want)
		}
	}
}
