package replication_test

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication/replog"
)

// Damage in the log on disk causes one full resync, from a new snapshot, for each replica that
// needs the damaged part. Once, it caused an endless loop.
func TestDamagedLogGivesAFullResync(t *testing.T) {
	c := config(t)
	c.Log = replog.Config{Memory: 64 << 10, SegmentSize: 64 << 10}
	n, _ := complete(t, c)
	fill(t, n, "a", 1000)
	first, _, err := segments(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(first, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 20<<10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	id := n.Status().ID
	r := dialRaw(t, n.Addr())
	if got := requestSync(r, id, "1", "psync2"); got[0] != "+CONTINUE" {
		t.Fatalf("got %q", got)
	}
	sent, err := io.ReadAll(r.r)
	if err != nil || len(sent) > 20<<10 {
		t.Errorf("%d bytes were sent before the damage, and %v", len(sent), err)
	}
	r = dialRaw(t, n.Addr())
	again := strconv.Itoa(len(sent) + 1)
	answer := requestSync(r, id, again, "psync2")
	if answer[0] != "+FULLRESYNC" {
		t.Fatalf("the second reply is %q", answer)
	}
	file, _ := payload(r)
	if got := count(t, file); got != n.Keyspace().Len() {
		t.Errorf("got %d keys, want %d", got, n.Keyspace().Len())
	}
	u := unit("SET", "k", "v")
	apply(t, n, u)
	r.expect(string(unit("SELECT", "0")) + string(u))
	// A partial resync after the damage still succeeds.
	r = dialRaw(t, n.Addr())
	if got := requestSync(r, id, n.Offset().String(), "psync2"); got[0] != "+CONTINUE" {
		t.Errorf("got %q", got)
	}
}

// segments returns the first and the last segment file of a node's log.
func segments(dir string) (first, last string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	if err != nil || len(files) == 0 {
		return "", "", err
	}
	return files[0], files[len(files)-1], nil
}

// A node without data does not replace the data of replicas of another history, even if its owner
// marks its data as complete. It shows what the operator must do.
func TestLostDirectoryWipesNoReplica(t *testing.T) {
	n, _ := start(t, config(t))
	for _, done := range []bool{false, true} {
		n.SetComplete(done)
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "listening-port", "7777")
		if got := r.do("PSYNC", unknownID, "5001"); !strings.HasPrefix(got, "-NOMASTERLINK ") {
			t.Errorf("complete %v: got %q", done, got)
		}
		if got := n.Status().Advice; !strings.Contains(got, "127.0.0.1:7777 holds 5000 bytes") ||
			!strings.Contains(got, "REPLICAOF 127.0.0.1 7777") {
			t.Errorf("the advice is %q", got)
		}
		if got := client(t, n.Addr()).Info(t.Context(), "replication").Val(); !strings.Contains(got,
			"rowfall_advice:replica 127.0.0.1:7777") {
			t.Errorf("INFO shows %q", got)
		}
	}
	// When the node has data that its owner marked as complete, they replace the replica's.
	fill(t, n, "a", 1)
	n.SetComplete(true)
	r := dialRaw(t, n.Addr())
	got := requestSync(r, unknownID, "5001")
	if got[0] != "+FULLRESYNC" || n.Status().Advice != "" {
		t.Errorf("got %q; the advice is %q", got, n.Status().Advice)
	}
}

// A partial resync may start at each byte around the boundaries of segments, also inside a MULTI,
// and sends the same bytes.
func TestPartialResyncAroundSegments(t *testing.T) {
	c := config(t)
	c.Log = replog.Config{Memory: 1, SegmentSize: 1 << 10}
	n, _ := complete(t, c)
	want := string(unit("SELECT", "0"))
	for i := range 60 {
		u := atomically(unit("SET", "k", strconv.Itoa(i)),
			unit("HSET", "h", "f", strings.Repeat("x", i)))
		want += string(u)
		apply(t, n, u)
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "log", "*.seg"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d segments, %v", len(files), err)
	}
	id := n.Status().ID
	at := func(o int) {
		r := dialRaw(t, n.Addr())
		defer r.Close()
		if got := requestSync(r, id, strconv.Itoa(o+1), "psync2"); got[0] != "+CONTINUE" {
			t.Fatalf("after %d bytes: %q", o, got)
		}
		r.expect(want[o:])
	}
	for _, f := range files {
		_, text, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".seg"), "-")
		start, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		reach := 3
		if long {
			reach = 200
		}
		for o := max(start-reach, 0); o <= min(start+reach, len(want)); o++ {
			at(o)
		}
	}
}
