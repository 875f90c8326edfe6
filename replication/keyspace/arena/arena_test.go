package arena_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/replication/keyspace/arena"
)

// store is the smallest owner of an arena: numbered records whose addresses readers look up under
// a lock.
type store struct {
	a  *arena.Arena
	mu sync.RWMutex
	at map[int]arena.Addr
}

func newStore(o arena.Options) *store {
	o.Poison = true
	return &store{a: arena.New(o), at: map[int]arena.Addr{}}
}

// content returns a record that states its number, its version and its length.
func content(id, version, size int) []byte {
	b := fmt.Appendf(nil, "%d:%d:%d:", id, version, size)
	for len(b) < size {
		b = append(b, byte('a'+id%26))
	}
	return b
}

// intact reports whether a record is what content made for this number.
func intact(b []byte, id int) bool {
	var n, version, size int
	head := string(b[:min(len(b), 40)])
	_, err := fmt.Sscanf(head, "%d:%d:%d:", &n, &version, &size)
	if err != nil || n != id {
		return false
	}
	return bytes.Equal(b, content(id, version, size))
}

func (o *store) set(t testing.TB, id int, b []byte) {
	at, got, err := o.a.Append(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) || !bytes.Equal(o.a.At(at), b) {
		t.Fatalf("Append returns %q for %q", got, b)
	}
	o.mu.Lock()
	old, had := o.at[id]
	o.at[id] = at
	o.mu.Unlock()
	if had {
		o.a.Free(old)
	}
}

func (o *store) remove(id int) {
	o.mu.Lock()
	old := o.at[id]
	delete(o.at, id)
	o.mu.Unlock()
	o.a.Free(old)
}

// compact examines about budget bytes of the chunk being compacted.
func (o *store) compact(t testing.TB, budget int) {
	for budget > 0 && o.a.ExcessGarbage(8) > 0 && o.a.SelectVictim(16) {
		at, b, size, ok := o.a.NextRecord()
		budget -= size
		var id int
		if !ok || b == nil {
			continue
		}
		if _, err := fmt.Sscanf(string(b[:min(len(b), 40)]), "%d:", &id); err != nil {
			t.Fatalf("NextRecord returns %q", b)
		}
		if o.at[id] != at {
			continue
		}
		to, err := o.a.Move(b)
		if err != nil {
			t.Fatal(err)
		}
		o.mu.Lock()
		o.at[id] = to
		o.mu.Unlock()
		o.a.Free(at)
	}
}

func (o *store) check(t testing.TB) {
	t.Helper()
	live := int64(0)
	for id, at := range o.at {
		b := o.a.At(at)
		if !intact(b, id) {
			t.Fatalf("record %d is %.60q", id, b)
		}
		n := len(b) + 1
		if len(b) >= 0x80 {
			n++
		}
		if len(b) >= 0x4000 {
			n++
		}
		live += int64(n+3) &^ 3
	}
	if s := o.a.Stats(); s.Live != live {
		t.Fatalf("%+v, want %d live bytes", s, live)
	}
}

func TestArena(t *testing.T) {
	for _, chunk := range []int{256, 4096, 1 << 20} {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(chunk)))
			o := newStore(arena.Options{ChunkSize: chunk})
			for n := range 8_000 {
				id := r.IntN(500)
				size := r.IntN(300)
				if r.IntN(100) == 0 {
					size = r.IntN(3 * chunk % 100_000)
				}
				switch {
				case r.IntN(5) > 0:
					o.set(t, id, content(id, n, size))
				case r.IntN(2) == 0 && o.at[id] != 0:
					o.remove(id)
				default:
					at, _, err := o.a.Append(content(id, n, size))
					if err != nil {
						t.Fatal(err)
					}
					o.a.FreeUnpublished(at)
				}
				o.compact(t, 4000)
				o.a.Advance()
				if n%1000 == 0 {
					o.check(t)
				}
			}
			o.check(t)
			if s := o.a.Stats(); s.Garbage > s.Live/2+int64(2*min(chunk, 128<<10)) ||
				s.Retired != 0 {
				t.Fatalf("compaction leaves %+v", s)
			}
			for id := range o.at {
				o.remove(id)
			}
			o.a.Advance()
			if s := o.a.Stats(); s.Live != 0 || s.Chunks > 2 {
				t.Fatalf("with everything freed: %+v", s)
			}
			o.a.Close()
		})
	}
}

// A pinned reader and a hold each keep the records that they can see, and no others.
func TestPinAndHoldKeepRecords(t *testing.T) {
	const chunk = 4096
	o := newStore(arena.Options{ChunkSize: chunk})
	churn := func(version int) {
		for id := range 200 {
			o.set(t, id, content(id, version, 50))
			o.compact(t, 4000)
			o.a.Advance()
		}
	}
	churn(0)
	for _, c := range []struct {
		name string
		keep func() (release func())
		// waits is true if chunks that were made and retired meanwhile wait for the release, too.
		waits bool
	}{
		{"pin", func() func() { return o.a.Pin().Unpin }, true},
		{"hold", func() func() { h := o.a.Hold(); return func() { o.a.ReleaseHold(h) } }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			churn(1)
			var held [][]byte
			release := c.keep()
			for id := range 200 {
				held = append(held, o.a.At(o.at[id]))
			}
			for n := range 20 {
				churn(n + 2)
			}
			for id, b := range held {
				if !bytes.Equal(b, content(id, 1, 50)) {
					t.Fatalf("record %d has changed to %q", id, b)
				}
			}
			s := o.a.Stats()
			if all := s.Retired + s.Garbage; all < 200*50 || !c.waits && all > 2*200*56+8*chunk {
				t.Fatalf("while kept: %+v", s)
			}
			release()
			release = o.a.Pin().Unpin // a later pin does not delay the reclamation
			for range 20 {
				o.a.Advance()
			}
			if s := o.a.Stats(); s.Retired != 0 {
				t.Fatalf("after the release: %+v", s)
			}
			release()
			o.check(t)
		})
	}
}

func TestArenaFull(t *testing.T) {
	o := newStore(arena.Options{ChunkSize: 256, MaxChunks: 5})
	n := 0
	for ; ; n++ {
		at, _, err := o.a.Append(content(n, 0, 30))
		if err != nil {
			if !errors.Is(err, arena.ErrFull) {
				t.Fatal(err)
			}
			break
		}
		o.at[n] = at
	}
	if n != 5*(256/31) {
		t.Fatalf("%d records fit, want %d", n, 5*(256/31))
	}
	o.check(t)
	if _, _, err := o.a.Append(make([]byte, 1000)); !errors.Is(err, arena.ErrFull) {
		t.Fatal("a large record was stored, although it needs a chunk of its own")
	}
	for id := range 256 / 31 {
		o.remove(id)
	}
	o.a.Advance()
	o.set(t, n, content(n, 0, 30))
	o.check(t)
}

// The kernel refuses to unmap memory when a process has too many mappings. Such memory must serve
// as the next chunk of its size. Before, a failed unmapping ended the process.
func TestArenaUnmapFails(t *testing.T) {
	failures := 0
	o := newStore(
		arena.Options{ChunkSize: 256, Unmap: func([]byte) bool { failures++; return false }},
	)
	for n := range 50 {
		for id := range 100 {
			o.set(t, id, content(id, n, 30+n%2*200)) // ordinary chunks, and chunks of one record
		}
		for o.a.Advance() {
		}
		o.check(t)
	}
	if s := o.a.Stats(); failures < 100 || s.Mapped > 100*(240+256) {
		t.Errorf("unmapped %d times; %+v", failures, s)
	}
}

// Readers find intact records while the writer replaces and compacts them.
func TestArenaReaders(t *testing.T) {
	o := newStore(arena.Options{ChunkSize: 1024})
	const ids = 64
	for id := range ids {
		o.set(t, id, content(id, 0, 40))
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		wg.Go(func() {
			for n := 0; !done.Load(); n++ {
				e := o.a.Pin()
				var seen [][]byte
				for i := range 8 {
					o.mu.RLock()
					at := o.at[(n+i)%ids]
					o.mu.RUnlock()
					seen = append(seen, o.a.At(at))
				}
				for i, b := range seen {
					if !intact(b, (n+i)%ids) {
						t.Errorf("record %d reads %q", (n+i)%ids, b)
					}
				}
				e.Unpin()
			}
		})
	}
	r := rand.New(rand.NewPCG(5, 5))
	for n := range 6_000 {
		id := r.IntN(ids)
		o.set(t, id, content(id, n, 20+r.IntN(60)))
		o.compact(t, 1000)
		o.a.Advance()
	}
	done.Store(true)
	wg.Wait()
	o.a.Advance()
	o.check(t)
	if s := o.a.Stats(); s.Retired != 0 {
		t.Fatalf("with no reader left: %+v", s)
	}
}

// TestTrimSpare: the memory of released chunks is kept while new chunks take it, and unmapped when
// it was not used between two calls.
func TestTrimSpare(t *testing.T) {
	const chunk = 64 << 10
	o := newStore(arena.Options{ChunkSize: chunk})
	fill := func() {
		for id := range 100 {
			o.set(t, id, content(id, 1, 5_000))
		}
		for id := range 100 {
			o.remove(id)
		}
		for o.a.Advance() {
		}
	}
	fill()
	mapped := o.a.Stats().Mapped // the active chunk and the spare ones
	if mapped <= chunk {
		t.Fatalf("no spare memory: %+v", o.a.Stats())
	}
	o.a.TrimSpare()
	if got := o.a.Stats().Mapped; got != mapped {
		t.Errorf("%d bytes are mapped after the first call, want %d", got, mapped)
	}
	fill()
	o.a.TrimSpare()
	if got := o.a.Stats().Mapped; got != mapped {
		t.Errorf("%d bytes are mapped although the spare memory was used, want %d", got, mapped)
	}
	o.a.TrimSpare()
	if got := o.a.Stats().Mapped; got != chunk {
		t.Errorf("%d bytes are mapped, want one chunk", got)
	}
	fill()
}
