package replication_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// childEnv makes the test binary a node that writes until it is killed: "DIR LISTEN".
const childEnv = "ROWFALL_TEST_NODE"

// childProcess writes numbered units until it is killed. It prints each hundredth number when the
// unit was applied.
func childProcess() {
	go endWithParent()
	f := strings.Fields(os.Getenv(childEnv))
	n, err := replication.Open(
		replication.Config{
			Dir: f[0], Listen: f[1], SnapshotEvery: 256 << 10,
			Log: replog.Config{SegmentSize: 64 << 10, Keep: 1 << 30},
		},
	)
	if err != nil {
		fmt.Println("fault", err)
		os.Exit(1)
	}
	go n.Run(context.Background()) //nolint:errcheck // the process is killed
	n.SetComplete(true)
	_, term := n.Role()
	first := 1
	if v, ok := n.Keyspace().Get("last"); ok {
		first, _ = strconv.Atoi(string(v))
		first++
	}
	fmt.Println("ready", n.Addr(), n.Status().ID, n.Offset(), first-1)
	for i := first; ; i++ {
		u := atomically(
			unit("SET", "last", strconv.Itoa(i)),
			unit("HSET", "row:"+strconv.Itoa(i%1000), "n", strconv.Itoa(i), "pad",
				strings.Repeat("x", i%300)),
		)
		at, err := n.Apply(context.Background(), term, u)
		if err != nil {
			fmt.Println("fault", err)
			os.Exit(1)
		}
		if i%100 == 0 {
			fmt.Println("applied", i, at)
		}
	}
}

type childNode struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	addr   string
	id     string
	offset replog.Offset
	last   int
}

func startChild(t *testing.T, dir, listen string) *childNode {
	t.Helper()
	c := &childNode{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childEnv+"="+dir+" "+listen)
	c.cmd.Stderr = os.Stderr
	pipe, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.out = bufio.NewScanner(pipe)
	f := c.next(t, "ready")
	c.addr, c.id = f[1], f[2]
	c.offset, _ = replog.ParseOffset(f[3])
	c.last, _ = strconv.Atoi(f[4])
	return c
}

func (c *childNode) next(t *testing.T, word string) []string {
	t.Helper()
	for c.out.Scan() {
		f := strings.Fields(c.out.Text())
		if f[0] == word {
			return f
		}
		if f[0] == "fault" {
			t.Fatal(c.out.Text())
		}
	}
	t.Fatalf("the child ended: %v", c.out.Err())
	return nil
}

func (c *childNode) kill() {
	c.cmd.Process.Kill() //nolint:errcheck // the process may have ended
	c.cmd.Wait()         //nolint:errcheck // the process was killed
}

// After kill -9 under the same boot, the id and all applied units are kept. A replica continues
// with a partial resync each time.
func TestKillNine(t *testing.T) {
	dir, listen := t.TempDir(), "127.0.0.1:0"
	rc := config(t)
	var rep *replication.Node
	id := ""
	for round := range 4 {
		c := startChild(t, dir, listen)
		listen = c.addr
		if id != "" && c.id != id {
			t.Errorf("round %d: the id changed from %s to %s", round, id, c.id)
		}
		id = c.id
		if rep == nil {
			rc.ReplicaOf = c.addr
			rep, _ = start(t, rc)
		}
		reached := 0
		var at replog.Offset
		for reached < c.last+2000 {
			f := c.next(t, "applied")
			reached, _ = strconv.Atoi(f[1])
			at, _ = replog.ParseOffset(f[2])
		}
		eventually(t, "the replica follows", func() bool { return rep.Offset() >= at })
		c.kill()
		again := startChild(t, dir, listen)
		if again.last < reached || again.offset < at {
			t.Errorf("round %d: unit %d at %d was applied, but after the kill the last is %d at %d",
				round, reached, at, again.last, again.offset)
		}
		eventually(t, "the replica continues", func() bool { return rep.Offset() > again.offset })
		if !strings.Contains(client(t, again.addr).Info(t.Context(), "stats").Val(),
			"sync_full:0\r\n") {
			t.Errorf("round %d: the replica had a full resync", round)
		}
		again.kill()
	}
	if st := rep.Status(); st.ID != id || st.Upstream == nil {
		t.Errorf("replica: %+v", st)
	}
}
