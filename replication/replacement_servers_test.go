package replication_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// serverReads counts the replies to reads of keys that the old and the new data have.
type serverReads struct{ old, new, loading, missing int }

// sampleServer reads shared keys of a real replica until stop is called.
func sampleServer(t *testing.T, addr string) (stop func() serverReads) {
	c := client(t, addr)
	ctx, cancel := context.WithCancel(t.Context())
	var r serverReads
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			v, err := c.Get(ctx, fmt.Sprint("k", i%sharedKeys)).Result()
			switch {
			case ctx.Err() != nil:
			case errors.Is(err, redis.Nil):
				r.missing++
			case err != nil && strings.HasPrefix(err.Error(), "LOADING"):
				r.loading++
			case err != nil:
				t.Errorf("%s: %v", addr, err)
				return
			case v == "old":
				r.old++
			case v == "new":
				r.new++
			}
		}
	})
	return func() serverReads {
		cancel()
		wg.Wait()
		return r
	}
}

// Stock replicas with repl-diskless-load swapdb never lose a key that is in both the old and the
// new data. They may answer LOADING while they load, because the replication id has changed. They
// are read all the time: while the replacement is built, installed, sent and loaded.
func TestReplacementOnRealReplicas(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			servertest.Need(t, kind)
			n, _ := complete(t, config(t))
			if err := fillShared(t.Context(), n.Node, "old"); err != nil {
				t.Fatal(err)
			}
			slow := []string{"--key-load-delay", "200"}
			if kind != servers.RedisOldest { // it has no such setting
				slow = append(slow, "--loading-process-events-interval-bytes", "1024")
			}
			var addrs []string
			for _, mode := range []string{"swapdb", "disabled"} {
				args := append([]string{"--repl-diskless-load", mode}, slow...)
				srv := servertest.Cache(t, kind,
					servers.CacheOptions{Args: append(args, replicaOf(n.Addr())...)})
				addrs = append(addrs, srv.Addr())
				caughtUp(t, n, srv.Addr())
			}
			var stops []func() serverReads
			for _, addr := range addrs {
				stops = append(stops, sampleServer(t, addr))
			}
			if err := replace(t.Context(), n, "new"); err != nil {
				t.Fatal(err)
			}
			for _, addr := range addrs {
				caughtUp(t, n, addr)
				equal(t, n.Addr(), addr)
			}
			apply(t, n, unit("SET", "after", "1"))
			for i, stop := range stops {
				caughtUp(t, n, addrs[i])
				equal(t, n.Addr(), addrs[i])
				r := stop()
				t.Logf("replica %d: %+v", i, r)
				if r.old == 0 || i == 0 && r.missing > 0 {
					t.Errorf("replica %d: %+v", i, r)
				}
			}
			if st := n.Status(); st.FullSyncs != 4 {
				t.Errorf("%d full resyncs", st.FullSyncs)
			}
		})
	}
}
