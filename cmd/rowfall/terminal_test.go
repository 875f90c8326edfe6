package main

import "testing"

// A line that the terminal wrapped used to stay on the screen when the dashboard was drawn again.
func TestCutLines(t *testing.T) {
	if got, want := cutLines("└─ Chloé Nguyễn\nab\n\n", 5), "└─ Ch\nab\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
