package replication_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/replication"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

// requestSync sends the given capabilities and PSYNC, and returns the words of the reply.
func requestSync(r *rawConn, id, offset string, capa ...string) []string {
	r.t.Helper()
	for _, c := range capa {
		if got := r.do("REPLCONF", "capa", c); got != "+OK" {
			r.t.Fatalf("capa %s gets %q", c, got)
		}
	}
	r.send("PSYNC", id, offset)
	return strings.Fields(r.reply())
}

// payload reads a snapshot in either framing and returns it with its end mark, which is "" if the
// length came first.
func payload(r *rawConn) (b []byte, mark string) {
	r.t.Helper()
	head := r.reply()
	if mark, ok := strings.CutPrefix(head, "$EOF:"); ok {
		var all []byte
		for !bytes.HasSuffix(all, []byte(mark)) {
			c, err := r.r.ReadByte()
			if err != nil {
				r.t.Fatal(err)
			}
			all = append(all, c)
		}
		return all[:len(all)-len(mark)], mark
	}
	size, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
	if err != nil {
		r.t.Fatalf("got %q instead of a snapshot", head)
	}
	b = make([]byte, size)
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.t.Fatal(err)
	}
	return b, ""
}

// expectSilence checks that the peer sends nothing for the duration d.
func expectSilence(r *rawConn, d time.Duration) {
	r.t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(d))
	if b, err := r.r.ReadByte(); err == nil {
		r.t.Errorf("the peer sends %q", b)
	}
	_ = r.SetReadDeadline(time.Now().Add(waitTimeout))
}

// count returns the number of keys of a snapshot.
func count(t *testing.T, file []byte) int {
	t.Helper()
	keys := keyspace.New(keyspace.Options{})
	if _, err := rdb.Read(bytes.NewReader(file), keys.Loader()); err != nil {
		t.Fatal(err)
	}
	return keys.Len()
}

// After an end mark nothing may follow at once, because the replica would lose it: the stream
// starts after the first acknowledgement. After a snapshot with a length the stream starts at once.
func TestStreamWaitsForTheFirstAcknowledgement(t *testing.T) {
	n, _ := complete(t, config(t))
	fill(t, n, "a", 300)
	r := dialRaw(t, n.Addr())
	f := requestSync(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	file, mark := payload(r)
	if mark == "" {
		t.Error("a file that did not exist yet was sent by its length")
	}
	if got := count(t, file); got != n.Keyspace().Len() {
		t.Errorf("got %d keys, want %d", got, n.Keyspace().Len())
	}
	next := unit("SET", "k", "v")
	apply(t, n, next)
	expectSilence(r, 50*time.Millisecond)
	r.send() // an empty array is no acknowledgement, like the empty lines of a loading replica
	expectSilence(r, 20*time.Millisecond)
	r.send("REPLCONF", "ACK", f[2])
	r.expect(string(unit("SELECT", "0")) + string(next))

	eventually(t, "the file is complete", func() bool { return n.Status().Snapshot.Written == 1 })
	late := dialRaw(t, n.Addr())
	requestSync(late, "?", "-1", "eof", "psync2", "rdb-listpack")
	if again, mark := payload(late); mark != "" || !bytes.Equal(again, file) {
		t.Errorf("a late replica gets %d bytes with the mark %q", len(again), mark)
	}
	late.expect(string(unit("SELECT", "0")) + string(next))
}

// A hundred replicas that join at once, while the file grows, and ten later ones share one
// snapshot.
func TestHundredJoinsOneSnapshot(t *testing.T) {
	c := config(t)
	c.MaxFullSyncs = 100
	n, begun, gate := startGated(t, c)
	n.SetComplete(true)
	fill(t, n, "a", 200)
	capa := []string{"rdb-listpack", "psync2", "eof"}
	var all []*rawConn
	for range 100 {
		r := dialRaw(t, n.Addr())
		requestSync(r, "?", "-1", capa...)
		all = append(all, r)
	}
	<-begun
	waitSending(t, n, len(all))
	gate <- struct{}{}
	first, _ := payload(all[0])
	for i, r := range all[1:] {
		if file, mark := payload(r); !bytes.Equal(file, first) || mark == "" {
			t.Errorf("replica %d gets another file, with the mark %q", i+1, mark)
		}
	}
	for i := range 10 {
		apply(t, n, unit("SET", "k", strconv.Itoa(i)))
		r := dialRaw(t, n.Addr())
		requestSync(r, "?", "-1", capa[:2+i%2]...)
		if file, _ := payload(r); !bytes.Equal(file, first) {
			t.Errorf("late replica %d gets another file", i)
		}
	}
	eventually(t, "the snapshot is installed", func() bool { return !n.Status().Snapshot.Running })
	if st := n.Status(); st.Snapshot.Written != 1 || st.FullSyncs != 110 || len(begun) != 0 {
		t.Errorf("%d snapshots for %d full resyncs, %d more started", st.Snapshot.Written,
			st.FullSyncs, len(begun))
	}
}

// A tool that requests only the snapshot gets no stream and is no replica.
func TestRdbOnly(t *testing.T) {
	n, _ := complete(t, config(t))
	fill(t, n, "a", 50)
	for _, filter := range []string{"-", "", "functions"} {
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "capa", "eof")
		if got := r.do("REPLCONF", "rdb-only", "1"); got != "+OK" {
			t.Fatal(got)
		}
		want := n.Keyspace().Len()
		if filter != "-" {
			want = 0
			if got := r.do("REPLCONF", "rdb-filter-only", filter); got != "+OK" {
				t.Fatal(got)
			}
		}
		r.send("SYNC")
		file, _ := payload(r)
		if got := count(t, file); got != want {
			t.Errorf("with filter %q: got %d keys, want %d", filter, got, want)
		}
		if _, err := r.r.ReadByte(); err != io.EOF {
			t.Errorf("after the file: %v", err)
		}
		if got := len(n.Status().Replicas); got != 0 {
			t.Errorf("%d replicas", got)
		}
	}
	r := dialRaw(t, n.Addr())
	unsupported := "-ERR Unsupported rdb-filter-only option: keys"
	if got := r.do("REPLCONF", "rdb-filter-only", "keys"); got != unsupported {
		t.Errorf("got %q", got)
	}
	r.do("REPLCONF", "rdb-filter-only", "")
	if got := r.do("SYNC"); got != "-ERR Filtered replica requires EOF capability" {
		t.Errorf("got %q", got)
	}
}

// All commands that replicas send before PSYNC may come in one write.
func TestPipelinedHandshake(t *testing.T) {
	c := config(t)
	c.Password = "secret"
	n, _ := complete(t, c)
	fill(t, n, "a", 10)
	r := dialRaw(t, n.Addr())
	b := bytes.Join([][]byte{
		unit("PING"),
		unit("AUTH", "default", "secret"),
		unit("REPLCONF", "listening-port", "7777"),
		unit("REPLCONF", "ip-address", "replica.example"),
		unit("REPLCONF", "capa", "eof", "capa", "psync2", "capa", "rdb-channel-repl", "capa",
			"dual-channel", "capa", "skip-rdb-checksum"),
		unit("REPLCONF", "version", "9.1.2"),
		unit("REPLCONF", "set-cluster-node-id", "x"),
		unit("PSYNC", unknownID, "1"),
	}, nil)
	if _, err := r.Write(b); err != nil {
		t.Fatal(err)
	}
	r.expect("-NOAUTH Authentication required.\r\n" + strings.Repeat("+OK\r\n", 5) +
		"-ERR Unrecognized REPLCONF option: set-cluster-node-id\r\n")
	if got := r.reply(); !strings.HasPrefix(got, "+FULLRESYNC ") {
		t.Errorf("got %q", got)
	}
	payload(r)
	if st := n.Status().Replicas; len(st) != 1 || st[0].Addr != "replica.example:7777" ||
		st[0].Version != "9.1.2" {
		t.Errorf("got %+v", st)
	}
}

// big writes values that no socket buffer holds.
func big(t *testing.T, n *replication.Node, megabytes int) {
	t.Helper()
	v := strings.Repeat("0123456789abcdef", 64<<10)
	for i := range megabytes {
		apply(t, n, unit("SET", "big:"+strconv.Itoa(i), v))
	}
}

// With one slot, the second full resync gets empty lines until the first one has ended.
func TestFullSyncsAreLimited(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.MaxFullSyncs = 1
	n, _ := complete(t, c)
	big(t, n, 16)
	a, b := dialRaw(t, n.Addr()), dialRaw(t, n.Addr())
	requestSync(a, "?", "-1")
	b.send("PSYNC", "?", "-1")
	for range 2 {
		if got := b.line(); got != "" {
			t.Fatalf("the second replica gets %q", got)
		}
	}
	payload(a)
	if got := b.reply(); !strings.HasPrefix(got, "+FULLRESYNC ") {
		t.Errorf("the second replica gets %q", got)
	}
	payload(b)
}

func TestFullSyncRate(t *testing.T) {
	c := config(t)
	c.FullSyncRate = 4 << 20
	n, _ := complete(t, c)
	big(t, n, 2)
	began := time.Now()
	r := dialRaw(t, n.Addr())
	requestSync(r, "?", "-1")
	payload(r)
	if took := time.Since(began); took < 350*time.Millisecond {
		t.Errorf("2 MiB at 4 MiB/s took %v", took)
	}
}

// A replica that does not read is cut off, and its pin on the log is released.
func TestStuckReaderIsCutOff(t *testing.T) {
	c := config(t)
	c.Timeout = 200 * time.Millisecond
	n, _ := complete(t, c)
	big(t, n, 16)
	requestSync(dialRaw(t, n.Addr()), "?", "-1")
	eventually(t, "the replica is dropped", func() bool { return len(n.Status().Replicas) == 0 })
}

// During a full resync the log from the snapshot's offset on is kept, whatever log.keep is. The
// replica continues from that offset.
func TestLogIsPinnedForAFullSync(t *testing.T) {
	c := config(t)
	c.Log = replog.Config{Memory: 64 << 10, SegmentSize: 64 << 10, Keep: 64 << 10}
	n, _ := complete(t, c)
	fill(t, n, "a", 200)
	r := dialRaw(t, n.Addr())
	f := requestSync(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	payload(r)
	from, _ := replog.ParseOffset(f[2])
	var want []byte
	for i := range 400 {
		u := unit("SET", "k", strings.Repeat(strconv.Itoa(i%10), 2000))
		want = append(want, u...)
		apply(t, n, u)
		if i == 200 { // after a newer snapshot only the pin keeps the log
			if _, err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			want = append(want, unit("SELECT", "0")...)
		}
	}
	r.send("REPLCONF", "ACK", from.String())
	r.expect(string(unit("SELECT", "0")) + string(want))
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	big(t, n, 1)
	eventually(t, "the log is removed", func() bool { return n.Status().LogStart > from })
}

// every calls f once in each period until stop is called.
func every(period time.Duration, f func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// A replica that loads from disk for longer than the time-out does not read in that time, and sends
// empty lines. It is not cut off. Units written in that time are kept for it, also for a partial
// resync.
func TestLongLoadIsNotCut(t *testing.T) {
	c := config(t)
	c.Timeout = time.Second
	c.Log = replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20, Keep: 1 << 20}
	n, _ := complete(t, c)
	fill(t, n, "a", 50)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	loading := func(port string) (r *rawConn, id string, from replog.Offset) {
		r = dialRaw(t, n.Addr())
		r.do("REPLCONF", "listening-port", port)
		f := requestSync(r, "?", "-1", "eof", "psync2", "rdb-listpack")
		if _, mark := payload(r); mark != "" {
			t.Fatal("the snapshot has a mark instead of a length")
		}
		from, _ = replog.ParseOffset(f[2])
		return r, f[1], from
	}
	gone, id, from := loading("7777")
	gone.Close()
	r, _, _ := loading("7778")
	defer every(c.Timeout/50,
		func() { r.Write([]byte("\n")) })() //nolint:errcheck // the connection may be closed
	big(t, n, 40) // more than sockets hold
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := dialRaw(t, n.Addr())
	if got := requestSync(back, id, strconv.Itoa(int(from)+1), "psync2"); got[0] != "+CONTINUE" {
		t.Errorf("the replica that reconnects gets %q", got)
	}
	back.Close()
	time.Sleep(c.Timeout * 3 / 2) // the load must last longer than the time-out
	if st := n.Status().Replicas; len(st) != 1 || st[0].State != replication.ReplicaLoading {
		t.Errorf("during the load: %+v", st)
	}
	r.send("REPLCONF", "ACK", from.String())
	if _, err := io.CopyN(io.Discard, r.r, int64(n.Offset()-from)); err != nil {
		t.Error(err)
	}
	eventually(t, "the log is removed", func() bool {
		r.send("REPLCONF", "ACK", n.Offset().String())
		apply(t, n, unit("SET", "more", strings.Repeat("x", 100<<10)))
		_, _ = r.r.Discard(100 << 10)
		if _, err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		return n.Status().LogStart > from
	})
}

// During an initial load that is longer than log.keep, snapshots are taken, so that the log can be
// removed. No replica is accepted.
func TestFirstLoadTakesSnapshots(t *testing.T) {
	c := config(t)
	c.Log = replog.Config{Memory: 64 << 10, SegmentSize: 64 << 10, Keep: 64 << 10}
	c.SnapshotEvery, c.PingPeriod = 256<<10, 10*time.Millisecond
	n, stop := start(t, c)
	for i := 0; n.Status().Snapshot.Written < 2; i++ {
		fill(t, n, "a"+strconv.Itoa(i%5), 200)
	}
	eventually(t, "the log is trimmed", func() bool { return n.Status().LogStart > 0 })
	if got := dialRaw(t, n.Addr()).do("PSYNC", "?", "-1"); !strings.HasPrefix(got, "-LOADING ") {
		t.Errorf("got %q", got)
	}
	want, at := n.Keyspace().Len(), n.Offset()
	stop()
	n, _ = start(t, c)
	if n.Keyspace().Len() != want || n.Offset() != at || n.Status().Complete {
		t.Errorf("after a restart: %d keys at %d, want %d at %d", n.Keyspace().Len(), n.Offset(),
			want, at)
	}
}

// A replica that fails to load and reconnects at once is delayed.
func TestRepeatedFullSyncsAreDelayed(t *testing.T) {
	n, _ := complete(t, config(t))
	for range 2 {
		r := dialRaw(t, n.Addr())
		psync(r, "?", "-1")
		r.Close()
	}
	began := time.Now()
	psync(dialRaw(t, n.Addr()), "?", "-1")
	if took := time.Since(began); took < time.Second {
		t.Errorf("the third full resync starts after %v", took)
	}
}
