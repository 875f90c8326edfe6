package main

import (
	"regexp"
	"strings"
	"testing"
)

// The lines of a console log have the date, since a log is read days later.
func TestConsoleLogHasDate(t *testing.T) {
	var out strings.Builder
	log, err := (&logFlags{out: &out}).logger("console", "info")
	must(t, err)
	log.Info().Msg("text")
	want := regexp.MustCompile(`^(\x1b\[\d+m)?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\b`)
	if !want.MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}
