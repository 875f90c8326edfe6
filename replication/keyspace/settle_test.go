package keyspace_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// inStep makes units in which some sorted sets each get the next of a number of members, in the
// same random order, and from the middle on lose one, too.
func inStep(sets, members int) func(i int) (unit []byte) {
	order := rand.New(rand.NewPCG(1, 1)).Perm(members)
	var unit []byte
	return func(i int) []byte {
		unit = unit[:0]
		for set := range sets {
			key := "set:" + strconv.Itoa(set)
			unit = resp.AppendCommand(unit, "ZADD", key, strconv.Itoa(order[i]), fmt.Sprintf("m%08d", order[i]))
			if i > members/2 {
				unit = resp.AppendCommand(unit, "ZREM", key, fmt.Sprintf("m%08d", order[2*(i-members/2)]))
			}
		}
		return unit
	}
}

// Sorted sets that grow in step leave the places that their nodes had before half used everywhere: one
// of a million members took twice the memory of its nodes. So nodes are moved together.
func TestNodesAreMovedTogether(t *testing.T) {
	const sets, members = 40, 1500
	k := keyspace.NewWith(keyspace.Options{}, arena.Options{Chunk: 64 << 10})
	next := inStep(sets, members)
	worst := 0.0
	for i := range members * 2 / 3 {
		mustApply(t, k, next(i))
		if m := k.Memory(); i > 300 {
			worst = max(worst, float64(m.Garbage)/float64(m.Live))
		}
	}
	t.Logf("garbage was at most %.2f of what is in use", worst)
	if worst > 0.8 {
		t.Errorf("garbage was %.2f of what is in use", worst)
	}
	if err := k.Stray(); err != nil {
		t.Error(err)
	}
}

// A reader and a snapshot look at nodes that are being moved.
func TestReadersOfMovedNodes(t *testing.T) {
	const sets, members = 10, 900
	k := keyspace.NewWith(keyspace.Options{}, arena.Options{Chunk: 16 << 10, Poison: true})
	next := inStep(sets, members)
	var done atomic.Bool
	var wg sync.WaitGroup
	defer func() { done.Store(true); wg.Wait() }()
	wg.Go(func() {
		for n := 0; !done.Load(); n++ {
			reply, _ := k.Execute(nil, 2, [][]byte{[]byte("ZRANGE"), fmt.Appendf(nil, "set:%d", n%sets), []byte("0"), []byte("-1")})
			last := ""
			for line := range bytes.Lines(reply) {
				s := string(line)
				if s[0] != 'm' {
					continue
				}
				if s <= last {
					t.Errorf("%q comes after %q", s, last)
					return
				}
				last = s
			}
		}
	})
	var s *keyspace.Snapshot
	for i := range members * 2 / 3 {
		mustApply(t, k, next(i))
		switch i {
		case members / 3:
			s = k.Snapshot()
		case members / 2:
			err := s.Each(func(e keyspace.Entry) error {
				n := 0
				e.Value.Scores(func([]byte, float64) bool { n++; return true })
				if n != members/3+1 {
					return fmt.Errorf("%s has %d members in the snapshot", e.Key, n)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if k.Moved() == 0 {
		t.Error("no node has been moved")
	}
	if err := k.Stray(); err != nil {
		t.Error(err)
	}
}
