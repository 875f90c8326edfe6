package btree_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"rowfall/replication/keyspace/btree"
)

func contents(t *btree.Tree) map[string]string {
	m := map[string]string{}
	t.Ascend(0, t.Len(), func(k, v []byte) bool {
		m[string(k)] = string(v)
		return true
	})
	return m
}

// check compares a tree with a plain map in every way it can be read.
func check(t *testing.T, tree *btree.Tree, want map[string]string) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	if tree.Len() != len(keys) {
		t.Fatalf("Len() = %d, want %d", tree.Len(), len(keys))
	}
	i := 0
	tree.Ascend(0, len(keys), func(k, v []byte) bool {
		if string(k) != keys[i] || string(v) != want[keys[i]] {
			t.Fatalf("entry %d = %q:%q, want %q:%q", i, k, v, keys[i], want[keys[i]])
		}
		i++
		return true
	})
	if i != len(keys) {
		t.Fatalf("Ascend yielded %d entries, want %d", i, len(keys))
	}
	tree.Descend(0, len(keys), func(k, _ []byte) bool {
		i--
		if string(k) != keys[i] {
			t.Fatalf("Descend at %d = %q, want %q", i, k, keys[i])
		}
		return true
	})
	for i, k := range keys {
		if rank, ok := tree.Rank([]byte(k)); !ok || rank != i {
			t.Fatalf("Rank(%q) = %d %v, want %d", k, rank, ok, i)
		}
		if v, ok := tree.Get([]byte(k)); !ok || string(v) != want[k] {
			t.Fatalf("Get(%q) = %q %v, want %q", k, v, ok, want[k])
		}
	}
}

// A random life of a tree against a map, with epochs that are kept or dropped
// and snapshots that must stay as they were.
func TestTreeAgainstMap(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var tree btree.Tree
			model := map[string]string{}
			type snapshot struct {
				tree btree.Tree
				want map[string]string
			}
			var kept []snapshot
			space := 50 << (seed * 2)
			for epoch := uint64(1); epoch < 400; epoch++ {
				edited, want := tree, maps.Clone(model)
				shrink := r.IntN(4) == 0
				for range r.IntN(120) {
					key := fmt.Appendf(nil, "key:%d", r.IntN(space))
					if r.IntN(20) == 0 {
						key = append(key, bytes.Repeat([]byte{'x'}, r.IntN(300))...)
					}
					_, had := want[string(key)]
					if r.IntN(3) == 0 || shrink {
						if got := edited.Delete(epoch, key); got != had {
							t.Fatalf("Delete(%q) = %v, want %v", key, got, had)
						}
						delete(want, string(key))
						continue
					}
					value := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(40))
					if r.IntN(200) == 0 {
						value = bytes.Repeat(value, 300)
					}
					if got := edited.Set(epoch, key, value); got == had {
						t.Fatalf("Set(%q) = %v, want %v", key, got, !had)
					}
					want[string(key)] = string(value)
				}
				if r.IntN(3) > 0 {
					tree, model = edited, want
				}
				if r.IntN(60) == 0 {
					kept = append(kept, snapshot{tree, maps.Clone(model)})
				}
				if epoch%40 == 0 {
					check(t, &tree, model)
				}
			}
			check(t, &tree, model)
			for _, s := range kept {
				if !maps.Equal(contents(&s.tree), s.want) {
					t.Fatal("a snapshot has changed")
				}
			}
		})
	}
}

func TestTreeRanges(t *testing.T) {
	var tree btree.Tree
	for i := range 3000 {
		tree.Set(1, fmt.Appendf(nil, "%05d", 2*i), nil)
	}
	for _, c := range [][2]int{{0, 1}, {-5, 3}, {63, 66}, {100, 1500}, {2990, 9999}, {5, 5}, {7, 2}} {
		var up, down []string
		tree.Ascend(c[0], c[1], func(k, _ []byte) bool { up = append(up, string(k)); return true })
		tree.Descend(c[0], c[1], func(k, _ []byte) bool { down = append(down, string(k)); return true })
		slices.Reverse(down)
		if !slices.Equal(up, down) {
			t.Fatalf("%v: %d up, %d down", c, len(up), len(down))
		}
		if want := max(0, min(c[1], 3000)-max(c[0], 0)); len(up) != want {
			t.Fatalf("%v: %d entries, want %d", c, len(up), want)
		}
		for i, k := range up {
			if want := fmt.Sprintf("%05d", 2*(max(c[0], 0)+i)); k != want {
				t.Fatalf("%v: entry %d = %s, want %s", c, i, k, want)
			}
		}
	}
	if rank, ok := tree.Rank([]byte("00101")); rank != 51 || ok {
		t.Fatalf("Rank between keys = %d %v, want 51 false", rank, ok)
	}
}

func BenchmarkSet(b *testing.B) {
	var tree btree.Tree
	var key [12]byte
	r := rand.New(rand.NewPCG(1, 1))
	for range 1_000_000 {
		copy(key[:], fmt.Appendf(nil, "%012d", r.IntN(1e9)))
		tree.Set(1, key[:], nil)
	}
	b.ReportAllocs()
	epoch := uint64(1)
	for b.Loop() {
		epoch++
		copy(key[:], fmt.Appendf(nil, "%012d", r.IntN(1e9)))
		tree.Set(epoch, key[:], nil)
	}
}
