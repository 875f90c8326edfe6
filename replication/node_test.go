package replication_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/replication"
	"rowfall/replication/replog"
)

func TestApplyAndRead(t *testing.T) {
	n, _ := start(t, config(t))
	c := client(t, n.Addr())
	ctx := t.Context()
	published := n.Published()
	at := apply(t, n, atomically(unit("HSET", "u:1", "a", "1", "b", "2"), unit("SADD", "s", "x")))
	if at != n.Offset() || at == 0 {
		t.Errorf("the unit ends at %d, the stream at %d", at, n.Offset())
	}
	<-published
	if got := c.HGetAll(ctx, "u:1").Val(); len(got) != 2 || got["b"] != "2" {
		t.Errorf("got %v", got)
	}
	if err := c.Set(ctx, "x", "y", 0).Err(); err == nil ||
		err.Error() != "READONLY You can't write against a read only replica." {
		t.Errorf("a write gets %v", err)
	}
	if err := c.Do(ctx, "NOSUCH", "a").Err(); err == nil ||
		err.Error() != "ERR unknown command 'NOSUCH', with args beginning with: 'a' " {
		t.Errorf("an unknown command gets %q", err)
	}
}

// A unit that does not stage leaves no byte and no key, also those before the fault.
func TestBadUnitLeavesNoTrace(t *testing.T) {
	n, _ := start(t, config(t))
	at := apply(t, n, unit("SET", "k", "v"))
	_, term := n.Role()
	for _, bad := range [][]byte{
		atomically(unit("SET", "other", "v"), unit("HSET", "k", "f", "v")),
		unit("SPOP", "k"), []byte("SET k w\r\n"), nil, unit("MULTI"),
	} {
		if _, err := n.Apply(t.Context(), term, bad); err == nil ||
			errors.Is(err, replication.ErrDemoted) {
			t.Errorf("%q gives %v", bad, err)
		}
	}
	if n.Offset() != at || n.Keyspace().Len() != 1 {
		t.Errorf("offset %d became %d, there are %d keys", at, n.Offset(), n.Keyspace().Len())
	}
}

func TestTerms(t *testing.T) {
	n, _ := start(t, config(t))
	_, term := n.Role()
	apply(t, n, unit("SET", "k", "v"))
	changed := n.RoleChanged()
	was := n.Status().ID
	if err := n.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, err := n.Apply(t.Context(), term, unit("SET", "k", "w")); !errors.Is(err,
		replication.ErrDemoted) {
		t.Errorf("a replica takes a unit: %v", err)
	}
	if st := n.Status(); st.ID != was || st.Role != replication.Replica {
		t.Errorf("after the demotion: %+v", st)
	}
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context(), term, unit("SET", "k", "w")); !errors.Is(err,
		replication.ErrDemoted) {
		t.Errorf("an old term is taken: %v", err)
	}
	if st := n.Status(); st.ID == was || st.PreviousID != was || st.PreviousTo != n.Offset() ||
		st.Role != replication.Master {
		t.Errorf("after the promotion: %+v", st)
	}
	apply(t, n, unit("SET", "k", "w"))
}

func TestLockedDirectory(t *testing.T) {
	c := config(t)
	_, stop := start(t, c)
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), "owns it") {
		t.Errorf("a second owner gets %v", err)
	}
	stop()
	start(t, c)
}

func TestCleanRestart(t *testing.T) {
	for name, snapshot := range map[string]bool{"log only": false, "snapshot and log": true, "snapshot at the stop": true} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			n, stop := start(t, c)
			fill(t, n, "a", 300)
			if snapshot {
				if _, err := n.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if name != "snapshot at the stop" {
				fill(t, n, "b", 300)
			}
			want, err := contents(t.Context(), client(t, n.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			before := n.Status()
			stop()
			if got := len(snapshotsIn(t, c.Dir)) == 1; got != snapshot {
				t.Errorf("there is a snapshot: %v", got)
			}
			n, _ = start(t, c)
			got, err := contents(t.Context(), client(t, n.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if got[k] != v {
					t.Fatalf("%s was %q and is %q", k, v, got[k])
				}
			}
			if after := n.Status(); len(got) != len(want) || after.Offset != before.Offset ||
				after.ID != before.ID ||
				after.Complete {
				t.Errorf("%d keys became %d; before %+v, after %+v", len(want), len(got), before,
					after)
			}
		})
	}
}

// Snapshot and log must meet; a gap between them is named, with what to do.
func TestGapBetweenSnapshotAndLog(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	fill(t, n, "a", 100)
	st, err := n.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, n, "b", 100)
	stop()
	name := snapshotsIn(t, c.Dir)[0]
	if !strings.HasSuffix(name, "snapshot-"+st.Offset.String()+".rdb") {
		t.Errorf("the snapshot is called %s", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// A snapshot that lies about its offset.
	if err := os.Rename(name, filepath.Join(c.Dir, "snapshot-99999999.rdb")); err != nil {
		t.Fatal(err)
	}
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), "99999999") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(c.Dir, "snapshot-99999999.rdb")); err != nil {
		t.Fatal(err)
	}
	// One that is damaged.
	bad := append([]byte(nil), data...)
	bad[len(bad)/2] ^= 0x55
	if err := os.WriteFile(name, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), name) ||
		!strings.Contains(err.Error(), "restore") {
		t.Errorf("got %v", err)
	}
	// A backup: the snapshot alone, without a log. It goes on under a new id.
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.Dir, "log")); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	if after := n.Status(); after.ID == "" || after.Offset != st.Offset ||
		after.PreviousTo != st.Offset ||
		after.PreviousID == "" {
		t.Errorf("got %+v", after)
	}
	apply(t, n, unit("SET", "k", "v"))
}

// After a stop that may have lost bytes the node begins a new id, before anybody is answered.
func TestNewIDAfterPossibleLoss(t *testing.T) {
	for _, policy := range []replog.Fsync{replog.EverySecond, replog.Always} {
		c := config(t)
		c.Log.Fsync = policy
		n, stop := start(t, c)
		apply(t, n, unit("SET", "k", "v"))
		before := n.Status()
		crashed := copyDir(t, c.Dir) // no clean-stop mark
		stop()
		otherBoot(t, crashed)
		c.Dir = crashed
		n, _ = start(t, c)
		after := n.Status()
		if policy == replog.Always {
			if after.ID != before.ID {
				t.Errorf("with fsync %s the id changed", policy)
			}
		} else if after.ID == before.ID || after.PreviousID != before.ID || after.PreviousTo != before.Offset {
			t.Errorf("with fsync %s: before %+v, after %+v", policy, before, after)
		}
	}
}

// What counts is the policy under which the lost bytes were written, not the one
// of the start that finds them gone.
func TestNewIDAfterChangeOfPolicy(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "k", "v"))
	crashed := copyDir(t, c.Dir) // what was on disk when the power failed
	apply(t, n, unit("SET", "k", "lost"))
	before := n.Status()
	stop()
	otherBoot(t, crashed)
	c.Dir, c.Log.Fsync = crashed, replog.Always
	n, stop = complete(t, c)
	if after := n.Status(); after.ID == before.ID || after.PreviousID != before.ID ||
		after.PreviousTo != after.Offset {
		t.Errorf("before %+v, after %+v", before, after)
	}
	id := n.Status().ID
	crashed = copyDir(t, c.Dir)
	stop()
	otherBoot(t, crashed)
	c.Dir, c.Log.Fsync = crashed, replog.EverySecond
	n, _ = complete(t, c)
	if n.Status().ID != id {
		t.Error("what was written with fsync always is taken for lost")
	}
}

// A directory that was copied after a clean stop and put back later says of itself
// that it has everything. A replica that had more would be continued with other bytes.
func TestCopiedDirectoryGetsANewID(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	fill(t, n, "a", 20)
	stop()
	backup := copyDir(t, c.Dir)
	n, stop = complete(t, c)
	b, _ := follow(t, n.Addr())
	online(t, b)
	apply(t, n, unit("SET", "x", "lost"))
	equal(t, n.Addr(), b.Addr())
	c.Listen = n.Addr()
	stop()
	c.Dir = backup
	n, _ = complete(t, c)
	apply(t, n, unit("SET", "y", strings.Repeat("longer than what was lost", 10)))
	equal(t, n.Addr(), b.Addr())
	if st := n.Status(); st.FullSyncs != 1 || st.ID != b.Status().ID {
		t.Errorf("the replica with other bytes was continued: %+v", st)
	}
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
	now.Add(1000) // as in Redis, the millisecond itself still counts
	if got := client(t, n.Addr()).Exists(t.Context(), "k").Val(); got != 1 {
		t.Errorf("k is gone too early")
	}
	now.Add(1)
	if got := client(t, n.Addr()).Exists(t.Context(), "k").Val(); got != 0 {
		t.Errorf("k is still there")
	}
	// The replica hears it from us, as a command, even if nothing else is written.
	r.expect(string(unit("SELECT", "0")) + string(unit("DEL", "k")))
	if n.Offset() != at+replog.Offset(len(unit("SELECT", "0"))+len(unit("DEL", "k"))) {
		t.Errorf("the stream ends at %d", n.Offset())
	}
	eventually(t, "the key is deleted", func() bool { return n.Keyspace().Len() == 1 })
}

// Whoever takes a snapshot gets it while writes go on, and its file is what the log is kept from.
func TestSnapshotsBoundTheLog(t *testing.T) {
	c := config(t)
	c.Log.Keep, c.Log.SegmentSize, c.SnapshotEvery = 64<<10, 16<<10, 128<<10
	n, stop := start(t, c)
	for i := range 3000 {
		apply(t, n, unit("SET", "k"+strconv.Itoa(i%10), strings.Repeat("x", 1000)))
	}
	eventually(t, "the log is trimmed", func() bool {
		st := n.Status()
		return st.LogStart > 0 && st.Snapshot.Offset > 0 && !st.Snapshot.Running &&
			len(snapshotsIn(t, c.Dir)) == 1
	})
	st := n.Status()
	if st.LogStart > st.Snapshot.Offset {
		t.Errorf("the log begins at %d, after the snapshot of %d", st.LogStart, st.Snapshot.Offset)
	}
	stop()
	n, _ = start(t, c)
	if n.Keyspace().Len() != 10 || n.Status().ID != st.ID {
		t.Errorf("after the restart: %+v", n.Status())
	}
}

func TestCloseWithoutRun(t *testing.T) {
	c := config(t)
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Run(context.Background()); !errors.Is(err, replication.ErrClosed) {
		t.Errorf("run after close: %v", err)
	}
	if _, err := n.Apply(context.Background(), 0, unit("SET", "k", "v")); !errors.Is(err,
		replication.ErrClosed) {
		t.Errorf("apply after close: %v", err)
	}
}

// psync shakes hands and reads the answer and the snapshot of a full resync; it
// returns the offset at which the stream goes on.
func psync(r *raw, id, offset string) replog.Offset {
	r.t.Helper()
	for _, c := range [][]string{{"PING"}, {"REPLCONF", "listening-port", "7777"}, {"REPLCONF", "capa", "psync2", "capa", "nonsense"}} {
		if got := r.do(c...); got != "+OK" && got != "+PONG" {
			r.t.Fatalf("%v gets %q", c, got)
		}
	}
	r.send("PSYNC", id, offset)
	f := strings.Fields(r.reply())
	switch f[0] {
	case "+CONTINUE":
		first, _ := replog.ParseOffset(offset)
		return first - 1
	case "+FULLRESYNC":
		size, err := strconv.ParseInt(strings.TrimPrefix(r.reply(), "$"), 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r.r, size); err != nil {
			r.t.Fatal(err)
		}
		at, err := replog.ParseOffset(f[2])
		if err != nil || len(f[1]) != 40 {
			r.t.Fatalf("got %q", f)
		}
		return at
	}
	r.t.Fatalf("PSYNC gets %q", f)
	return 0
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "d"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "d")
}
