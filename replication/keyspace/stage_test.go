package keyspace

import (
	"fmt"
	"testing"

	"rowfall/replication/resp"
)

// A unit of one SET after a very wide command takes as long as before, because scratch space does
// not stay wide.
func TestScratchSpaceShrinks(t *testing.T) {
	k := New(Options{})
	words := func(command ...string) []string {
		for i := range 3_000 {
			command = append(command, fmt.Sprint(i), fmt.Sprint(i))
		}
		return command
	}
	for _, wide := range [][]string{
		words("SADD", "s"), words("ZADD", "z"), words("HSET", "h"), words("MSET"),
		words("RPUSH", "l"), words("XADD", "x", "1-1"),
	} {
		k.mustStage(t, resp.AppendCommand(nil, wide...))
		k.Publish()
		k.mustStage(t, sets(0, 1))
		k.Publish()
		st := &k.stage
		if n := max(cap(st.args), cap(st.members), cap(st.scores)/16); n > 1024 {
			t.Errorf("after a wide %s room for %d arguments is kept", wide[0], n)
		}
	}
}
