package replication_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/internal/faultfs"
	"rowfall/replication"
	"rowfall/replication/disk"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

const (
	foreignID     = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	emptySnapshot = "REDIS0009\xff\x00\x00\x00\x00\x00\x00\x00\x00"
)

// fullResync is the answer to PSYNC with nothing in the snapshot, and what follows it.
func fullResync(offset int64, stream string) string {
	return fmt.Sprintf("+FULLRESYNC %s %d\r\n$%d\r\n%s%s", foreignID, offset, len(emptySnapshot),
		emptySnapshot, stream)
}

// scripted is an upstream that shakes hands and answers PSYNC as it is told.
type scripted struct {
	addr string

	mu           sync.Mutex
	links        int // connections so far
	asked, acked []string
}

// script has every PSYNC answered by answer, which is told the number of the
// connection, from 1, and what was asked. At PING it is asked with "".
func script(t *testing.T, answer func(link int, asked string) string) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.links++
			link := s.links
			s.mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				s.serve(conn, func(asked string) string { return answer(link, asked) })
			})
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return s
}

// hangUp at an answer's end closes the connection behind it; mute, to PING, keeps
// silent for good.
const (
	hangUp = "(hang up)"
	mute   = "(mute)"
)

func (s *scripted) serve(conn net.Conn, answer func(asked string) string) {
	muted, r := false, resp.NewReader(conn, 4096)
	for {
		args, _, err := r.ReadCommand()
		if err != nil {
			return
		}
		var words []string
		for _, a := range args {
			words = append(words, string(a))
		}
		line := strings.Join(words, " ")
		muted = muted || line == "PING" && answer("") == mute
		if line == "" || muted {
			continue
		}
		reply, over := "+OK\r\n", false
		if asked, ok := strings.CutPrefix(line, "PSYNC "); ok {
			s.note(&s.asked, asked)
			reply, over = strings.CutSuffix(answer(asked), hangUp)
		}
		if acked, ok := strings.CutPrefix(line, "REPLCONF ACK "); ok {
			s.note(&s.acked, acked)
			continue
		}
		if _, err := conn.Write([]byte(reply)); err != nil || over {
			return
		}
	}
}

func (s *scripted) note(list *[]string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, text)
}

// psyncs and acks are the arguments of all that came.
func (s *scripted) psyncs() []string { return s.noted(&s.asked) }
func (s *scripted) acks() []string   { return s.noted(&s.acked) }

func (s *scripted) noted(list *[]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*list)
}

func (s *scripted) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links
}

// What an upstream sends again when it is asked again was asked for ten times a
// second without end. Now the link stops, by the name of the fault, until an
// operator's word asks for a full resync.
func TestGarbledStreamStopsTheLink(t *testing.T) {
	faults := []struct{ sent, said string }{
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
		if fault.said == "" {
			break
		}
		eventually(t, "it stops", func() bool { // in this order: the link before has stopped, too
			return up.count() == i+1 && n.Status().Upstream.State == replication.LinkStopped
		})
		if got := n.Status().Upstream.Err; !strings.Contains(got, fault.said) ||
			!strings.Contains(got, "REPLICAOF") {
			t.Errorf("%q: it says %q", fault.sent, got)
		}
		got := field(client(t, n.Addr()), "replication", "rowfall_upstream_error")
		if !strings.Contains(got, fault.said) {
			t.Errorf("INFO says %q", got)
		}
		if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
			t.Fatal(err)
		}
	}
	online(t, n)
	for i, asked := range up.psyncs()[1:] {
		if asked != "? -1" {
			t.Errorf("resync %d asks for %s", i+2, asked)
		}
	}
}

// A full resync that an operator's word asked for and that never came was asked for
// for ever: of whoever the node followed after it had been a master, and of the
// replica that it handed its role to, which refuses that.
func TestPromotionEndsTheAskForAFullResync(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		if link == 1 {
			return fullResync(1000, "PING\r\n")
		}
		return hangUp
	})
	n, _ := follow(t, up.addr)
	eventually(t, "it stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it asks", func() bool { return len(up.psyncs()) > 1 })
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := n.Drop(t.Context(), 0); !errors.Is(err,
		replication.ErrDemoted) { // of the resync that was under way, perhaps
		t.Errorf("a master drops its data: %v", err)
	}
	next := script(t, func(int, string) string { return hangUp })
	want := fmt.Sprintf("%s %d", n.Status().ID, n.Offset()+1)
	if err := n.ReplicaOf(t.Context(), next.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it asks", func() bool { return len(next.psyncs()) > 0 })
	if got := next.psyncs()[0]; got != want {
		t.Errorf("it asks for %q, want %q", got, want)
	}
}

// Connecting is no progress: an upstream that answers and hangs up was asked
// again every 100 ms for ever.
func TestLinkWithoutProgressBacksOff(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		switch link {
		case 1:
			return fullResync(0, hangUp)
		case 4:
			return "+CONTINUE\r\n" + string(unit("SET", "k", "v")) + hangUp
		}
		return "+CONTINUE\r\n" + hangUp
	})
	c := config(t)
	c.ReplicaOf = up.addr
	var waits waits
	c.Logger = zerolog.New(&waits)
	start(t, c)
	eventually(t, "five links", func() bool { return len(waits.list()) >= 5 })
	if got := fmt.Sprint(waits.list()[:5]); got != "[100 200 400 100 200]" {
		t.Errorf("it waited %s ms", got)
	}
}

// An upstream that grants a full resync and sends no snapshot was asked again every second, or as
// often as it hangs up: each time it forks. A Valkey 9 does so when it cannot write a key in the
// form that it chose. The pauses grow, and the error says where the reason is.
func TestFailedFullResyncsBackOff(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		switch {
		case link == 3:
			return fullResync(0, hangUp)
		case link < 3:
			return "+FULLRESYNC " + foreignID + " 0\r\n" + hangUp
		}
		return "+FULLRESYNC " + foreignID + " 0\r\n$1000\r\nREDIS0009" + hangUp
	})
	c := config(t)
	c.ReplicaOf = up.addr
	var waits waits
	c.Logger = zerolog.New(&waits)
	n, _ := start(t, c)
	eventually(t, "one link", func() bool { return len(waits.list()) >= 1 })
	if got := n.Status().Upstream.Err; !strings.Contains(got, "its own log holds the reason") {
		t.Errorf("the link ended with %q", got)
	}
	eventually(t, "five links", func() bool { return len(waits.list()) >= 5 })
	// The third link loaded a snapshot, which ends the back-off.
	if got := fmt.Sprint(slices.Delete(waits.list()[:5], 2, 3)); got != "[1000 2000 1000 2000]" {
		t.Errorf("it waited %s ms", got)
	}
}

// waits is a log of which only retry_in is kept.
type waits struct {
	mu sync.Mutex
	ms []int
}

func (w *waits) Write(line []byte) (int, error) {
	var event struct {
		RetryIn int `json:"retry_in"`
	}
	if err := json.Unmarshal(line, &event); err == nil && event.RetryIn > 0 {
		w.mu.Lock()
		w.ms = append(w.ms, event.RetryIn)
		w.mu.Unlock()
	}
	return len(line), nil
}

func (w *waits) list() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]int(nil), w.ms...)
}

// An upstream that is years old: its offsets fit neither 32 bits nor a float's 53.
// A replica below gets the same ones, by a full resync and by a partial one, and
// so does the node itself after a restart.
func TestLargeOffsets(t *testing.T) {
	set := string(unit("SET", "k", "v"))
	for _, at := range []int64{1<<31 - 5, 1<<53 + 1, int64(replog.MaxBegin)} {
		end := at + int64(len(set))
		next := fmt.Sprintf("%s %d", foreignID, end+1)
		up := script(t, func(_ int, asked string) string {
			if asked == next {
				return "+CONTINUE\r\n"
			}
			return fullResync(at, set)
		})
		c := config(t)
		c.ReplicaOf = up.addr
		n, stop := start(t, c)
		eventually(t, "it follows", func() bool { return n.Offset() == replog.Offset(end) })
		below, _ := follow(t, n.Addr())
		equal(t, n.Addr(), below.Addr())
		online(t, below)
		if st := below.Status(); below.Offset() != n.Offset() || st.ID != foreignID {
			t.Errorf("below it is at %s under %s", below.Offset(), st.ID)
		}
		got := field(client(t, n.Addr()), "replication", "master_repl_offset")
		if want := fmt.Sprint(end); got != want {
			t.Errorf("INFO says %s, want %s", got, want)
		}
		r := dialRaw(t, n.Addr())
		psync(r, foreignID, fmt.Sprint(at+1))
		r.expect(set)
		r.send("REPLCONF", "ACK", fmt.Sprint(end))
		eventually(t, "it acknowledged", func() bool {
			return slices.ContainsFunc(n.Status().Replicas, func(r replication.ReplicaStatus) bool {
				return strings.HasSuffix(r.Addr, ":7777") && r.Acked == replog.Offset(end)
			})
		})
		if st := n.Status(); st.FullSyncs != 1 || st.PartialSyncs != 1 {
			t.Errorf("%d full and %d partial resyncs", st.FullSyncs, st.PartialSyncs)
		}
		stop()
		start(t, c)
		eventually(t, "it asks to go on", func() bool { return slices.Contains(up.psyncs(), next) })
	}
}

// An upstream that says an offset which no log can have: the old data were gone before
// that was noticed, the node ended, and so did every later start.
func TestOffsetNotToBeBelieved(t *testing.T) {
	c := config(t)
	c.DropBeforeResync = true
	n, stop := complete(t, c)
	at := apply(t, n, unit("SET", "k", "v"))
	for _, offset := range []int64{int64(replog.MaxBegin) + 1, 1<<63 - 1} {
		up := script(t, func(int, string) string { return fullResync(offset, "") })
		if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the link stops by it", func() bool {
			st := n.Status().Upstream
			return st.State == replication.LinkStopped &&
				strings.Contains(st.Err, fmt.Sprint(offset))
		})
		if n.Offset() != at || !has(n, "k") {
			t.Errorf("it is at %s after %s, the data are there: %v", n.Offset(), at, has(n, "k"))
		}
	}
	stop()
	n, _ = start(t, c)
	if n.Offset() != at || !has(n, "k") {
		t.Errorf("after a restart it is at %s; the data are there: %v", n.Offset(), has(n, "k"))
	}
	// Nor is a file believed.
	c = config(t)
	startFromBackup(t, c.Dir, "snapshot-"+(replog.MaxBegin+1).String()+".rdb",
		[]byte(emptySnapshot))
	if _, err := replication.Open(c); err == nil ||
		!strings.Contains(err.Error(), replog.MaxBegin.String()) {
		t.Errorf("got %v", err)
	}
}

// A silent upstream, at the handshake or in the middle of its stream, is left
// after the time-out, and asked again from where we are.
func TestSilentUpstream(t *testing.T) {
	set := string(unit("SET", "k", "v"))
	at := fmt.Sprintf("%s %d", foreignID, 1001+len(set))
	up := script(t, func(link int, asked string) string {
		switch {
		case link == 1:
			return mute
		case asked == at:
			return "+CONTINUE\r\n"
		}
		return fullResync(1000, set)
	})
	c := config(t)
	c.ReplicaOf, c.Timeout = up.addr, 500*time.Millisecond
	n, _ := start(t, c)
	eventually(t, "it asks to go on", func() bool { return slices.Contains(up.psyncs(), at) })
	eventually(t, "it says why",
		func() bool { return strings.Contains(n.Status().Upstream.Err, "i/o timeout") })
	if v, _ := n.Keyspace().Get("k"); string(v) != "v" {
		t.Errorf("k is %q", v)
	}
}

// A node tells what it has on disk as well, as a server with an append-only file
// does: without, WAITAOF on its master never counted it.
func TestReplicaTellsWhatIsOnDisk(t *testing.T) {
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
	eventually(t, "it follows", func() bool { return len(a.Status().Replicas) == 1 })
	apply(t, a, unit("SET", "k", "v"))
	counts := client(t, a.Addr()).Do(t.Context(), "WAITAOF", 0, 1, patience.Milliseconds())
	if got, err := counts.Int64Slice(); err != nil || got[1] != 1 {
		t.Errorf("WAITAOF counts %v, %v", got, err)
	}
}

// A newline in an address went into the identity file, which no restart could
// read then; a directory kept a wrong flag, so that mending it did nothing.
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
		t.Errorf("it follows itself: %v", err)
	}
	if files, err := os.ReadDir(c.Dir); err != nil || len(files) > 0 {
		t.Errorf("the directory keeps %v, %v", files, err)
	}
	// What the directory keeps is another thing than what is asked for, and says so.
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
		t.Errorf("it logs %s", log.String())
	}
}

// What came with a command that cannot be applied, before it, is applied in one go.
// Once it was command by command, the rest being tried again after each.
func TestCommandsBeforeTheBadOne(t *testing.T) {
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
	eventually(t, "it stops",
		func() bool { return n.Status().Upstream.State == replication.LinkStopped })
	if n.Offset() != replog.Offset(5+len(good)) {
		t.Errorf("it is at %v, not right before the bad command", n.Offset())
	}
	if n := writes.Load(); n > commands/4 {
		t.Errorf("%d writes for %d commands", n, commands)
	}
}
