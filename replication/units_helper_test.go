package replication_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

// unit encodes one command.
func unit(args ...string) []byte { return resp.AppendCommand(nil, args...) }

// atomically puts commands between MULTI and EXEC.
func atomically(commands ...[]byte) []byte {
	return append(append(unit("MULTI"), bytes.Join(commands, nil)...), unit("EXEC")...)
}

// apply applies units to a node, and returns the offset after the last one.
func apply(t *testing.T, n *replication.Node, units ...[]byte) replog.Offset {
	t.Helper()
	_, term := n.Role()
	var at replog.Offset
	for _, u := range units {
		var err error
		if at, err = n.Apply(context.Background(), term, u); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// fill writes rows and all kinds of values, several in each unit.
func fill(t *testing.T, n *replication.Node, prefix string, rows int) {
	t.Helper()
	for i := range rows {
		id := fmt.Sprintf("%s:%d", prefix, i)
		apply(t, n, atomically(
			unit("HSET", id, "id", fmt.Sprint(i), "name", "row "+id, "empty", "", "bin",
				"\x00\r\n\xff"),
			unit("SET", "string:"+id, strings.Repeat("v", i%200)),
			unit("SADD", "set:"+prefix, id),
			unit("ZADD", "zset:"+prefix, fmt.Sprint(float64(i)/3), id),
		))
	}
	apply(t, n, unit("PEXPIREAT", fmt.Sprintf("%s:%d", prefix, rows-1), "4102444800000"))
}
