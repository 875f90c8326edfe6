package btree_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"rowfall/replication/keyspace/arena"
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

// check compares a tree with a map by every method that reads.
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

// fixture is an arena with the nodes of some trees.
type fixture struct {
	arena *arena.Arena
	nodes *btree.Nodes
}

func newFixture(o arena.Options) fixture {
	o.SizeClasses, o.Poison = true, true
	a := arena.New(o)
	return fixture{a, btree.NewNodes(a)}
}

// check fails the test unless the arena holds exactly the nodes of these trees.
func (w fixture) check(t *testing.T, trees ...btree.Tree) {
	t.Helper()
	for w.nodes.Reap(1000) {
	}
	want := int64(0)
	for _, tree := range trees {
		want += tree.Size()
	}
	if s := w.arena.Stats(); s.Live != want {
		t.Fatalf("the arena holds %d bytes of nodes, the trees use %d", s.Live, want)
	}
}

// Random changes of a tree must match those of a map. Units are committed or rolled back, and
// snapshots must not change. Every node must be freed exactly once.
func TestTreeAgainstMap(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if seed%2 == 1 { // nodes of both kinds in one tree
				defer btree.SetHugeNode(5000)()
			}
			r := rand.New(rand.NewPCG(seed, 1))
			w := newFixture(arena.Options{ChunkSize: 16 << 10})
			tree := w.nodes.Tree()
			model := map[string]string{}
			type snapshot struct {
				tree btree.Tree
				want map[string]string
				hold *arena.Hold
			}
			var kept []snapshot
			release := func(s snapshot) {
				if !maps.Equal(contents(&s.tree), s.want) {
					t.Fatal("a snapshot has changed")
				}
				w.arena.ReleaseHold(s.hold)
			}
			space, moved := 50<<(seed*3), 0
			for unit := range 250 {
				w.nodes.Begin()
				edited, want := tree, maps.Clone(model)
				shrink := r.IntN(4) == 0
				for range r.IntN(120) {
					key := fmt.Appendf(nil, "key:%d", r.IntN(space))
					if r.IntN(20) == 0 {
						key = append(key, bytes.Repeat([]byte{'x'}, r.IntN(300))...)
					}
					_, had := want[string(key)]
					if r.IntN(3) == 0 || shrink {
						if got := edited.Delete(key); got != had {
							t.Fatalf("Delete(%q) = %v, want %v", key, got, had)
						}
						delete(want, string(key))
						continue
					}
					value := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(40))
					// Some values share a leaf, some fill one, and some need ends of 4 bytes.
					if n := r.IntN(200); n < 3 {
						value = bytes.Repeat(value, []int{100, 300, 9000}[n])
					}
					if got := edited.Set(key, value); got == had {
						t.Fatalf("Set(%q) = %v, want %v", key, got, !had)
					}
					want[string(key)] = string(value)
				}
				switch n := r.IntN(30); {
				case n == 0: // replace the tree by a new one
					w.nodes.FreeTree(edited)
					edited, want = w.nodes.Tree(), map[string]string{}
					edited.Set([]byte("new"), nil)
					want["new"] = ""
				case n == 1:
					was := edited
					edited = was.Clone()
					w.nodes.FreeTree(was)
				case n == 2 && unit > 200: // free everything else
					w.nodes.Rollback()
					w.nodes.Begin()
					edited, want = w.nodes.Tree(), map[string]string{}
					for i := range 500 {
						edited.Set(fmt.Append(nil, i), nil)
						want[fmt.Sprint(i)] = ""
					}
					w.nodes.CommitReplacingAll()
					tree, model = edited, want
					continue
				}
				if r.IntN(3) > 0 {
					tree, model = edited, want
					w.nodes.Commit()
				} else {
					w.nodes.Rollback()
				}
				w.nodes.Reap(3)
				w.arena.Advance()
				if r.IntN(60) == 0 {
					kept = append(kept, snapshot{tree, maps.Clone(model), w.arena.Hold()})
				}
				if len(kept) > 1 || unit%50 == 49 && len(kept) > 0 {
					release(kept[0])
					kept = kept[1:]
				}
				if unit%10 == 0 && w.arena.StartDefrag(16) {
					for rank := 0; rank < tree.Len(); {
						w.nodes.Begin()
						rank, _ = tree.Defrag(rank)
						w.nodes.Commit()
						w.arena.Advance()
						moved++
					}
					w.arena.EndDefrag()
				}
				if unit%40 == 0 {
					check(t, &tree, model)
					w.check(t, tree)
				}
			}
			if moved == 0 && seed > 1 {
				t.Error("there were no sparse chunks")
			}
			check(t, &tree, model)
			w.check(t, tree)
			for _, s := range kept {
				release(s)
			}
			w.nodes.Begin()
			w.nodes.FreeTree(tree)
			w.nodes.Commit()
			w.check(t)
			for range 1000 {
				w.arena.Advance()
			}
			if s := w.arena.Stats(); s.Live != 0 || s.Retired != 0 {
				t.Errorf("with all trees freed: %+v", s)
			}
		})
	}
}

// A unit that fails because the arena is full leaves no nodes behind, wherever it fails.
func TestTreeFull(t *testing.T) {
	w := newFixture(arena.Options{ChunkSize: 16 << 10, MaxChunks: 60})
	tree := w.nodes.Tree()
	failed := 0
	r := rand.New(rand.NewPCG(1, 1))
	for unit := range 3000 {
		w.nodes.Begin()
		edited := tree
		for i := range 20 {
			edited.Set(fmt.Appendf(nil, "%d-%d", r.IntN(1000), unit*20+i),
				make([]byte, r.IntN(1000)))
		}
		if err := w.nodes.Err(); err != nil {
			var full btree.FullError
			if !errors.As(err, &full) || !errors.Is(full.Err, arena.ErrFull) {
				t.Fatal(err)
			}
			if edited.Len() != 0 {
				t.Errorf("a tree of a failed unit has %d entries", edited.Len())
			}
			w.nodes.Rollback()
			w.check(t, tree)
			if failed++; failed%10 == 0 {
				break
			}
			continue
		}
		tree = edited
		w.nodes.Commit()
		w.arena.Advance()
	}
	if failed == 0 || tree.Len() < 100 {
		t.Errorf("%d units failed, the tree has %d entries", failed, tree.Len())
	}
	n := 0
	tree.Ascend(0, tree.Len(), func(_, _ []byte) bool { n++; return true })
	if n != tree.Len() {
		t.Errorf("Ascend yields %d of %d entries", n, tree.Len())
	}
}

// Trees that grow and then shrink together must not leave free blocks of every size behind:
// garbage must stay in proportion to the nodes in use.
func TestTreesInStep(t *testing.T) {
	w := newFixture(arena.Options{})
	const many = 100
	trees := make([]btree.Tree, many)
	for i := range trees {
		trees[i] = w.nodes.Tree()
	}
	step := func(change func(tree *btree.Tree)) {
		for i := range trees {
			w.nodes.Begin()
			change(&trees[i])
			w.nodes.Commit()
			for w.arena.Advance() {
			}
		}
	}
	most := int64(0)
	for n := range 200 {
		step(func(tree *btree.Tree) { tree.Set(fmt.Appendf(nil, "member %d", n*7919%200), nil) })
		most = max(most, w.arena.Stats().Mapped)
	}
	live := w.arena.Stats().Live
	for n := range 190 {
		step(func(tree *btree.Tree) { tree.Delete(fmt.Appendf(nil, "member %d", n*7919%200)) })
		most = max(most, w.arena.Stats().Mapped)
	}
	if most > 2*live+4<<20 {
		t.Errorf("%d bytes of nodes took %d bytes of memory", live, most)
	}
}

func TestTreeRanges(t *testing.T) {
	nodes := newFixture(arena.Options{}).nodes
	tree := nodes.Tree()
	nodes.Begin()
	for i := range 3000 {
		tree.Set(fmt.Appendf(nil, "%05d", 2*i), nil)
	}
	for _, c := range [][2]int{
		{0, 1}, {-5, 3}, {63, 66}, {100, 1500}, {2990, 9999}, {5, 5}, {7, 2},
	} {
		var up, down []string
		tree.Ascend(c[0], c[1], func(k, _ []byte) bool { up = append(up, string(k)); return true })
		tree.Descend(c[0], c[1],
			func(k, _ []byte) bool { down = append(down, string(k)); return true })
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
	a := arena.New(arena.Options{SizeClasses: true})
	nodes := btree.NewNodes(a)
	tree := nodes.Tree()
	var key [12]byte
	r := rand.New(rand.NewPCG(1, 1))
	nodes.Begin()
	for range 1_000_000 {
		copy(key[:], fmt.Appendf(nil, "%012d", r.IntN(1e9)))
		tree.Set(key[:], nil)
	}
	nodes.Commit()
	b.ReportAllocs()
	for b.Loop() {
		nodes.Begin()
		copy(key[:], fmt.Appendf(nil, "%012d", r.IntN(1e9)))
		tree.Set(key[:], nil)
		nodes.Commit()
		a.Advance()
	}
	s := a.Stats()
	b.ReportMetric(float64(s.Live)/float64(tree.Len()), "live-B/key")
	b.ReportMetric(float64(s.Mapped)/float64(tree.Len()), "mapped-B/key")
}

// A huge value takes its place in the arena and one copy on its way; nothing of it stays behind.
func TestHugeEntry(t *testing.T) {
	w := newFixture(arena.Options{})
	tree, want := w.nodes.Tree(), map[string]string{}
	for i := range 3 {
		w.nodes.Begin()
		value := bytes.Repeat([]byte{byte('a' + i)}, 3<<20)
		for _, key := range []string{"huge", "other", "small"} {
			if key == "small" {
				value = []byte("x")
			}
			tree.Set([]byte(key), value)
			want[key] = string(value)
		}
		w.nodes.Commit()
		if n, entries := w.nodes.Kept(); n > 1<<20 || entries {
			t.Errorf("after unit %d buffers of %d bytes are kept, entries: %v", i, n, entries)
		}
		check(t, &tree, want)
		w.check(t, tree)
	}
	w.nodes.Begin()
	tree.Set([]byte("huge"), bytes.Repeat([]byte("y"), 2<<20))
	w.nodes.Rollback()
	if n, entries := w.nodes.Kept(); n > 1<<20 || entries {
		t.Errorf("after a rollback buffers of %d bytes are kept, entries: %v", n, entries)
	}
}
