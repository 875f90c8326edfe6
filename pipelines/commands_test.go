package pipelines_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/pipelines"
	"rowfall/replication"
	"rowfall/sink"
)

// During an initial load or a replay the rows are older or newer than the position, so WAIT must
// not answer 1.
func TestWaitMeansComplete(t *testing.T) {
	var node *replication.Node
	commands := pipelines.NewCommands(func() *replication.Node { return node })
	node, err := replication.Open(replication.Config{
		Listen: "127.0.0.1:0", Dir: filepath.Join(t.TempDir(), "node"),
		HiddenPrefix: sink.HiddenPrefix, Commands: commands.Handlers(),
		Logger: zerolog.New(zerolog.NewTestWriter(t)),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	defer func() { cancel(); must(t, <-ended) }()
	client := redis.NewClient(
		&redis.Options{Addr: node.Addr(), MaxRetries: -1, ReadTimeout: waitLimit},
	)
	defer client.Close()

	const set = "7a5a5545-e919-11f1-b04d-02fc00000001:1-9"
	to := sink.NewNode(node, "test")
	_, err = to.Load(ctx)
	must(t, err)
	apply := func(p sink.Progress) {
		t.Helper()
		p.Position = sink.Position{
			{Name: "gtid", Value: []byte(set)}, {Name: "offset", Value: []byte("0")},
		}
		must(t, to.Apply(ctx, &sink.Unit{Progress: p}))
	}
	wait := func(ms time.Duration) int {
		t.Helper()
		n, err := client.Do(ctx, "ROWFALL", "WAIT", set, ms.Milliseconds()).Int()
		must(t, err)
		return n
	}
	for name, p := range map[string]sink.Progress{
		"the first load":             {Phase: sink.Snapshot},
		"a replay":                   {Phase: sink.Replaying},
		"half of a split unit":       {Phase: sink.Streaming, Partial: 1, Row: 1},
		"a replay's half of a split": {Phase: sink.Replaying, Partial: 1, Row: 1},
	} {
		apply(p)
		if n := wait(time.Millisecond); n != 0 {
			t.Errorf("during %s WAIT answers %d", name, n)
		}
	}
	apply(sink.Progress{Phase: sink.Snapshot})
	answer := make(chan int, 1)
	go func() {
		n, _ := client.Do(ctx, "ROWFALL", "WAIT", set, waitLimit.Milliseconds()).Int()
		answer <- n
	}()
	apply(sink.Progress{Phase: sink.Streaming})
	if n := <-answer; n != 1 {
		t.Errorf("when the load is over WAIT answers %d", n)
	}
	if n := wait(time.Millisecond); n != 1 {
		t.Errorf("after it WAIT answers %d", n)
	}
}
