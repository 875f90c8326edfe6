package replication_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
)

// Replicas, nodes and real servers, hide an expired key and keep it until the master's DEL. Only
// the master's clock decides when that comes.
func TestOnlyTheMasterDeletes(t *testing.T) {
	servertest.Need(t, kinds...)
	c := config(t)
	now := newClock()
	c.Now = now.Load
	n, _ := complete(t, c)
	rep, _ := follow(t, n.Addr())
	below, _ := follow(t, rep.Addr())
	addrs := []string{rep.Addr(), below.Addr()}
	for _, kind := range kinds {
		addrs = append(addrs,
			servertest.Cache(t, kind, servers.CacheOptions{Args: replicaOf(rep.Addr())}).Addr())
	}
	for _, addr := range addrs {
		caughtUp(t, n, addr)
	}
	at := apply(t, n, atomically(unit("SET", "k", "v"), unit("PEXPIREAT", "k", now.in(300))),
		unit("SET", "stays", "v"))
	for _, addr := range addrs {
		r := client(t, addr)
		exists := func(key string) bool { return r.Exists(t.Context(), key).Val() == 1 }
		eventually(t, addr+" hides the expired key",
			func() bool { return exists("stays") && !exists("k") })
		if got := r.DBSize(t.Context()).Val(); got != 2 {
			t.Errorf("%s deleted the key by itself: %d keys", addr, got)
		}
	}
	if got := client(t, n.Addr()).Exists(t.Context(), "k").Val(); got != 1 || n.Offset() != at ||
		below.Offset() != at {
		t.Errorf("the key is not due on the master, but EXISTS returns %d", got)
	}
	now.Add(301)
	for _, addr := range addrs {
		r := client(t, addr)
		eventually(t, addr+" deletes the key",
			func() bool { return r.DBSize(t.Context()).Val() == 1 })
		caughtUp(t, n, addr)
	}
}

// The DELs of due keys come before the next unit and before the offset of a snapshot, so that the
// snapshot holds exactly the keys that are not deleted yet.
func TestDueKeysAreDeletedFirst(t *testing.T) {
	c := config(t)
	now := newClock()
	c.Now = now.Load
	n, _ := complete(t, c)
	r := dialRaw(t, n.Addr())
	psync(r, "?", "-1")
	apply(t, n, unit("SELECT", "0"), unit("SET", "a", "1"), unit("PEXPIREAT", "a", now.in(10)),
		unit("SET", "b", "1"), unit("PEXPIREAT", "b", now.in(20)), unit("SET", "c", "1"),
		unit("PEXPIREAT", "c", now.in(30)))
	r.expect(string(unit("SELECT", "0")) + string(unit("SELECT", "0")))
	for _, key := range []string{"a", "b", "c"} {
		r.expect(string(unit("SET", key, "1")))
		at, _ := strconv.Atoi(now.in(0))
		r.expect(string(unit("PEXPIREAT", key, strconv.Itoa(at+10*int(1+key[0]-'a')))))
	}
	eventually(t, "the first snapshot is written",
		func() bool { return !n.Status().Snapshot.Running })
	now.Add(11)
	apply(t, n, unit("SET", "a", "2")) // the new a does not get the old expiry
	r.expect(string(unit("DEL", "a")) + string(unit("SET", "a", "2")))
	now.Add(10)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.expect(string(unit("DEL", "b")))
	st := n.Status()
	now.Add(10) // c is due after the snapshot
	late := dialRaw(t, n.Addr())
	if at := psync(late, "?", "-1"); at != st.Snapshot.Offset {
		t.Errorf("the replica gets the snapshot of %d, want %d", at, st.Snapshot.Offset)
	}
	late.expect(string(unit("SELECT", "0")) + string(unit("DEL", "c")))
	eventually(t, "the DEL in the log is published", func() bool { return n.Keyspace().Len() == 1 })
	if st.Snapshot.Offset != st.Offset {
		t.Errorf("records follow the snapshot: %+v", st)
	}
}

// A promoted node deletes the keys that expired under its former master before it accepts a unit.
func TestPromotionDeletesExpiredKeysFirst(t *testing.T) {
	c := config(t)
	now := newClock()
	c.Now = now.Load
	a, _ := complete(t, c)
	b, _ := follow(t, a.Addr())
	online(t, b)
	apply(t, a, unit("SET", "k", "v"), unit("PEXPIREAT", "k", now.in(1)))
	eventually(t, "the replica follows", func() bool { return b.Offset() == a.Offset() })
	eventually(t, "the key has expired", func() bool { _, ok := b.Keyspace().Get("k"); return !ok })
	if b.Keyspace().Len() != 1 {
		t.Error("a replica deleted a key")
	}
	below := dialRaw(t, b.Addr())
	at := b.Offset()
	if err := b.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if b.Keyspace().Len() != 0 {
		t.Error("the promotion did not delete the key")
	}
	below.do("REPLCONF", "capa", "psync2")
	below.send("PSYNC", a.Status().ID, (at + 1).String())
	below.line()
	below.expect(string(unit("SELECT", "0")) + string(unit("DEL", "k")))
	if role, _ := b.Role(); role != replication.Master ||
		b.Offset() != at+replog.Offset(len(unit("SELECT", "0"))+len(unit("DEL", "k"))) {
		t.Errorf("the role is %s at %d", role, b.Offset())
	}
}

// More keys are due than one record deletes. The keys that a unit names are deleted before it; the
// others follow.
func TestManyDueKeys(t *testing.T) {
	c := config(t)
	now := newClock()
	c.Now = now.Load
	n, _ := complete(t, c)
	const many = 5000
	var all [][]byte
	for i := range many {
		key := strconv.Itoa(i)
		all = append(all, unit("SET", key, "5"), unit("PEXPIREAT", key, now.in(int64(1+i))))
	}
	apply(t, n, atomically(all...))
	now.Add(many + 1)
	apply(t, n, unit("INCR", strconv.Itoa(many-1)))
	if v, _ := n.Keyspace().Get(strconv.Itoa(many - 1)); string(v) != "1" {
		t.Errorf("INCR continued with an expired value: %s", v)
	}
	eventually(t, "the other keys are deleted", func() bool { return n.Keyspace().Len() == 1 })
}

// The names in one DEL record have a limited length. Once, a record named 256 keys of any length,
// and a record above the log's limit ended the node, and each later start at its first write.
func TestDueKeysWithLongNames(t *testing.T) {
	c := config(t)
	now := newClock()
	c.Now = now.Load
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	n.ExpireMost(100)
	run(t, n)
	n.SetComplete(true)
	var keys []string
	var all [][]byte
	for i, size := range []int{40, 40, 40, 40, 150} {
		keys = append(keys, strings.Repeat(string(rune('a'+i)), size))
		all = append(all, unit("SET", keys[i], "5"), unit("PEXPIREAT", keys[i], now.in(int64(1+i))))
	}
	at := apply(t, n, atomically(all...))
	now.Add(6)
	again := atomically(unit("SET", keys[2], "6"), unit("SET", keys[3], "6"),
		unit("SET", keys[4], "6"))
	apply(t, n, again)
	r := dialRaw(t, n.Addr())
	requestSync(r, n.Status().ID, (at + 1).String())
	r.expect(
		string(unit("DEL", keys[0], keys[1])) + string(unit("DEL", keys[2], keys[3])) + string(
			unit("DEL", keys[4]),
		) + string(again),
	)
}

func TestExpiry(t *testing.T) {
	c := config(t)
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	c.Now = now.Load
	n, _ := complete(t, c)
	apply(t, n, unit("SET", "k", "v"),
		unit("PEXPIREAT", "k", strconv.FormatInt(now.Load()+1000, 10)), unit("SET", "other", "v"))
	r := dialRaw(t, n.Addr())
	at := psync(r, "?", "-1")
	now.Add(1000) // as in Redis, a key exists in the millisecond of its expiry
	if got := client(t, n.Addr()).Exists(t.Context(), "k").Val(); got != 1 {
		t.Errorf("k expired too early")
	}
	now.Add(1)
	if got := client(t, n.Addr()).Exists(t.Context(), "k").Val(); got != 0 {
		t.Errorf("k is still there")
	}
	// The replica gets the deletion as a command, even if nothing else is written.
	r.expect(string(unit("SELECT", "0")) + string(unit("DEL", "k")))
	if n.Offset() != at+replog.Offset(len(unit("SELECT", "0"))+len(unit("DEL", "k"))) {
		t.Errorf("the log ends at %d", n.Offset())
	}
	eventually(t, "the key is deleted", func() bool { return n.Keyspace().Len() == 1 })
}
