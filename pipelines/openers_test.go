package pipelines_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/pipelines"
)

// A pipeline that cannot be opened is reported by the logger of its own file. It was reported by
// the logger of the last file, with that file's level and format.
func TestOpenFailuresGoToTheirLogger(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var tries atomic.Int32
	logs := make([]bytes.Buffer, 2)
	var openers []pipelines.Opener
	for i, name := range []string{"first.yaml", "second.yaml"} {
		openers = append(openers, pipelines.Opener{
			Log: zerolog.New(&logs[i]),
			Open: func() (*pipelines.Instance, error) {
				if tries.Add(1) >= 2 {
					cancel()
				}
				return nil, errors.New(name)
			},
		})
	}
	if err := pipelines.RunAll(ctx, openers...); err == nil {
		t.Error("no error")
	}
	first, second := logs[0].String(), logs[1].String()
	if !strings.Contains(first, "first.yaml") || strings.Contains(first, "second.yaml") {
		t.Errorf("the first log has\n%s", first)
	}
	if !strings.Contains(second, "second.yaml") || strings.Contains(second, "first.yaml") {
		t.Errorf("the second log has\n%s", second)
	}
}
