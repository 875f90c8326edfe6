package keyspace_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// inStep makes units in which several sorted sets each get the next of a number of members, in the
// same random order. From the middle on each unit also removes one member.
func inStep(sets, members int) func(i int) (unit []byte) {
	order := rand.New(rand.NewPCG(1, 1)).Perm(members)
	var unit []byte
	return func(i int) []byte {
		unit = unit[:0]
		for set := range sets {
			key := "set:" + strconv.Itoa(set)
			unit = resp.AppendCommand(unit, "ZADD", key, strconv.Itoa(order[i]),
				fmt.Sprintf("m%08d", order[i]))
			if i > members/2 {
				unit = resp.AppendCommand(unit, "ZREM", key,
					fmt.Sprintf("m%08d", order[2*(i-members/2)]))
			}
		}
		return unit
	}
}

// Sorted sets that grow together leave half-used chunks behind: without defragmentation, one of a
// million members takes twice the memory of its nodes.
func TestNodesAreMovedTogether(t *testing.T) {
	const sets, members = 40, 1500
	k := keyspace.NewWith(keyspace.Options{}, arena.Options{ChunkSize: 64 << 10})
	next := inStep(sets, members)
	worst := 0.0
	for i := range members * 2 / 3 {
		mustApply(t, k, next(i))

		if m := k.Memory(); i > 300 {
			worst = max(worst, float64(m.Garbage)/float64(m.Live))
		}
	}
	t.Logf("garbage was at most %.2f of what is in use", worst)
	if worst > 0.95 {
		t.Errorf("garbage was %.2f of what is in use", worst)
	}
	if err := k.Stray(); err != nil {
		t.Error(err)
	}
}

// A reader and a snapshot read nodes while they are moved.
func TestReadersOfMovedNodes(t *testing.T) {
	const sets, members = 10, 900
	k := keyspace.NewWith(keyspace.Options{}, arena.Options{ChunkSize: 16 << 10, Poison: true})
	next := inStep(sets, members)
	var done atomic.Bool
	var wg sync.WaitGroup
	defer func() { done.Store(true); wg.Wait() }()
	wg.Go(func() {
		for n := 0; !done.Load(); n++ {
			reply, _ := keyspace.Reply(
				k, nil, 2,
				[][]byte{
					[]byte("ZRANGE"), fmt.Appendf(nil, "set:%d", n%sets), []byte("0"),
					[]byte("-1"),
				},
			)
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

// Units that change much of a tree replace as much of it. The next unit reuses that garbage, so it
// must not start a defragmentation with every unit.
func TestWideUnitsMoveNothing(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	r := rand.New(rand.NewPCG(1, 1))
	members := r.Perm(150_000)
	most := int64(0)
	for ; len(members) > 0; members = members[3000:] {
		var unit []byte
		for _, n := range members[:3000] {
			unit = resp.AppendCommand(unit, "ZADD", "set", strconv.Itoa(r.IntN(1e6)),
				fmt.Sprintf("m%08d", n))
		}
		mustApply(t, k, unit)
		most = max(most, k.Trees().Mapped)
	}
	t.Logf("%d bytes were mapped at most", most)
	if s := k.Trees(); most > 2*s.Live+8<<20 {
		t.Errorf("%d bytes were mapped; %+v", most, s)
	}
}

// If there is no memory to move nodes, nothing changes, and the process continues.
func TestNoRoomToMoveNodes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	rejected, moved := 0, 0
	for range 3 {
		k := keyspace.NewWithTrees(arena.Options{ChunkSize: 16 << 10, MaxChunks: 60, Poison: true})
		for i := range 3000 {
			var unit []byte
			for set := range 10 {
				unit = resp.AppendCommand(unit, "ZADD", "set:"+strconv.Itoa(set),
					strconv.Itoa(r.IntN(100_000)), "m"+strconv.Itoa(i))
			}
			if r.IntN(200) == 0 {
				unit = resp.AppendCommand(unit[:0], "DEL", "set:"+strconv.Itoa(r.IntN(10)))
			}
			if err := k.Stage(unit); err != nil {
				rejected++
				unit = resp.AppendCommand(unit[:0], "DEL", "set:"+strconv.Itoa(r.IntN(10)),
					"set:"+strconv.Itoa(r.IntN(10)))
				mustApply(t, k, unit)
				continue
			}
			k.Publish()
		}
		if err := k.Stray(); err != nil {
			t.Fatal(err)
		}
		moved += k.Moved()
	}
	if rejected == 0 || moved == 0 {
		t.Errorf("%d units were rejected, sparse chunks emptied %d times", rejected, moved)
	}
}

// Loading keys with an expiry replaces nodes of the expiry index, and their memory is reused.
func TestLoadingExpiriesTakesNoMore(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	const keys = 20_000
	for i := range keys {
		key, expireAt := fmt.Appendf(nil, "key:%d", i), int64(1e12+i*7919%keys)
		if err := l.String(key, []byte("v"), expireAt); err != nil {
			t.Fatal(err)
		}
	}
	if s := k.Trees(); s.Mapped > 3*s.Live+4<<20 {
		t.Errorf("%+v", s)
	}
	// A key that cannot be loaded leaves no memory allocated either.
	members := make([][]byte, 1000)
	for i := range members {
		members[i] = fmt.Appendf(nil, "m%d", i)
	}
	for _, key := range []string{"bad", "good", "bad"} {
		all := members
		if key == "bad" {
			all = append(slices.Clip(members), members[0])
		}
		if err := l.Set([]byte(key), all, 0); (err != nil) != (key == "bad") {
			t.Fatalf("%s: %v", key, err)
		}
	}
	mustApply(t, k, resp.AppendCommand(nil, "SADD", "other", "x"))
	if err := k.Stray(); err != nil {
		t.Error(err)
	}
}

// A snapshot that starts while nodes are being moved suspends the moving until it is closed. Moving
// nodes out of a chunk that the snapshot holds would free nothing.
func TestSnapshotEndsMoving(t *testing.T) {
	k := keyspace.NewWith(keyspace.Options{}, arena.Options{ChunkSize: 64 << 10})
	r := rand.New(rand.NewPCG(1, 2))
	const sets, members = 20, 3000
	for i := range sets * members {
		mustApply(
			t, k, resp.AppendCommand(nil, "SADD", fmt.Sprint("set:", i%sets),
				fmt.Sprintf("member-%09d", i/sets)),
		)
	}
	untilMoving := func() {
		t.Helper()
		for n := 0; !k.Defragmenting(); n++ {
			if n == sets*members {
				t.Fatal("nothing is moved")
			}
			mustApply(
				t, k, resp.AppendCommand(nil, "SREM", fmt.Sprint("set:", r.IntN(sets)),
					fmt.Sprintf("member-%09d", r.IntN(members))),
			)
		}
	}
	untilMoving()
	before := k.Memory()
	s := k.Snapshot()
	for range 100 {
		k.Tidy()
	}
	after := k.Memory()
	kept := after.Garbage + after.Retired - before.Garbage - before.Retired
	if kept > before.Live/100 {
		t.Errorf("%d bytes of %d were moved under the snapshot", kept, before.Live)
	}
	s.Close()
	untilMoving()
}
