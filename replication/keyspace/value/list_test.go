package value_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"rowfall/replication/keyspace/value"
)

func items(v value.Value) (all []string) {
	v.Items(func(it []byte) bool { all = append(all, string(it)); return true })
	return all
}

// Inserts at one and the same index use up the keys between two items, so the list is renumbered
// now and then. The items and their order must not change.
func TestListInsertsAtOneIndex(t *testing.T) {
	for name, step := range map[string]int{"before": 0, "after": 1} {
		t.Run(name, func(t *testing.T) {
			e := newEditor()
			var want []string
			var first [][]byte
			for i := range 1000 {
				want = append(want, fmt.Sprint("item ", i))
				first = append(first, []byte(want[i]))
			}
			e.PushItems(value.Value{}, first, false)
			v := takeResult(e, value.List)
			old, before := v, slices.Clone(want)
			for i, at := 0, 500; i < 2000; i, at = i+1, at+step {
				e.InsertItem(v, at, fmt.Append(nil, "new ", i))
				v = takeResult(e, value.List)
				want = slices.Insert(want, at, fmt.Sprint("new ", i))
			}
			if got := items(v); !slices.Equal(got, want) {
				t.Errorf("the list is %q", got)
			}
			if got := items(old); !slices.Equal(got, before) {
				t.Errorf("the old list has changed to %q", got)
			}
		})
	}
}

// Random edits of a packed and of a large list must match those of a slice.
func TestListEdits(t *testing.T) {
	for _, size := range []int{3, 40, 3000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(size), 5))
			e := newEditor()
			var v value.Value
			var want []string
			for i := range size {
				want = append(want, fmt.Sprint("start ", i))
				e.PushItems(v, [][]byte{[]byte(want[i])}, false)
				v = takeResult(e, value.List)
			}
			for range 1500 {
				it := fmt.Sprint("item ", r.IntN(30))
				switch n := len(want); r.IntN(7) {
				case 0, 1:
					e.PushItems(v, [][]byte{[]byte(it), []byte("x")}, false)
					want = append(want, it, "x")
				case 2:
					e.PushItems(v, [][]byte{[]byte(it), []byte("x")}, true)
					want = slices.Insert(want, 0, "x", it)
				case 3:
					if n == 0 {
						continue
					}
					at := r.IntN(n)
					e.SetItem(v, at, []byte(it))
					want[at] = it
				case 4:
					at := r.IntN(n + 1)
					if n == 0 {
						continue
					}
					e.InsertItem(v, at, []byte(it))
					want = slices.Insert(want, at, it)
				case 5:
					count := r.IntN(5) - 2
					removed := e.RemoveItems(v, count, []byte(it))
					old := len(want)
					want = without(want, count, it)
					if removed != old-len(want) {
						t.Fatalf("%d removed, want %d", removed, old-len(want))
					}
					if removed == 0 {
						continue
					}
				case 6:
					lo := min(r.IntN(3), n)
					hi := max(min(n, lo+size), lo)
					if n > 2500 {
						hi = lo + (hi-lo)/3
					}
					if n == 0 {
						continue
					}
					e.TrimItems(v, lo, hi)
					want = slices.Clone(want[lo:hi])
				}
				if e.Len() != len(want) {
					t.Fatalf("Len() = %d, want %d", e.Len(), len(want))
				}
				v = takeResult(e, value.List)
				if got := items(v); !slices.Equal(got, want) {
					t.Fatalf("the list is %q\nwant %q", got, want)
				}
			}
			if v.IsBig() != (size > 40) {
				t.Errorf("at the end, Len() = %d, IsBig() = %v", v.Len(), v.IsBig())
			}
			var back []string
			v.ItemRange(0, v.Len(), true, func(it []byte) bool {
				back = append(back, string(it))
				return true
			})
			if slices.Reverse(back); !slices.Equal(back, want) {
				t.Errorf("in reverse order the list is %q", back)
			}
		})
	}
}

// without removes items as Editor.RemoveItems does.
func without(all []string, count int, it string) []string {
	all = slices.Clone(all)
	if count < 0 {
		slices.Reverse(all)
		all = without(all, -count, it)
		slices.Reverse(all)
		return all
	}
	left := count
	return slices.DeleteFunc(all, func(s string) bool {
		if s != it || count > 0 && left == 0 {
			return false
		}
		left--
		return true
	})
}
