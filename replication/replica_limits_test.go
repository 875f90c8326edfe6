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

// startLimited starts a complete node with a short log and frequent checks of its replicas. It
// returns the node's log text, too.
func startLimited(t *testing.T, change func(c *replication.Config)) (*replication.Node, *logText) {
	t.Helper()
	c, text := config(t), &logText{}
	c.Log = replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20, Keep: 1 << 20}
	c.PingPeriod, c.Logger = 20*time.Millisecond, zerolog.New(text)
	change(&c)
	n, _ := complete(t, c)
	fill(t, n, "a", 50)
	return n, text
}

// startLoading attaches a fake replica that reads its snapshot and then sends empty lines, but no
// acknowledgement, until stop is called.
func startLoading(t *testing.T, n *replication.Node) (r *rawConn, from replog.Offset, stop func()) {
	t.Helper()
	r = dialRaw(t, n.Addr())
	f := requestSync(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	payload(r)
	from, err := replog.ParseOffset(f[2])
	if err != nil {
		t.Fatal(err)
	}
	return r, from, every(20*time.Millisecond,
		func() { r.Write([]byte("\n")) }) //nolint:errcheck // the connection may be closed
}

// waitLogRemoved waits until the log from the offset that a replica needed is removed.
func waitLogRemoved(t *testing.T, n *replication.Node, from replog.Offset) {
	t.Helper()
	big(t, n, 3)
	eventually(t, "the log is removed", func() bool {
		if _, err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		return n.Status().LogStart > from
	})
}

// The time for loading is limited by the snapshot's size. The limit ignores the bytes that other
// replicas get. Once, a client that read a snapshot, sent an empty line each second and never
// acknowledged kept the log without end.
func TestLoadTimeIsLimited(t *testing.T) {
	n, text := startLimited(t, func(c *replication.Config) {
		c.FullSyncMinRate, c.FullSyncSlack = 1<<40, 300*time.Millisecond
	})
	_, from, stop := startLoading(t, n)
	defer stop()
	eventually(t, "the replica is disconnected",
		func() bool { return len(n.Status().Replicas) == 0 })
	if !text.has("it did not acknowledge a snapshot of") {
		t.Errorf("the reason is not logged: %s", text.buf.String())
	}
	waitLogRemoved(t, n,
		from) // at once: the wait of repl-timeout is for replicas that left by themselves
}

// The log that is kept for a full resync is limited, too, both while the replica loads and when it
// has left and may return.
func TestLogOfAFullSyncIsLimited(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone %v", gone), func(t *testing.T) {
			n, text := startLimited(t, func(c *replication.Config) { c.FullSyncLog = 2 << 20 })
			r, from, stop := startLoading(t, n)
			defer stop()
			eventually(t, "the replica loads", func() bool {
				st := n.Status().Replicas
				return len(st) == 1 && st[0].State == replication.ReplicaLoading
			})
			if gone {
				r.Close()
				eventually(t, "the replica has left",
					func() bool { return len(n.Status().Replicas) == 0 })
			}
			big(t, n, 1)
			if text.has("its full resync needs") {
				t.Fatal("the replica is disconnected too early")
			}
			waitLogRemoved(t, n, from)
			eventually(t, "the replica is disconnected",
				func() bool { return len(n.Status().Replicas) == 0 })
			if !text.has("its full resync needs") {
				t.Errorf("the reason is not logged: %s", text.buf.String())
			}
		})
	}
}

// readSlowly reads 64 KiB at a time with a pause after each.
func readSlowly(r *rawConn) error {
	b := make([]byte, 64<<10)
	for {
		if _, err := r.Read(b); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A reader must reach a minimum rate on average, else the next reader gets its slot. Once, sixteen
// readers of 17 kB/s held all slots of full resyncs for hours, because each took its next bytes
// within the time-out.
func TestSlowReadersLoseTheirSlots(t *testing.T) {
	n, text := startLimited(t, func(c *replication.Config) {
		c.MaxFullSyncs, c.FullSyncMinRate, c.FullSyncSlack = 1, 1<<40, 300*time.Millisecond
	})
	big(t, n, 32)
	if _, err := n.Snapshot(t.Context()); err != nil { // the data are more than sockets hold
		t.Fatal(err)
	}
	slow := dialRaw(t, n.Addr())
	requestSync(slow, "?", "-1", "rdb-listpack")
	done := make(chan error, 1)
	go func() { done <- readSlowly(slow) }()
	cl := client(t, n.Addr())
	eventually(t, "the slow reader is disconnected",
		func() bool { return text.has("it takes less than") })
	if err := <-done; err == nil {
		t.Error("the slow reader is still connected")
	}
	// A faster reader gets the slot and succeeds with the default limits.
	if err := cl.ConfigSet(t.Context(), "full-sync-min-rate", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ConfigSet(t.Context(), "full-sync-slack", "300").Err(); err != nil {
		t.Fatal(err)
	}
	next := dialRaw(t, n.Addr())
	requestSync(next, "?", "-1", "rdb-listpack")
	head := next.reply()
	var size int64
	if _, err := fmt.Sscanf(head, "$%d", &size); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	if _, err := io.CopyN(io.Discard, next.r, size); err != nil {
		t.Fatal(err)
	}
}

// After a snapshot the log that fills the disk can be removed. Expired keys must not prevent the
// snapshot for lack of room for their DEL.
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
		t.Errorf("Snapshot returns %+v, %v", st, err)
	}
	d.full.Store(false)
	eventually(t, "the expired keys are deleted", func() bool { return n.Keyspace().Len() == 0 })
}
