package replication_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/internal/memfs"
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

func (failingWriter) Write([]byte) (int, error) { return 0, errFailingWriter }

// A fault of the disk ends the node by Run's error, which its owner logs. The node logged
// the same again.
func TestFaultOfTheDiskIsReturned(t *testing.T) {
	dir := t.TempDir()
	volume := memfs.New()
	c := diskConfig(dir, volume)
	var log logText
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
		t.Errorf("it is logged %d times, too: %s", got, log.buf.String())
	}
}
