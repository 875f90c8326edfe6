package keyspace

import (
	"fmt"
	"strings"
	"testing"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// A unit that is rejected or discarded releases all its memory at once. Otherwise a node with a
// full disk would grow with every attempt of a pipeline.
func TestDiscardReleasesMemory(t *testing.T) {
	var many []byte
	for i := range 2_000 {
		many = resp.AppendCommand(many, "SET", fmt.Sprint("many:", i), strings.Repeat("x", 900))
	}
	for name, unit := range map[string][]byte{
		"many small": many,
		"one large":  resp.AppendCommand(nil, "SET", "blob", strings.Repeat("x", 6<<20)),
		"large ones": resp.AppendCommand(
			resp.AppendCommand(nil, "SET", "a", strings.Repeat("x", 3<<20)), "SET", "a",
			strings.Repeat("x", 4<<20),
		),
		"rejected": append(many[:len(many):len(many)], "*1\r\n$7\r\nNOTHING\r\n"...),
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeyspace(Options{}, arena.Options{Poison: true}, arena.Options{})
			k.mustStage(t, sets(0, 100))
			k.Publish()
			before := k.arena.Stats()
			for n := range 3 {
				if err := k.Stage(unit); (err != nil) != (name == "rejected") {
					t.Fatal(err)
				}
				k.Discard()
				s := k.arena.Stats()
				if s.Live != before.Live || s.Retired != 0 || s.Mapped > before.Mapped+1<<20 {
					t.Fatalf("after %d times: %+v; before: %+v", n+1, s, before)
				}
			}
			if k.Len() != 100 {
				t.Errorf("%d keys of 100", k.Len())
			}
		})
	}
}

// Tidy releases memory after FLUSHALL and after the end of a snapshot, and counts a loader's keys,
// without another unit. Otherwise an idle node would keep the memory, and report no data after a
// load.
func TestTidy(t *testing.T) {
	const n = 4_000
	k := newKeyspace(Options{}, arena.Options{ChunkSize: 64 << 10, Poison: true}, arena.Options{})
	l := k.Loader()
	for i := range n {
		if err := l.String(fmt.Append(nil, "key:", i), make([]byte, 500), 0); err != nil {
			t.Fatal(err)
		}
	}
	if m := k.Memory(); m.Live < n*500 || m != k.arena.Stats() {
		t.Errorf("loaded: %+v", m)
	}
	s := k.Snapshot()
	k.mustStage(t, resp.AppendCommand(nil, "FLUSHALL"))
	k.Publish()
	k.Tidy()
	if m := k.Memory(); m.Retired < n*500 {
		t.Errorf("held by a snapshot: %+v", m)
	}
	keys := 0
	if err := s.Each(func(Entry) error { keys++; return nil }); err != nil || keys != n {
		t.Errorf("the snapshot has %d keys, %v", keys, err)
	}
	k.Tidy()
	if m := k.Memory(); m.Live != 0 || m.Retired != 0 || m.Mapped > 1<<20 {
		t.Errorf("at the end: %+v", m)
	}
}
