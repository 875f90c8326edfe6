package replication_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/resp"
)

// allocated returns the bytes of all allocations so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

const wide = 4 << 20 // bytes of a value

// withWide starts a node with one large value.
func withWide(t *testing.T) *replication.Node {
	t.Helper()
	n, _ := start(t, config(t))
	apply(t, n, unit("SET", "wide", strings.Repeat("x", wide)))
	return n
}

// Each reply is sent in chunks, for each size and command. Once, a reply took at least its size in
// memory: an MGET of 100 keys of 10 MB took 4 GB.
func TestLargeRepliesTakeLittleMemory(t *testing.T) {
	n := withWide(t)
	mget := []string{"MGET"}
	var pipeline, transaction []byte
	for range 40 {
		mget = append(mget, "wide")
		pipeline = resp.AppendCommand(pipeline, "GET", "wide")
	}
	transaction = append(append(unit("MULTI"), pipeline...), unit("EXEC")...)
	value := int64(wide + len("$4194304\r\n\r\n"))
	for name, c := range map[string]struct {
		commands []byte
		want     int64
	}{
		"one command": {resp.AppendCommand(nil, mget...), 40*value + int64(len("*40\r\n"))},
		"a pipeline":  {pipeline, 40 * value},
		"a transaction": {
			transaction,
			40*value + int64(len("*40\r\n+OK\r\n")+40*len("+QUEUED\r\n")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRaw(t, n.Addr())
			before := allocated()
			if _, err := r.Write(c.commands); err != nil {
				t.Fatal(err)
			}
			if got, err := io.CopyN(io.Discard, r.r, c.want); err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			if got := allocated() - before; got > 32<<20 {
				t.Errorf("%d bytes of reply took %d bytes of memory", c.want, got)
			}
			if got := r.do("PING"); got != "+PONG" {
				t.Errorf("after it, PING gets %q", got)
			}
			if held := n.ClientMemory(); held > 128<<10 {
				t.Errorf("after the reply %d bytes are held", held)
			}
			r.Close()
			eventually(t, "nothing is held", func() bool { return n.ClientMemory() == 0 })
		})
	}
}

// Rendering of a reply ends when the client leaves. Once, it continued to the end of the reply.
func TestRenderingEndsWithTheClient(t *testing.T) {
	n := withWide(t)
	mget := []string{"MGET"}
	for range 1000 {
		mget = append(mget, "wide")
	}
	before := allocated()
	r := dialRaw(t, n.Addr())
	r.send(mget...)
	if _, err := io.CopyN(io.Discard, r.r, wide); err != nil {
		t.Fatal(err)
	}
	r.Close()
	eventually(t, "the session ends", func() bool { return n.Status().Clients == 0 })
	if got := allocated() - before; got > 32<<20 {
		t.Errorf("a reply after the client's end took %d bytes of memory", got)
	}
}

// All clients together use at most maxmemory-clients; above that the connection of the largest is
// closed, and the others are served. Before the limit, 20 clients with 900,000 arguments of one
// byte took 900 MB, without a time limit.
func TestArgumentsOfAllClientsAreBounded(t *testing.T) {
	const limit = 24 << 20
	c, log := config(t), &logText{}
	c.Logger = zerolog.New(log)
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "v"))
	set := []string{"CONFIG", "SET", "maxmemory-clients", "24mb"}
	if got := dialRaw(t, n.Addr()).do(set...); got != "+OK" {
		t.Fatal(got)
	}
	part := []byte(
		"*900001\r\n$4\r\nMGET\r\n" + strings.Repeat("$1\r\nk\r\n", 150_000),
	) // some 6 MB of memory
	for i := range 20 {
		r := dialRaw(t, n.Addr())
		if _, err := r.Write(part); err != nil {
			t.Logf("client %d: %v", i, err)
		}
	}
	eventually(t, "clients are cut off",
		func() bool { return log.count("the connection of the largest is closed") >= 10 })
	eventually(t, "the rest is within the limit", func() bool { return n.ClientMemory() <= limit })
	if got := dialRaw(t, n.Addr()).do("EXISTS", "k"); got != ":1" {
		t.Errorf("another client gets %q", got)
	}
	if held := n.ClientMemory(); held < limit/4 {
		t.Errorf("only %d bytes are held: too many clients were cut off", held)
	}
}

// The memory of one client is bounded, too, whatever the others use.
func TestArgumentsOfOneClientAreBounded(t *testing.T) {
	n, _ := start(t, config(t))
	r := dialRaw(t, n.Addr())
	big := bytes.Repeat([]byte("x"), 70<<20)
	command := append(fmt.Appendf(nil, "*2\r\n$4\r\nECHO\r\n$%d\r\n", len(big)), big...)
	go r.Write(command) //nolint:errcheck // the node closes the connection
	if got := r.line(); !strings.HasPrefix(got, "-ERR command is too large") {
		t.Errorf("got %.100q", got)
	}
	eventually(t, "nothing is held",
		func() bool { return n.ClientMemory() == 0 && n.Status().Clients == 0 })
}

// Queued commands are accounted for until EXEC, DISCARD, RESET or the end of the session.
func TestQueuedCommandsAreCounted(t *testing.T) {
	n, _ := start(t, config(t))
	text := strings.Repeat("x", 1<<20)
	for _, end := range []string{"EXEC", "DISCARD", "RESET", ""} {
		r := dialRaw(t, n.Addr())
		r.do("MULTI")
		r.do("EXISTS", text)
		if got := n.ClientMemory(); got < 1<<20 {
			t.Errorf("a command of 1 MiB is queued, but %d bytes are held", got)
		}
		if end != "" {
			r.do(end)
		} else {
			r.Close()
		}
		eventually(t, "nothing is held after "+end, func() bool { return n.ClientMemory() == 0 })
	}
}

// A reply that is read slowly pins the data that are replaced during that time. When the pinned
// data are too large, the connection is closed.
func TestSlowReplyThatPinsMuchIsCut(t *testing.T) {
	c, log := config(t), &logText{}
	c.Logger = zerolog.New(log)
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	n.SlowReplies(0, 8<<20)
	run(t, n)
	value := strings.Repeat("x", wide)
	for i := range 10 {
		apply(t, n, unit("SET", fmt.Sprint("k", i), value))
	}
	slow := dialRaw(t, n.Addr())
	slow.send("MGET", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9")
	if _, err := slow.r.ReadByte(); err != nil {
		t.Fatal(err)
	}
	cut := func() bool { return log.count("reads its reply too slowly") == 1 }
	for i := 0; i < 40; i++ {
		apply(t, n, unit("SET", fmt.Sprint("k", i%10), value))
	}
	eventually(t, "the client is cut off", cut)
	eventually(t, "the slow client is gone", func() bool { return n.Status().Clients == 0 })
	if got := dialRaw(t, n.Addr()).do("EXISTS", "k1"); got != ":1" {
		t.Errorf("another client gets %q", got)
	}
}

// The memory of large commands is returned to the system within seconds. Go itself keeps it for
// minutes.
func TestMemoryOfLargeCommandsIsReleased(t *testing.T) {
	n, _ := start(t, config(t))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	runtime.GC()
	before := heap()
	const large = 48 << 20
	r := dialRaw(t, n.Addr())
	piece := bytes.Repeat([]byte("x"), 1<<20)
	if _, err := fmt.Fprintf(r, "*2\r\n$6\r\nEXISTS\r\n$%d\r\n", large); err != nil {
		t.Fatal(err)
	}
	for range large / len(piece) {
		if _, err := r.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Write([]byte("\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := r.line(); got != ":0" {
		t.Fatalf("got %.100q", got)
	}
	eventually(t, "the memory is released", func() bool { return heap() < before+large/2 })
}
