package replication_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
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
	{"replica, at the same stage, and again while the next start completes it", replicaInstallsTwice, 1, false},
	{"replica, before the old log is removed", func(c *cluster) { replicaInstalls(c, "remove") }, 1, false},

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

// firstLoad uses a master of its own. After the kill the master has all rows so far, and does not
// take them for complete data.
func firstLoad(c *cluster) {
	m := newNode(c.t, 1<<30)
	const rows = 200
	for i := range rows {
		m.do("PUT", fmt.Sprint("row", i), "1")
	}
	id := field(m.c, "replication", "master_replid")
	m.kill()
	m.start()
	if now := field(m.c, "replication", "master_replid"); now != id {
		c.t.Errorf("the id was %s and is %s", id, now)
	}
	if got := dialRaw(c.t, m.addr).do("PSYNC", "?", "-1"); !strings.HasPrefix(got, "-LOADING ") {
		c.t.Errorf("PSYNC gets %q", got)
	}
	if got := m.c.DBSize(c.t.Context()).Val(); got != rows {
		c.t.Errorf("the master has %d of %d rows", got, rows)
	}
	m.do("COMPLETE")
	m.kill()
	m.start()
	below, stop := follow(c.t, m.addr)
	equal(c.t, m.addr, below.Addr())
	stop()
}

// starting kills p at the end of a start, when it has read everything and has not replied yet.
func starting(c *cluster, p *member) {
	p.kill()
	g := p.gateFile(identityFile)
	p.spawn()
	g.waitHeld()
	p.end()
	g.open()
	p.start()
}

func snapshotBeingWritten(c *cluster) {
	c.master.gate.close(c.t, "snapshot")
	c.master.do("BGSAVE")
	c.master.gate.waitHeld(c.t, "snapshot")
	if info, err := os.Stat(filepath.Join(c.master.dir, "snapshot.new")); err != nil ||
		info.Size() == 0 {
		c.t.Errorf("the snapshot file is empty: %v", err)
	}
	c.master.kill()
	c.master.gate.open("snapshot")
	c.master.start()
}

// snapshotBeingSent adds an empty replica of its own.
func snapshotBeingSent(c *cluster) {
	c.master.gate.close(c.t, "snapshot")
	c.master.do("BGSAVE")
	c.master.gate.waitHeld(c.t, "snapshot")
	n, stop := follow(c.t, c.master.addr)
	c.sending(n.Addr())
	c.master.kill()
	c.master.gate.open("snapshot")
	eventually(c.t, "the replica has lost its link",
		func() bool { return n.Status().Upstream.State == replication.LinkIdle })
	if n.Keyspace().Len() > 0 || n.Status().Complete {
		c.t.Errorf("the replica installed half a snapshot: %+v", n.Status())
	}
	c.master.start()
	equal(c.t, c.master.addr, n.Addr())
	stop()
}

// sending waits until the master has begun to send a snapshot to addr.
func (c *cluster) sending(addr string) {
	c.t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	eventually(c.t, "the master sends a snapshot", func() bool {
		for line := range strings.Lines(c.master.c.Info(c.t.Context(), "replication").Val()) {
			if strings.Contains(line, ",port="+port+",state=send_bulk,") {
				return true
			}
		}
		return false
	})
}

func snapshotOnDisk(c *cluster) {
	c.master.gate.close(c.t, "sync")
	c.put() // the log has something to sync
	c.master.do("BGSAVE")
	eventually(c.t, "the file is complete", func() bool {
		f, err := os.Open(filepath.Join(c.master.dir, "snapshot.new"))
		if err != nil {
			return false
		}
		defer f.Close()
		_, err = rdb.Read(bufio.NewReader(f), keyspace.New(keyspace.Options{}).Loader())
		return err == nil
	})
	c.master.gate.waitHeld(c.t, "sync")
	c.master.kill()
	c.master.gate.open("sync")
	c.master.start()
}

// With both, the older snapshot is put back, as a kill right before its removal leaves it.
func snapshotInPlace(c *cluster, both bool) {
	c.master.do("BGSAVE") // the first snapshot
	eventually(c.t, "there is a snapshot",
		func() bool { return len(snapshotsIn(c.t, c.master.dir)) == 1 })
	for range 100 {
		c.master.do("PUT", "pad", strings.Repeat("x", 4<<10))
	}
	c.waitEqual()
	eventually(c.t, "no snapshot is running",
		func() bool { return field(c.master.c, "persistence", "rdb_bgsave_in_progress") == "0" })
	c.put()
	old := snapshotsIn(c.t, c.master.dir)[0]
	aside := filepath.Join(c.t.TempDir(), "old")
	if err := os.Link(old, aside); err != nil {
		c.t.Fatal(err)
	}
	c.master.gate.close(c.t, "remove")
	c.master.do("BGSAVE")
	c.master.gate.waitHeld(c.t, "remove")
	eventually(c.t, "the new snapshot has its final name", func() bool {
		files := snapshotsIn(c.t, c.master.dir)
		return len(files) == 1 && files[0] != old
	})
	c.master.kill()
	c.master.gate.open("remove")
	if both {
		if err := os.Link(aside, old); err != nil {
			c.t.Fatal(err)
		}
	}
	c.master.start()
	if len(snapshotsIn(c.t, c.master.dir)) == 0 {
		c.t.Error("there is no snapshot")
	}
}

func promotionNotOnDisk(c *cluster) {
	g := c.node.gateFile(identityFile)
	done := c.background(c.node, "REPLICAOF", "NO", "ONE")
	g.waitHeld()
	c.node.kill()
	done()
	g.open()
	c.node.start()
	if got := field(c.node.c, "replication", "role"); got != "slave" {
		c.t.Errorf("the role is %s", got)
	}
}

func promoted(c *cluster) {
	c.node.follow(nil)
	c.node.kill()
	c.node.start()
	c.swap()
}

func promotedAndWriting(c *cluster) {
	c.node.follow(nil)
	c.node.gate.close(c.t, "write")
	done := c.background(c.node, "PUT", "n", "never written")
	c.node.gate.waitHeld(c.t, "write")
	c.node.kill()
	done()
	c.node.gate.open("write")
	c.node.start()
	c.swap()
}

// failover makes the master hand its role over to an address.
func (c *cluster) failover(addr string) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	c.master.do("FAILOVER", "TO", host, port)
}

// waitFailover waits for a failover state of the master.
func (c *cluster) waitFailover(state string) {
	c.t.Helper()
	eventually(c.t, "the failover state is "+state,
		func() bool { return field(c.master.c, "replication", "master_failover_state") == state })
}

func masterWaitsForReplica(c *cluster) {
	signal(c.node, syscall.SIGSTOP)
	c.put()
	c.failover(c.node.addr)
	c.waitFailover("waiting-for-sync")
	c.master.kill()
	signal(c.node, syscall.SIGCONT)
	c.master.start()
	c.waitMaster(c.master)
}

// signal sends a signal to a node's process.
func signal(p *member, s syscall.Signal) {
	p.cmd.Process.Signal(s) //nolint:errcheck // an error fails the test later
}

// In replicaWaitedFor no replica attaches in time, so an operator aborts the failover.
func replicaWaitedFor(c *cluster) {
	before := c.node.fullSyncs()
	signal(c.node, syscall.SIGSTOP)
	c.put()
	c.failover(c.node.addr)
	c.waitFailover("waiting-for-sync")
	c.node.full += before
	c.node.end()
	c.node.start()
	c.waitFailover("waiting-for-sync")
	c.master.do("FAILOVER", "ABORT")
	c.waitFailover("no-failover")
}

// handingOver kills the master when the replica has acknowledged the last byte, and the named file
// is not written yet. The master keeps its role.
func handingOver(c *cluster, file string) {
	g := c.master.gateFile(file)
	c.failover(c.node.addr)
	g.waitHeld()
	c.master.kill()
	g.open()
	c.master.start()
	c.waitMaster(c.master)
	c.waitFailover("no-failover")
}

// viaProxy makes the master reach the node through a proxy.
func (c *cluster) viaProxy() *proxy {
	c.t.Helper()
	p := newProxy(c.t, c.node.addr, 0)
	_, port, _ := net.SplitHostPort(p.addr())
	c.node.do("CONFIG", "SET", "replica-announce-port", port)
	c.node.do("CLIENT", "KILL", "TYPE", "master")
	eventually(c.t, "the node is online at the proxy's address", func() bool {
		return strings.Contains(c.master.c.Info(c.t.Context(), "replication").Val(),
			",port="+port+",state=online,")
	})
	return p
}

// endProxy waits for the end of the failover and makes the node announce its own address again.
func (c *cluster) endProxy() {
	c.t.Helper()
	c.waitFailover("no-failover")
	c.waitMaster(c.node)
	c.node.do("CONFIG", "SET", "replica-announce-port", "0")
	c.swap()
}

func masterWaitsForReply(c *cluster) {
	p := c.viaProxy()
	p.limit.Store(0)
	c.failover(p.addr())
	eventually(c.t, "the master's new role is on disk",
		func() bool { return field(c.master.c, "replication", "role") == "slave" })
	c.master.kill()
	c.master.start()
	c.waitFailover("failover-in-progress")
	if got := field(c.node.c, "replication", "role"); got != "slave" {
		c.t.Errorf("the replica is a %s already", got)
	}
	p.limit.Store(1 << 40)
	c.endProxy()
}

// In tookOver the proxy cuts the reply to the takeover. The handshake before it is PING and three
// REPLCONF (port, version, capabilities).
func tookOver(c *cluster, killed *member) {
	p := c.viaProxy()
	p.limit.Store(int64(len("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+CON")))
	c.failover(p.addr())
	c.waitMaster(c.node)
	c.waitFailover("failover-in-progress")
	killed.kill()
	if killed == c.master {
		p.limit.Store(1 << 40)
	}
	killed.start()
	p.limit.Store(1 << 40)
	c.endProxy()
}

func replicaTakesOver(c *cluster) {
	g := c.node.gateFile(identityFile)
	c.failover(c.node.addr)
	g.waitHeld()
	c.waitFailover("failover-in-progress")
	c.node.kill()
	g.open()
	c.node.start()
	c.waitFailover("no-failover")
	c.swap()
}

// transfer starts a full resync of p whose snapshot stops in the middle until resume is called.
func (c *cluster) transfer(p *member) (resume func()) {
	c.t.Helper()
	c.diverge(p)
	c.master.gate.close(c.t, "snapshot")
	c.master.do("BGSAVE")
	c.master.gate.waitHeld(c.t, "snapshot")
	p.follow(c.master)
	c.sending(p.addr)
	return func() { c.master.gate.open("snapshot") }
}

func replicaReceives(c *cluster) {
	resume := c.transfer(c.node)
	c.node.kill()
	c.node.start()
	if got := c.node.c.Get(c.t.Context(), "of my own").Val(); got != "1" {
		c.t.Errorf("the old data are gone: %q", got)
	}
	resume()
}

func replicaWrites(c *cluster) {
	resume := c.transfer(c.node)
	g := c.node.gateFile("resync.new")
	resume()
	g.waitHeld()
	c.node.kill()
	g.open()
	c.node.start()
}

// replicaInstalls kills the node at a stage of installing the received data. It reads the count of
// full resyncs first, because a gate of the log may block INFO, too.
func replicaInstalls(c *cluster, at string) {
	before := c.node.fullSyncs()
	resume := c.transfer(c.node)
	var g *fileGate
	if at == identityFile {
		g = c.node.gateFile(at)
	} else {
		c.node.gate.close(c.t, at)
	}
	resume()
	if g != nil {
		g.waitHeld()
	} else {
		c.node.gate.waitHeld(c.t, at)
	}
	_, err := os.Stat(filepath.Join(c.node.dir, "resync.new"))
	if (err == nil) != (at == identityFile) {
		c.t.Errorf("the received file has its final name: %v", err != nil)
	}
	c.node.full += before
	c.node.end()
	if g != nil {
		g.open()
	}
	c.node.gate.open(at)
	c.node.start()
}

func replicaInstallsTwice(c *cluster) {
	before := c.node.fullSyncs()
	resume := c.transfer(c.node)
	c.node.gate.close(c.t, "create")
	resume()
	c.node.gate.waitHeld(c.t, "create")
	c.node.full += before
	c.node.end()
	c.node.gate.open("create")
	c.node.gate.close(c.t, "create")
	c.node.spawn()
	c.node.gate.waitHeld(c.t, "create")
	c.node.end()
	c.node.gate.open("create")
	c.node.start()
}

func serverReceives(c *cluster) {
	resume := c.transfer(c.server)
	c.server.kill()
	c.server.start()
	resume()
}

func serverLoads(c *cluster) {
	c.diverge(c.server)
	c.server.do("CONFIG", "SET", "key-load-delay", "500000",
		"loading-process-events-interval-bytes", "1024")
	c.server.follow(c.master)
	eventually(c.t, "the server loads",
		func() bool { return field(c.server.c, "persistence", "loading") == "1" })
	c.server.kill()
	c.server.start()
}
