package keyspace

import (
	"fmt"
	"testing"

	"rowfall/replication/resp"
)

// Many keys are looked up in a snapshot, and few under the lock. The replies are the same for any
// shards, and the snapshot is released.
func TestManyKeysAtOnce(t *testing.T) {
	for _, n := range []int{0, 1, 5_000, 20_000} {
		k := New(Options{})
		k.mustStage(t, sets(0, n))
		k.Publish()
		words := [][]byte{[]byte("MGET")}
		want := []byte{}
		for i := range 2*maxLookups + n {
			key := fmt.Append(nil, "key:", i)
			words = append(words, key)
			one, _ := Reply(k, nil, 2, [][]byte{[]byte("GET"), key})
			want = append(want, one...)
		}
		got, _ := Reply(k, nil, 2, words)
		if head := resp.AppendArray(nil, len(words)-1); string(got) != string(head)+string(want) {
			t.Errorf("of %d keys MGET differs from GET", n)
		}
		k.table.dir.Load().each(func(s *shard) bool {
			if s.pins.Load() != 0 {
				t.Error("a shard is still held")
			}
			return true
		})
	}
}
