package replication_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
)

// startWriting starts three writers to a node. They run until stop is called.
func startWriting(t *testing.T, n *replication.Node) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	_, term := n.Role()
	write := func(prefix string) {
		pause := time.NewTicker(3 * time.Millisecond)
		defer pause.Stop()
		for i := 0; ; i++ {
			id := strconv.Itoa(i % 500)
			for _, u := range [][]byte{
				atomically(
					unit("HSET", prefix+":"+id, "n", strconv.Itoa(i)),
					unit("SADD", prefix, id),
				),
				unit("DEL", prefix+":"+strconv.Itoa(i*7%500)),
			} {
				if _, err := n.Apply(context.Background(), term, u); err != nil {
					t.Error(err)
					return
				}
			}
			select {
			case <-pause.C:
			case <-done:
				return
			}
		}
	}
	for i := range 3 {
		wg.Go(func() { write("live" + strconv.Itoa(i)) })
	}
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// absence is one way in which a replica leaves its node and reconnects.
type absence struct {
	name     string
	memory   int64 // Log.Memory
	keep     int64 // Log.Keep
	cut      bool  // the link is cut
	written  int   // kilobytes written during the absence, besides the writers'
	partials int64
	fulls    int64
}

// absences are the conditions of Redis's test replication-psync, with three writers. Whether a
// replica that reconnects gets a partial resync depends only on what the log still holds, not on
// the length of the absence or on memory.
var absences = []absence{
	{"no reconnection", 1 << 20, 1 << 30, false, 200, 0, 1},
	{"ok psync", 1 << 20, 1 << 30, true, 0, 1, 1},
	{"no backlog in memory", 1, 1 << 30, true, 500, 1, 1},
	{"ok after delay", 64 << 10, 1 << 30, true, 3000, 1, 1},
	{"backlog expired", 64 << 10, 128 << 10, true, 3000, 0, 2},
}

func TestReconnectingReplica(t *testing.T) {
	servertest.Need(t, kinds...)
	for i, kind := range kinds {
		for j, load := range []string{"disabled", "swapdb"} {
			if (i+j)%2 != 0 && !long {
				continue // each kind with one way of loading, and each way with some kind
			}
			t.Run(fmt.Sprintf("%s, load %s", kind, load), func(t *testing.T) {
				t.Parallel()
				srv := servertest.Cache(t, kind,
					servers.CacheOptions{Args: []string{"--repl-diskless-load", load}})
				for _, a := range absences {
					t.Run(a.name, func(t *testing.T) { reconnect(t, srv, a) })
				}
			})
		}
	}
}

func reconnect(t *testing.T, srv *servers.Cache, a absence) {
	conf := config(t)
	conf.Log = replog.Config{Memory: a.memory, SegmentSize: 64 << 10, Keep: a.keep}
	if a.fulls > 1 {
		// If a link is cut before the replica has caught up with its first full sync, the log is
		// kept for so long.
		conf.Timeout = 8 * time.Second
	}
	n, _ := complete(t, conf)
	fill(t, n, "a", 200)
	replicaFrom(t, srv, n.Addr())
	caughtUp(t, n, srv.Addr())
	// The server's first PSYNC was rejected if it was another node's replica before.
	rejected := n.Status().PartialsRejected
	stop := startWriting(t, n)
	at := n.Offset()
	if a.cut {
		// The server is stopped, and its connection is cut.
		if err := srv.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if cut := killClients(t, n.Addr(), "replica"); cut != 1 {
			t.Errorf("%d links were cut", cut)
		}
		at = n.Offset() // the server has no later bytes
	}
	for i := range a.written {
		apply(t, n, unit("SET", "away:"+strconv.Itoa(i%100), strings.Repeat("x", 1000)))
	}
	if a.fulls > 1 {
		eventually(t, "the log is removed", func() bool {
			// After a new snapshot a restart needs no earlier log either.
			if _, err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			apply(t, n, unit("SET", "k", strings.Repeat("x", 200_000)))
			return n.Status().LogStart > at
		})
	}
	eventually(t, "the writers continue",
		func() bool { return n.Offset() > at+replog.Offset(a.written)<<10+10_000 })
	if a.cut {
		if err := srv.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the replica is online again, under load", func() bool {
			st := n.Status()
			return st.PartialSyncs+st.FullSyncs > 1 && len(st.Replicas) == 1 &&
				st.Replicas[0].State == replication.ReplicaOnline
		})
	}
	stop()
	caughtUp(t, n, srv.Addr())
	equal(t, n.Addr(), srv.Addr())
	c := client(t, n.Addr())
	for name, want := range map[string]int64{
		"sync_full":        a.fulls,
		"sync_partial_ok":  a.partials,
		"sync_partial_err": a.fulls - 1 + rejected,
	} {
		if got := field(c, "stats", name); got != strconv.FormatInt(want, 10) {
			t.Errorf("%s is %s, want %d", name, got, want)
		}
	}
}

// A replica that is stopped with its connection open delays nothing: the other replicas continue,
// and later the replica continues from disk.
func TestHangingReplica(t *testing.T) {
	servertest.Need(t, servers.Redis, servers.Valkey)
	conf := config(t)
	conf.Log = replog.Config{Memory: 64 << 10, SegmentSize: 256 << 10}
	n, _ := complete(t, conf)
	fill(t, n, "a", 200)
	stopped, running := attach(t, servers.Redis, n.Addr()), attach(t, servers.Valkey, n.Addr())
	caughtUp(t, n, stopped.Addr())
	caughtUp(t, n, running.Addr())
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	big(t, n, 24) // more than sockets hold
	caughtUp(t, n, running.Addr())
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, n, stopped.Addr())
	equal(t, n.Addr(), stopped.Addr())
	if st := n.Status(); st.FullSyncs != 2 || st.PartialSyncs != 0 {
		t.Errorf("%d full and %d partial resyncs", st.FullSyncs, st.PartialSyncs)
	}
}
