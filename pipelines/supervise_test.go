package pipelines

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/sink/sinktest"
)

// While its sink is not writable, a pipeline does not run, and a --from is rejected.
func TestSuperviseReadOnlySink(t *testing.T) {
	to := sinktest.NewMemory("test")
	to.SetWritable(false)
	p := New(file.Defaults(), to, "now", zerolog.Nop())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- p.supervise(ctx) }()
	for p.Stats().Stopped == "" && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	err := <-ended
	if !errors.As(err, new(*StopError)) ||
		!strings.Contains(err.Error(), "--from now: the node is a replica") {
		t.Errorf("ended with %v", err)
	}
	if n := len(to.Units(0)); n > 0 {
		t.Errorf("%d units were written", n)
	}
}
