package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// reader returns a reader of a server's keys.
func clientReader(t *testing.T, c *redis.Client) keyReader {
	return func(command ...string) resp.Reply {
		words := make([]any, len(command))
		for i, word := range command {
			words[i] = word
		}
		reply, err := c.Do(t.Context(), words...).Result()
		must(t, err)
		return replyOf(reply)
	}
}

// replyOf converts a reply of a client.
func replyOf(v any) (r resp.Reply) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.Elements = append(r.Elements, replyOf(e))
		}
	case map[any]any: // an entry of a stream, in RESP3
		for name, e := range v {
			r.Elements = append(r.Elements, replyOf(name), replyOf(e))
		}
	case string:
		r.Text = []byte(v)
	case int64:
		r.Int = v
	}
	return r
}

// Real replicas have exactly one entry for each change in their lists and streams, although the
// process of the pipeline is killed while changes and the initial load go on. Subscribers of a
// replica get the last message about a row of a transaction, once.
func testActsOnReplicas(t *testing.T, d *database) {
	kinds := []servers.Kind{servers.Redis, servers.Valkey}
	servertest.Need(t, kinds...)
	const loaded = 1300
	s := newChangeScript(d, 7, loaded)
	port, err := servers.FreePort()
	must(t, err)
	addr, dir := fmt.Sprintf("127.0.0.1:%d", port), t.TempDir()
	p := &processSubject{
		t: t, path: filepath.Join(dir, "test.yaml"), log: filepath.Join(dir, "log"),
		master: sink.OpenRemote(addr, ""),
	}
	defer func() { _ = p.master.Close() }()
	text := d.configText(append(actsEdits(d), `listen: "127.0.0.1:0"`, `listen: "`+addr+`"`,
		"chunk_rows: 1000", "chunk_rows: 1000, rows_per_second: 1000")...)
	must(t, os.WriteFile(p.path, []byte(text), 0o600))
	p.start()
	defer p.kill()
	progress := func() sink.Progress {
		at, err := p.master.Progress(t.Context(), "test")
		if err != nil {
			return sink.Progress{}
		}
		return at
	}
	waitFor(t, "the load begins", func() bool { return progress().Phase != sink.Empty })
	for i := range 120 {
		s.step()
		if i%20 == 10 {
			p.crash("", 0)
			waitFor(t, "the node serves", func() bool { return progress().Phase != sink.Empty })
		}
	}
	var replicas []*redis.Client
	for _, kind := range kinds {
		replicas = append(replicas, stockReplica(t, kind, addr))
	}
	isAt := func(c *redis.Client) bool {
		at, err := c.HGetAll(t.Context(), sink.PositionKey("test")).Result()
		return err == nil && at["state"] == "streaming" &&
			at["gtid"] == d.end().GTID.String() && at["partial"] == ""
	}
	for _, c := range replicas {
		waitFor(t, "a replica has the data", func() bool { return isAt(c) })
	}
	for i := range 60 { // with live replicas
		s.step()
		if i%20 == 10 {
			p.crash("", 0)
		}
	}
	for _, c := range append(replicas, newClient(t, addr)) {
		waitFor(t, "a server has the data", func() bool { return isAt(c) })
		s.mustHaveActed(clientReader(t, c), loaded)
	}
	for i, c := range replicas {
		testMessages(t, d, c, 100000+10*i)
	}
}

// testMessages checks the messages that a subscriber of a replica gets about rows from id on.
func testMessages(t *testing.T, d *database, c *redis.Client, id int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	messages := c.Subscribe(ctx, "news:t")
	defer func() { _ = messages.Close() }()
	_, err := messages.Receive(ctx) // the subscription
	must(t, err)
	insert := func(id, v int) string { return fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, v) }
	d.exec("BEGIN", insert(id, 1), insert(id+1, 5),
		fmt.Sprintf("UPDATE t SET v = 2 WHERE id = %d", id), "COMMIT", insert(id+2, 9))
	want := []string{
		fmt.Sprintf("%d:5", id+1), fmt.Sprintf("%d:2", id), fmt.Sprintf("%d:9", id+2),
	}
	var got []string
	for len(got) < len(want) {
		m, err := messages.ReceiveMessage(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		must(t, err)
		got = append(got, m.Payload)
	}
	mustBeList(t, "the channel", got, want)
}
