package main

import (
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// redrawInterval is the time between two drawings of what is updated in place.
const redrawInterval = 500 * time.Millisecond

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// terminalWidth returns the number of columns of the terminal f; 80 if it is not known.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// cutLines cuts each line of text to width columns. A line that the terminal wraps would take two
// lines of the screen, and drawing in place would leave one of them behind.
func cutLines(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		runes := []rune(strings.TrimSuffix(line, "\n"))
		b.WriteString(string(runes[:min(len(runes), width)]))
		b.WriteByte('\n')
	}
	return b.String()
}
