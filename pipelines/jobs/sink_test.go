package jobs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// execute executes a command on the sink.
func (w *world) execute(command ...string) {
	w.t.Helper()
	execute(w.t, w.sink, command...)
}

func execute(t *testing.T, m *sinktest.Memory, command ...string) {
	t.Helper()
	if err := m.Execute(resp.AppendCommand(nil, command...)); err != nil {
		t.Fatalf("%q: %v", command, err)
	}
}

// insert writes rows to a sink as the stream does.
func insert(
	t *testing.T, m *sinktest.Memory, p *transform.Plan, rows ...[][]byte,
) {
	t.Helper()
	var u sink.Unit
	for _, cells := range rows {
		c := binlog.Change{Table: p.Table(), Op: binlog.Insert, After: row(p.Table(), cells)}
		if err := p.Append(&u.Commands, &c, transform.FullRow, transform.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.NewEncoder("shop").Resolve(t.Context(), m, &u); err != nil {
		t.Fatal(err)
	}
	for rest := u.Commands.Bytes; len(rest) > 0; {
		_, n, err := resp.ParseCommand(rest, nil)
		if err == nil {
			err = m.Execute(rest[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
}

// dump returns everything that a sink holds, a line for each key, and for each member of a shared
// set the rows that yield it.
func dump(t *testing.T, m *sinktest.Memory) string {
	t.Helper()
	read := func(command ...string) resp.Reply {
		args := make([][]byte, len(command))
		for i, a := range command {
			args[i] = []byte(a)
		}
		reply, err := m.Read(context.Background(), args...)
		if err != nil {
			t.Fatalf("%q: %v", command, err)
		}
		return reply
	}
	var keys []string
	for _, e := range read("KEYS", "*").Elements {
		if key := string(e.Text); !strings.HasPrefix(key, "rowfall:") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, key := range keys {
		kind := string(read("TYPE", key).Text)
		var content []string
		texts := func(step int, reply resp.Reply) {
			for i := 0; i < len(reply.Elements); i += step {
				entry := string(reply.Elements[i].Text)
				if step == 2 {
					entry += "=" + string(reply.Elements[i+1].Text)
				}
				content = append(content, strconv.Quote(entry))
			}
		}
		switch kind {
		case "hash":
			texts(2, read("HGETALL", key))
		case "set":
			texts(1, read("SMEMBERS", key))
		case "zset":
			texts(2, read("ZRANGE", key, "0", "-1", "WITHSCORES"))
		case "list":
			texts(1, read("LRANGE", key, "0", "-1"))
		case "stream":
			texts(1, read("XRANGE", key, "-", "+"))
		default:
			content = []string{strconv.Quote(string(read("GET", key).Text))}
		}
		slices.Sort(content)
		fmt.Fprintf(&b, "%q %s %s\n", key, kind, strings.Join(content, " "))
		for _, member := range content {
			text, _ := strconv.Unquote(member)
			references := sink.ReferencesKey("shop", []byte(key), []byte(text))
			if content = nil; kind == "set" {
				texts(1, read("SMEMBERS", references))
			}
			if slices.Sort(content); len(content) > 0 {
				fmt.Fprintf(&b, "%q %s of %s\n", key, strings.Join(content, " "), member)
			}
		}
	}
	return b.String()
}
