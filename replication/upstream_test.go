package replication_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/internal/faultfs"
	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// Invalid data of the upstream stops the link until REPLICAOF requests a full resync. The link
// shows the error. Once, the node requested the same data ten times a second without end.
func TestInvalidStreamStopsTheLink(t *testing.T) {
	faults := []struct{ sent, want string }{
		{fullResync(1000, "PING\r\n"), "offset 1000: read upstream's stream: inline command"},
		{
			fullResync(1000, string(unit("PING"))+"\r\n"),
			"offset 1014: read upstream's stream: inline command or empty line",
		},
		{fullResync(1000, "*3000000000\r\n"), "Protocol error: invalid multibulk length"},
		{fullResync(1000, "*1\r\n$600000000\r\n"), "Protocol error: invalid bulk length"},
		{fullResync(1000, "*1\r\n:1\r\n"), "Protocol error: expected '$'"},
		{
			"+FULLRESYNC " + foreignID + " 1000\r\n:5\r\n",
			`read snapshot header: upstream sent ":5"`,
		},
		{fullResync(1000, ""), ""},
	}
	up := script(t, func(link int, _ string) string { return faults[link-1].sent })
	n, _ := follow(t, up.addr)
	for i, fault := range faults {
		if fault.want == "" {
			break
		}
		// The count is read first: the earlier link has stopped, too.
		eventually(t, "the link stops", func() bool {
			return up.count() == i+1 && n.Status().Upstream.State == replication.LinkStopped
		})
		if got := n.Status().Upstream.Err; !strings.Contains(got, fault.want) ||
			!strings.Contains(got, "REPLICAOF") {
			t.Errorf("%q: the error is %q", fault.sent, got)
		}
		got := field(client(t, n.Addr()), "replication", "rowfall_upstream_error")
		if !strings.Contains(got, fault.want) {
			t.Errorf("INFO shows %q", got)
		}
		if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
			t.Fatal(err)
		}
	}
	online(t, n)
	for i, request := range up.psyncs()[1:] {
		if request != "? -1" {
			t.Errorf("resync %d requests %s", i+2, request)
		}
	}
}

// A promotion cancels a full resync that REPLICAOF requested and that never came. Once, the node
// requested it from every later upstream, also from the replica to which it handed its role, which
// rejects that.
func TestPromotionCancelsRequestedFullResync(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		if link == 1 {
			return fullResync(1000, "PING\r\n")
		}
		return hangUp
	})
	n, _ := follow(t, up.addr)
	eventually(t, "the link stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node sends PSYNC", func() bool { return len(up.psyncs()) > 1 })
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := n.Drop(t.Context(), 0); !errors.Is(err,
		replication.ErrDemoted) { // perhaps of the resync that was running
		t.Errorf("a master drops its data: %v", err)
	}
	next := script(t, func(int, string) string { return hangUp })
	want := fmt.Sprintf("%s %d", n.Status().ID, n.Offset()+1)
	if err := n.ReplicaOf(t.Context(), next.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node sends PSYNC", func() bool { return len(next.psyncs()) > 0 })
	if got := next.psyncs()[0]; got != want {
		t.Errorf("the node requests %q, want %q", got, want)
	}
}

// The offsets of an upstream that is years old fit neither 32 bits nor the 53 bits of a float. A
// replica of the node gets the same offsets, by a full and by a partial resync, and so does the
// node itself after a restart.
func TestLargeOffsets(t *testing.T) {
	set := string(unit("SET", "k", "v"))
	for _, at := range []int64{1<<31 - 5, 1<<53 + 1, int64(replog.MaxBegin)} {
		end := at + int64(len(set))
		next := fmt.Sprintf("%s %d", foreignID, end+1)
		up := script(t, func(_ int, request string) string {
			if request == next {
				return "+CONTINUE\r\n"
			}
			return fullResync(at, set)
		})
		c := config(t)
		c.ReplicaOf = up.addr
		n, stop := start(t, c)
		eventually(t, "the node follows", func() bool { return n.Offset() == replog.Offset(end) })
		below, _ := follow(t, n.Addr())
		equal(t, n.Addr(), below.Addr())
		online(t, below)
		if st := below.Status(); below.Offset() != n.Offset() || st.ID != foreignID {
			t.Errorf("the replica is at %s under %s", below.Offset(), st.ID)
		}
		got := field(client(t, n.Addr()), "replication", "master_repl_offset")
		if want := fmt.Sprint(end); got != want {
			t.Errorf("INFO shows %s, want %s", got, want)
		}
		r := dialRaw(t, n.Addr())
		psync(r, foreignID, fmt.Sprint(at+1))
		r.expect(set)
		r.send("REPLCONF", "ACK", fmt.Sprint(end))
		eventually(t, "the acknowledgement is counted", func() bool {
			return slices.ContainsFunc(n.Status().Replicas, func(r replication.ReplicaStatus) bool {
				return strings.HasSuffix(r.Addr, ":7777") && r.Acked == replog.Offset(end)
			})
		})
		if st := n.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
			t.Errorf("%d full and %d partial resyncs", st.FullSyncs, st.PartialSyncs)
		}
		stop()
		start(t, c)
		eventually(t, "the node requests a partial resync",
			func() bool { return slices.Contains(up.psyncs(), next) })
	}
}

// An offset of the upstream that no log can have is rejected before the old data are dropped. Once,
// the data were gone first, the node ended, and so did each later start.
func TestUpstreamOffsetIsValidated(t *testing.T) {
	c := config(t)
	c.DropBeforeResync = true
	n, stop := complete(t, c)
	at := apply(t, n, unit("SET", "k", "v"))
	for _, offset := range []int64{int64(replog.MaxBegin) + 1, 1<<63 - 1} {
		up := script(t, func(int, string) string { return fullResync(offset, "") })
		if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the link stops with the offset in its error", func() bool {
			st := n.Status().Upstream
			return st.State == replication.LinkStopped &&
				strings.Contains(st.Err, fmt.Sprint(offset))
		})
		if n.Offset() != at || !has(n, "k") {
			t.Errorf("the node is at %s after %s; the data are there: %v",
				n.Offset(), at, has(n, "k"))
		}
	}
	stop()
	n, _ = start(t, c)
	if n.Offset() != at || !has(n, "k") {
		t.Errorf("after a restart the node is at %s; the data are there: %v",
			n.Offset(), has(n, "k"))
	}
	// The offset in a file name is validated, too.
	c = config(t)
	startFromBackup(t, c.Dir, "snapshot-"+(replog.MaxBegin+1).String()+".rdb",
		[]byte(emptySnapshot))
	if _, err := replication.Open(c); err == nil ||
		!strings.Contains(err.Error(), replog.MaxBegin.String()) {
		t.Errorf("got %v", err)
	}
}

// The node leaves an upstream that is silent, in the handshake or in the stream, after the
// time-out, and reconnects with a partial resync.
func TestSilentUpstream(t *testing.T) {
	set := string(unit("SET", "k", "v"))
	at := fmt.Sprintf("%s %d", foreignID, 1001+len(set))
	up := script(t, func(link int, request string) string {
		switch {
		case link == 1:
			return mute
		case request == at:
			return "+CONTINUE\r\n"
		}
		return fullResync(1000, set)
	})
	c := config(t)
	c.ReplicaOf, c.Timeout = up.addr, 500*time.Millisecond
	n, _ := start(t, c)
	eventually(t, "the node requests a partial resync",
		func() bool { return slices.Contains(up.psyncs(), at) })
	eventually(t, "the error is a time-out",
		func() bool { return strings.Contains(n.Status().Upstream.Err, "i/o timeout") })
	if v, _ := n.Keyspace().Get("k"); string(v) != "v" {
		t.Errorf("k is %q", v)
	}
}

// A node acknowledges also its durable offset, as a server with an append-only file does. Once, it
// did not, and WAITAOF on its master never counted it.
func TestReplicaAcknowledgesDurableOffset(t *testing.T) {
	up := script(t,
		func(int, string) string { return fullResync(1000, string(unit("SET", "k", "v"))) })
	c := config(t)
	c.ReplicaOf, c.Log.Fsync = up.addr, replog.Always
	start(t, c)
	eventually(t, "all is on disk",
		func() bool { return slices.Contains(up.acks(), "1027 FACK 1027") })
	a, _ := complete(t, config(t))
	c = config(t)
	c.ReplicaOf, c.Log.Fsync = a.Addr(), replog.Always
	start(t, c)
	eventually(t, "the node follows", func() bool { return len(a.Status().Replicas) == 1 })
	apply(t, a, unit("SET", "k", "v"))
	counts := client(t, a.Addr()).Do(t.Context(), "WAITAOF", 0, 1, waitTimeout.Milliseconds())
	if got, err := counts.Int64Slice(); err != nil || got[1] != 1 {
		t.Errorf("WAITAOF counts %v, %v", got, err)
	}
}

// The upstream's address is validated before it is stored. Once, a newline in an address went into
// the identity file, and no restart could read that. A directory kept a wrong flag, so that a
// corrected flag had no effect.
func TestUpstreamAddressIsChecked(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	host, port, _ := net.SplitHostPort(n.Addr())
	r := dialRaw(t, n.Addr())
	for _, args := range [][]string{
		{"REPLICAOF", "a\nterm 5", "6379"},
		{"REPLICAOF", "a b", "6379"},
		{"REPLICAOF", "", "6379"},
		{"REPLICAOF", host, "70000"},
		{"REPLICAOF", host, port},
		{"REPLICAOF", "localhost", port},
		{"REPLCONF", "ip-address", "a\nb"},
	} {
		if got := r.do(args...); !strings.HasPrefix(got, "-ERR") {
			t.Errorf("%q gets %q", args, got)
		}
	}
	stop()
	start(t, c)
	c = config(t)
	for _, addr := range []string{"localhost", "a b:6379", ":6379", "a:0", "a:\n"} {
		c.ReplicaOf = addr
		if _, err := replication.Open(c); err == nil ||
			!strings.Contains(err.Error(), "want host:port") {
			t.Errorf("%q: %v", addr, err)
		}
	}
	c.Listen, c.ReplicaOf = "0.0.0.0:16379", "127.0.0.1:16379"
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), "itself") {
		t.Errorf("a node may follow itself: %v", err)
	}
	if files, err := os.ReadDir(c.Dir); err != nil || len(files) > 0 {
		t.Errorf("the directory keeps %v, %v", files, err)
	}
	// A log line reports that the directory's upstream differs from the configured one.
	c = config(t)
	var log strings.Builder
	for _, c.ReplicaOf = range []string{"192.0.2.1:6379", "192.0.2.2:6379"} {
		log.Reset()
		c.Logger = zerolog.New(&log)
		n, err := replication.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(log.String(), "send REPLICAOF") {
		t.Errorf("the log is %s", log.String())
	}
}

// The commands before an invalid one are applied in one batch. Once, they were applied one by one,
// and the rest was tried again after each.
func TestCommandsBeforeInvalidOne(t *testing.T) {
	const commands = 2000
	good := strings.Repeat(string(unit("SET", "k", "v")), commands)
	up := script(t,
		func(int, string) string { return fullResync(5, good+string(unit("PFADD", "k", "v"))) })
	var writes atomic.Int64
	c := config(t)
	c.ReplicaOf = up.addr
	c.FS = faultfs.Wrap(disk.SystemFS{},
		faultfs.If(faultfs.Kinds(faultfs.OpWriteAt), faultfs.Count(&writes)))
	n, _ := start(t, c)
	eventually(t, "the link stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if n.Offset() != replog.Offset(5+len(good)) {
		t.Errorf("the node is at %v, not right before the invalid command", n.Offset())
	}
	if n := writes.Load(); n > commands/4 {
		t.Errorf("%d writes for %d commands", n, commands)
	}
}
