package jobs

import (
	"errors"
	"strconv"
	"testing"

	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// RemoveRows removes the keys and members of one table, and nothing else, also after it was
// interrupted any number of times.
func TestRemoveRows(t *testing.T) {
	mapping := modelTables("ignore: false")
	for _, isInterrupted := range []bool{false, true} {
		of := compile(t, mapping, tableT)
		other := compile(t, mapping, tableO)
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 1}, of, other)
		want := sinktest.NewMemory("shop")
		for i := range 700 {
			id := strconv.Itoa(i)
			insert(t, w.sink, of, cellsOf(id, "b", strconv.Itoa(i%3), "note"+strconv.Itoa(i%9)))
			if i < 300 {
				for _, m := range []*sinktest.Memory{w.sink, want} {
					insert(t, m, other, cellsOf(id, strconv.Itoa(i%2))) // shares by:0, by:1, all
				}
			}
		}
		for _, m := range []*sinktest.Memory{w.sink, want} {
			// Of no table, in a key that no other output writes to, and of another type.
			execute(t, m, "SADD", "t:note1", "1")
			execute(t, m, "SET", "h:9999:b", "x")
			execute(t, m, "HSET", "h:x:b", "a", "1")
		}
		units := 0
		w.sink.Before = func(u *sink.Unit) error {
			if units++; isInterrupted && units%3 == 0 && units < 100 {
				return errInjected
			}
			if u.Commands.Count > 2*64 {
				t.Errorf("a unit has %d commands", u.Commands.Count)
			}
			return nil
		}
		interrupted := 0
		for {
			_, err := Removal{Plan: of, Limit: 64}.Run(t.Context(), w)
			if err == nil {
				break
			}
			if !errors.Is(err, errInjected) {
				t.Fatal(err)
			}
			interrupted++
			w.unit.Reset()
			if _, err := w.sink.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if isInterrupted != (interrupted > 3) {
			t.Errorf("it was interrupted %d times", interrupted)
		}
		w.mustHold(want)
	}
}

// Fields that expire leave with their times of expiry, which may be far in the future.
func TestRemoveExpiringRows(t *testing.T) {
	p := compile(t, `db.o: {write: [{hash: all, field: "{id}", value: "{x}", ttl: 30d}]}`, tableO)
	w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 1}, p)
	for i := range 100 {
		insert(t, w.sink, p, cellsOf(strconv.Itoa(i), "1"))
	}
	key := []byte(sink.FieldExpiryKey("shop"))
	for _, want := range []int64{100, 0} {
		reply, err := w.sink.Read(t.Context(), []byte("ZCARD"), key)
		if err != nil || reply.Int != want {
			t.Errorf("%d fields expire, %v, want %d", reply.Int, err, want)
		}
		if _, err := (Removal{Plan: p, Limit: 64}).Run(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	w.mustHold(sinktest.NewMemory("shop"))
}
