package keyspace_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// small makes the arena allocate and free chunks often, and makes freed memory unreadable.
var small = arena.Options{ChunkSize: 4 << 10, Poison: true}

// versioned is a row in which every field contains its key and version.
func versioned(dst []byte, id, version int) []byte {
	v := fmt.Sprintf("%d:%d:%s", id, version, strings.Repeat("x", (version+7)%7*5))
	return resp.AppendCommand(dst, "HSET", fmt.Sprint("row:", id), "a", v, "b", v, "c", v)
}

// Rows are replaced, deleted, flushed and compacted while readers and snapshots read them.
func TestCompaction(t *testing.T) {
	const rows = 400
	k := keyspace.NewWith(keyspace.Options{}, small)
	var wg sync.WaitGroup
	var done atomic.Bool
	snapshots := make(chan *keyspace.Snapshot, 3)
	for range 2 {
		wg.Go(func() {
			for n := 0; !done.Load(); n++ {
				got := elements(t, call(k, 2, "HGETALL", fmt.Sprint("row:", n%rows)))
				number := fmt.Sprintf("%d:", n%rows)
				if len(got) != 0 && (len(got) != 6 || got[1] != got[3] || got[1] != got[5] ||
					!strings.HasPrefix(got[1], number)) {
					t.Errorf("row %d reads %q", n%rows, got)
					return
				}
				if n%100 == 0 {
					call(k, 2, "SCAN", "0", "COUNT", "100")
					call(k, 2, "KEYS", "row:*")
				}
			}
		})
	}
	wg.Go(func() {
		for s := range snapshots {
			checkRows(t, s)
			s.Close()
		}
	})
	r := rand.New(rand.NewPCG(9, 9))
	for n := range 20_000 {
		var u []byte
		switch id := r.IntN(rows); {
		case n%7000 == 6999:
			u = resp.AppendCommand(versioned(nil, id, n), "FLUSHALL")
			u = versioned(u, id, n)
		case r.IntN(10) == 0:
			u = resp.AppendCommand(versioned(nil, id, n), "DEL", fmt.Sprint("row:", id))
		case r.IntN(10) == 0:
			u = resp.AppendCommand(nil, "SET", fmt.Sprint("text:", r.IntN(20)),
				strings.Repeat("y", r.IntN(3000)))
		default:
			u = versioned(versioned(nil, id, n-1), id, n)
		}
		if err := k.Stage(u); err != nil {
			t.Fatal(err)
		}
		if n%11 == 0 {
			k.Discard()
			continue
		}
		k.Publish()
		if n%500 == 0 {
			snapshots <- k.Snapshot()
		}
	}
	done.Store(true)
	close(snapshots)
	wg.Wait()
	// The last snapshot held chunks back until it was closed. The units that follow compact them,
	// each as much as it writes.
	m := k.Memory()
	for n := 0; n < 5*rows && (m.Retired != 0 || m.Garbage > m.Live); n++ {
		mustApply(t, k, versioned(nil, n%rows, n))
		m = k.Memory()
	}
	if m.Retired != 0 || m.Garbage > m.Live {
		t.Errorf("compaction leaves %+v", m)
	}
	mustApply(t, k, resp.AppendCommand(nil, "FLUSHALL"))
	m = k.Memory()
	for n := 0; n < 5*rows && (m.Retired != 0 || m.Chunks > 2); n++ {
		mustApply(t, k, resp.AppendCommand(nil, "SET", "last", "x"))
		m = k.Memory()
	}
	if m.Retired != 0 || m.Chunks > 2 || m.Live > 100 {
		t.Errorf("a flush leaves %+v", m)
	}
}

func checkRows(t *testing.T, s *keyspace.Snapshot) {
	n := 0
	if err := s.Each(func(e keyspace.Entry) error {
		n++
		if e.Value.Kind() != keyspace.Hash {
			return nil
		}
		var id int
		if _, err := fmt.Sscanf(string(e.Key), "row:%d", &id); err != nil {
			return err
		}
		first, _ := e.Value.Field([]byte("a"))
		for f, v := range e.Value.Fields {
			if string(v) != string(first) || !strings.HasPrefix(string(v), fmt.Sprintf("%d:", id)) {
				return fmt.Errorf("%s: %s is %q", e.Key, f, v)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if keys, _ := s.Len(); n != keys {
		t.Errorf("a snapshot of %d keys visits %d", keys, n)
	}
}

// Compaction keeps garbage near the allowed share, without readers, through growth, updates of all
// keys, and deletion.
func TestGarbage(t *testing.T) {
	const rows = 20_000
	k := keyspace.NewWith(keyspace.Options{}, arena.Options{ChunkSize: 64 << 10, Poison: true})
	r := rand.New(rand.NewPCG(2, 2))
	var u []byte
	for id := range rows {
		u = row(u[:0], id, 1)
		mustApply(t, k, u)
	}
	worst := 0.0
	for n := range 5 * rows {
		u = row(u[:0], r.IntN(rows), n)
		mustApply(t, k, u)
		m := k.Memory()
		worst = max(worst, float64(m.Garbage+m.Retired)/float64(m.Live))
	}
	m := k.Memory()
	t.Logf("garbage at worst %.1f %% of what is live; %+v", worst*100, m)
	if worst > 0.3 {
		t.Errorf("garbage was %.0f %% of what was live", worst*100)
	}
	for id := range rows {
		mustApply(t, k, resp.AppendCommand(nil, "DEL", fmt.Sprintf("users:%010d", id)))
	}
	mustApply(t, k, nil)
	if m := k.Memory(); m.Live != 0 || m.Mapped > 1<<20 {
		t.Errorf("deletion leaves %+v", m)
	}
}

// A unit that finds no room is rejected as a whole, and deleting keys makes room.
func TestArenaFull(t *testing.T) {
	k := keyspace.NewWith(keyspace.Options{},
		arena.Options{ChunkSize: 1 << 10, MaxChunks: 20, Poison: true})
	key := func(n int) string { return fmt.Sprint("key:", n) }
	n, err := 0, error(nil)
	for ; ; n++ {
		u := resp.AppendCommand(nil, "SET", key(0), fmt.Sprint(n))
		u = resp.AppendCommand(u, "SET", key(n), fmt.Sprint(n))
		if err = k.Stage(u); err != nil {
			break
		}
		k.Publish()
	}
	if !errors.Is(err, arena.ErrFull) || !keyspace.IsFull(err) || n < 100 {
		t.Fatalf("after %d keys: %v", n, err)
	}
	for i := 1; i < n; i++ {
		if v, ok := k.Get(key(i)); !ok || string(v) != fmt.Sprint(i) {
			t.Fatalf("%s is %q", key(i), v)
		}
	}
	if v, _ := k.Get(key(0)); string(v) != fmt.Sprint(n-1) {
		t.Fatalf("%s is %q: the rejected unit has changed it", key(0), v)
	}
	for i := 1; i < n; i++ {
		mustApply(t, k, resp.AppendCommand(nil, "DEL", key(i)))
	}
	mustApply(t, k, resp.AppendCommand(nil, "SET", key(n), "x"))
}

// A row gets a shape when its field names occur for the second time. Hashes with only unique names
// get none, and the number of shapes is limited.
func TestShapes(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	for id := range 100 {
		mustApply(t, k, versioned(nil, id, 1))
		mustApply(
			t, k,
			resp.AppendCommand(nil, "HSET", fmt.Sprint("own:", id), fmt.Sprint("f", id), "x", "g",
				"y"),
		)
	}
	if n := k.Shapes(); n != 1 {
		t.Errorf("%d shapes", n)
	}
	for n := range 10_000 {
		for i := range 2 {
			mustApply(
				t, k, resp.AppendCommand(nil, "HSET", fmt.Sprint("many:", n, i), fmt.Sprint("f", n),
					fmt.Sprint(n), "g", "y"),
			)
		}
	}
	if n := k.Shapes(); n != 4096 {
		t.Errorf("%d shapes", n)
	}
	for n := range 10_000 {
		for i := range 2 {
			want := fmt.Sprintf("f%d %d g y", n, n)
			reply := call(k, 2, "HGETALL", fmt.Sprint("many:", n, i))
			if got := strings.Join(elements(t, reply), " "); got != want {
				t.Fatalf("many:%d%d is %q", n, i, got)
			}
		}
	}
}
