package pipelines_test

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/pipelines"
	"rowfall/pipelines/tablestate"
	"rowfall/replication"
	"rowfall/sink"
	"rowfall/transform"
)

// commandsNode runs a node with the command ROWFALL. It returns a client of the node, and the sink
// of the pipeline "test".
func commandsNode(t *testing.T) (*redis.Client, *sink.Node) {
	t.Helper()
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
	client := redis.NewClient(
		&redis.Options{Addr: node.Addr(), MaxRetries: -1, ReadTimeout: waitLimit},
	)
	t.Cleanup(func() { _ = client.Close(); cancel(); must(t, <-ended) })
	to := sink.NewNode(node, "test")
	_, err = to.Load(ctx)
	must(t, err)
	return client, to
}

// A table that the mapping does not match is an error at once. One that may be created later is an
// error once the data hold the GTID set and not the table.
func TestWaitForUnknownTable(t *testing.T) {
	ctx := t.Context()
	client, to := commandsNode(t)
	wait := func(set, table string) string {
		n, err := client.Do(ctx, "ROWFALL", "WAIT", set, 1, table).Int()
		if err != nil {
			return err.Error()
		}
		return strconv.Itoa(n)
	}
	const uuid = "7a5a5545-e919-11f1-b04d-02fc00000001"
	if got := wait(uuid+":1", "shop.anything"); got != "0" {
		t.Errorf("without data WAIT answers %s", got)
	}
	mapping, err := tablestate.Canonical(&transform.Mapping{Tables: []transform.TableRule{
		{Pattern: "shop.*"}, {Pattern: "shop.audit", Ignore: true},
	}})
	must(t, err)
	u := &sink.Unit{Progress: sink.Progress{Phase: sink.Streaming, Position: sink.Position{
		{Name: "gtid", Value: []byte(uuid + ":1-9")}, {Name: "offset", Value: []byte("0")},
	}}}
	u.SetState("test", tablestate.MeaningPiece, mapping)
	u.SetState("test", tablestate.JobPrefix+"shop.users", []byte(`{"done":true}`))
	u.SetState("test", tablestate.UnmappedPrefix+"shop.log", []byte("it has no key"))
	must(t, to.Apply(ctx, u))
	for _, c := range []struct{ last, table, want string }{
		{"9", "shop.users", "1"},
		{"10", "shop.users", "0"},
		{"10", "stop.users", `ERR table "stop.users" is not mapped`},
		{"10", "users", `ERR table "users" is not mapped`},
		{"10", "shop.audit", `ERR table "shop.audit" is not mapped`},
		{"10", "shop.orders", "0"},
		{"9", "shop.orders", `ERR table "shop.orders" is not mapped`},
		{"9", "shop.log", `ERR table "shop.log" is not mapped: it has no key`},
	} {
		if got := wait(uuid+":1-"+c.last, c.table); got != c.want {
			t.Errorf("up to %s, %s: WAIT answers %s, want %s", c.last, c.table, got, c.want)
		}
	}
}

// During an initial load or a replay the rows are older or newer than the position, so WAIT must
// not answer 1.
func TestWaitMeansComplete(t *testing.T) {
	ctx := t.Context()
	client, to := commandsNode(t)
	const set = "7a5a5545-e919-11f1-b04d-02fc00000001:1-9"
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
