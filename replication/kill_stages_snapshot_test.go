package replication_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"rowfall/replication"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

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
