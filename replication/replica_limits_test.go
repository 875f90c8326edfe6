package replication_test

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// limited is start for a complete node of little log that looks at its replicas often, and its log.
func limited(t *testing.T, change func(c *replication.Config)) (*replication.Node, *logText) {
	t.Helper()
	c, text := config(t), &logText{}
	c.Log = replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20, Keep: 1 << 20}
	c.PingPeriod, c.Logger = 20*time.Millisecond, zerolog.New(text)
	change(&c)
	n, _ := complete(t, c)
	fill(t, n, "a", 50)
	return n, text
}

// loading has somebody take a snapshot whole and then say, without an acknowledgement, that it is
// there. stop ends that.
func loading(t *testing.T, n *replication.Node) (r *raw, from replog.Offset, stop func()) {
	t.Helper()
	r = dialRaw(t, n.Addr())
	f := ask(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	payload(r)
	from, err := replog.ParseOffset(f[2])
	if err != nil {
		t.Fatal(err)
	}
	return r, from, every(20*time.Millisecond,
		func() { r.Write([]byte("\n")) }) //nolint:errcheck // the test sees the end
}

// letsGo waits until the log that a replica needed is dropped.
func letsGo(t *testing.T, n *replication.Node, from replog.Offset) {
	t.Helper()
	big(t, n, 3)
	eventually(t, "the log is dropped", func() bool {
		if _, err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		return n.Status().LogStart > from
	})
}

// Somebody read a snapshot, said every second that it was there and never acknowledged: it kept the
// log for ever. The time for that is limited by the snapshot's size; what is sent to others does
// not depend on it.
func TestLoadTimeIsLimited(t *testing.T) {
	n, text := limited(t, func(c *replication.Config) {
		c.FullSyncMinRate, c.FullSyncSlack = 1<<40, 300*time.Millisecond
	})
	_, from, stop := loading(t, n)
	defer stop()
	eventually(t, "it is disconnected", func() bool { return len(n.Status().Replicas) == 0 })
	if !text.has("it did not acknowledge a snapshot of") {
		t.Errorf("the reason is not logged: %s", text.buf.String())
	}
	letsGo(t, n,
		from) // not after repl-timeout alone, which is for replicas that left by themselves
}

// The log that stays for a full resync is limited, too, whether the replica loads or is gone and
// may come back.
func TestLogOfAFullSyncIsLimited(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone %v", gone), func(t *testing.T) {
			n, text := limited(t, func(c *replication.Config) { c.FullSyncLog = 2 << 20 })
			r, from, stop := loading(t, n)
			defer stop()
			eventually(t, "it loads", func() bool {
				st := n.Status().Replicas
				return len(st) == 1 && st[0].State == replication.ReplicaLoading
			})
			if gone {
				r.Close()
				eventually(t, "it is gone", func() bool { return len(n.Status().Replicas) == 0 })
			}
			big(t, n, 1)
			if text.has("its full resync needs") {
				t.Fatal("it is disconnected too early")
			}
			letsGo(t, n, from)
			eventually(t, "it is disconnected",
				func() bool { return len(n.Status().Replicas) == 0 })
			if !text.has("its full resync needs") {
				t.Errorf("the reason is not logged: %s", text.buf.String())
			}
		})
	}
}

// slowly reads what comes in small pieces with a pause after each.
func slowly(r *raw) error {
	b := make([]byte, 64<<10)
	for {
		if _, err := r.Read(b); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Sixteen readers of 17 kB/s held all places of full resyncs for hours: each took its next piece
// within the time-out. A reader must keep to a rate on average, and the next one has its place
// then.
func TestSlowReadersDoNotKeepTheirPlaces(t *testing.T) {
	n, text := limited(t, func(c *replication.Config) {
		c.MaxFullSyncs, c.FullSyncMinRate, c.FullSyncSlack = 1, 1<<40, 300*time.Millisecond
	})
	big(t, n, 32)
	if _, err := n.Snapshot(t.Context()); err != nil { // more than sockets hold
		t.Fatal(err)
	}
	slow := dialRaw(t, n.Addr())
	ask(slow, "?", "-1", "rdb-listpack")
	done := make(chan error, 1)
	go func() { done <- slowly(slow) }()
	cl := client(t, n.Addr())
	eventually(t, "its link is ended", func() bool { return text.has("it takes less than") })
	if err := <-done; err == nil {
		t.Error("it goes on")
	}
	// A faster one has its place, and passes by the defaults.
	if err := cl.ConfigSet(t.Context(), "full-sync-min-rate", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ConfigSet(t.Context(), "full-sync-slack", "300").Err(); err != nil {
		t.Fatal(err)
	}
	next := dialRaw(t, n.Addr())
	ask(next, "?", "-1", "rdb-listpack")
	head := next.reply()
	var size int64
	if _, err := fmt.Sscanf(head, "$%d", &size); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	if _, err := io.CopyN(io.Discard, next.r, size); err != nil {
		t.Fatal(err)
	}
}

// A snapshot lets the log go that fills the disk. Keys that ran out must not keep it from being
// taken, for want of room for their DEL.
func TestSnapshotOnAFullDiskWithExpiredKeys(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1_700_000_000_000)
	c, d := config(t), newVolume()
	c.Now, c.Log.FS = clock.Load, d
	c.Log.Reserve, c.Log.SegmentSize = 4<<10, 64<<10
	n, _ := complete(t, c)
	for i := range 100 {
		key := fmt.Sprintf("%d:%s", i, strings.Repeat("k", 1000))
		apply(t, n, atomically(unit("SET", key, "v"), unit("PEXPIREAT", key, "1700000001000")))
	}
	d.full.Store(true)
	clock.Add(2000)
	if st, err := n.Snapshot(t.Context()); err != nil || st.Offset == 0 {
		t.Errorf("it is %+v, %v", st, err)
	}
	d.full.Store(false)
	eventually(t, "they are deleted", func() bool { return n.Keyspace().Len() == 0 })
}
