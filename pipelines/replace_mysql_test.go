package pipelines_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication"
)

const replacedRows = 600 // rows that the old and the new data have

// sampled is a server whose keys are read all the time.
type sampled struct {
	name   string
	client *redis.Client

	present, loading, missing int
}

// sample reads the keys t:1 to t:600 of a server, one after the other, until stop is called.
func (s *sampled) sample(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			n, err := s.client.Exists(ctx, fmt.Sprint("t:", i%replacedRows+1)).Result()
			switch {
			case ctx.Err() != nil:
			case err != nil && strings.HasPrefix(err.Error(), "LOADING"):
				s.loading++
			case err != nil:
				t.Errorf("%s: %v", s.name, err)
				return
			case n == 1:
				s.present++
			default:
				s.missing++
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func newClient(t *testing.T, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// followingNode returns the address of a node that follows another one.
func followingNode(t *testing.T, addr string) string {
	t.Helper()
	c := file.Defaults().Sink.Node
	c.Listen, c.Dir, c.ReplicaOf = "127.0.0.1:0", t.TempDir(), addr
	n, _, err := pipelines.OpenNode(c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.Run(context.Background())
	}()
	t.Cleanup(func() { _ = n.Close(); <-ended })
	return n.Addr()
}

// stockReplica returns a real replica of the node at addr, which keeps the old data in memory while
// it loads.
func stockReplica(t *testing.T, kind servers.Kind, addr string) *redis.Client {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Cache(t, kind, servers.CacheOptions{
		Args: []string{"--repl-diskless-load", "swapdb", "--replicaof", host, port},
	})
	return newClient(t, s.Addr())
}

// rowField returns a field of a row; empty if it is absent.
func rowField(t *testing.T, c *redis.Client, row int, name string) string {
	return c.HGet(t.Context(), fmt.Sprint("t:", row), name).Val()
}

// The data of another mapping are replaced. Until the new data are complete, the node and its
// replicas serve the old ones, also to replicas that join, and their position stands still. A
// restart continues. No key that both have is missing at any moment, on the node or on a replica.
func testReplace(t *testing.T, d *database) {
	kinds := []servers.Kind{servers.Redis, servers.RedisStable, servers.Valkey}
	servertest.Need(t, kinds...)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, replacedRows)
	c := d.config()
	m := runInstance(t, c)
	m.wait(d)
	c.Sink.Node.Listen = m.Node.Addr()
	watched := []*sampled{{name: "node", client: newClient(t, followingNode(t, m.Node.Addr()))}}
	for _, kind := range kinds {
		watched = append(watched,
			&sampled{name: string(kind), client: stockReplica(t, kind, m.Node.Addr())})
	}
	for _, s := range watched {
		waitFor(t, s.name+" has the old data",
			func() bool { return rowField(t, s.client, replacedRows, "v") != "" })
	}
	m.stop()
	var stops []func()
	for _, s := range watched {
		stops = append(stops, s.sample(t))
	}

	other := d.config(`.*": {}`, `.*": {columns: {rename: {v: value}}}`,
		"chunk_rows: 1000", "chunk_rows: 50, rows_per_second: 100")
	other.Sink.Node = c.Sink.Node
	m = runInstanceFrom(t, other, pipelines.FromReplace)
	waitFor(t, "rows are loaded", func() bool {
		r := m.Pipeline.Stats().Replacement
		return r != nil && r.Rows > 0
	})
	old := m.client.HGetAll(t.Context(), "rowfall:position:test").Val()
	d.exec("UPDATE t SET v = -1 WHERE id = 7", "INSERT INTO t VALUES (1000, 1)")
	missing := d.end().GTID.String()
	n, err := m.client.Do(t.Context(), "ROWFALL", "WAIT", missing, 50).Int()
	if err != nil || n != 0 {
		t.Errorf("WAIT answers %d, %v", n, err)
	}
	status, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text()
	for _, want := range []string{
		"rowfall_test:state=replacing,", "phase=streaming",
		"rowfall_test_replacement:tables=1,complete=0,rows=", "state=building",
	} {
		if err != nil || !strings.Contains(status, want) {
			t.Errorf("STATUS lacks %q: %v\n%s", want, err, status)
		}
	}
	late := newClient(t, followingNode(t, m.Node.Addr()))
	waitFor(t, "a replica that joins gets the old data",
		func() bool { return rowField(t, late, 7, "v") == "49" })
	if v := rowField(t, m.client, 7, "v"); v != "49" {
		t.Errorf("while the replacement is built, row 7 has %q", v)
	}
	if now := m.client.HGetAll(t.Context(), "rowfall:position:test").Val(); fmt.Sprint(now) !=
		fmt.Sprint(old) || now["state"] != "streaming" {
		t.Errorf("the position of the old data was\n%v and is\n%v", old, now)
	}
	rows := m.Pipeline.Stats().Replacement.Rows
	if rows >= replacedRows {
		t.Fatalf("the load is complete: %d rows", rows)
	}
	m.stop()

	m = runInstance(t, other) // a plain run cannot continue the old data, and keeps the replacement
	waitFor(t, "the pipeline stops", func() bool {
		return strings.Contains(m.Pipeline.Stats().Stopped,
			"--from snapshot --replace continues")
	})
	m.stop()

	other.Source.Backfill.RowsPerSecond = 0
	m = runInstanceFrom(t, other, pipelines.FromReplace)
	master := &sampled{name: "master", client: newClient(t, m.Node.Addr())}
	stops = append(stops, master.sample(t))
	m.wait(d)
	if v := rowField(t, m.client, 7, "value"); v != "-1" {
		t.Errorf("the new data have %q", v)
	}
	if v := rowField(t, m.client, 7, "v"); v != "" {
		t.Errorf("the new data have the old field: %q", v)
	}
	d.exec("UPDATE t SET v = 8 WHERE id = 8")
	m.wait(d)
	for _, s := range append(watched, &sampled{name: "late", client: late}) {
		waitFor(t, s.name+" has the new data", func() bool {
			return rowField(t, s.client, 8, "value") == "8" &&
				rowField(t, s.client, replacedRows, "v") == "" &&
				rowField(t, s.client, 1000, "value") == "1"
		})
	}
	for _, stop := range stops {
		stop()
	}
	for _, s := range append(watched, master) {
		t.Logf("%s: %d present, %d loading, %d missing", s.name, s.present, s.loading, s.missing)
		if s.missing > 0 || s.present == 0 || s.loading > 0 && (s.name == "node" || s == master) {
			t.Errorf("%s lost keys", s.name)
		}
	}
	if st := m.Node.Status(); st.FullSyncs < int64(len(watched)) || m.Node.HasReplacement() {
		t.Errorf("after the replacement: %+v", st)
	}
	m.stop()

	// The directory is an ordinary one then.
	m = runInstance(t, other)
	d.exec("UPDATE t SET v = 9 WHERE id = 9")
	m.wait(d)
	m.mustHold("t:9", "value", "9")
}

// A node that becomes a replica has its upstream's data: the replacement is discarded, and --from
// is forgotten, so that nothing is replaced at a later promotion.
func testReplaceDemoted(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 100)
	c := d.config()
	m := runInstance(t, c)
	m.wait(d)
	m.stop()
	other := d.config(`.*": {}`, `.*": {columns: {rename: {v: value}}}`,
		"chunk_rows: 1000", "chunk_rows: 1, rows_per_second: 1")
	other.Sink.Node = c.Sink.Node
	m = runInstanceFrom(t, other, pipelines.FromReplace)
	waitFor(t, "the replacement is built", func() bool {
		r := m.Pipeline.Stats().Replacement
		return r != nil && r.Tables == 1
	})
	if err := m.Node.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the replacement is gone", func() bool {
		return !m.Node.HasReplacement() && m.Pipeline.Stats().Replacement == nil
	})
	if err := m.Node.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the pipeline stops", func() bool {
		return strings.Contains(m.Pipeline.Stats().Stopped, "another mapping")
	})
	m.mustHold("t:7", "v", "49")
	if role, _ := m.Node.Role(); role != replication.Master {
		t.Errorf("the node is a %v", role)
	}
}
