package replication_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
)

// WAITAOF counts what is durable: in the node's log, and in the replicas' AOFs.
func TestWaitAOF(t *testing.T) {
	c := config(t)
	c.Log.Fsync = replog.Always
	n, _ := complete(t, c)
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	r.send("REPLCONF", "ACK", from.String())
	eventually(t, "the replica is online",
		func() bool { return n.Status().Replicas[0].State == replication.ReplicaOnline })
	at := apply(t, n, unit("SET", "k", "v"))
	r.expect(
		string(unit("SELECT", "0")) + string(unit("SET", "k", "v")),
	) // unsent bytes cannot be acknowledged
	ask := dialRaw(t, n.Addr())
	ask.send("WAITAOF", "1", "0", "0")
	ask.expect("*2\r\n:1\r\n:0\r\n")
	ask.send("WAITAOF", "1", "1", "0")
	r.send("REPLCONF", "ACK", at.String()) // applied, but not durable
	r.send("REPLCONF", "ACK", at.String(), "FACK", at.String())
	ask.expect("*2\r\n:1\r\n:1\r\n")
	for command, want := range map[string]string{
		"WAITAOF 2 0 0":  "-ERR value is out of range, value must between 0 and 1",
		"WAITAOF 0 -1 0": "-ERR value is out of range, must be positive",
		"WAITAOF 0 0 -1": "-ERR timeout is negative",
		"WAITAOF 0 0 x":  "-ERR timeout is not an integer or out of range",
		"WAIT 0 -1":      "-ERR timeout is negative",
	} {
		if got := ask.do(strings.Fields(command)...); got != want {
			t.Errorf("%s gets %q", command, got)
		}
	}
}

// WAITAOF counts a real server with an AOF when its data are durable.
func TestWaitAOFOfRealServer(t *testing.T) {
	servertest.Need(t, servers.Redis)
	n, _ := complete(t, config(t))
	servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: append([]string{"--appendonly", "yes"}, replicaOf(n.Addr())...)})
	eventually(t, "the server is online", func() bool {
		st := n.Status().Replicas
		return len(st) == 1 && st[0].State == replication.ReplicaOnline
	})
	apply(t, n, unit("SET", "k", "v"))
	got, err := client(t,
		n.Addr()).Do(t.Context(), "WAITAOF", 1, 1, int(waitTimeout/time.Millisecond)).
		Int64Slice()
	if err != nil || len(got) != 2 || got[0] != 1 || got[1] != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// A blocked command ends when its client leaves.
func TestBlockedClientLeaves(t *testing.T) {
	c := config(t)
	blocked, ended := make(chan struct{}), make(chan struct{})
	c.Commands = map[string]replication.Handler{
		"BLOCK": func(ctx context.Context, dst []byte, _ int, _ [][]byte) []byte {
			close(blocked)
			<-ctx.Done()
			close(ended)
			return dst
		},
	}
	n, _ := complete(t, c)
	w := dialRaw(t, n.Addr())
	w.send("WAIT", "1", "0")
	h := dialRaw(t, n.Addr())
	h.send("BLOCK")
	h.send("PING") // unread bytes do not hide the end of the connection
	<-blocked
	if got := n.Status().Clients; got != 2 {
		t.Errorf("%d clients", got)
	}
	w.Close()
	h.Close()
	<-ended
	eventually(t, "the clients are gone", func() bool { return n.Status().Clients == 0 })
}

// Commands that arrive while the client is blocked are executed afterwards.
func TestPipelineBehindWait(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	r.send("WAIT", "1", "20")
	r.send("ECHO", strings.Repeat("x", 100_000))
	r.expect(":0\r\n$100000\r\n" + strings.Repeat("x", 100_000) + "\r\n")
	if got := r.do("PING"); got != "+PONG" {
		t.Errorf("got %q", got)
	}
}

// A full resync to a lower offset resets the offsets of the old history. Once, after a promotion,
// Apply waited without end for replicas to reach the old offset, and WAIT sent no GETACK.
func TestWaitsAfterLowerOffset(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 100*time.Millisecond
	n, _ := start(t, c)
	for range 5 {
		apply(t, n, unit("SET", "k", strings.Repeat("x", 1000)))
	}
	w := dialRaw(t, n.Addr())
	w.do("WAIT", "1", "1") // sends GETACK to the replicas
	n.SetComplete(true)
	set := string(unit("SET", "k", "v"))
	up := script(t, func(int, string) string { return fullResync(5, set) })
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node follows",
		func() bool { return n.Offset() == replog.Offset(5+len(set)) })
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	below, _ := follow(t, n.Addr())
	replicaOnline(t, n, below.Addr())
	at := apply(t, n, unit("SET", "k", "2"))
	if got := w.do("WAIT", "1", "0"); got != ":1" {
		t.Errorf("WAIT gets %q", got)
	}
	if n.Offset() == at {
		t.Error("WAIT sent no GETACK")
	}
}

// WAIT ends with an error when the node becomes a replica. It must not count replicas that
// acknowledge offsets of the new history.
func TestWaitAcrossDemotion(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "mine", "x"))
	waiting := []*rawConn{dialRaw(t, n.Addr()), dialRaw(t, n.Addr())}
	waiting[0].send("WAIT", "1", "0")
	waiting[1].send("WAITAOF", "0", "1", "0")
	eventually(t, "both commands block", func() bool {
		return strings.Contains(client(t, n.Addr()).Info(t.Context(), "clients").Val(),
			"blocked_clients:2\r\n")
	})
	if err := n.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	const unblocked = "-UNBLOCKED force unblock from blocking operation, " +
		"instance state changed (master -> replica?)"
	for _, r := range waiting {
		if got := r.line(); got != unblocked {
			t.Errorf("got %q", got)
		}
		if b, err := r.r.ReadByte(); err == nil {
			t.Errorf("the connection stays open and gets %q", b)
		}
	}
}

func TestAcknowledgementsAndWait(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	if st := n.Status().Replicas; len(st) != 1 || st[0].State == replication.ReplicaOnline ||
		st[0].Addr != "127.0.0.1:7777" {
		t.Errorf("got %+v", st)
	}
	c := client(t, n.Addr())
	if got := c.Wait(t.Context(), 1, 10*time.Millisecond).Val(); got != 0 {
		t.Errorf("WAIT counts %d", got)
	}
	r.send("REPLCONF", "ACK", from.String(), "FACK", from.String())
	eventually(t, "the replica is online",
		func() bool { return n.Status().Replicas[0].State == replication.ReplicaOnline })
	at := apply(t, n, unit("SET", "k", "v"))
	got := make(chan int64, 1)
	go func() { got <- c.Wait(t.Context(), 1, 0).Val() }()
	ask := string(unit("REPLCONF", "GETACK", "*"))
	r.expect(string(unit("SELECT", "0")) + ask + string(unit("SET", "k", "v")) + ask)
	// An acknowledgement beyond the sent bytes, or below an earlier one, is ignored.
	r.send("REPLCONF", "ACK", "999999999")
	if count := <-got; count != 1 {
		t.Errorf("WAIT counts %d", count)
	}
	r.send("REPLCONF", "ACK", "1")
	r.send("REPLCONF", "ACK", at.String())
	eventually(t, "the acknowledgement is seen",
		func() bool { return n.Status().Replicas[0].Acked == n.Offset() })
	info := c.Info(t.Context(), "replication").Val()
	want := fmt.Sprintf("slave0:ip=127.0.0.1,port=7777,state=online,offset=%d,lag=0\r\n",
		n.Offset())
	if !strings.Contains(info, want) {
		t.Errorf("INFO shows %s", info)
	}
}
