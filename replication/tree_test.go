package replication_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

// memberEnv makes the test binary a node of a tree: "DIR LISTEN KEEP". Clients write
// to it by PUT key value, and say by COMPLETE that a fresh one has all its data.
const memberEnv = "ROWFALL_TEST_MEMBER"

func member() {
	go endWithParent()
	f := strings.Fields(os.Getenv(memberEnv))
	keep, _ := strconv.ParseInt(f[2], 10, 64)
	g := gates(os.Getenv(gatesEnv))
	var n *replication.Node
	put := func(ctx context.Context, dst []byte, _ int, args [][]byte) []byte {
		_, term := n.Role()
		if _, err := n.Apply(ctx, term, unit("SET", string(args[1]), string(args[2]))); err != nil {
			return resp.AppendError(dst, "ERR "+err.Error())
		}
		return resp.AppendSimple(dst, "OK")
	}
	complete := func(_ context.Context, dst []byte, _ int, _ [][]byte) []byte {
		n.SetComplete(true)
		return resp.AppendSimple(dst, "OK")
	}
	n, err := replication.Open(replication.Config{
		Dir: f[0], Listen: f[1], PingPeriod: time.Hour,
		Commands: map[string]replication.Handler{"PUT": put, "COMPLETE": complete},
		FS:       g.nodeFiles(), SnapshotEvery: 64 << 10,
		Log: replog.Config{SegmentSize: 64 << 10, Keep: keep, FS: g.logFiles()},
	})
	if err != nil {
		fmt.Println("fault", err)
		os.Exit(1)
	}
	n.SnapshotsThrough(func(w io.Writer) io.Writer { return &gatedWriter{w: w, gates: g} })
	fmt.Println("ready", n.Addr())
	n.Run(context.Background()) //nolint:errcheck // it is killed
}

// endWithParent ends a process of the test binary when the one that started it is
// gone and so the pipe between them is, as when that ran into its time-out.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// a place is one member of a tree: a node of ours in a process of its own, or a real server.
type place struct {
	t    *testing.T
	addr string
	c    *redis.Client
	srv  *servers.Cache // nil: ours
	cmd  *exec.Cmd
	dir  string
	keep int64  // of its log
	gate gates  // of ours
	conf string // a real server's file that names its upstream; empty: its arguments do
	up   *place // nil: the master
	full int    // full resyncs it gave in former lives
}

// newNode starts a node of ours that is a member.
func newNode(t *testing.T, keep int64) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), gate: gates(t.TempDir()), addr: "127.0.0.1:0", keep: keep}
	p.start()
	t.Cleanup(p.end)
	p.c = client(t, p.addr)
	return p
}

// newServer starts a real server that is a member under another, and finds its
// upstream again after a kill, also a later one.
func newServer(t *testing.T, kind servers.Kind, up *place) *place {
	t.Helper()
	p := &place{t: t, up: up, conf: filepath.Join(t.TempDir(), "upstream.conf")}
	p.nameUpstream()
	p.srv = servertest.Cache(
		t, kind,
		servers.CacheOptions{
			Args: []string{"--save", "3600 1", "--repl-backlog-size", "16mb", "--include", p.conf},
		},
	)
	p.addr = p.srv.Addr()
	p.c = client(t, p.addr)
	return p
}

// nameUpstream makes a start of a real server begin with the present upstream.
func (p *place) nameUpstream() {
	p.t.Helper()
	if p.conf == "" {
		return
	}
	text := "repl-ping-replica-period 3600\n"
	if p.up != nil {
		host, port, _ := net.SplitHostPort(p.up.addr)
		text += "replicaof " + host + " " + port + "\n"
	}
	if err := os.WriteFile(p.conf, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) ours() bool { return p.srv == nil }

// writes is the command by which clients write to it, as a master.
func (p *place) writes() string {
	if p.ours() {
		return "PUT"
	}
	return "SET"
}

func (p *place) name() string {
	if p.ours() {
		return "node " + p.addr
	}
	return string(p.srv.Kind()) + " " + p.addr
}

func (p *place) start() {
	p.t.Helper()
	if p.srv != nil {
		p.nameUpstream()
		if err := p.srv.Restart(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	lines := bufio.NewScanner(p.spawn())
	lines.Scan()
	if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "ready" {
		p.addr = f[1]
		return
	}
	p.t.Fatalf("%s says %q", p.name(), lines.Text())
}

// spawn is start for who does not wait for it; out is what it says.
func (p *place) spawn() (out io.Reader) {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", memberEnv, p.dir, p.addr, p.keep),
		gatesEnv+"="+string(p.gate))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return out
}

// kill is SIGKILL, at whatever it does.
func (p *place) kill() {
	p.t.Helper()
	p.full += p.given()
	p.end()
}

// end is kill for who has counted already, or need not.
func (p *place) end() {
	if p.srv != nil {
		if err := p.srv.Kill(); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // it was killed
}

// given counts the full resyncs it gave in this life.
func (p *place) given() int {
	v, err := strconv.Atoi(field(p.c, "stats", "sync_full"))
	if err != nil {
		p.t.Fatalf("%s: %v", p.name(), err)
	}
	return v
}

// must has it answer a command without an error.
func (p *place) must(args ...any) {
	p.t.Helper()
	if err := p.c.Do(p.t.Context(), args...).Err(); err != nil {
		p.t.Fatalf("%s: %v: %v", p.name(), args, err)
	}
}

// save makes a real server save its data, after any save that it has begun for a replica.
func (p *place) save() {
	p.t.Helper()
	eventually(p.t, p.name()+" saved", func() bool {
		err := p.c.Save(p.t.Context()).Err()
		if err != nil && !strings.Contains(err.Error(), "already in progress") {
			p.t.Fatalf("%s: SAVE: %v", p.name(), err)
		}
		return err == nil
	})
}

func (p *place) follow(up *place) {
	p.t.Helper()
	host, port := "NO", "ONE"
	if up != nil {
		host, port, _ = net.SplitHostPort(up.addr)
	}
	p.up = up
	if err := p.c.Do(p.t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		p.t.Fatalf("%s cannot follow %s %s: %v", p.name(), host, port, err)
	}
}

// tree is some members, one of which is the master, under a load of writes.
type tree struct {
	t    *testing.T
	rnd  *rand.Rand
	all  []*place
	load sync.RWMutex // held for writing while nothing may be written

	mu     sync.Mutex
	master *place
}

func (tr *tree) top() *place {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.master
}

// write keeps the master busy until done is closed.
func (tr *tree) write(done <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		tr.load.RLock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		top := tr.top()
		key, value := fmt.Sprint("k", i%300), fmt.Sprint(i, strings.Repeat("x", i%200))
		err := top.c.Do(ctx, top.writes(), key, value).Err()
		cancel()
		tr.load.RUnlock()
		if err != nil { // killed, or no master now
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (tr *tree) offset(p *place) string {
	if p.up == nil {
		return field(p.c, "replication", "master_repl_offset")
	}
	if field(p.c, "replication", "master_link_status") != "up" {
		return "down"
	}
	return field(p.c, "replication", "slave_repl_offset")
}

// settle stops the load and waits until all are equal; the load goes on by release.
func (tr *tree) settle() (release func()) {
	tr.load.Lock()
	tr.t.Helper()
	at := ""
	eventually(tr.t, "all are at the same offset", func() bool {
		at = tr.offset(tr.top())
		for _, p := range tr.all {
			if tr.offset(p) != at ||
				field(p.c, "replication", "master_replid") != field(tr.top().c, "replication",
					"master_replid") {
				return false
			}
		}
		return at != ""
	})
	return tr.load.Unlock
}

// rebuild gives the tree another shape. A real server stays under its node: it
// finds its upstream after a kill only in the arguments that it was started with.
func (tr *tree) rebuild(master *place) {
	order := []*place{master}
	for _, i := range tr.rnd.Perm(len(tr.all)) {
		if p := tr.all[i]; p != master && p.ours() {
			order = append(order, p)
		}
	}
	tr.mu.Lock()
	tr.master = master
	tr.mu.Unlock()
	shape := master.name()
	if master.up != nil {
		master.follow(nil)
	}
	for i, p := range order[1:] {
		up := order[tr.rnd.IntN(i+1)]
		shape += fmt.Sprintf(", %s under %s", p.name(), up.name())
		p.follow(up)
	}
	tr.t.Log("the tree is ", shape)
}

// step does one random thing.
func (tr *tree) step() {
	p := tr.all[tr.rnd.IntN(len(tr.all))]
	switch what := tr.rnd.IntN(4); {
	case what == 0 && p.ours(): // a planned promotion
		release := tr.settle()
		tr.rebuild(p)
		release()
	case what == 1 && p.ours() && p.up == tr.top(): // the same under load, by FAILOVER
		tr.settle()() // it is online
		tr.t.Log("failover to ", p.name())
		old := tr.top()
		failoverTo(tr.t, old.addr, p.addr)
		eventually(tr.t, "the role changed", func() bool {
			return field(p.c, "replication", "role") == "master" &&
				field(old.c, "replication", "master_failover_state") == "no-failover"
		})
		p.up, old.up = nil, p
		tr.mu.Lock()
		tr.master = p
		tr.mu.Unlock()
	case what == 2: // every link of one member is cut
		tr.t.Log("cut the links of ", p.name())
		p.c.ClientKillByFilter(tr.t.Context(), "TYPE", "replica")
	default:
		tr.t.Log("kill ", p.name())
		p.kill()
		for range tr.rnd.IntN(3) {
			before := tr.offset(tr.top())
			if p == tr.top() {
				break
			}
			eventually(tr.t, "the others go on",
				func() bool { return tr.offset(tr.top()) != before })
		}
		p.start()
	}
}

// randomSeeds yields so many seeds, from ROWFALL_SEED on if that is set.
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

// Members of a tree are killed, come back, are promoted and moved, under load.
// Each resyncs fully once in its life, when it joins.
func TestTreesNeverResyncFully(t *testing.T) {
	servertest.Need(t, servers.Redis, servers.Valkey)
	seeds, steps := 1, 10
	if os.Getenv("ROWFALL_LONG") != "" {
		seeds, steps = 10, 60
	}
	for seed := range randomSeeds(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			tr := &tree{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
			for range 3 {
				tr.all = append(tr.all, newNode(t, 1<<30))
			}
			tr.all[0].must("COMPLETE")
			tr.rebuild(tr.all[0])
			tr.settle()()
			for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
				up := tr.all[tr.rnd.IntN(3)]
				srv := servertest.Cache(
					t, kind,
					servers.CacheOptions{
						Args: append([]string{"--save", "3600 1"}, replicaOf(up.addr)...),
					},
				)
				tr.all = append(tr.all,
					&place{t: t, srv: srv, addr: srv.Addr(), up: up, c: client(t, srv.Addr())})
			}
			done := make(chan struct{})
			var writer sync.WaitGroup
			tr.settle()()
			writer.Go(func() { tr.write(done) })
			for range steps {
				tr.step()
			}
			release := tr.settle()
			close(done)
			release()
			writer.Wait()
			full := 0
			for _, p := range tr.all {
				full += p.full + p.given()
				equal(t, tr.top().addr, p.addr)
			}
			if full != len(tr.all)-1 {
				t.Errorf("%d members resynced fully %d times", len(tr.all), full)
			}
		})
	}
}
