package value_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/btree"
	"rowfall/replication/keyspace/value"
)

type scored struct {
	member string
	score  float64
}

func newEditor() *value.Editor {
	a := arena.New(arena.Options{SizeClasses: true, Poison: true})
	e := &value.Editor{Nodes: btree.NewNodes(a)}
	e.Nodes.Begin()
	return e
}

// takeResult takes the result of an edit and commits the unit, as the keyspace does.
func takeResult(e *value.Editor, kind value.Kind) value.Value {
	v := value.Of(kind, bytes.Clone(e.Buf), e.TakeBig(nil))
	e.Buf = e.Buf[:0]
	e.Nodes.Commit()
	e.Nodes.Begin()
	return v
}

// Ranks and ranges of special scores, packed and in trees, must match those of a sorted slice.
func TestSortedSetRanks(t *testing.T) {
	scores := []float64{
		math.Inf(-1), -1e300, -2.5, -1, math.Copysign(0, -1), 0, 5e-324, 1, 1.5, 1e300, math.Inf(1),
	}
	for _, size := range []int{1, 20, 127, 128, 129, 2000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(size), 1))
			e := newEditor()
			var v value.Value
			var want []scored
			for i := range size {
				s := scored{fmt.Sprint("m", i*7919%size), scores[r.IntN(len(scores))]}
				want = append(want, s)
				if added, _ := e.SetScores(
					v, [][]byte{[]byte(s.member)}, []float64{s.score},
				); added != 1 {
					t.Fatalf("%q is not new", s.member)
				}
				v = takeResult(e, value.SortedSet)
			}
			slices.SortFunc(want, func(a, b scored) int {
				if a.score != b.score {
					return cmp.Compare(a.score, b.score)
				}
				return cmp.Compare(a.member, b.member)
			})
			if v.IsBig() != (size > 128) || v.Len() != size {
				t.Fatalf("IsBig() = %v, Len() = %d", v.IsBig(), v.Len())
			}
			i := 0
			v.Scores(func(m []byte, s float64) bool {
				if string(m) != want[i].member ||
					math.Float64bits(s) != math.Float64bits(want[i].score) {
					t.Fatalf("rank %d is %q %v, want %v", i, m, s, want[i])
				}
				if rank, score, ok := v.Rank(m); !ok || rank != i || score != s {
					t.Fatalf("Rank(%q) = %d %v %v, want %d %v", m, rank, score, ok, i, s)
				}
				i++
				return true
			})
			for _, bound := range scores {
				less, most := 0, 0
				for _, s := range want {
					if s.score < bound {
						less++
					}
					if s.score <= bound {
						most++
					}
				}
				if a, b := v.ScoresBelow(bound, false), v.ScoresBelow(bound, true); a != less ||
					b != most {
					t.Fatalf("ScoresBelow(%v) = %d, %d, want %d, %d", bound, a, b, less, most)
				}
			}
		})
	}
}

// An edit does not change the value that it began with, whichever form the two values have. The
// fields of a packed hash keep their order.
func TestEditsLeaveOldValues(t *testing.T) {
	e := newEditor()
	pairs := func(n, version int) (all [][]byte) {
		for i := range n {
			all = append(all, fmt.Appendf(nil, "f%d", i), fmt.Appendf(nil, "v%d", version))
		}
		return all
	}
	for _, n := range []int{3, 9, 256, 257, 1000} {
		if added := e.SetFields(value.Value{}, pairs(n, 1)); added != n {
			t.Fatalf("%d fields: %d are new", n, added)
		}
		v := takeResult(e, value.Hash)
		if added := e.SetFields(v, pairs(n, 2)); added != 0 {
			t.Fatalf("%d fields: setting them again adds %d", n, added)
		}
		w := takeResult(e, value.Hash)
		fields := [][]byte{[]byte("f1"), []byte("none"), []byte("f1")}
		if removed := e.DeleteFields(w, fields); removed != 1 || e.Len() != n-1 {
			t.Fatalf("%d fields: %d removed, %d left", n, removed, e.Len())
		}
		x := takeResult(e, value.Hash)
		for i, c := range []struct {
			v    value.Value
			want string
			ok   bool
		}{{v, "v1", true}, {w, "v2", true}, {x, "", false}} {
			if got, ok := c.v.Field([]byte("f1")); ok != c.ok || string(got) != c.want {
				t.Errorf("%d fields, value %d: f1 = %q %v", n, i, got, ok)
			}
		}
		if i := 0; !w.IsBig() {
			w.Fields(func(f, _ []byte) bool {
				if string(f) != fmt.Sprint("f", i) {
					t.Errorf("field %d is %q", i, f)
				}
				i++
				return true
			})
		}
	}
}

func TestLastFieldCounts(t *testing.T) {
	e := newEditor()
	pairs := [][]byte{[]byte("a"), []byte("1"), []byte("b"), []byte("2"), []byte("a"), []byte("3")}
	if added := e.SetFields(value.Value{}, pairs); added != 2 {
		t.Errorf("%d fields are new", added)
	}
	v := takeResult(e, value.Hash)
	if got, _ := v.Field([]byte("a")); string(got) != "3" {
		t.Errorf("a = %q", got)
	}
	if added := e.SetFields(v, pairs); added != 0 || e.Len() != 2 {
		t.Errorf("%d fields are new, Len() = %d", added, e.Len())
	}
}
