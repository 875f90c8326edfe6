package replication_test

import (
	"io"
	"testing"

	"rowfall/replication"
)

// throttled opens and runs a node of large data whose snapshots stop after a part
// until something comes out of gate: an error makes the snapshot fail, nil or the
// closed channel lets it go on.
func throttled(t *testing.T) (n *replication.Node, gate chan error) {
	t.Helper()
	n, err := replication.Open(config(t))
	if err != nil {
		t.Fatal(err)
	}
	gate = make(chan error)
	n.SnapshotsThrough(func(w io.Writer) io.Writer { return &throttle{w, part, gate} })
	run(t, n)
	n.SetComplete(true)
	t.Cleanup(func() { // before the node is stopped
		select {
		case <-gate:
		default:
			close(gate)
		}
	})
	fill(t, n, "a", 500)
	big(t, n, large)
	return n, gate
}

type throttle struct {
	w    io.Writer
	left int
	gate <-chan error
}

func (w *throttle) Write(p []byte) (int, error) {
	if before := w.left; before > 0 {
		if w.left -= len(p); w.left <= 0 {
			if err := <-w.gate; err != nil {
				return 0, err
			}
		}
	}
	return w.w.Write(p)
}
