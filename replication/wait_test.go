package replication_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
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
	) // what was not sent cannot be acknowledged
	ask := dialRaw(t, n.Addr())
	ask.send("WAITAOF", "1", "0", "0")
	ask.expect("*2\r\n:1\r\n:0\r\n")
	ask.send("WAITAOF", "1", "1", "0")
	r.send("REPLCONF", "ACK", at.String()) // applied, but not on its disk
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
	eventually(t, "it is online", func() bool {
		st := n.Status().Replicas
		return len(st) == 1 && st[0].State == replication.ReplicaOnline
	})
	apply(t, n, unit("SET", "k", "v"))
	got, err := client(t,
		n.Addr()).Do(t.Context(), "WAITAOF", 1, 1, int(patience/time.Millisecond)).
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
	h.send("PING") // what it sent on does not hide its end
	<-blocked
	if got := n.Status().Clients; got != 2 {
		t.Errorf("%d clients", got)
	}
	w.Close()
	h.Close()
	<-ended
	eventually(t, "they are gone", func() bool { return n.Status().Clients == 0 })
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

// All commands of an EXEC read the data of one moment, however many units are applied meanwhile.
func TestTransactionReadsOneMoment(t *testing.T) {
	n, _ := start(t, config(t))
	apply(t, n, atomically(unit("SET", "a", "0"), unit("HSET", "b", "n", "0")))
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		_, term := n.Role()
		for i := 1; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			v := strconv.Itoa(i)
			if _, err := n.Apply(context.Background(), term, atomically(unit("SET", "a", v), unit("HSET", "b", "n", v))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	c := client(t, n.Addr())
	for range 300 {
		var a, b *redis.StringCmd
		if _, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			a = p.Get(t.Context(), "a")
			p.Info(t.Context())
			b = p.HGet(t.Context(), "b", "n")
			return nil
		}); err != nil || a.Val() != b.Val() {
			t.Fatalf("%q and %q in one transaction, %v", a.Val(), b.Val(), err)
		}
	}
	close(done)
	writer.Wait()
}

// EXEC does not block the appender: one of its own commands can write, and the commands after it
// still read the data from before. EXEC once blocked the appender until its last command.
func TestTransactionHoldsNobody(t *testing.T) {
	c := config(t)
	var n *replication.Node
	c.Commands = map[string]replication.Handler{
		"PUT": func(_ context.Context, dst []byte, _ int, _ [][]byte) []byte {
			_, term := n.Role()
			if _, err := n.Apply(context.Background(), term, unit("SET", "k", "new")); err != nil {
				return resp.AppendError(dst, "ERR "+err.Error())
			}
			return resp.AppendSimple(dst, "PUT")
		},
	}
	n, _ = start(t, c)
	apply(t, n, unit("SET", "k", "old"))
	r := dialRaw(t, n.Addr())
	for _, step := range []string{"MULTI", "GET k", "PUT", "GET k", "KEYS *"} {
		r.do(strings.Fields(step)...)
	}
	r.send("EXEC")
	r.expect("*4\r\n$3\r\nold\r\n+PUT\r\n$3\r\nold\r\n*1\r\n$1\r\nk\r\n")
}

// With MinReplicas, Apply waits until enough replicas keep up, and then continues by itself.
func TestMinReplicasHoldsApplyBack(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 200*time.Millisecond
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "0")) // nobody can follow before it is complete
	n.SetComplete(true)
	_, term := n.Role()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Apply(soon, term, unit("SET", "k", "1")); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("without replicas: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := n.Apply(context.Background(), term, unit("SET", "k", "2"))
		done <- err
	}()
	eventually(t, "it says so",
		func() bool { return strings.Contains(n.Status().Held, "0 of 1 replicas") })
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	eventually(t, "Apply goes on", func() bool {
		r.send("REPLCONF", "ACK", from.String())
		select {
		case err := <-done:
			return err == nil
		default:
			return false
		}
	})
	// The replica keeps acknowledging, but not the last write.
	stop := make(chan struct{})
	var acks sync.WaitGroup
	acks.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				ack := unit("REPLCONF", "ACK", from.String())
				r.Write(ack) //nolint:errcheck // it ends with the test
			}
		}
	})
	eventually(t, "it is held back again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := n.Apply(ctx, term, unit("SET", "k", "3"))
		return errors.Is(err, context.DeadlineExceeded)
	})
	close(stop)
	acks.Wait()
	if info := client(t, n.Addr()).Info(t.Context(), "replication").Val(); !strings.Contains(info,
		"min_slaves_good_slaves:0\r\n") {
		t.Errorf("INFO says %s", info)
	}
	// A waiting Apply returns an error at a demotion.
	go func() {
		_, err := n.Apply(context.Background(), term, unit("SET", "k", "4"))
		done <- err
	}()
	eventually(t, "it waits", func() bool { return n.Status().Held != "" })
	if err := n.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, replication.ErrDemoted) {
		t.Errorf("got %v", err)
	}
}

// MinReplicas applies to a node that becomes the master by FAILOVER, too: it writes when the former
// master, now its only replica, follows. When a failover ends, other reasons for a write stall
// remain. They were once lost, and Apply waited without a reason in Status.
func TestMinReplicasAndFailover(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 200*time.Millisecond
	a, _ := complete(t, c)
	bc := config(t)
	bc.MinReplicas, bc.MinReplicasMaxLag, bc.ReplicaOf = c.MinReplicas, c.MinReplicasMaxLag, a.Addr()
	b, stopB := start(t, bc)
	replicaOnline(t, a, b.Addr())
	apply(t, a, unit("SET", "k", "0"))

	_, term := a.Role()
	demoted := make(chan error, 1)
	written := 0
	go func() {
		for {
			if _, err := a.Apply(context.Background(), term, unit("SET", "k", strconv.Itoa(written+1))); err != nil {
				demoted <- err
				return
			}
			written++
		}
	}()
	failoverTo(t, a.Addr(), b.Addr())
	if err := <-demoted; !errors.Is(err, replication.ErrDemoted) {
		t.Errorf("the writer gets %v", err)
	}
	eventually(t, "the role changed",
		func() bool { role, _ := b.Role(); return role == replication.Master })
	if v, _ := b.Keyspace().Get("k"); string(v) != strconv.Itoa(written) {
		t.Errorf("the new master has unit %s of %d", v, written)
	}
	apply(t, b, unit("SET", "k", "there")) // it waits for a to follow
	failoverTo(t, b.Addr(), a.Addr())
	eventually(t, "the role is back", func() bool {
		role, _ := a.Role()
		return role == replication.Master && b.Status().Failover == "no-failover"
	})
	apply(t, a, unit("SET", "k", "back"))
	equal(t, a.Addr(), b.Addr())
	if full := a.Status().FullSyncs + b.Status().FullSyncs; full != 1 {
		t.Errorf("%d full resyncs", full)
	}

	// A silent replica replaces b: Apply stalls for both reasons.
	stopB()
	r := dialRaw(t, a.Addr())
	psync(r, a.Status().ID, strconv.FormatInt(int64(a.Offset())+1, 10))
	apply(t, a, unit("SET", "k", "1"))
	_, term = a.Role()
	done := make(chan error, 1)
	eventually(t, "it does not count any more", func() bool { return a.Status().GoodReplicas == 0 })
	go func() {
		_, err := a.Apply(context.Background(), term, unit("SET", "k", "2"))
		done <- err
	}()
	const lacking = "0 of 1 replicas"
	eventually(t, "it says so", func() bool { return strings.HasPrefix(a.Status().Held, lacking) })
	failoverTo(t, a.Addr(), "127.0.0.1:7777")
	eventually(t, "it says that, too",
		func() bool { return strings.Contains(a.Status().Held, "failover") })
	if err := a.AbortFailover(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is over", func() bool {
		return a.Status().Failover == "no-failover" &&
			!strings.Contains(a.Status().Held, "failover")
	})
	if held := a.Status().Held; !strings.HasPrefix(held, lacking) {
		t.Errorf("Apply waits, and says %q", held)
	}
	eventually(t, "Apply goes on", func() bool {
		r.send("REPLCONF", "ACK", a.Offset().String())
		select {
		case err := <-done:
			return err == nil
		default:
			return false
		}
	})
	if held := a.Status().Held; held != "" {
		t.Errorf("nothing waits, and it says %q", held)
	}
}

// CONFIG SET sets all values or none, and REWRITE keeps them over a restart.
func TestSettingsAreKept(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	cl := client(t, n.Addr())
	do := func(args ...any) string {
		v, err := cl.Do(t.Context(), args...).Result()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(v)
	}
	for _, step := range [][2]string{
		{"CONFIG SET min-slaves-to-write 2 repl-timeout x", "ERR CONFIG SET failed (possibly related to argument 'repl-timeout') - argument couldn't be parsed into an integer"},
		{"CONFIG GET min-replicas-to-write", "map[min-replicas-to-write:0]"},
		{"CONFIG SET maxclients 0", "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 2147483647 inclusive"},
		{"CONFIG SET replica-serve-stale-data maybe", "ERR CONFIG SET failed (possibly related to argument 'replica-serve-stale-data') - argument must be 'yes' or 'no'"},
		{"CONFIG SET min-slaves-to-write 2 replica-serve-stale-data no masterauth sec\"ret", "OK"},
		{"CONFIG REWRITE", "OK"},
		{"CONFIG SET repl-timeout 7", "OK"},
	} {
		args := []any{}
		for _, a := range strings.Fields(step[0]) {
			args = append(args, a)
		}
		if got := do(args...); got != step[1] {
			t.Errorf("%s gives %q, want %q", step[0], got, step[1])
		}
	}
	stop()
	n, _ = start(t, c)
	cl = client(t, n.Addr())
	for name, want := range map[string]string{"min-replicas-to-write": "2", "slave-serve-stale-data": "no", "masterauth": `sec"ret`, "repl-timeout": "60"} {
		if got := cl.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// A full resync to a lower offset resets the offsets of the old stream. Once, after a promotion,
// Apply waited without end for replicas to reach the old offset, and WAIT sent no GETACK.
func TestWaitsAfterLowerOffset(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 100*time.Millisecond
	n, _ := start(t, c)
	for range 5 {
		apply(t, n, unit("SET", "k", strings.Repeat("x", 1000)))
	}
	w := dialRaw(t, n.Addr())
	w.do("WAIT", "1", "1") // it asks whoever is there
	n.SetComplete(true)
	set := string(unit("SET", "k", "v"))
	up := script(t, func(int, string) string { return fullResync(5, set) })
	if err := n.ReplicaOf(t.Context(), up.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows", func() bool { return n.Offset() == replog.Offset(5+len(set)) })
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	below, _ := follow(t, n.Addr())
	replicaOnline(t, n, below.Addr())
	at := apply(t, n, unit("SET", "k", "2"))
	if got := w.do("WAIT", "1", "0"); got != ":1" {
		t.Errorf("WAIT says %q", got)
	}
	if n.Offset() == at {
		t.Error("WAIT did not ask")
	}
}

// acking attaches a replica that keeps acknowledging at, which starts as the offset of its full
// resync, until the replica leaves.
func acking(t *testing.T, n *replication.Node) (at *atomic.Int64, leave func()) {
	t.Helper()
	r, at, left := dialRaw(t, n.Addr()), &atomic.Int64{}, make(chan struct{})
	at.Store(int64(psync(r, "?", "-1")))
	var acks sync.WaitGroup
	acks.Go(func() {
		for {
			ack := unit("REPLCONF", "ACK", replog.Offset(at.Load()).String())
			r.Write(ack) //nolint:errcheck // it ends with the test
			select {
			case <-left:
				r.Close()
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return at, sync.OnceFunc(func() { close(left); acks.Wait() })
}

// The last unit before a pause counts like every other: a replica that lacks the unit is lagging
// when the allowed lag is over.
func TestMinReplicasCountsTheLastUnit(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 50*time.Millisecond
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "1")) // nobody can follow before it is complete
	n.SetComplete(true)
	_, leave := acking(t, n)
	defer leave()
	eventually(t, "it counts", func() bool { return n.Status().GoodReplicas == 1 })
	apply(t, n, unit("SET", "k", "2"))
	eventually(t, "it does not any more", func() bool { return n.Status().GoodReplicas == 0 })
}

// A unit after a pause does not restart the allowed lag for units before the pause. Once, replicas
// that lacked those units counted as good again for that time.
func TestMinReplicasAfterPause(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 500*time.Millisecond
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "0")) // nobody can follow before it is complete
	n.SetComplete(true)
	whole, leave := acking(t, n)
	_, behindLeaves := acking(t, n)
	defer behindLeaves()
	defer leave()
	eventually(t, "both count", func() bool { return n.Status().GoodReplicas == 2 })
	whole.Store(int64(apply(t, n, unit("SET", "k", "before the pause"))))
	eventually(t, "one counts", func() bool { return n.Status().GoodReplicas == 1 })
	whole.Store(int64(apply(t, n, unit("SET", "k", "after the pause"))))
	leave()
	eventually(t, "it is gone", func() bool { return len(n.Status().Replicas) == 1 })
	if good := n.Status().GoodReplicas; good != 0 {
		t.Errorf(
			"%d replicas count, though the one that is left lacks what was written before the pause",
			good,
		)
	}
}

// WAIT ends with an error when the node becomes a replica. It must not count replicas that
// acknowledge offsets of the new history.
func TestWaitAcrossDemotion(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "mine", "x"))
	waiting := []*raw{dialRaw(t, n.Addr()), dialRaw(t, n.Addr())}
	waiting[0].send("WAIT", "1", "0")
	waiting[1].send("WAITAOF", "0", "1", "0")
	eventually(t, "they wait", func() bool {
		return strings.Contains(client(t, n.Addr()).Info(t.Context(), "clients").Val(),
			"blocked_clients:2\r\n")
	})
	if err := n.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	for _, r := range waiting {
		if got := r.line(); got != "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)" {
			t.Errorf("got %q", got)
		}
		if b, err := r.r.ReadByte(); err == nil {
			t.Errorf("the connection goes on with %q", b)
		}
	}
}

// No command blocks inside EXEC, not even the owner's: the data that an EXEC reads stay in memory
// until its last command ends.
func TestNothingWaitsInTransaction(t *testing.T) {
	c := config(t)
	c.Commands = map[string]replication.Handler{
		"BLOCK": func(ctx context.Context, dst []byte, _ int, _ [][]byte) []byte {
			<-ctx.Done()
			return resp.AppendSimple(dst, "ENDED")
		},
	}
	n, _ := complete(t, c)
	r := dialRaw(t, n.Addr())
	for _, step := range []string{"MULTI", "WAIT 1 0", "BLOCK"} {
		r.do(strings.Fields(step)...)
	}
	r.send("EXEC")
	r.expect("*2\r\n:0\r\n+ENDED\r\n")
}
