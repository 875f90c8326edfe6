package replication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// waitTimeout limits every wait for a condition.
const waitTimeout = 2 * time.Minute

// eventually waits until ok returns true, and fails the test after waitTimeout. It calls ok every 5
// ms.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(waitTimeout); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("timed out after %v, waiting until %s", waitTimeout, what)
		}
	}
}

func config(t *testing.T) replication.Config {
	level := zerolog.WarnLevel
	if testing.Verbose() {
		level = zerolog.InfoLevel
	}
	return replication.Config{
		Listen: "127.0.0.1:0", Dir: t.TempDir(),
		Log: replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20},
		Logger: zerolog.New(zerolog.ConsoleWriter{Out: zerolog.NewTestWriter(t), NoColor: true}).
			Level(level),
	}
}

// start opens a node and runs it until the test ends or stop is called.
func start(t *testing.T, c replication.Config) (n *replication.Node, stop func()) {
	t.Helper()
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return n, run(t, n)
}

// run runs an open node until the test ends or stop is called.
func run(t *testing.T, n *replication.Node) (stop func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil && !errors.Is(err, replication.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// complete starts a node and marks its data as complete, so that replicas may follow it.
func complete(t *testing.T, c replication.Config) (*replication.Node, func()) {
	t.Helper()
	n, stop := start(t, c)
	n.SetComplete(true)
	return n, stop
}
