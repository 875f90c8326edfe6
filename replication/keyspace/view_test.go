package keyspace_test

import (
	"bytes"
	"fmt"
	"testing"

	"rowfall/replication/keyspace"
)

// A view replies with the state of its moment, also after later changes. That holds both if it
// looked up its keys and if it holds all shards.
func TestView(t *testing.T) {
	for _, more := range []int{0, 2000} { // more arguments, which make the view hold all shards
		k := keyspace.New(keyspace.Options{HiddenPrefix: "hidden:"})
		for i := range 5000 {
			mustApply(t, k, unit(fmt.Sprintf("SET k:%d old", i)))
		}
		mustApply(t, k, unit("HSET h f old", "SADD s a b", "SET hidden:x 1"))
		commands := [][][]byte{{[]byte("MGET")}}
		for _, c := range []string{
			"GET k:7", "HGETALL h", "SCARD s", "EXISTS k:1 k:2 none", "GET new", "DBSIZE",
			"ttl k:3",
		} {
			commands = append(commands, bytes.Fields([]byte(c)))
		}
		if more > 0 {
			commands = append(commands, bytes.Fields([]byte("KEYS k:*")),
				bytes.Fields([]byte("SCAN 0 COUNT 100000")))
		}
		for i := range max(more, 1) {
			commands[0] = append(commands[0], fmt.Appendf(nil, "k:%d", i))
		}
		var want, got []byte
		for _, c := range commands {
			want, _ = keyspace.Reply(k, want, 2, c)
		}
		v := k.View(commands)
		mustApply(t, k, unit("FLUSHALL", "HSET h f new", "SET new 1"))
		for i := range 9000 {
			mustApply(t, k, unit(fmt.Sprintf("SET k:%d new", i)))
		}
		for _, c := range commands {
			var ok bool
			if got, ok = keyspace.Reply(v, got, 2, c); !ok {
				t.Errorf("%s is no read", c[0])
			}
		}
		v.Close()
		if !bytes.Equal(got, want) {
			t.Errorf("with %d arguments more, it is not what was there: %d bytes, want %d", more,
				len(got), len(want))
		}
	}
}
