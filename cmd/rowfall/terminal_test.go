package main

import "testing"

// A line that the terminal wrapped used to stay on the screen when the dashboard was drawn again.
func TestCutLines(t *testing.T) {
	const want = "└─ Ch\nab\n\n"
	if got := cutLines("└─ Chloé Nguyễn\nab\n\n", 5); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
