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

// Status returns the id and the offsets of one moment. Once, it read the offsets after it had
// released the lock of the id: during a full resync the old id came with the new offset, or the log
// started after its end.
func TestStatusIsConsistent(t *testing.T) {
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
					t.Errorf("id %s has offset %d, and the log starts at %d", st.ID,
						st.Offset, st.LogStart)
				}
			}
		})
	}
	for !over() {
		info, err := n.do("INFO")
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

// Status.Keys is the count of DBSIZE, as in other servers. Hidden keys are counted separately.
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

// A disk fault ends the node, and Run returns it for its caller to log. Once, the node logged it,
// too.
func TestDiskFaultIsReturned(t *testing.T) {
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
		t.Errorf("Apply returns %v", err)
	}
	if err := <-n.done; !errors.Is(err, syscall.EIO) ||
		!strings.Contains(err.Error(), "stops at offset") {
		t.Errorf("Run returns %v", err)
	}
	if got := log.count(syscall.EIO.Error()); got != 0 {
		t.Errorf("the node logged the fault %d times: %s", got, log.buf.String())
	}
}
