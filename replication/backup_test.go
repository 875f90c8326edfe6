package replication_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// backup takes a snapshot of the node and returns the name and contents of its file.
func backup(t *testing.T, n *replication.Node, dir string) (name string, data []byte) {
	t.Helper()
	st, err := n.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name = "snapshot-" + st.Offset.String() + ".rdb"
	if data, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return name, data
}

// startFromBackup makes a file the only snapshot in dir.
func startFromBackup(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	for _, old := range snapshotsIn(t, dir) {
		if err := os.Remove(old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func removeLog(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
}

func has(n *replication.Node, key string) bool {
	_, ok := n.Keyspace().Get(key)
	return ok
}

// A node was a master and then a replica of another node. Then a backup of its time as a master is
// restored. Once, it requested a partial resync after the backup's offset under its upstream's id,
// and kept its own old data under that id.
func TestBackupOfAnotherHistoryOnReplica(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "mine", strings.Repeat("x", 2000)))
	name, data := backup(t, n, c.Dir)
	set := string(unit("SET", "theirs", strings.Repeat("y", 5000)))
	up := script(t, func(_ int, request string) string {
		if strings.HasPrefix(request, foreignID) {
			return "+CONTINUE\r\n"
		}
		return fullResync(5, set)
	})
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	end := replog.Offset(5 + len(set))
	eventually(t, "the node follows", func() bool { return n.Offset() == end })
	stop()

	// If the log is there, too, an operator must decide which of the two to remove.
	startFromBackup(t, c.Dir, name, data)
	for range 2 {
		_, err := replication.Open(c)
		if err == nil || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), foreignID) ||
			!strings.Contains(err.Error(), "remove") {
			t.Fatalf("with a log of other bytes: %v", err)
		}
	}
	removeLog(t, c.Dir)
	n, _ = start(t, c)
	eventually(t, "the node follows again", func() bool { return n.Offset() == end })
	if sent := up.psyncs(); len(sent) != 2 || strings.HasPrefix(sent[1], foreignID) {
		t.Errorf("the node requests %q", sent)
	}
	if has(n, "mine") || !has(n, "theirs") || n.Status().ID != foreignID {
		t.Errorf("mine: %v, theirs: %v, under %s", has(n, "mine"), has(n, "theirs"), n.Status().ID)
	}
}

// A backup of another node is restored on a master. The data of its replicas under its id have
// nothing in common with that backup.
func TestBackupOfAnotherNodeOnMaster(t *testing.T) {
	cb := config(t)
	b, _ := complete(t, cb)
	apply(t, b, unit("SET", "theirs", strings.Repeat("y", 100)))
	name, data := backup(t, b, cb.Dir)
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "mine", strings.Repeat("x", 3000)))
	was := n.Status().ID
	stop()
	removeLog(t, c.Dir)
	startFromBackup(t, c.Dir, name, data)
	n, stop = start(t, c)
	st := n.Status()
	if !has(n, "theirs") || has(n, "mine") || st.Complete || st.ID == was ||
		st.PreviousID != b.Status().ID ||
		st.PreviousTo != st.Offset {
		t.Errorf("the id was %s; now %+v", was, st)
	}
	n.SetComplete(true)
	r := dialRaw(t, n.Addr())
	if got := requestSync(r, was, st.Offset.String()); got[0] != "+FULLRESYNC" {
		t.Errorf("a replica of the old data gets %q", got)
	}
	at := apply(t, n, unit("SET", "k", "v"))
	stop()
	n, _ = start(t, c)
	if again := n.Status(); again.ID != st.ID || again.Offset < at || !again.Complete {
		t.Errorf("the next start changed the state: %+v", again)
	}
}

// A node starts from a directory that holds only an RDB file of any origin, and the next start
// continues with it.
func TestBackupInNewDirectory(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "k", "v"))
	own, data := backup(t, n, c.Dir)
	id := n.Status().ID
	stop()
	empty := []byte(emptySnapshot)
	for name, file := range map[string][]byte{
		own:                 data,
		"snapshot-1000.rdb": empty,
		"snapshot-0.rdb":    empty,
	} {
		c := config(t)
		startFromBackup(t, c.Dir, name, file)
		n, stop := complete(t, c)
		first := n.Status()
		if want := name == own; has(n, "k") != want || (first.PreviousID == id) != want {
			t.Errorf("%s: got %+v", name, first)
		}
		stop()
		n, stop = start(t, c)
		if again := n.Status(); again.ID != first.ID || !again.Complete {
			t.Errorf("%s: restarted without a write: before %+v, after %+v", name, first, again)
		}
		apply(t, n, unit("SET", "k2", "v"))
		stop()
		n, stop = start(t, c)
		if again := n.Status(); again.ID != first.ID || !has(n, "k2") {
			t.Errorf("%s: restarted after a write: before %+v, after %+v", name, first, again)
		}
		stop()
	}
}
