package main

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"rowfall/internal/servers/servertest"
)

// Skipped tests are reported at the end, however the command ends, and run returns the command's
// error.
func TestSkippedTestsAreCounted(t *testing.T) {
	if runtime.GOOS == "windows" {
		servertest.SkipOrFail(t, errors.New("find sh: Windows has none"))
	}
	t.Setenv("CI", "")
	var out strings.Builder
	const script = `
		echo 'SKIPPED: TestA' >> $ROWFALL_SKIPPED
		echo 'SKIPPED: TestB' >> $ROWFALL_SKIPPED
		exit 3`
	err := run(t.Context(), &out, []string{"sh", "-c", script})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("run returns %v", err)
	}
	if !strings.Contains(out.String(), "SKIPPED: TestA\nSKIPPED: TestB\n2 TESTS WERE SKIPPED") {
		t.Errorf("run prints %s", out.String())
	}
	out.Reset()
	err = run(t.Context(), &out, []string{"true"})
	if err != nil || strings.Contains(out.String(), "TESTS WERE SKIPPED") {
		t.Errorf("without skipped tests run prints %s and returns %v", out.String(), err)
	}
}
