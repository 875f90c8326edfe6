package replication_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

// memberEnv makes the test binary a node of a cascade: "DIR LISTEN KEEP". Clients write with PUT
// key value. COMPLETE marks the data of a fresh node as complete.
const memberEnv = "ROWFALL_TEST_MEMBER"

// memberProcess is the process of a member.
func memberProcess() {
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
	replacing := func(ctx context.Context, dst []byte, _ int, args [][]byte) []byte {
		if err := replaceInMember(ctx, n, args); err != nil {
			return resp.AppendError(dst, "ERR "+err.Error())
		}
		return resp.AppendSimple(dst, "OK")
	}
	n, err := replication.Open(replication.Config{
		Dir: f[0], Listen: f[1], PingPeriod: time.Hour,
		Commands: map[string]replication.Handler{
			"PUT": put, "COMPLETE": complete, "BUILD": replacing, "INSTALL": replacing,
		},
		FS: g.nodeFiles(), SnapshotEvery: 64 << 10,
		Log: replog.Config{SegmentSize: 64 << 10, Keep: keep, FS: g.logFiles()},
	})
	if err != nil {
		fmt.Println("fault", err)
		os.Exit(1)
	}
	n.SnapshotsThrough(func(w io.Writer) io.Writer { return &gatedWriter{w: w, gates: g} })
	fmt.Println("ready", n.Addr())
	n.Run(context.Background()) //nolint:errcheck // the process is killed
}

// endWithParent ends a child process when its parent has ended, for example by its time-out. The
// pipe between them is closed then.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// member is one member of a cascade: a node in a process of its own, or a real server.
type member struct {
	t    *testing.T
	addr string
	c    *redis.Client
	srv  *servers.Cache // nil: a node
	cmd  *exec.Cmd
	dir  string
	keep int64   // log.keep of a node
	gate gates   // of a node
	conf string  // a real server's file with its upstream; empty: it is in the arguments
	up   *member // the upstream; nil: the master
	full int     // full resyncs that earlier processes of the member gave
}

// newNode starts a node as a member.
func newNode(t *testing.T, keep int64) *member {
	t.Helper()
	m := &member{t: t, dir: t.TempDir(), gate: gates(t.TempDir()), addr: "127.0.0.1:0", keep: keep}
	m.start()
	t.Cleanup(m.end)
	m.c = client(t, m.addr)
	return m
}

// newServer starts a real server as a member below another. After a kill it finds its upstream
// again, also a later one.
func newServer(t *testing.T, kind servers.Kind, up *member) *member {
	t.Helper()
	m := &member{t: t, up: up, conf: filepath.Join(t.TempDir(), "upstream.conf")}
	m.writeConf()
	m.srv = servertest.Cache(
		t, kind,
		servers.CacheOptions{
			Args: []string{"--save", "3600 1", "--repl-backlog-size", "16mb", "--include", m.conf},
		},
	)
	m.addr = m.srv.Addr()
	m.c = client(t, m.addr)
	return m
}

// writeConf writes the present upstream into a real server's file, for its next start.
func (m *member) writeConf() {
	m.t.Helper()
	if m.conf == "" {
		return
	}
	text := "repl-ping-replica-period 3600\n"
	if m.up != nil {
		host, port, _ := net.SplitHostPort(m.up.addr)
		text += "replicaof " + host + " " + port + "\n"
	}
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) isNode() bool { return m.srv == nil }

// writeCommand returns the command with which clients write to the member as a master.
func (m *member) writeCommand() string {
	if m.isNode() {
		return "PUT"
	}
	return "SET"
}

func (m *member) name() string {
	if m.isNode() {
		return "node " + m.addr
	}
	return string(m.srv.Kind()) + " " + m.addr
}

func (m *member) start() {
	m.t.Helper()
	if m.srv != nil {
		m.writeConf()
		if err := m.srv.Restart(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
		return
	}
	lines := bufio.NewScanner(m.spawn())
	lines.Scan()
	if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "ready" {
		m.addr = f[1]
		return
	}
	m.t.Fatalf("%s printed %q", m.name(), lines.Text())
}

// spawn starts a node's process and does not wait until it is ready. It returns the process's
// output.
func (m *member) spawn() (out io.Reader) {
	m.t.Helper()
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", memberEnv, m.dir, m.addr, m.keep),
		gatesEnv+"="+string(m.gate))
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.cmd.StdinPipe(); err != nil {
		m.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// kill sends SIGKILL and keeps the number of full resyncs that the process gave.
func (m *member) kill() {
	m.t.Helper()
	m.full += m.fullSyncs()
	m.end()
}

// end kills the process without reading that number.
func (m *member) end() {
	if m.srv != nil {
		if err := m.srv.Kill(); err != nil {
			m.t.Fatal(err)
		}
		return
	}
	m.cmd.Process.Kill() //nolint:errcheck // the process may have ended
	m.cmd.Wait()         //nolint:errcheck // the process was killed
}

// fullSyncs returns how many full resyncs this process gave.
func (m *member) fullSyncs() int {
	v, err := strconv.Atoi(field(m.c, "stats", "sync_full"))
	if err != nil {
		m.t.Fatalf("%s: %v", m.name(), err)
	}
	return v
}

// do sends a command and fails the test if the reply is an error.
func (m *member) do(args ...any) {
	m.t.Helper()
	if err := m.c.Do(m.t.Context(), args...).Err(); err != nil {
		m.t.Fatalf("%s: %v: %v", m.name(), args, err)
	}
}

// save makes a real server save its data, after any save that it has begun for a replica.
func (m *member) save() {
	m.t.Helper()
	eventually(m.t, m.name()+" has saved", func() bool {
		err := m.c.Save(m.t.Context()).Err()
		if err != nil && !strings.Contains(err.Error(), "already in progress") {
			m.t.Fatalf("%s: SAVE: %v", m.name(), err)
		}
		return err == nil
	})
}

// follow makes the member a replica of up, or the master if up is nil.
func (m *member) follow(up *member) {
	m.t.Helper()
	host, port := "NO", "ONE"
	if up != nil {
		host, port, _ = net.SplitHostPort(up.addr)
	}
	m.up = up
	if err := m.c.Do(m.t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		m.t.Fatalf("REPLICAOF sent to %s with %s %s: %v", m.name(), host, port, err)
	}
}
