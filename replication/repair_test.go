package replication_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// damage flips a bit in the middle of the log's segment that holds offset at, and returns its file
// name.
func damage(t *testing.T, dir string, at replog.Offset) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	slices.Sort(files)
	name := files[0]
	for _, f := range files {
		_, start, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".seg"), "-")
		digits := strings.TrimLeft(start[:len(start)-1], "0") + start[len(start)-1:]
		if o, _ := replog.ParseOffset(digits); o <= at {
			name = f
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x40
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// writeSegments fills a node until its log has several segments after its snapshot.
func writeSegments(t *testing.T, n *replication.Node) {
	t.Helper()
	put := func(from, to int) {
		for i := from; i < to; i++ {
			apply(
				t, n, atomically(unit("SET", "last", strconv.Itoa(i)),
					unit("SET", "pad", strings.Repeat("x", 500))),
			)
		}
	}
	put(0, 100)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(100, 400)
}

// last returns the number of the last unit of writeSegments.
func last(n *replication.Node) int {
	v, _ := n.Keyspace().Get("last")
	i, _ := strconv.Atoi(string(v))
	return i
}

// A master whose log is damaged after its snapshot continues with the undamaged part, under a new
// id. Its former id is valid up to the damage.
func TestDamagedLogOfMaster(t *testing.T) {
	c := config(t)
	c.Log.SegmentSize = 32 << 10
	n, stop := complete(t, c)
	writeSegments(t, n)
	before := n.Status()
	stop()
	damage(t, c.Dir, before.Snapshot.Offset+(before.Offset-before.Snapshot.Offset)/2)
	n, stop = complete(t, c)
	after := n.Status()
	if got := last(n); got < 99 || got >= 399 {
		t.Errorf("the last unit is %d", got)
	}
	if after.ID == before.ID || after.PreviousID != before.ID || after.PreviousTo != after.Offset ||
		after.Offset >= before.Offset {
		t.Errorf("before %+v, after %+v", before, after)
	}
	at := apply(t, n, unit("SET", "k", "v"))
	stop()
	n, _ = start(t, c)
	if n.Offset() != at || n.Status().ID != after.ID {
		t.Errorf("the next start changed the state: %+v", n.Status())
	}
}

// A replica gets the damaged part from its upstream by a partial resync, and so do the nodes below
// it.
func TestDamagedLogOfReplica(t *testing.T) {
	a, _ := complete(t, config(t))
	c := config(t)
	c.ReplicaOf, c.Log.SegmentSize = a.Addr(), 32<<10
	b, stop := start(t, c)
	online(t, b)
	writeSegments(t, a)
	if _, err := b.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := b.Offset()
	writeSegments(t, a)
	eventually(t, "the replica follows", func() bool { return b.Offset() == a.Offset() })
	below, _ := follow(t, b.Addr())
	online(t, below)
	c.Listen = b.Addr()
	stop()
	damage(t, c.Dir, from+(a.Offset()-from)/2)
	b, _ = start(t, c)
	online(t, b)
	apply(t, a, unit("SET", "end", "1"))
	equal(t, a.Addr(), b.Addr())
	equal(t, a.Addr(), below.Addr())
	if sa, sb := a.Status(), b.Status(); sa.FullSyncs != 1 || sb.FullSyncs != 0 || sb.ID != sa.ID {
		t.Errorf("upstream %+v, replica %+v", sa, sb)
	}
}

// Without a snapshot the node does not start, and the error names the file and the remedy.
func TestDamagedLogWithoutSnapshot(t *testing.T) {
	c := config(t)
	c.Log.SegmentSize = 32 << 10
	n, stop := complete(t, c)
	for i := range 300 {
		apply(t, n, unit("SET", strconv.Itoa(i), strings.Repeat("x", 500)))
	}
	stop()
	name := damage(t, c.Dir, 40<<10)
	for range 2 { // the first Open changes nothing
		if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), "promote") ||
			strings.Contains(err.Error(), "remove the log") { // which would lose its units
			t.Fatalf("got %v", err)
		}
	}
}
