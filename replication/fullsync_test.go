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

// ask sends a handshake with the given capabilities and PSYNC, and returns the
// answer's fields.
func ask(r *raw, id, offset string, capa ...string) []string {
	r.t.Helper()
	for _, c := range capa {
		if got := r.do("REPLCONF", "capa", c); got != "+OK" {
			r.t.Fatalf("capa %s gets %q", c, got)
		}
	}
	r.send("PSYNC", id, offset)
	return strings.Fields(r.reply())
}

// payload reads a snapshot in either framing and returns it with its kind of
// framing, "" for a length.
func payload(r *raw) (b []byte, mark string) {
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
		r.t.Fatalf("instead of a snapshot comes %q", head)
	}
	b = make([]byte, size)
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.t.Fatal(err)
	}
	return b, ""
}

// silent checks that nothing comes before the answer to what is sent next.
func silent(r *raw, d time.Duration) {
	r.t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(d))
	if b, err := r.r.ReadByte(); err == nil {
		r.t.Errorf("%q comes", b)
	}
	_ = r.SetReadDeadline(time.Now().Add(patience))
}

func count(t *testing.T, file []byte) int {
	t.Helper()
	keys := keyspace.New(keyspace.Options{})
	if _, err := rdb.Read(bytes.NewReader(file), keys.Loader()); err != nil {
		t.Fatal(err)
	}
	return keys.Len()
}

// Behind an end mark nothing may follow at once: the replica would lose it. The
// stream begins with the first acknowledgement; behind a length, at once.
func TestStreamWaitsForTheFirstAcknowledgement(t *testing.T) {
	n, _ := complete(t, config(t))
	fill(t, n, "a", 300)
	r := dialRaw(t, n.Addr())
	f := ask(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	file, mark := payload(r)
	if mark == "" {
		t.Error("a file that did not exist yet was sent by its length")
	}
	if got := count(t, file); got != n.Keyspace().Len() {
		t.Errorf("%d keys came, want %d", got, n.Keyspace().Len())
	}
	next := unit("SET", "k", "v")
	apply(t, n, next)
	silent(r, 50*time.Millisecond)
	r.send() // an empty array, as little as the empty line while it loads, is an acknowledgement
	silent(r, 20*time.Millisecond)
	r.send("REPLCONF", "ACK", f[2])
	r.expect(string(unit("SELECT", "0")) + string(next))

	eventually(t, "the file is complete", func() bool { return n.Status().Snapshot.Written == 1 })
	late := dialRaw(t, n.Addr())
	ask(late, "?", "-1", "eof", "psync2", "rdb-listpack")
	if again, mark := payload(late); mark != "" || !bytes.Equal(again, file) {
		t.Errorf("a late one gets %d bytes, marked %q", len(again), mark)
	}
	late.expect(string(unit("SELECT", "0")) + string(next))
}

// Whoever joins, and whenever, be it while the file grows or later: a hundred joins
// at once and ten late ones cost one encoding.
func TestHundredJoinsOneSnapshot(t *testing.T) {
	c := config(t)
	c.MaxFullSyncs = 100
	n, begun, gate := gated(t, c)
	n.SetComplete(true)
	fill(t, n, "a", 200)
	capa := []string{"rdb-listpack", "psync2", "eof"}
	var all []*raw
	for range 100 {
		r := dialRaw(t, n.Addr())
		ask(r, "?", "-1", capa...)
		all = append(all, r)
	}
	<-begun
	sending(t, n, len(all))
	gate <- struct{}{}
	first, _ := payload(all[0])
	for i, r := range all[1:] {
		if file, mark := payload(r); !bytes.Equal(file, first) || mark == "" {
			t.Errorf("replica %d gets another file, marked %q", i+1, mark)
		}
	}
	for i := range 10 {
		apply(t, n, unit("SET", "k", strconv.Itoa(i)))
		r := dialRaw(t, n.Addr())
		ask(r, "?", "-1", capa[:2+i%2]...)
		if file, _ := payload(r); !bytes.Equal(file, first) {
			t.Errorf("late replica %d gets another file", i)
		}
	}
	eventually(t, "the file is in its place", func() bool { return !n.Status().Snapshot.Running })
	if st := n.Status(); st.Snapshot.Written != 1 || st.FullSyncs != 110 || len(begun) != 0 {
		t.Errorf("%d snapshots for %d full resyncs, %d more begun", st.Snapshot.Written,
			st.FullSyncs, len(begun))
	}
}

// A tool that wants the snapshot alone gets it and no stream, and is no replica.
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
			t.Errorf("with filter %q %d keys come, want %d", filter, got, want)
		}
		if _, err := r.r.ReadByte(); err != io.EOF {
			t.Errorf("after the file comes %v", err)
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

// Everything that replicas send before PSYNC, in one write.
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

// big fills a node with values that no socket buffer holds.
func big(t *testing.T, n *replication.Node, megabytes int) {
	t.Helper()
	v := strings.Repeat("0123456789abcdef", 64<<10)
	for i := range megabytes {
		apply(t, n, unit("SET", "big:"+strconv.Itoa(i), v))
	}
}

// One full resync at a time: the second hears empty lines until the first is done.
func TestFullSyncsAreLimited(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.MaxFullSyncs = 1
	n, _ := complete(t, c)
	big(t, n, 16)
	a, b := dialRaw(t, n.Addr()), dialRaw(t, n.Addr())
	ask(a, "?", "-1")
	b.send("PSYNC", "?", "-1")
	for range 2 {
		if got := b.line(); got != "" {
			t.Fatalf("the second gets %q", got)
		}
	}
	payload(a)
	if got := b.reply(); !strings.HasPrefix(got, "+FULLRESYNC ") {
		t.Errorf("the second gets %q", got)
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
	ask(r, "?", "-1")
	payload(r)
	if took := time.Since(began); took < 350*time.Millisecond {
		t.Errorf("2 MiB at 4 MiB/s took %v", took)
	}
}

// Who does not take what it is sent is cut off, and the log it pinned is free.
func TestStuckReaderIsCutOff(t *testing.T) {
	c := config(t)
	c.Timeout = 200 * time.Millisecond
	n, _ := complete(t, c)
	big(t, n, 16)
	ask(dialRaw(t, n.Addr()), "?", "-1")
	eventually(t, "it is dropped", func() bool { return len(n.Status().Replicas) == 0 })
}

// While a full resync is under way the log stays, however little is kept; the
// replica goes on from the file's offset.
func TestLogIsPinnedForAFullSync(t *testing.T) {
	c := config(t)
	c.Log = replog.Config{Memory: 64 << 10, SegmentSize: 64 << 10, Keep: 64 << 10}
	n, _ := complete(t, c)
	fill(t, n, "a", 200)
	r := dialRaw(t, n.Addr())
	f := ask(r, "?", "-1", "eof", "psync2", "rdb-listpack")
	payload(r)
	from, _ := replog.ParseOffset(f[2])
	var want []byte
	for i := range 400 {
		u := unit("SET", "k", strings.Repeat(strconv.Itoa(i%10), 2000))
		want = append(want, u...)
		apply(t, n, u)
		if i == 200 { // a newer snapshot lets the log go, but for the pin
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
	eventually(t, "the log is let go", func() bool { return n.Status().LogStart > from })
}

// every calls f again and again until stop is called.
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

// A replica that loads from disk for longer than the time-out does not read
// meanwhile, and says with empty lines that it is there. It is not cut, and what
// was written meanwhile is there for it, also if it has to come back for it.
func TestLongLoadIsNotCut(t *testing.T) {
	c := config(t)
	c.Timeout = time.Second
	c.Log = replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20, Keep: 1 << 20}
	n, _ := complete(t, c)
	fill(t, n, "a", 50)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	loading := func(port string) (r *raw, id string, from replog.Offset) {
		r = dialRaw(t, n.Addr())
		r.do("REPLCONF", "listening-port", port)
		f := ask(r, "?", "-1", "eof", "psync2", "rdb-listpack")
		if _, mark := payload(r); mark != "" {
			t.Fatal("the file's length is not told")
		}
		from, _ = replog.ParseOffset(f[2])
		return r, f[1], from
	}
	gone, id, from := loading("7777")
	gone.Close()
	r, _, _ := loading("7778")
	defer every(c.Timeout/50,
		func() { r.Write([]byte("\n")) })() //nolint:errcheck // the test sees the end
	big(t, n, 40) // more than sockets hold
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := dialRaw(t, n.Addr())
	if got := ask(back, id, strconv.Itoa(int(from)+1), "psync2"); got[0] != "+CONTINUE" {
		t.Errorf("the one that was cut gets %q", got)
	}
	back.Close()
	time.Sleep(c.Timeout * 3 / 2) // it is what the test is about
	if st := n.Status().Replicas; len(st) != 1 || st[0].State != replication.ReplicaLoading {
		t.Errorf("while it loads: %+v", st)
	}
	r.send("REPLCONF", "ACK", from.String())
	if _, err := io.CopyN(io.Discard, r.r, int64(n.Offset()-from)); err != nil {
		t.Error(err)
	}
	eventually(t, "the log is let go", func() bool {
		r.send("REPLCONF", "ACK", n.Offset().String())
		apply(t, n, unit("SET", "more", strings.Repeat("x", 100<<10)))
		_, _ = r.r.Discard(100 << 10)
		if _, err := n.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		return n.Status().LogStart > from
	})
}

// A first load longer than the log is kept: snapshots are taken meanwhile, so
// that the log can go, and nobody is admitted.
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

// A replica that cannot load what it gets and asks again at once is slowed down.
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
		t.Errorf("the third begins after %v", took)
	}
}
