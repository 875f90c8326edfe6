package replication_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// cascade is a group of members below one master, under a load of writes.
type cascade struct {
	t       *testing.T
	rnd     *rand.Rand
	members []*member
	load    sync.RWMutex // locked for writing while no unit may be written

	mu     sync.Mutex
	master *member
}

func (c *cascade) currentMaster() *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.master
}

// write writes to the master, one unit after another, until done is closed.
func (c *cascade) write(done <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		c.load.RLock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		master := c.currentMaster()
		key, value := fmt.Sprint("k", i%300), fmt.Sprint(i, strings.Repeat("x", i%200))
		err := master.c.Do(ctx, master.writeCommand(), key, value).Err()
		cancel()
		c.load.RUnlock()
		if err != nil { // the master was killed, or there is none now
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// offset returns a member's offset, or "down" if its link is down.
func (c *cascade) offset(m *member) string {
	if m.up == nil {
		return field(m.c, "replication", "master_repl_offset")
	}
	if field(m.c, "replication", "master_link_status") != "up" {
		return "down"
	}
	return field(m.c, "replication", "slave_repl_offset")
}

// quiesce stops the load and waits until all members have the same offset. resume lets the load
// continue.
func (c *cascade) quiesce() (resume func()) {
	c.load.Lock()
	c.t.Helper()
	at := ""
	eventually(c.t, "all members have the same offset", func() bool {
		at = c.offset(c.currentMaster())
		id := field(c.currentMaster().c, "replication", "master_replid")
		for _, m := range c.members {
			if c.offset(m) != at ||
				field(m.c, "replication", "master_replid") != id {
				return false
			}
		}
		return at != ""
	})
	return c.load.Unlock
}

// reshape makes another member the master and gives the nodes random upstreams. A real server stays
// below its node: after a kill it finds its upstream only in its arguments.
func (c *cascade) reshape(master *member) {
	order := []*member{master}
	for _, i := range c.rnd.Perm(len(c.members)) {
		if m := c.members[i]; m != master && m.isNode() {
			order = append(order, m)
		}
	}
	c.mu.Lock()
	c.master = master
	c.mu.Unlock()
	shape := master.name()
	if master.up != nil {
		master.follow(nil)
	}
	for i, m := range order[1:] {
		up := order[c.rnd.IntN(i+1)]
		shape += fmt.Sprintf(", %s below %s", m.name(), up.name())
		m.follow(up)
	}
	c.t.Log("the cascade is ", shape)
}

// step promotes, kills or disconnects a random member.
func (c *cascade) step() {
	m := c.members[c.rnd.IntN(len(c.members))]
	switch what := c.rnd.IntN(4); {
	case what == 0 && m.isNode(): // a planned promotion without load
		resume := c.quiesce()
		c.reshape(m)
		resume()
	case what == 1 && m.isNode() && m.up == c.currentMaster(): // FAILOVER under load
		c.quiesce()() // the member is online then
		c.t.Log("failover to ", m.name())
		old := c.currentMaster()
		failoverTo(c.t, old.addr, m.addr)
		eventually(c.t, "the role changed", func() bool {
			return field(m.c, "replication", "role") == "master" &&
				field(old.c, "replication", "master_failover_state") == "no-failover"
		})
		m.up, old.up = nil, m
		c.mu.Lock()
		c.master = m
		c.mu.Unlock()
	case what == 2: // all links to a member's replicas are cut
		c.t.Log("cut the links of ", m.name())
		m.c.ClientKillByFilter(c.t.Context(), "TYPE", "replica")
	default:
		c.t.Log("kill ", m.name())
		m.kill()
		for range c.rnd.IntN(3) {
			before := c.offset(c.currentMaster())
			if m == c.currentMaster() {
				break
			}
			eventually(c.t, "the other members continue",
				func() bool { return c.offset(c.currentMaster()) != before })
		}
		m.start()
	}
}

// randomSeeds yields count seeds. The first one is ROWFALL_SEED if that is set.
func randomSeeds(count int) iter.Seq[uint64] {
	first := uint64(time.Now().UnixNano())
	if v := os.Getenv("ROWFALL_SEED"); v != "" {
		first, _ = strconv.ParseUint(v, 10, 64)
	}
	return func(yield func(uint64) bool) {
		for i := range uint64(count) {
			if !yield(first + i) {
				return
			}
		}
	}
}

// Members of a cascade are killed, restarted, promoted and moved under load. Each member has one
// full resync, when it joins.
func TestCascadesNeverResyncFully(t *testing.T) {
	servertest.Need(t, servers.Redis, servers.Valkey)
	seeds, steps := 1, 10
	if os.Getenv("ROWFALL_LONG") != "" {
		seeds, steps = 10, 60
	}
	for seed := range randomSeeds(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := &cascade{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
			for range 3 {
				c.members = append(c.members, newNode(t, 1<<30))
			}
			c.members[0].do("COMPLETE")
			c.reshape(c.members[0])
			c.quiesce()()
			for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
				up := c.members[c.rnd.IntN(3)]
				srv := servertest.Cache(
					t, kind,
					servers.CacheOptions{
						Args: append([]string{"--save", "3600 1"}, replicaOf(up.addr)...),
					},
				)
				c.members = append(c.members,
					&member{t: t, srv: srv, addr: srv.Addr(), up: up, c: client(t, srv.Addr())})
			}
			done := make(chan struct{})
			var writer sync.WaitGroup
			c.quiesce()()
			writer.Go(func() { c.write(done) })
			for range steps {
				c.step()
			}
			resume := c.quiesce()
			close(done)
			resume()
			writer.Wait()
			full := 0
			for _, m := range c.members {
				full += m.full + m.fullSyncs()
				equal(t, c.currentMaster().addr, m.addr)
			}
			if full != len(c.members)-1 {
				t.Errorf("%d members had %d full resyncs in all", len(c.members), full)
			}
		})
	}
}
