package replication_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/resp"
)

// All commands of an EXEC read the data of one moment, although units are applied during the EXEC.
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
			both := atomically(unit("SET", "a", v), unit("HSET", "b", "n", v))
			if _, err := n.Apply(context.Background(), term, both); err != nil {
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
// still read the data from before. Once, EXEC blocked the appender until its last command.
func TestTransactionDoesNotBlockWriter(t *testing.T) {
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

func TestTransactionOfReads(t *testing.T) {
	n, _ := start(t, config(t))
	apply(t, n, unit("SET", "k", "v"))
	c := client(t, n.Addr())
	cmds, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Get(t.Context(), "k")
		p.Exists(t.Context(), "none")
		p.Info(t.Context(), "replication")
		return nil
	})
	if err != nil || len(cmds) != 3 || cmds[0].(*redis.StringCmd).Val() != "v" {
		t.Errorf("got %v, %v", cmds, err)
	}
}

// EXEC of commands that were queued before the link broke fails with the error of Redis. Once, it
// read the stale data.
func TestTransactionAfterLinkLoss(t *testing.T) {
	servertest.Need(t, servers.Redis)
	a, stop := complete(t, config(t))
	apply(t, a, unit("SET", "k", "v"))
	c := config(t)
	c.ReplicaOf, c.RejectStaleData = a.Addr(), true
	n, _ := start(t, c)
	srv := servertest.Cache(t, servers.Redis,
		servers.CacheOptions{Args: append(replicaOf(a.Addr()), "--replica-serve-stale-data", "no")})
	equal(t, a.Addr(), n.Addr())
	equal(t, a.Addr(), srv.Addr())
	scripts := []struct{ before, after []string }{
		{[]string{"MULTI", "GET k"}, []string{"EXEC", "EXEC"}},
		{[]string{"MULTI", "GET k"}, []string{"GET k", "EXEC", "SELECT 0"}},
		{[]string{"MULTI", "PING"}, []string{"EXEC"}},
		{[]string{"MULTI", "SELECT 0", "SELECT 0"}, []string{"GET k", "EXEC"}},
		{[]string{"MULTI", "NOSUCH", "GET k"}, []string{"EXEC"}},
		{[]string{"MULTI", "GET k"}, []string{"DISCARD", "MULTI", "EXEC"}},
	}
	run := func(r *rawConn, commands []string) (replies []string) {
		for _, command := range commands {
			replies = append(replies, r.do(strings.Fields(command)...))
		}
		return replies
	}
	var ours, theirs []*rawConn
	for _, s := range scripts {
		ours, theirs = append(ours, dialRaw(t, n.Addr())), append(theirs, dialRaw(t, srv.Addr()))
		run(ours[len(ours)-1], s.before)
		run(theirs[len(theirs)-1], s.before)
	}
	stop()
	sc := client(t, srv.Addr())
	eventually(t, "both links are down", func() bool {
		return n.Status().Upstream.State != replication.LinkConnected &&
			field(sc, "replication", "master_link_status") == "down"
	})
	for i, s := range scripts {
		got, want := run(ours[i], s.after), run(theirs[i], s.after)
		if !slices.Equal(got, want) {
			t.Errorf("%q, and without the link %q: got %q, Redis replies %q",
				s.before, s.after, got, want)
		}
	}
}
