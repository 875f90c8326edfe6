package keyspace

import (
	"errors"
	"fmt"
	"testing"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// checkSlots compares the accounted bytes of slots with those of the shards in the directory, the
// replaced shards and the unused arrays, and returns the bytes of the shards in the directory.
func (k *Keyspace) checkSlots(t *testing.T) (current int64) {
	t.Helper()
	k.table.dir.Load().each(func(s *shard) bool { current += int64(len(s.slots)); return true })
	m, all := k.shards, current
	for _, s := range append(m.waiting[:len(m.waiting):len(m.waiting)], m.replaced...) {
		all += int64(len(s.slots))
	}
	for _, b := range m.spare {
		all += int64(len(b))
	}
	if all != k.TableSize() {
		t.Errorf("%d bytes of slots are accounted for, want %d", k.TableSize(), all)
	}
	return current
}

// TestReplacedShards: the slots of shards that were replaced are freed, but not before a snapshot
// that holds them has read them.
func TestReplacedShards(t *testing.T) {
	const n = 20_000
	k := New(Options{})
	for i := 0; i < n; i += 100 {
		k.mustStage(t, sets(i, i+100))
		k.Publish()
	}
	m := k.shards
	if len(m.waiting) > 0 {
		t.Errorf("%d replaced shards are not freed", len(m.waiting))
	}
	k.Tidy()
	before := k.checkSlots(t)
	if k.TableSize() != before {
		t.Errorf("%d bytes of slots, %d of them in use", k.TableSize(), before)
	}
	s := k.Snapshot()
	for i := range n {
		k.mustStage(t, resp.AppendCommand(nil, "DEL", fmt.Sprint("key:", i)))
		k.Publish()
	}
	k.Tidy()
	k.checkSlots(t)
	if k.TableSize() < before {
		t.Errorf("%d bytes of slots, but a snapshot holds %d", k.TableSize(), before)
	}
	keys := 0
	if err := s.Each(func(Entry) error { keys++; return nil }); err != nil || keys != n {
		t.Errorf("the snapshot has %d keys, %v", keys, err)
	}
	k.Tidy()
	after := k.checkSlots(t)
	if k.TableSize() != after || len(m.waiting) > 0 || after > before/2 {
		t.Errorf("%d bytes of slots, %d of them in use, and %d replaced shards", k.TableSize(),
			after, len(m.waiting))
	}
}

// TestFlushFreesShards: FLUSHALL frees all slots, also those that were reserved before.
func TestFlushFreesShards(t *testing.T) {
	k := New(Options{})
	k.mustStage(t, sets(0, 20_000))
	k.Publish()
	k.mustStage(t, sets(20_000, 30_000))
	k.Discard()
	k.mustStage(t, resp.AppendCommand(nil, "FLUSHALL"))
	k.Publish()
	k.Tidy()
	if k.checkSlots(t); k.TableSize() != pageSlots*slotSize {
		t.Errorf("%d bytes of slots", k.TableSize())
	}
}

// TestSlotsWithoutPages: if the system maps no pages, the slots are on the heap. If it unmaps none,
// the slots are used again.
func TestSlotsWithoutPages(t *testing.T) {
	for name, set := range map[string]func(m *shardMemory){
		"not mapped": func(m *shardMemory) {
			n := 0
			m.mapPages = func(size int) ([]byte, error) {
				if n++; n%3 > 0 {
					return nil, errors.New("too many mappings")
				}
				return arena.MapPages(size)
			}
		},
		"not unmapped": func(m *shardMemory) {
			m.unmapPages = func(b []byte) bool {
				for i := range b {
					b[i] = 0xdb
				}
				return false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := New(Options{})
			set(k.shards)
			var first int64
			for round := range 4 {
				for i := 0; i < 20_000; i += 1_000 {
					k.mustStage(t, sets(i, i+1_000))
					k.Publish()
				}
				k.checkTable(t, 20_000)
				k.checkSlots(t)
				if round == 0 {
					first = k.TableSize()
				}
				k.mustStage(t, resp.AppendCommand(nil, "FLUSHALL"))
				k.Publish()
				k.Tidy()
			}
			if k.checkSlots(t); k.TableSize() > 2*first {
				t.Errorf("%d bytes of slots, after the first round %d", k.TableSize(), first)
			}
		})
	}
}
