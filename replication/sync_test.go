package replication_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/replication"
	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

const unknownID = "0123456789012345678901234567890123456789"

func TestIncompleteNodeAnswersLoading(t *testing.T) {
	n, _ := start(t, config(t))
	r := dialRaw(t, n.Addr())
	for range 2 { // the connection survives the refusal
		if got := r.do("PSYNC", unknownID, "1"); !strings.HasPrefix(got, "-LOADING ") {
			t.Errorf("PSYNC gets %q", got)
		}
	}
	if got := r.do("SYNC"); !strings.HasPrefix(got, "-LOADING ") {
		t.Errorf("SYNC gets %q", got)
	}
	n.SetComplete(true)
	psync(r, "?", "-1")
	if st := n.Status(); st.FullSyncs != 1 || st.PartialsRefused != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestWrongOffsetIsAnErrorAndNoReplica(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	if got := r.do("PSYNC", unknownID, "offset"); got != "-ERR value is not an integer or out of range" {
		t.Errorf("got %q", got)
	}
	if len(n.Status().Replicas) != 0 {
		t.Error("it became a replica")
	}
}

// The stream behind a snapshot begins with SELECT, holds exactly the bytes that
// were applied, and every byte of it can be asked for again.
func TestPartialResyncAtEveryByte(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "before", "1"))
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	if from != n.Offset() {
		t.Fatalf("the snapshot is of %d, the stream ends at %d", from, n.Offset())
	}
	units := []string{
		string(unit("SET", "a", "1")),
		string(atomically(unit("SET", "b", "\r\n"), unit("DEL", "a"))),
		string(unit("SET", "c", "3")),
	}
	for _, u := range units {
		apply(t, n, []byte(u))
	}
	want := string(unit("SELECT", "0")) + strings.Join(units, "")
	r.expect(want)
	if n.Offset() != from+replog.Offset(len(want)) {
		t.Fatalf("offset %d, want %d", n.Offset(), int(from)+len(want))
	}
	id := n.Status().ID
	for skip := 0; skip <= len(want); skip += 7 {
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "capa", "psync2")
		r.send("PSYNC", strings.ToUpper(id), strconv.FormatInt(int64(from)+1+int64(skip), 10))
		if got := r.line(); got != "+CONTINUE "+id {
			t.Fatalf("%d bytes on: %q", skip, got)
		}
		r.expect(want[skip:])
		r.Close()
	}
	// One byte more than there is: a full resync.
	r = dialRaw(t, n.Addr())
	if at := psync(r, id, strconv.FormatInt(int64(n.Offset())+2, 10)); at != from {
		t.Errorf("the snapshot was not used again: it is of %d, not %d", at, from)
	}
	r.expect(want)
	if st := n.Status(); st.FullSyncs != 2 || st.PartialsRefused != 1 {
		t.Errorf("got %+v", st)
	}
}

// Without psync2 a replica expects no id behind +CONTINUE.
func TestContinueWithoutPsync2(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	r.send("PSYNC", n.Status().ID, "1")
	r.expect("+CONTINUE\r\n")
}

func TestAcknowledgementsAndWait(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	if st := n.Status().Replicas; len(st) != 1 || st[0].State == replication.ReplicaOnline ||
		st[0].Addr != "127.0.0.1:7777" {
		t.Errorf("got %+v", st)
	}
	c := client(t, n.Addr())
	if got := c.Wait(t.Context(), 1, 10*time.Millisecond).Val(); got != 0 {
		t.Errorf("WAIT counts %d", got)
	}
	r.send("REPLCONF", "ACK", from.String(), "FACK", from.String())
	eventually(t, "the replica is online",
		func() bool { return n.Status().Replicas[0].State == replication.ReplicaOnline })
	at := apply(t, n, unit("SET", "k", "v"))
	got := make(chan int64, 1)
	go func() { got <- c.Wait(t.Context(), 1, 0).Val() }()
	ask := string(unit("REPLCONF", "GETACK", "*"))
	r.expect(string(unit("SELECT", "0")) + ask + string(unit("SET", "k", "v")) + ask)
	// An offset that was never sent is not believed, nor can an acknowledgement go back.
	r.send("REPLCONF", "ACK", "999999999")
	if count := <-got; count != 1 {
		t.Errorf("WAIT counts %d", count)
	}
	r.send("REPLCONF", "ACK", "1")
	r.send("REPLCONF", "ACK", at.String())
	eventually(t, "the acknowledgement is seen",
		func() bool { return n.Status().Replicas[0].Acked == n.Offset() })
	info := c.Info(t.Context(), "replication").Val()
	if want := fmt.Sprintf("slave0:ip=127.0.0.1,port=7777,state=online,offset=%d,lag=0\r\n", n.Offset()); !strings.Contains(
		info, want,
	) {
		t.Errorf("INFO says %s", info)
	}
}

func TestPing(t *testing.T) {
	c := config(t)
	c.PingPeriod = 20 * time.Millisecond
	n, _ := complete(t, c)
	r := dialRaw(t, n.Addr())
	psync(r, "?", "-1")
	r.expect(string(unit("SELECT", "0")) + string(unit("PING")) + string(unit("PING")))
}

// Who is not heard any more is let go; the log's pin goes with it.
func TestSilentReplicaIsDropped(t *testing.T) {
	c := config(t)
	c.Timeout, c.PingPeriod = 100*time.Millisecond, 20*time.Millisecond
	n, _ := complete(t, c)
	psync(dialRaw(t, n.Addr()), "?", "-1")
	eventually(t, "it is dropped", func() bool { return len(n.Status().Replicas) == 0 })
}

// SYNC is what redis-cli --rdb sends; it is told nothing but the snapshot.
func TestLegacySync(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "k", "v"))
	r := dialRaw(t, n.Addr())
	if got := r.do("REPLCONF", "rdb-only", "1"); got != "+OK" {
		t.Fatal(got)
	}
	if _, err := r.Write([]byte("SYNC\r\n")); err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(strings.TrimPrefix(r.reply(), "$"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size+1)
	if got, _ := r.r.Read(b[:9]); string(b[:got]) != "REDIS0009" {
		t.Errorf("got %q", b[:got])
	}
	for left := size - 9; left > 0; {
		got, err := r.r.Read(b[:left])
		if err != nil {
			t.Fatal(err)
		}
		left -= got
	}
	if _, err := r.r.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

// A replica that cannot load what it gets and asks again at once is slowed down.
func TestRepeatedFullSyncsAreDelayed(t *testing.T) {
	n, _ := complete(t, config(t))
	for range 2 {
		r := dialRaw(t, n.Addr())
		psync(r, "?", "-1")
		r.Close()
	}
	began := time.Now()
	psync(dialRaw(t, n.Addr()), "?", "-1")
	if took := time.Since(began); took < time.Second {
		t.Errorf("the third begins after %v", took)
	}
}

// follow opens a node that follows addr.
func follow(t *testing.T, addr string) (*replication.Node, func()) {
	t.Helper()
	c := config(t)
	c.ReplicaOf = addr
	return start(t, c)
}

func online(t *testing.T, n *replication.Node) {
	t.Helper()
	eventually(t, "the link is up",
		func() bool { return n.Status().Upstream.State == replication.LinkConnected })
}

// node -> node -> node: equal data at equal offsets under one id; a promotion in
// the middle leaves the last one with a partial resync.
func TestCascadeOfNodes(t *testing.T) {
	a, stopA := complete(t, config(t))
	fill(t, a, "a", 200)
	b, _ := follow(t, a.Addr())
	c, stopC := follow(t, b.Addr())
	online(t, c)
	fill(t, a, "b", 200)
	equal(t, a.Addr(), c.Addr())
	since := c.Status().Upstream.Since
	if got := client(t, c.Addr()).ClientKillByFilter(t.Context(), "TYPE", "master").Val(); got != 1 {
		t.Errorf("%d links to the upstream were cut", got)
	}
	eventually(t, "c is back", func() bool {
		return c.Status().Upstream.Since != since &&
			c.Status().Upstream.State == replication.LinkConnected
	})
	eventually(t, "offsets are equal",
		func() bool { return a.Offset() == c.Offset() && b.Offset() == c.Offset() })
	if a.Status().ID != c.Status().ID {
		t.Errorf("ids are %s and %s", a.Status().ID, c.Status().ID)
	}
	if got := client(t, a.Addr()).Wait(t.Context(), 1, patience).Val(); got != 1 {
		t.Errorf("WAIT counts %d", got)
	}
	if got := client(t, b.Addr()).Set(t.Context(), "k", "v", 0).Err(); got == nil {
		t.Error("a replica takes a write")
	}

	stopA()
	old := b.Status().ID
	if got := client(t, b.Addr()).Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); got != nil {
		t.Fatal(got)
	}
	apply(t, b, unit("SET", "after", "promotion"))
	eventually(t, "c follows the promoted",
		func() bool { return c.Status().ID == b.Status().ID && c.Offset() == b.Offset() })
	if st := c.Status(); st.PreviousID != old || b.Status().ID == old {
		t.Errorf("c is %+v", st)
	}
	if st := b.Status(); st.FullSyncs != 1 || st.PartialSyncs != 2 {
		t.Errorf("the promotion cost full resyncs: %+v", st)
	}
	equal(t, b.Addr(), c.Addr())
	stopC()
}

// A restarted replica goes on where it was, also straight after its first load.
func TestRestartedReplicaContinues(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 100)
	rc := config(t)
	rc.ReplicaOf = a.Addr()
	b, stop := start(t, rc)
	online(t, b)
	stop()
	fill(t, a, "b", 100)
	b, _ = start(t, rc)
	equal(t, a.Addr(), b.Addr())
	if st := a.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
		t.Errorf("got %+v", st)
	}
}

// The upstream is gone for good and the node in the middle was killed, in another
// boot: promoted it serves what it has, and those below it go on, without any
// owner that could say once more that the data are complete.
func TestRestartedReplicaIsPromoted(t *testing.T) {
	a, stopA := complete(t, config(t))
	fill(t, a, "a", 50)
	rc := config(t)
	rc.ReplicaOf = a.Addr()
	b, stopB := start(t, rc)
	online(t, b)
	below, _ := follow(t, b.Addr())
	equal(t, a.Addr(), below.Addr())
	rc.Listen = b.Addr()
	killed := copyDir(t, rc.Dir)
	stopA()
	stopB()
	rc.Dir = killed
	otherBoot(t, killed)
	b, _ = start(t, rc)
	r := dialRaw(t, b.Addr())
	if got := r.do("REPLICAOF", "NO", "ONE"); got != "+OK" {
		t.Fatal(got)
	}
	apply(t, b, unit("SET", "after", "1"))
	late, _ := follow(t, b.Addr())
	equal(t, b.Addr(), late.Addr())
	equal(t, b.Addr(), below.Addr())
	if st := b.Status(); !st.Complete || st.FullSyncs != 1 {
		t.Errorf("got %+v", st)
	}
}

// A log that ends before the data were complete, because the end was lost, holds
// half of them: nobody gets it until the owner says so again.
func TestCompletenessGoesWithTheBytes(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	fill(t, n, "a", 10)
	half := copyDir(t, c.Dir)
	fill(t, n, "b", 10)
	n.SetComplete(true)
	n.SetComplete(true)
	whole := copyDir(t, c.Dir)
	n.SetComplete(false) // it is emptied and built anew
	anew := copyDir(t, c.Dir)
	stop()
	id, err := os.ReadFile(filepath.Join(whole, identity.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, identity.FileName), id, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{half: false, whole: true, anew: false} {
		c.Dir = dir
		n, stop := start(t, c)
		if got := n.Status().Complete; got != want {
			t.Errorf("at %s it is complete: %v, want %v", n.Offset(), got, want)
		}
		stop()
	}
}

// A full resync of a node in the middle reaches those below it, and old data
// serve until the new ones are there.
func TestFullResyncInTheMiddle(t *testing.T) {
	a, stopA := complete(t, config(t))
	fill(t, a, "a", 50)
	b, _ := follow(t, a.Addr())
	c, _ := follow(t, b.Addr())
	equal(t, a.Addr(), c.Addr())
	other, _ := complete(t, config(t))
	fill(t, other, "z", 70)
	stopA()
	if err := b.ReplicaOf(t.Context(), other.Addr()); err != nil {
		t.Fatal(err)
	}
	equal(t, other.Addr(), b.Addr())
	equal(t, other.Addr(), c.Addr())
	if b.Status().ID != other.Status().ID || c.Status().ID != other.Status().ID {
		t.Error("ids differ")
	}
}

// A crash in the middle of a full resync leaves the new data's file without its
// name, and beside it the old data with their log: the start finishes the resync.
func TestInterruptedResyncIsFinished(t *testing.T) {
	a, _ := complete(t, config(t))
	fill(t, a, "a", 50)
	ac := config(t)
	ac.ReplicaOf = a.Addr()
	b, stop := start(t, ac)
	online(t, b)
	at, want := b.Status().Snapshot.Offset, b.Keyspace().Len()
	stop()

	old, _ := complete(t, config(t))
	fill(t, old, "old", 20)
	rc := config(t)
	rc.ReplicaOf = old.Addr()
	b, stop = start(t, rc)
	online(t, b)
	fill(t, old, "older", 300) // so that its log is longer than the new one's offset
	eventually(t, "it has all", func() bool { return b.Offset() == old.Offset() })
	if b.Offset() <= at {
		t.Fatalf("the old log ends at %d, the new one begins at %d", b.Offset(), at)
	}
	stop()

	resynced(t, ac.Dir, rc.Dir, at)
	b, stop = start(t, rc)
	if b.Keyspace().Len() != want || b.Offset() < at {
		t.Errorf("%d keys at %d, want %d at %d", b.Keyspace().Len(), b.Offset(), want, at)
	}
	equal(t, a.Addr(), b.Addr())
	apply(t, a, unit("SET", "after", "it"))
	equal(t, a.Addr(), b.Addr())
	if st := a.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
		t.Errorf("%d full and %d partial resyncs", st.FullSyncs, st.PartialSyncs)
	}
	stop()
	b, _ = start(t, rc) // what was finished stays so
	equal(t, a.Addr(), b.Addr())
	if files := snapshotsIn(t, rc.Dir); len(files) != 1 {
		t.Errorf("the snapshots are %v", files)
	}
}
