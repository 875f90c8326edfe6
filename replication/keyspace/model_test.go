package keyspace_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// model is a keyspace in its simplest possible form.
type model map[string]*modelKey

type modelKey struct {
	kind     keyspace.Kind
	expireAt int64
	text     string
	fields   map[string]string
	scores   map[string]float64
	items    []string // of a list; of a stream its entries as text
	ids      []keyspace.StreamID
	info     keyspace.StreamInfo
}

func (m model) clone() model {
	c := model{}
	for k, v := range m {
		w := *v
		w.fields, w.scores = maps.Clone(v.fields), maps.Clone(v.scores)
		w.items, w.ids = slices.Clone(v.items), slices.Clone(v.ids)
		c[k] = &w
	}
	return c
}

// canonical returns a key's complete state as text.
func (v *modelKey) canonical() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %d %q %q %v %v", v.kind, v.expireAt, v.text, v.items, v.ids, v.info)
	for _, f := range slices.Sorted(maps.Keys(v.fields)) {
		fmt.Fprintf(&b, " %q=%q", f, v.fields[f])
	}
	for _, f := range slices.Sorted(maps.Keys(v.scores)) {
		fmt.Fprintf(&b, " %q=%v", f, v.scores[f])
	}
	return b.String()
}

func canonicalEntry(t *testing.T, e keyspace.Entry) string {
	t.Helper()
	v := modelKey{kind: e.Value.Kind(), expireAt: e.ExpireAt, text: string(e.Value.Bytes())}
	n := 0
	switch v.kind {
	case keyspace.Hash:
		v.fields = map[string]string{}
		e.Value.Fields(
			func(f, val []byte) bool { n++; v.fields[string(f)] = string(val); return true },
		)
	case keyspace.Set:
		v.fields = map[string]string{}
		e.Value.Members(func(m []byte) bool { n++; v.fields[string(m)] = ""; return true })
	case keyspace.SortedSet:
		v.scores = map[string]float64{}
		last, lastMember := 0.0, ""
		e.Value.Scores(func(m []byte, s float64) bool {
			if n > 0 && (s < last || s == last && string(m) <= lastMember) {
				t.Fatalf("%q: %q %v comes after %q %v", e.Key, m, s, lastMember, last)
			}
			n, last, lastMember = n+1, s, string(m)
			v.scores[string(m)] = s
			return true
		})
	case keyspace.List:
		e.Value.Items(
			func(it []byte) bool { n++; v.items = append(v.items, string(it)); return true },
		)
	case keyspace.Stream:
		v.info = e.Value.Stream()
		e.Value.Entries(func(e keyspace.StreamEntry) bool {
			text := ""
			for f, val := range e.Pairs {
				text += fmt.Sprintf("%s=%s;", f, val)
			}
			n++
			v.ids, v.items = append(v.ids, e.ID), append(v.items, text)
			return true
		})
	case keyspace.String:
		n = len(v.text)
	}
	if n != e.Value.Len() || n != max(len(v.fields), len(v.scores), len(v.text), len(v.items)) {
		t.Fatalf("%q: Len() = %d, %d yielded, %d different", e.Key, e.Value.Len(), n,
			max(len(v.fields), len(v.scores)))
	}
	return v.canonical()
}

// sameAs compares a snapshot with the model of the same moment.
func sameAs(t *testing.T, s *keyspace.Snapshot, m model) {
	t.Helper()
	keys, expires := s.Len()
	seen := map[string]bool{}
	err := s.Each(func(e keyspace.Entry) error {
		want, ok := m[string(e.Key)]
		if !ok || seen[string(e.Key)] {
			return fmt.Errorf("key %q is there, in the model: %v, seen before: %v", e.Key, ok,
				seen[string(e.Key)])
		}
		seen[string(e.Key)] = true
		if e.ExpireAt != 0 {
			expires--
		}
		if got := canonicalEntry(t, e); got != want.canonical() {
			return fmt.Errorf("key %q\n is   %.300s\n want %.300s", e.Key, got, want.canonical())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(m) || keys != len(m) || expires != 0 {
		t.Fatalf("%d keys seen, Len() = %d, the model has %d; %d expiries too many", len(seen),
			keys, len(m), expires)
	}
}

// life makes random commands and applies their expected effects to a model.
type life struct {
	r     *rand.Rand
	m     model
	space int
	wide  int   // number of different members in a collection
	later int64 // added to every expiry
	ids   uint64
}

func (l *life) key() string { return fmt.Sprintf("k:%d", l.r.IntN(l.space)) }

func (l *life) member() string { return fmt.Sprintf("member-%d", l.r.IntN(l.wide)) }

func (l *life) some() int {
	if l.r.IntN(12) == 0 {
		return 1 + l.r.IntN(300)
	}
	return 1 + l.r.IntN(6)
}

// at returns the key, and whether it is absent or of a kind.
func (l *life) at(key string, kind keyspace.Kind) (v *modelKey, ok bool) {
	if v = l.m[key]; v != nil && v.kind == kind {
		return v, true
	}
	fresh := &modelKey{kind: kind, fields: map[string]string{}, scores: map[string]float64{}}
	return fresh, v == nil
}

func (l *life) keep(key string, v *modelKey) {
	delete(l.m, key)
	if len(v.fields)+len(v.scores)+len(v.items) > 0 || v.kind == keyspace.String ||
		v.kind == keyspace.Stream {
		l.m[key] = v
	}
}

// command appends one command; ok is false if the command must be rejected.
func (l *life) command(unit []byte) (_ []byte, ok bool) {
	key := l.key()
	switch n := l.r.IntN(100); {
	case n < 20:
		return l.hash(unit, key)
	case n < 30:
		return l.set(unit, key)
	case n < 45:
		return l.sortedSet(unit, key)
	case n < 58:
		return l.list(unit, key)
	case n < 68:
		return l.stream(unit, key)
	case n < 70:
		to := l.key()
		if v := l.m[key]; v != nil && to != key {
			l.m[to] = model{key: v}.clone()[key]
		}
		return resp.AppendCommand(unit, "COPY", key, to, "REPLACE"), to != key
	case n < 78:
		text := fmt.Sprint("text", l.r.IntN(1000))
		old := l.m[key]
		v := &modelKey{kind: keyspace.String, text: text}
		args := []string{"SET", key, text}
		switch l.r.IntN(4) {
		case 0:
			v.expireAt = l.later + 5000 + int64(l.r.IntN(100))
			args = append(args, "PXAT", fmt.Sprint(v.expireAt))
		case 1:
			if args = append(args, "KEEPTTL"); old != nil {
				v.expireAt = old.expireAt
			}
		}
		l.m[key] = v
		return resp.AppendCommand(unit, args...), true
	case n < 86:
		args := []string{"DEL", key, l.key(), key}
		for _, k := range args[1:] {
			delete(l.m, k)
		}
		return resp.AppendCommand(unit, args...), true
	case n < 91:
		at := l.later + 5000 + int64(l.r.IntN(100))
		if v := l.m[key]; v != nil {
			v.expireAt = at
		}
		return resp.AppendCommand(unit, "PEXPIREAT", key, fmt.Sprint(at)), true
	case n < 94:
		if v := l.m[key]; v != nil {
			v.expireAt = 0
		}
		return resp.AppendCommand(unit, "PERSIST", key), true
	case n < 99 || l.r.IntN(30) > 0:
		to := l.key()
		v := l.m[key]
		if v != nil {
			delete(l.m, key)
			l.m[to] = v
		}
		return resp.AppendCommand(unit, "RENAME", key, to), v != nil
	}
	clear(l.m)
	return resp.AppendCommand(unit, "FLUSHALL"), true
}

func (l *life) hash(unit []byte, key string) ([]byte, bool) {
	v, ok := l.at(key, keyspace.Hash)
	args := []string{"HSET", key}
	remove := l.r.IntN(3) == 0
	if remove {
		args[0] = "HDEL"
	}
	for range l.some() {
		f := l.member()
		if args = append(args, f); remove {
			delete(v.fields, f)
			continue
		}
		val := string(bytes.Repeat([]byte{'v'}, l.r.IntN(30))) + strconv.Itoa(l.r.IntN(1000))
		if l.r.IntN(300) == 0 {
			val = string(bytes.Repeat([]byte{'V'}, 70000))
		}
		args = append(args, val)
		v.fields[f] = val
	}
	if ok {
		l.keep(key, v)
	}
	return resp.AppendCommand(unit, args...), ok
}

func (l *life) set(unit []byte, key string) ([]byte, bool) {
	v, ok := l.at(key, keyspace.Set)
	args := []string{"SADD", key}
	remove := l.r.IntN(3) == 0
	if remove {
		args[0] = "SREM"
	}
	for range l.some() {
		m := l.member()
		if args = append(args, m); remove {
			delete(v.fields, m)
		} else {
			v.fields[m] = ""
		}
	}
	if ok {
		l.keep(key, v)
	}
	return resp.AppendCommand(unit, args...), ok
}

func (l *life) sortedSet(unit []byte, key string) ([]byte, bool) {
	v, ok := l.at(key, keyspace.SortedSet)
	args := []string{"ZADD", key}
	remove := l.r.IntN(3) == 0
	if remove {
		args[0] = "ZREM"
	}
	for range l.some() {
		m := l.member()
		if remove {
			delete(v.scores, m)
			args = append(args, m)
			continue
		}
		score := float64(l.r.IntN(41)-20) / 4
		args = append(args, fmt.Sprint(score), m)
		v.scores[m] = score
	}
	if ok {
		l.keep(key, v)
	}
	return resp.AppendCommand(unit, args...), ok
}

// list makes a random change of a list.
func (l *life) list(unit []byte, key string) ([]byte, bool) {
	v, ok := l.at(key, keyspace.List)
	n := len(v.items)
	var args []string
	switch what := l.r.IntN(8); {
	case what < 4 || n == 0:
		args = []string{[]string{"LPUSH", "RPUSH"}[what%2], key}
		for range l.some() {
			it := l.member()
			args = append(args, it)
			at := len(v.items)
			if what%2 == 0 {
				at = 0
			}
			v.items = slices.Insert(v.items, at, it)
		}
	case what == 4:
		pop := min(l.r.IntN(3*l.some()), n)
		args = []string{"LPOP", key, strconv.Itoa(pop)}
		v.items = slices.Delete(v.items, 0, pop)
	case what == 5:
		lo := l.r.IntN(n)
		hi := lo + l.r.IntN(n-lo)
		args = []string{"LTRIM", key, strconv.Itoa(lo / 4), strconv.Itoa(hi - n)}
		v.items = v.items[lo/4 : max(hi+1, lo/4)]
	case what == 6:
		at := l.r.IntN(n)
		it := l.member()
		args = []string{"LSET", key, strconv.Itoa(at - n), it}
		v.items[at] = it
	default:
		pivot, it := v.items[l.r.IntN(n)], l.member()
		args = []string{"LINSERT", key, "BEFORE", pivot, it}
		v.items = slices.Insert(v.items, slices.Index(v.items, pivot), it)
	}
	if ok {
		l.keep(key, v)
	}
	return resp.AppendCommand(unit, args...), ok
}

// stream adds, deletes or trims entries.
func (l *life) stream(unit []byte, key string) ([]byte, bool) {
	v, ok := l.at(key, keyspace.Stream)
	l.ids++
	id := keyspace.StreamID{Ms: l.ids / 3, Seq: l.ids}
	var args []string
	switch n := len(v.ids); {
	case n == 0 || l.r.IntN(3) > 0:
		f, val := l.member(), l.member()
		args = []string{"XADD", key, id.String(), f, val}
		v.ids, v.items = append(v.ids, id), append(v.items, f+"="+val+";")
		v.info.Last = id
		v.info.Added++
	case l.r.IntN(2) == 0:
		at := l.r.IntN(n)
		args = []string{"XDEL", key, v.ids[at].String(), "1-0"}
		if v.ids[at].Compare(v.info.MaxDeleted) > 0 {
			v.info.MaxDeleted = v.ids[at]
		}
		v.ids, v.items = slices.Delete(v.ids, at, at+1), slices.Delete(v.items, at, at+1)
	default:
		left := max(n-l.r.IntN(5), 0)
		args = []string{"XTRIM", key, "MAXLEN", strconv.Itoa(left)}
		v.ids, v.items = v.ids[n-left:], v.items[n-left:]
	}
	if ok {
		l.keep(key, v)
	}
	return resp.AppendCommand(unit, args...), ok
}

// Compares random units with the model. Some units are rejected and some discarded; snapshots taken
// in between are read much later.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			k := keyspace.NewWith(keyspace.Options{Now: func() int64 { return 1 }},
				arena.Options{ChunkSize: 16 << 10, Poison: true})
			l := &life{
				r: r, m: model{}, space: 4 << (2 * (seed % 4)),
				wide: []int{5, 40, 400}[seed%3],
			}
			type kept struct {
				s *keyspace.Snapshot
				m model
			}
			var snapshots []kept
			for range 400 {
				before := l.m.clone()
				unit, rejected := randomUnit(l)
				err := k.Stage(unit)
				switch {
				case rejected != (err != nil):
					t.Fatalf("Stage() = %v, want an error: %v", err, rejected)
				case err != nil:
					l.m = before
				case r.IntN(4) == 0:
					k.Discard()
					l.m = before
				default:
					k.Publish()
				}
				if err := k.Stray(); err != nil {
					t.Fatal(err)
				}
				if r.IntN(40) == 0 {
					snapshots = append(snapshots, kept{k.Snapshot(), l.m.clone()})
				}
				if len(snapshots) > 4 {
					i := r.IntN(len(snapshots))
					sameAs(t, snapshots[i].s, snapshots[i].m)
					snapshots[i].s.Close()
					snapshots = slices.Delete(snapshots, i, i+1)
				}
			}
			sameAs(t, k.Snapshot(), l.m)
			for _, s := range snapshots {
				sameAs(t, s.s, s.m)
			}
			checkDue(t, k, l.m)
		})
	}
}

// randomUnit makes a unit; a command that must be rejected ends it.
func randomUnit(l *life) (unit []byte, rejected bool) {
	multi := l.r.IntN(2) == 0
	if multi {
		unit = resp.AppendCommand(unit, "MULTI")
	}
	for range 1 + l.r.IntN(15) {
		var ok bool
		if unit, ok = l.command(unit); !ok {
			return unit, true
		}
	}
	if multi {
		unit = resp.AppendCommand(unit, "EXEC")
	}
	return unit, false
}

func checkDue(t *testing.T, k *keyspace.Keyspace, m model) {
	t.Helper()
	const now = 5050
	want := map[string]int64{}
	for key, v := range m {
		if v.expireAt != 0 && v.expireAt < now {
			want[key] = v.expireAt
		}
	}
	got, _ := k.Expired(now, 1<<30, 1<<30)
	if len(got) != len(want) {
		t.Fatalf("Expired() = %d keys, want %d", len(got), len(want))
	}
	for i, key := range got {
		at, ok := want[string(key)]
		if !ok || i > 0 && at < want[string(got[i-1])] {
			t.Fatalf("Expired() has %q at %d, due: %v", key, i, ok)
		}
	}
	if len(got) > 1 {
		by, more := k.Expired(now, 1, 1<<30)
		if size, also := k.Expired(now, 9, 0); len(by) != 1 || !more || len(size) != 1 || !also {
			t.Fatal("Expired() is not limited")
		}
	}
}
