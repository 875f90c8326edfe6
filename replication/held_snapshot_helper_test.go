package replication_test

import (
	"io"
	"testing"

	"rowfall/replication"
)

// startHeld starts a node with large data whose snapshots stop after the first part. Each then
// receives from gate: an error makes the snapshot fail; nil, or the closed channel, lets it
// continue.
func startHeld(t *testing.T) (n *replication.Node, gate chan error) {
	t.Helper()
	n, err := replication.Open(config(t))
	if err != nil {
		t.Fatal(err)
	}
	gate = make(chan error)
	n.SnapshotsThrough(func(w io.Writer) io.Writer { return &heldWriter{w, part, gate} })
	run(t, n)
	n.SetComplete(true)
	t.Cleanup(func() { // runs before the node is stopped
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

// heldWriter waits for gate after left bytes.
type heldWriter struct {
	w    io.Writer
	left int
	gate <-chan error
}

func (w *heldWriter) Write(p []byte) (int, error) {
	if before := w.left; before > 0 {
		if w.left -= len(p); w.left <= 0 {
			if err := <-w.gate; err != nil {
				return 0, err
			}
		}
	}
	return w.w.Write(p)
}
