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
	// run brings the process there, kills it, has it come back, and says in w who is
	// the master then.
	run   func(w *world)
	fulls int  // full resyncs that it costs in all
	newID bool // a master begins a new replication id
}

// Every process of a small tree is killed at every stage of what it can be doing.
// In the end all have all that was ever confirmed, at one offset under one id, and
// the id is another, and data are sent anew, exactly where that cannot be helped.
var stages = []stage{
	{"master, while the first load runs", firstLoad, 0, false},
	{"master, while it streams", func(w *world) { w.underLoad(w.master) }, 0, false},
	{"master, while it writes a snapshot", snapshotBeingWritten, 0, false},
	{"master, while it sends a snapshot that it writes", snapshotBeingSent, 2, false},
	{"master, with a snapshot on disk that has no name yet", snapshotOnDisk, 0, false},
	{
		"master, with a new snapshot beside the old one",
		func(w *world) { snapshotInPlace(w, true) }, 0, false,
	},
	{
		"master, with a new snapshot and the log that it makes needless",
		func(w *world) { snapshotInPlace(w, false) }, 0, false,
	},

	{"master, while it starts", func(w *world) { starting(w, w.master) }, 0, false},
	{"replica, while it starts", func(w *world) { starting(w, w.node) }, 0, false},

	{"replica, before its promotion is on disk", promotionNotOnDisk, 0, false},
	{"master, promoted and nothing written yet", promoted, 0, true},
	{"master, promoted, while it writes its first unit", promotedAndWriting, 0, true},

	{"master, while FAILOVER waits for the replica", masterWaitsForReplica, 0, false},
	{"replica, while FAILOVER waits for it", replicaWaitedFor, 0, false},
	{
		"master, before FAILOVER is on disk",
		func(w *world) { handingOver(w, "failover.tmp") }, 0, false,
	},
	{
		"master, before its new role is on disk",
		func(w *world) { handingOver(w, identityFile) }, 0, false,
	},
	{"master, while it asks a replica that does not answer", masterAsks, 0, true},
	{
		"master, after the replica took over and before it heard so",
		func(w *world) { tookOver(w, w.master) }, 0, true,
	},
	{"replica, before it took over", replicaTakesOver, 0, true},
	{
		"replica, after it took over and before it said so",
		func(w *world) { tookOver(w, w.node) }, 0, true,
	},

	{"replica, while it streams", func(w *world) { w.underLoad(w.node) }, 0, false},
	{"replica, while it receives a snapshot", replicaReceives, 2, false},
	{"replica, while it writes what it received", replicaWrites, 2, false},
	{
		"replica, before it says that this is its data",
		func(w *world) { replicaTakes(w, identityFile) }, 2, false,
	},
	{
		"replica, when it has said so, before its log begins anew",
		func(w *world) { replicaTakes(w, "create") }, 1, false,
	},
	{"replica, the same, and again while its start goes on with it", replicaTakesTwice, 1, false},
	{"replica, before the old log goes", func(w *world) { replicaTakes(w, "remove") }, 1, false},

	{"server, while it streams", func(w *world) { w.underLoad(w.server) }, 0, false},
	{"server, while it receives a snapshot", serverReceives, 1, false},
	// It begins with what it received, and goes on from there.
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
			w := newWorld(t, kind)
			for _, s := range stages {
				if !t.Run(s.name, func(t *testing.T) { w.stage(t, s) }) {
					break // the next one would begin with what this one left
				}
			}
		})
	}
}

// world is a master with a replica of ours and a real one.
type world struct {
	t                    *testing.T
	master, node, server *place
	n                    int // the newest value of "n" that was confirmed
}

func newWorld(t *testing.T, kind servers.Kind) *world {
	w := &world{t: t, master: newNode(t, 256<<10), node: newNode(t, 256<<10)}
	w.master.must("COMPLETE")
	for i := range 3 {
		w.master.must("PUT", fmt.Sprint("big", i), strings.Repeat(strconv.Itoa(i), 1<<20))
	}
	w.node.follow(w.master)
	w.server = newServer(t, kind, w.master)
	w.put()
	w.settle()
	return w
}

func (w *world) all() []*place { return []*place{w.master, w.node, w.server} }

func (w *world) fulls() (count int) {
	for _, p := range w.all() {
		count += p.full + p.given()
	}
	return count
}

func (w *world) id() string { return field(w.master.c, "replication", "master_replid") }

func (w *world) put() {
	w.t.Helper()
	w.master.must("PUT", "n", w.n+1)
	w.n++
}

func (w *world) stage(t *testing.T, s stage) {
	w.t = t
	for _, p := range w.all() {
		p.t = t
	}
	w.put()
	w.settle()
	fulls, id := w.fulls(), w.id()
	s.run(w)
	w.put()
	w.settle()
	if got := w.fulls() - fulls; got != s.fulls {
		t.Errorf("%d full resyncs, want %d", got, s.fulls)
	}
	if now := w.id(); (now != id) != s.newID {
		t.Errorf("the id was %s and is %s", id, now)
	}
	for _, p := range []*place{w.master, w.node} {
		for _, name := range []string{
			"snapshot.new", "resync.new", "resync.new.tmp",
			"failover", "failover.tmp", identityFile,
		} {
			// A snapshot may still be written.
			eventually(t, name+" is gone",
				func() bool { return !exists(filepath.Join(p.dir, name)) })
		}
	}
}

// settle waits until all hold the same. A server keeps that, so that what it asks
// for after a kill is not older than the log.
func (w *world) settle() {
	w.t.Helper()
	if w.server.up != w.master {
		w.server.follow(w.master)
	}
	at := ""
	eventually(w.t, "all are at one offset under one id", func() bool {
		at = field(w.master.c, "replication", "master_repl_offset")
		for _, p := range []*place{w.node, w.server} {
			if field(p.c, "replication", "master_link_status") != "up" ||
				field(p.c, "replication", "slave_repl_offset") != at ||
				field(p.c, "replication", "master_replid") != w.id() {
				return false
			}
		}
		return at != ""
	})
	for _, p := range []*place{w.node, w.server} {
		equal(w.t, w.master.addr, p.addr)
	}
	if got := w.master.c.Get(w.t.Context(), "n").Val(); got != strconv.Itoa(w.n) {
		w.t.Errorf("n is %s, and %d was confirmed", got, w.n)
	}
	w.server.save()
}

// swap makes the node the master, as it has become already.
func (w *world) swap() {
	w.t.Helper()
	old := w.master
	w.master, w.node = w.node, old
	w.master.up = nil
	w.isMaster(w.master)
	w.node.follow(w.master)
}

func (w *world) isMaster(p *place) {
	w.t.Helper()
	eventually(w.t, p.name()+" is a master",
		func() bool { return field(p.c, "replication", "role") == "master" })
}

// cutOff makes what a replica has another's than the master's: only a full resync
// will do.
func (w *world) cutOff(p *place) {
	w.t.Helper()
	p.follow(nil)
	p.must(p.writes(), "of my own", "1")
}

// while runs a command that does not come back before the process is killed.
func (w *world) while(p *place, args ...any) (done func()) {
	var wg sync.WaitGroup
	wg.Go(func() { p.c.Do(context.Background(), args...) })
	return wg.Wait
}

// underLoad kills whatever p does while units are written.
func (w *world) underLoad(p *place) {
	half, stop := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	confirmed := w.n
	writer.Go(func() {
		for i := w.n + 1; ; {
			select {
			case <-stop:
				return
			default:
			}
			if w.master.c.Do(context.Background(), "PUT", "n", i).Err() != nil {
				time.Sleep(time.Millisecond)
				continue // it is written again, whether it was written or not
			}
			if confirmed = i; i == w.n+100 {
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
	w.n = confirmed
	w.put() // what was not confirmed may be there
}

// A master of its own: what was written so far is there after the kill, and is not
// passed for all there is.
func firstLoad(w *world) {
	m := newNode(w.t, 1<<30)
	const rows = 200
	for i := range rows {
		m.must("PUT", fmt.Sprint("row", i), "1")
	}
	id := field(m.c, "replication", "master_replid")
	m.kill()
	m.start()
	if now := field(m.c, "replication", "master_replid"); now != id {
		w.t.Errorf("the id was %s and is %s", id, now)
	}
	if got := dialRaw(w.t, m.addr).do("PSYNC", "?", "-1"); !strings.HasPrefix(got, "-LOADING ") {
		w.t.Errorf("PSYNC gets %q", got)
	}
	if got := m.c.DBSize(w.t.Context()).Val(); got != rows {
		w.t.Errorf("it has %d of %d rows", got, rows)
	}
	m.must("COMPLETE")
	m.kill()
	m.start()
	below, stop := follow(w.t, m.addr)
	equal(w.t, m.addr, below.Addr())
	stop()
}

// starting kills it at the end of a start, with all read and nothing answered.
func starting(w *world, p *place) {
	p.kill()
	d := p.dam(identityFile)
	p.spawn()
	d.held()
	p.end()
	d.remove()
	p.start()
}

func snapshotBeingWritten(w *world) {
	w.master.gate.shut(w.t, "snapshot")
	w.master.must("BGSAVE")
	w.master.gate.held(w.t, "snapshot")
	if info, err := os.Stat(filepath.Join(w.master.dir, "snapshot.new")); err != nil ||
		info.Size() == 0 {
		w.t.Errorf("nothing is written: %v", err)
	}
	w.master.kill()
	w.master.gate.open("snapshot")
	w.master.start()
}

// The replica is one more, which has nothing yet.
func snapshotBeingSent(w *world) {
	w.master.gate.shut(w.t, "snapshot")
	w.master.must("BGSAVE")
	w.master.gate.held(w.t, "snapshot")
	n, stop := follow(w.t, w.master.addr)
	w.sending(n.Addr())
	w.master.kill()
	w.master.gate.open("snapshot")
	eventually(w.t, "it knows",
		func() bool { return n.Status().Upstream.State == replication.LinkIdle })
	if n.Keyspace().Len() > 0 || n.Status().Complete {
		w.t.Errorf("it took half a snapshot: %+v", n.Status())
	}
	w.master.start()
	equal(w.t, w.master.addr, n.Addr())
	stop()
}

// sending waits until the master has begun to send a snapshot to addr.
func (w *world) sending(addr string) {
	w.t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	eventually(w.t, "it is being sent a snapshot", func() bool {
		for line := range strings.Lines(w.master.c.Info(w.t.Context(), "replication").Val()) {
			if strings.Contains(line, ",port="+port+",state=send_bulk,") {
				return true
			}
		}
		return false
	})
}

func snapshotOnDisk(w *world) {
	w.master.gate.shut(w.t, "sync")
	w.put() // there is something to sync
	w.master.must("BGSAVE")
	eventually(w.t, "the file is whole", func() bool {
		f, err := os.Open(filepath.Join(w.master.dir, "snapshot.new"))
		if err != nil {
			return false
		}
		defer f.Close()
		_, err = rdb.Read(bufio.NewReader(f), keyspace.New(keyspace.Options{}).Loader())
		return err == nil
	})
	w.master.gate.held(w.t, "sync")
	w.master.kill()
	w.master.gate.open("sync")
	w.master.start()
}

// Both: the older snapshot is put back, as a kill a moment before its removal leaves it.
func snapshotInPlace(w *world, both bool) {
	w.master.must("BGSAVE") // so that there is one
	eventually(w.t, "there is a snapshot",
		func() bool { return len(snapshotsIn(w.t, w.master.dir)) == 1 })
	for range 100 {
		w.master.must("PUT", "pad", strings.Repeat("x", 4<<10))
	}
	w.settle()
	eventually(w.t, "no snapshot is under way",
		func() bool { return field(w.master.c, "persistence", "rdb_bgsave_in_progress") == "0" })
	w.put()
	old := snapshotsIn(w.t, w.master.dir)[0]
	aside := filepath.Join(w.t.TempDir(), "old")
	if err := os.Link(old, aside); err != nil {
		w.t.Fatal(err)
	}
	w.master.gate.shut(w.t, "remove")
	w.master.must("BGSAVE")
	w.master.gate.held(w.t, "remove")
	eventually(w.t, "the new one has its name", func() bool {
		files := snapshotsIn(w.t, w.master.dir)
		return len(files) == 1 && files[0] != old
	})
	w.master.kill()
	w.master.gate.open("remove")
	if both {
		if err := os.Link(aside, old); err != nil {
			w.t.Fatal(err)
		}
	}
	w.master.start()
	if len(snapshotsIn(w.t, w.master.dir)) == 0 {
		w.t.Error("there is no snapshot")
	}
}

func promotionNotOnDisk(w *world) {
	d := w.node.dam(identityFile)
	done := w.while(w.node, "REPLICAOF", "NO", "ONE")
	d.held()
	w.node.kill()
	done()
	d.remove()
	w.node.start()
	if got := field(w.node.c, "replication", "role"); got != "slave" {
		w.t.Errorf("it is a %s", got)
	}
}

func promoted(w *world) {
	w.node.follow(nil)
	w.node.kill()
	w.node.start()
	w.swap()
}

func promotedAndWriting(w *world) {
	w.node.follow(nil)
	w.node.gate.shut(w.t, "write")
	done := w.while(w.node, "PUT", "n", "never written")
	w.node.gate.held(w.t, "write")
	w.node.kill()
	done()
	w.node.gate.open("write")
	w.node.start()
	w.swap()
}

// failover asks the master to hand over to an address, by default the node's.
func (w *world) failover(addr string) {
	w.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	w.master.must("FAILOVER", "TO", host, port)
}

func (w *world) failoverIs(state string) {
	w.t.Helper()
	eventually(w.t, "the failover's state is "+state,
		func() bool { return field(w.master.c, "replication", "master_failover_state") == state })
}

func masterWaitsForReplica(w *world) {
	hang(w.node, syscall.SIGSTOP)
	w.put()
	w.failover(w.node.addr)
	w.failoverIs("waiting-for-sync")
	w.master.kill()
	hang(w.node, syscall.SIGCONT)
	w.master.start()
	w.isMaster(w.master)
}

func hang(p *place, s syscall.Signal) {
	p.cmd.Process.Signal(s) //nolint:errcheck // it runs, or the test finds out
}

// Nobody follows while it waits: it is told to give up.
func replicaWaitedFor(w *world) {
	given := w.node.given()
	hang(w.node, syscall.SIGSTOP)
	w.put()
	w.failover(w.node.addr)
	w.failoverIs("waiting-for-sync")
	w.node.full += given
	w.node.end()
	w.node.start()
	w.failoverIs("waiting-for-sync")
	w.master.must("FAILOVER", "ABORT")
	w.failoverIs("no-failover")
}

// handingOver kills the master when its last byte is acknowledged and a file is
// still to be written: it is the master as before.
func handingOver(w *world, file string) {
	d := w.master.dam(file)
	w.failover(w.node.addr)
	d.held()
	w.master.kill()
	d.remove()
	w.master.start()
	w.isMaster(w.master)
	w.failoverIs("no-failover")
}

// by has the master reach the node through a proxy.
func (w *world) by() *proxy {
	w.t.Helper()
	p := newProxy(w.t, w.node.addr, 0)
	_, port, _ := net.SplitHostPort(p.addr())
	w.node.must("CONFIG", "SET", "replica-announce-port", port)
	w.node.must("CLIENT", "KILL", "TYPE", "master")
	eventually(w.t, "the node is online by another address", func() bool {
		return strings.Contains(w.master.c.Info(w.t.Context(), "replication").Val(),
			",port="+port+",state=online,")
	})
	return p
}

// direct ends it. The failover is over.
func (w *world) direct() {
	w.t.Helper()
	w.failoverIs("no-failover")
	w.isMaster(w.node)
	w.node.must("CONFIG", "SET", "replica-announce-port", "0")
	w.swap()
}

func masterAsks(w *world) {
	p := w.by()
	p.limit.Store(0)
	w.failover(p.addr())
	eventually(w.t, "its new role is on disk",
		func() bool { return field(w.master.c, "replication", "role") == "slave" })
	w.master.kill()
	w.master.start()
	w.failoverIs("failover-in-progress")
	if got := field(w.node.c, "replication", "role"); got != "slave" {
		w.t.Errorf("the replica is a %s already", got)
	}
	p.limit.Store(1 << 40)
	w.direct()
}

// tookOver: the answer is cut off behind the handshake, which is PING and three REPLCONF (port,
// version, capabilities).
func tookOver(w *world, killed *place) {
	p := w.by()
	p.limit.Store(int64(len("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+CON")))
	w.failover(p.addr())
	w.isMaster(w.node)
	w.failoverIs("failover-in-progress")
	killed.kill()
	if killed == w.master {
		p.limit.Store(1 << 40)
	}
	killed.start()
	p.limit.Store(1 << 40)
	w.direct()
}

func replicaTakesOver(w *world) {
	d := w.node.dam(identityFile)
	w.failover(w.node.addr)
	d.held()
	w.failoverIs("failover-in-progress")
	w.node.kill()
	d.remove()
	w.node.start()
	w.failoverIs("no-failover")
	w.swap()
}

// transfer has p begin a full resync whose snapshot stops in the middle until
// goOn is called.
func (w *world) transfer(p *place) (goOn func()) {
	w.t.Helper()
	w.cutOff(p)
	w.master.gate.shut(w.t, "snapshot")
	w.master.must("BGSAVE")
	w.master.gate.held(w.t, "snapshot")
	p.follow(w.master)
	w.sending(p.addr)
	return func() { w.master.gate.open("snapshot") }
}

func replicaReceives(w *world) {
	goOn := w.transfer(w.node)
	w.node.kill()
	w.node.start()
	if got := w.node.c.Get(w.t.Context(), "of my own").Val(); got != "1" {
		w.t.Errorf("its old data are gone: %q", got)
	}
	goOn()
}

func replicaWrites(w *world) {
	goOn := w.transfer(w.node)
	d := w.node.dam("resync.new")
	goOn()
	d.held()
	w.node.kill()
	d.remove()
	w.node.start()
}

// replicaTakes kills the node at a stage of taking over what it received. A gate of
// the log may hold whoever asks for INFO, too.
func replicaTakes(w *world, at string) {
	given := w.node.given()
	goOn := w.transfer(w.node)
	var d *dam
	if at == identityFile {
		d = w.node.dam(at)
	} else {
		w.node.gate.shut(w.t, at)
	}
	goOn()
	if d != nil {
		d.held()
	} else {
		w.node.gate.held(w.t, at)
	}
	_, err := os.Stat(filepath.Join(w.node.dir, "resync.new"))
	if (err == nil) != (at == identityFile) {
		w.t.Errorf("the file is in its place: %v", err != nil)
	}
	w.node.full += given
	w.node.end()
	if d != nil {
		d.remove()
	}
	w.node.gate.open(at)
	w.node.start()
}

func replicaTakesTwice(w *world) {
	given := w.node.given()
	goOn := w.transfer(w.node)
	w.node.gate.shut(w.t, "create")
	goOn()
	w.node.gate.held(w.t, "create")
	w.node.full += given
	w.node.end()
	w.node.gate.open("create")
	w.node.gate.shut(w.t, "create")
	w.node.spawn()
	w.node.gate.held(w.t, "create")
	w.node.end()
	w.node.gate.open("create")
	w.node.start()
}

func serverReceives(w *world) {
	goOn := w.transfer(w.server)
	w.server.kill()
	w.server.start()
	goOn()
}

func serverLoads(w *world) {
	w.cutOff(w.server)
	w.server.must("CONFIG", "SET", "key-load-delay", "500000",
		"loading-process-events-interval-bytes", "1024")
	w.server.follow(w.master)
	eventually(w.t, "it loads",
		func() bool { return field(w.server.c, "persistence", "loading") == "1" })
	w.server.kill()
	w.server.start()
}
