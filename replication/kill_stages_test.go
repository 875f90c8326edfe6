package replication_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// stage is a moment at which a process is killed.
type stage struct {
	name string
	// run brings the process to the stage, kills and restarts it. It sets c.master to the member
	// that is the master then.
	run       func(c *cluster)
	fullSyncs int  // full resyncs that the stage causes in all
	newID     bool // a master begins a new replication id
}

// Each process of a small cluster is killed at each stage of its work. In the end all members have
// all confirmed data at one offset under one id. A full resync and a new id occur only in the
// stages of the table that list them.
var stages = []stage{
	{"master, while the first load runs", firstLoad, 0, false},
	{"master, while it streams", func(c *cluster) { c.underLoad(c.master) }, 0, false},
	{"master, while it writes a snapshot", snapshotBeingWritten, 0, false},
	{"master, while it sends a snapshot that it writes", snapshotBeingSent, 2, false},
	{"master, with a complete snapshot that has no final name yet", snapshotOnDisk, 0, false},
	{
		"master, with a new snapshot beside the old one",
		func(c *cluster) { snapshotInPlace(c, true) }, 0, false,
	},
	{
		"master, with a new snapshot and the log that it makes unnecessary",
		func(c *cluster) { snapshotInPlace(c, false) }, 0, false,
	},

	{"master, while it starts", func(c *cluster) { starting(c, c.master) }, 0, false},
	{"replica, while it starts", func(c *cluster) { starting(c, c.node) }, 0, false},

	{"replica, before its promotion is on disk", promotionNotOnDisk, 0, false},
	{"master, promoted, before its first write", promoted, 0, true},
	{"master, promoted, while it writes its first unit", promotedAndWriting, 0, true},

	{"master, while FAILOVER waits for the replica", masterWaitsForReplica, 0, false},
	{"replica, while FAILOVER waits for the replica", replicaWaitedFor, 0, false},
	{
		"master, before FAILOVER is on disk",
		func(c *cluster) { handingOver(c, "failover.tmp") }, 0, false,
	},
	{
		"master, before its new role is on disk",
		func(c *cluster) { handingOver(c, identityFile) }, 0, false,
	},
	{"master, while it waits for the reply of a replica", masterWaitsForReply, 0, true},
	{
		"master, after the takeover, before it receives the reply",
		func(c *cluster) { tookOver(c, c.master) }, 0, true,
	},
	{"replica, before the takeover is on disk", replicaTakesOver, 0, true},
	{
		"replica, after the takeover, before it replies",
		func(c *cluster) { tookOver(c, c.node) }, 0, true,
	},

	{"master, with a complete replacement", func(c *cluster) { installs(c, "") }, 0, false},
	{
		"master, while it writes the replacement's snapshot",
		func(c *cluster) { installs(c, "resync.new") }, 0, false,
	},
	{
		"master, before the identity file names the replacement",
		func(c *cluster) { installs(c, identityFile) }, 0, false,
	},
	{
		"master, after the identity file names the replacement, before its new log is created",
		func(c *cluster) { installs(c, "create") }, 2, true,
	},
	{
		"master, with the replacement's data, before the old log is removed",
		func(c *cluster) { installs(c, "remove") }, 2, true,
	},

	{"replica, while it streams", func(c *cluster) { c.underLoad(c.node) }, 0, false},
	{"replica, while it receives a snapshot", replicaReceives, 2, false},
	{"replica, while it writes the received snapshot", replicaWrites, 2, false},
	{
		"replica, before the identity file names the new data",
		func(c *cluster) { replicaInstalls(c, identityFile) }, 2, false,
	},
	{
		"replica, after the identity file names the new data, before its new log is created",
		func(c *cluster) { replicaInstalls(c, "create") }, 1, false,
	},
	{
		"replica, at the same stage, and again while the next start completes it",
		replicaInstallsTwice, 1, false,
	},
	{
		"replica, before the old log is removed",
		func(c *cluster) { replicaInstalls(c, "remove") }, 1, false,
	},

	{"server, while it streams", func(c *cluster) { c.underLoad(c.server) }, 0, false},
	{"server, while it receives a snapshot", serverReceives, 1, false},
	// The server starts with the snapshot that it received, and continues with a partial resync.
	{"server, while it loads a snapshot", serverLoads, 1, false},
}

const identityFile = "identity.tmp"

func TestKillNineAtEachStage(t *testing.T) {
	t.Parallel()
	servertest.Need(t, servers.Redis, servers.Valkey)
	real := []servers.Kind{servers.Redis}
	if long {
		real = append(real, servers.Valkey)
	}
	for _, kind := range real {
		t.Run(string(kind), func(t *testing.T) {
			c := newCluster(t, kind)
			for _, s := range stages {
				if !t.Run(s.name, func(t *testing.T) { c.stage(t, s) }) {
					break // the next stage would start from a wrong state
				}
			}
		})
	}
}

// cluster is a master with two replicas: a node and a real server.
type cluster struct {
	t                    *testing.T
	master, node, server *member
	n                    int // the newest confirmed value of key n
}

func newCluster(t *testing.T, kind servers.Kind) *cluster {
	c := &cluster{t: t, master: newNode(t, 256<<10), node: newNode(t, 256<<10)}
	c.master.do("COMPLETE")
	for i := range 3 {
		c.master.do("PUT", fmt.Sprint("big", i), strings.Repeat(strconv.Itoa(i), 1<<20))
	}
	c.node.follow(c.master)
	c.server = newServer(t, kind, c.master)
	c.put()
	c.waitEqual()
	return c
}

func (c *cluster) all() []*member { return []*member{c.master, c.node, c.server} }

func (c *cluster) fullSyncs() (count int) {
	for _, p := range c.all() {
		count += p.full + p.fullSyncs()
	}
	return count
}

func (c *cluster) id() string { return field(c.master.c, "replication", "master_replid") }

// put writes the next value of key n.
func (c *cluster) put() {
	c.t.Helper()
	c.master.do("PUT", "n", c.n+1)
	c.n++
}

// stage runs one stage and checks its outcome.
func (c *cluster) stage(t *testing.T, s stage) {
	c.t = t
	for _, p := range c.all() {
		p.t = t
	}
	c.put()
	c.waitEqual()
	fullSyncs, id := c.fullSyncs(), c.id()
	s.run(c)
	c.put()
	c.waitEqual()
	if got := c.fullSyncs() - fullSyncs; got != s.fullSyncs {
		t.Errorf("%d full resyncs, want %d", got, s.fullSyncs)
	}
	if now := c.id(); (now != id) != s.newID {
		t.Errorf("the id was %s and is %s", id, now)
	}
	for _, p := range []*member{c.master, c.node} {
		for _, name := range []string{
			"snapshot.new", "resync.new", "resync.new.tmp",
			"failover", "failover.tmp", identityFile,
		} {
			// A snapshot may still be written.
			eventually(t, name+" is removed",
				func() bool { return !exists(filepath.Join(p.dir, name)) })
		}
	}
}

// waitEqual waits until all members have the same data. It makes the server save them, so that the
// server's offset after a kill is not older than the log.
func (c *cluster) waitEqual() {
	c.t.Helper()
	if c.server.up != c.master {
		c.server.follow(c.master)
	}
	at := ""
	eventually(c.t, "all members have one offset and one id", func() bool {
		at = field(c.master.c, "replication", "master_repl_offset")
		for _, p := range []*member{c.node, c.server} {
			if field(p.c, "replication", "master_link_status") != "up" ||
				field(p.c, "replication", "slave_repl_offset") != at ||
				field(p.c, "replication", "master_replid") != c.id() {
				return false
			}
		}
		return at != ""
	})
	for _, p := range []*member{c.node, c.server} {
		equal(c.t, c.master.addr, p.addr)
	}
	if got := c.master.c.Get(c.t.Context(), "n").Val(); got != strconv.Itoa(c.n) {
		c.t.Errorf("n is %s, but %d was confirmed", got, c.n)
	}
	c.server.save()
}

// swap records that the node has become the master, and makes the old master follow it.
func (c *cluster) swap() {
	c.t.Helper()
	old := c.master
	c.master, c.node = c.node, old
	c.master.up = nil
	c.waitMaster(c.master)
	c.node.follow(c.master)
}

// waitMaster waits until p is a master.
func (c *cluster) waitMaster(p *member) {
	c.t.Helper()
	eventually(c.t, p.name()+" is a master",
		func() bool { return field(p.c, "replication", "role") == "master" })
}

// diverge promotes a replica and writes other data to it, so that it needs a full resync from the
// master.
func (c *cluster) diverge(p *member) {
	c.t.Helper()
	p.follow(nil)
	p.do(p.writeCommand(), "of my own", "1")
}

// background sends a command that gets no reply before the process is killed.
func (c *cluster) background(p *member, args ...any) (done func()) {
	var wg sync.WaitGroup
	wg.Go(func() { p.c.Do(context.Background(), args...) })
	return wg.Wait
}

// underLoad kills p while units are written.
func (c *cluster) underLoad(p *member) {
	half, stop := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	confirmed := c.n
	writer.Go(func() {
		for i := c.n + 1; ; {
			select {
			case <-stop:
				return
			default:
			}
			if c.master.c.Do(context.Background(), "PUT", "n", i).Err() != nil {
				time.Sleep(time.Millisecond)
				continue // retry the unit, which may have been written
			}
			if confirmed = i; i == c.n+100 {
				close(half)
			}
			i++
		}
	})
	<-half
	p.kill()
	p.start()
	close(stop)
	writer.Wait()
	c.n = confirmed
	c.put() // an unconfirmed unit may be there, too
}
