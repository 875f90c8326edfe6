package main

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"rowfall/internal/servers/servertest"
)

// What tests skip is said at the end, however the command ends, and its end is ours.
func TestSkippedTestsAreCounted(t *testing.T) {
	if runtime.GOOS == "windows" {
		servertest.Absent(t, errors.New("it has no sh"))
	}
	t.Setenv("CI", "")
	var out strings.Builder
	err := run(t.Context(), &out, []string{"sh", "-c", "echo 'SKIPPED: TestA' >> $ROWFALL_SKIPPED; echo 'SKIPPED: TestB' >> $ROWFALL_SKIPPED; exit 3"})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("it ends with %v", err)
	}
	if !strings.Contains(out.String(), "SKIPPED: TestA\nSKIPPED: TestB\n2 TESTS WERE SKIPPED") {
		t.Errorf("it says %s", out.String())
	}
	out.Reset()
	if err := run(t.Context(), &out, []string{"true"}); err != nil || strings.Contains(out.String(), "TESTS WERE SKIPPED") {
		t.Errorf("without skipped tests it says %s, %v", out.String(), err)
	}
}
