package replication_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"rowfall/replication"
)

// unreadableSnapshots change or remove the snapshot of a directory whose log starts after offset 0.
// A nil result removes the file.
var unreadableSnapshots = map[string]func(b []byte) []byte{
	"a byte changed": func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 0x55; return b },
	"cut short":      func(b []byte) []byte { return b[:len(b)/2] },
	"empty":          func([]byte) []byte { return []byte{} },
	"no RDB file":    func([]byte) []byte { return []byte(strings.Repeat("nonsense", 100)) },
	"removed":        func([]byte) []byte { return nil },
}

// A replica with an unreadable snapshot starts without data and serves none. It keeps its directory
// until it has the upstream's data. Once, it did not start, although its upstream had all data.
func TestReplicaWithUnreadableSnapshot(t *testing.T) {
	for name, corrupt := range unreadableSnapshots {
		t.Run(name, func(t *testing.T) {
			a, _ := complete(t, config(t))
			fill(t, a, "a", 50)
			c := config(t)
			c.ReplicaOf = a.Addr()
			n, stop := start(t, c)
			online(t, n)
			equal(t, a.Addr(), n.Addr())
			apply(t, a, unit("SET", "later", "1"))
			eventually(t, "the node follows", func() bool { return n.Offset() == a.Offset() })
			// The directory keeps this upstream.
			if err := n.ReplicaOf(t.Context(), nowhere); err != nil {
				t.Fatal(err)
			}
			before := n.Status()
			stop()
			file := snapshotsIn(t, c.Dir)[0]
			intact, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			put := func(b []byte) {
				t.Helper()
				var err error
				if b == nil {
					err = os.Remove(file)
				} else {
					err = os.WriteFile(file, b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			put(corrupt(intact))
			for range 2 { // the first start changes nothing
				n, stop = start(t, c)
				r := dialRaw(t, n.Addr())
				for _, step := range [][2]string{
					{"GET later", "-LOADING "},
					{"PSYNC ? -1", "-LOADING "},
					{"PSYNC " + before.ID + " " + before.Offset.String(), "-LOADING "},
					{"REPLICAOF NO ONE", "-ERR "},
					{"SAVE", "-LOADING "},
				} {
					if got := r.do(strings.Fields(step[0])...); !strings.HasPrefix(got, step[1]) {
						t.Errorf("%s gets %q", step[0], got)
					}
				}
				if st := n.Status(); st.Complete || !strings.Contains(st.Advice, c.Dir) ||
					!strings.Contains(st.Advice, "full resync") {
					t.Errorf("complete %v, advice %q", st.Complete, st.Advice)
				}
				stop()
			}
			// The directory is unchanged: with its snapshot the node has its data again.
			put(intact)
			n, stop = start(t, c)
			if st := n.Status(); !has(n, "later") || st.ID != before.ID ||
				st.Offset != before.Offset ||
				!st.Complete ||
				st.Advice != "" {
				t.Errorf("with its snapshot again: before %+v, after %+v", before, st)
			}
			stop()
			put(corrupt(intact))
			n, stop = start(t, c)
			if err := n.ReplicaOf(t.Context(), a.Addr()); err != nil {
				t.Fatal(err)
			}
			below, _ := follow(t, n.Addr())
			online(t, n)
			online(t, below)
			equal(t, a.Addr(), n.Addr())
			equal(t, a.Addr(), below.Addr())
			if st := n.Status(); !st.Complete || st.Advice != "" || a.Status().FullSyncs != 2 {
				t.Errorf("upstream %+v, replica %+v", a.Status(), st)
			}
			stop()
			n, _ = start(t, c)
			online(t, n)
			equal(t, a.Addr(), n.Addr())
			if got := a.Status().FullSyncs; got != 2 {
				t.Errorf("%d full resyncs after the next start", got)
			}
		})
	}
}

// Snapshot and log are damaged. The replica gets all data from its upstream.
func TestReplicaWithUnreadableSnapshotAndLog(t *testing.T) {
	a, _ := complete(t, config(t))
	c := config(t)
	c.ReplicaOf, c.Log.SegmentSize = a.Addr(), 32<<10
	n, stop := start(t, c)
	online(t, n)
	writeSegments(t, a)
	eventually(t, "the node follows", func() bool { return n.Offset() == a.Offset() })
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := n.Offset()
	writeSegments(t, a)
	eventually(t, "the node follows", func() bool { return n.Offset() == a.Offset() })
	stop()
	damage(t, c.Dir, from+(a.Offset()-from)/2)
	if err := os.WriteFile(snapshotsIn(t, c.Dir)[0], []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	online(t, n)
	apply(t, a, unit("SET", "end", "1"))
	equal(t, a.Addr(), n.Addr())
}

// A master has no upstream with the data. It does not start, names the file in its error, and
// changes nothing.
func TestMasterWithUnreadableSnapshot(t *testing.T) {
	for name, corrupt := range unreadableSnapshots {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			c.Log.SegmentSize, c.Log.Keep = 4<<10, 1
			n, stop := complete(t, c)
			fill(t, n, "a", 100)
			if _, err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the log does not reach back",
				func() bool { return n.Status().LogStart > 0 })
			stop()
			file := snapshotsIn(t, c.Dir)[0]
			intact, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b := corrupt(intact); b == nil {
				err = os.Remove(file)
			} else {
				err = os.WriteFile(file, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := replication.Open(c); err == nil ||
					!strings.Contains(err.Error(), c.Dir) ||
					!strings.Contains(err.Error(), "empty") {
					t.Fatalf("Open returns %v", err)
				}
			}
			if err := os.WriteFile(file, intact, 0o600); err != nil {
				t.Fatal(err)
			}
			n, _ = start(t, c)
			if !has(n, "string:a:5") || !n.Status().Complete {
				t.Errorf("with its snapshot again: %+v", n.Status())
			}
		})
	}
}
