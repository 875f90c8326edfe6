package replication_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// Status read the replication id under a lock and the offsets after it: during a full resync
// it could give the old id with the new offset, and a log that begins after its end.
func TestStatusIsOfOneMoment(t *testing.T) {
	dir := t.TempDir()
	volume := memfs.New()
	c := diskConfig(dir, volume)
	c.ReplicaOf = nowhere
	n := restarted(t, c, volume)
	defer n.stop()
	offsets := map[string]replog.Offset{unknownID: 5_000_000, foreignID: 100}
	take := func(id string) {
		keys := keyspace.New(keyspace.Options{})
		if err := n.TakeResync(t.Context(), keys, identity.ID(id), offsets[id]); err != nil {
			t.Error(err)
		}
	}
	take(foreignID)
	done := make(chan struct{})
	var resyncs sync.WaitGroup
	resyncs.Go(func() {
		defer close(done)
		for range 100 {
			take(unknownID)
			take(foreignID)
		}
	})
	defer resyncs.Wait()
	over := func() bool {
		select {
		case <-done:
			return true
		default:
			return t.Failed()
		}
	}
	for range 3 {
		resyncs.Go(func() {
			for !over() {
				if st := n.Status(); st.Offset != offsets[st.ID] || st.LogStart > st.Offset {
					t.Errorf("id %s goes with offset %d, and its log begins at %d", st.ID,
						st.Offset, st.LogStart)
				}
			}
		})
	}
	for !over() {
		info, err := n.ask("INFO")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"repl_backlog_histlen", "rdb_changes_since_last_save"} {
			_, rest, _ := strings.Cut(info, "\r\n"+name+":")
			value, _, _ := strings.Cut(rest, "\r\n")
			if v, err := strconv.ParseInt(value, 10, 64); err != nil || v < 0 {
				t.Fatalf("%s is %q", name, value)
			}
		}
	}
}

// Keys is what DBSIZE counts, as other programs see it; hidden keys are counted beside them.
func TestStatusCountsHiddenKeys(t *testing.T) {
	c := config(t)
	c.HiddenPrefix = "hidden:"
	n, _ := start(t, c)
	apply(t, n, unit("SET", "hidden:a", "1"), unit("SET", "hidden:b", "1"), unit("SET", "c", "1"))
	size := client(t, n.Addr()).DBSize(t.Context()).Val()
	if st := n.Status(); st.Keys != 1 || st.HiddenKeys != 2 || size != 1 {
		t.Errorf("%d keys and %d hidden ones, DBSIZE %d", st.Keys, st.HiddenKeys, size)
	}
}

// INFO stopped all goroutines to read the size of the heap. A monitor asks every second.
func TestInfoStopsNobody(t *testing.T) {
	n, _ := start(t, config(t))
	cl := client(t, n.Addr())
	stops := func() (count uint64) {
		s := []metrics.Sample{{Name: "/sched/pauses/stopping/other:seconds"}}
		metrics.Read(s)
		for _, c := range s[0].Value.Float64Histogram().Counts {
			count += c
		}
		return count
	}
	info := func() string { return cl.Info(t.Context(), "memory").Val() }
	for _, name := range []string{"used_memory", "used_memory_rss"} {
		_, rest, _ := strings.Cut(info(), name+":")
		value, _, _ := strings.Cut(rest, "\r\n")
		if v, err := strconv.ParseInt(value, 10, 64); err != nil || v < 1<<16 ||
			v > math.MaxInt64/2 {
			t.Errorf("%s is %q", name, value)
		}
	}
	before := stops()
	for range 100 {
		info()
	}
	if more := stops() - before; more >= 100 {
		t.Errorf("100 INFOs stopped all goroutines %d times", more)
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// A snapshot that fails is told once in the log, and to who asked for it, whether it was
// asked for or is the one at the stop.
func TestFailedSnapshotIsLoggedOnce(t *testing.T) {
	c := config(t)
	var log lockedBuffer
	c.Logger = zerolog.New(&log)
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	n.SnapshotsThrough(func(io.Writer) io.Writer { return failingWriter{} })
	stop := run(t, n)
	apply(t, n, unit("SET", "k", "v"))
	if _, err := n.Snapshot(t.Context()); !errors.Is(err, errFailingWriter) {
		t.Errorf("got %v", err)
	}
	eventually(t, "it is logged", func() bool { return log.count(errFailingWriter.Error()) > 0 })
	if got := log.count(errFailingWriter.Error()); got != 1 {
		t.Errorf("it is logged %d times: %s", got, log.b.String())
	}
	n.SnapshotEvery(1)
	stop()
	if got := log.count(errFailingWriter.Error()); got != 2 {
		t.Errorf("after the stop it is logged %d times: %s", got, log.b.String())
	}
}

var errFailingWriter = errors.New("the writer fails")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFailingWriter }

// A fault of the disk ends the node by Run's error, which its owner logs. The node logged
// the same again.
func TestFaultOfTheDiskIsReturned(t *testing.T) {
	dir := t.TempDir()
	volume := memfs.New()
	c := diskConfig(dir, volume)
	var log lockedBuffer
	c.Logger = zerolog.New(&log)
	n, err := startOn(c)
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, 1)
	volume.FailAt(1, syscall.EIO)
	_, term := n.Role()
	if _, err := n.Apply(t.Context(), term, unit("SET", "k", "v")); !errors.Is(err, syscall.EIO) {
		t.Errorf("Apply gives %v", err)
	}
	if err := <-n.done; !errors.Is(err, syscall.EIO) ||
		!strings.Contains(err.Error(), "stops at offset") {
		t.Errorf("Run gives %v", err)
	}
	if got := log.count(syscall.EIO.Error()); got != 0 {
		t.Errorf("it is logged %d times, too: %s", got, log.b.String())
	}
}
