package main

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/sink"
)

// TestCascade runs the whole path for every pair of source and replica through
// what happens to it in production: links cut anywhere, every process killed
// with SIGKILL, at last all of them. Nothing may be lost or applied twice, and
// only a replica that never held the data is sent all of it.
func TestCascade(t *testing.T) {
	for _, source := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		for _, replica := range []servers.Kind{servers.RedisStable, servers.Redis, servers.Valkey} {
			t.Run(fmt.Sprintf("%s-%s", source, replica), func(t *testing.T) {
				servertest.Need(t, source, replica)
				cascade(t, source, replica)
			})
		}
	}
}

func cascade(t *testing.T, sourceKind, replicaKind servers.Kind) {
	// GTIDs on one kind of replica, off on another: both must resume.
	s := startSource(t, sourceKind, servers.DatabaseOptions{GTID: replicaKind != servers.Redis})
	s.fill(300)
	dir := t.TempDir()
	masterAddr, nodeAddr := testAddr(t), testAddr(t)
	file := s.pipelineFile(t, masterAddr, filepath.Join(dir, "master"))
	writes := s.traffic(3)
	defer writes.stop()

	master := startProcess(t, masterAddr, "run", file)
	toMaster := newLink(t, masterAddr)
	node := startProcess(t, nodeAddr, "node", "--listen", nodeAddr, "--dir", filepath.Join(dir, "node"), "--replicaof", toMaster.addr())
	toNode := newLink(t, nodeAddr)
	// first follows the master, second the first, third the cascaded node.
	first := servertest.Cache(t, replicaKind, servers.CacheOptions{ReplicaOf: toMaster.addr()})
	second := servertest.Cache(t, replicaKind, servers.CacheOptions{ReplicaOf: first.Addr()})
	third := servertest.Cache(t, replicaKind, servers.CacheOptions{ReplicaOf: toNode.addr()})
	everyone := []string{masterAddr, nodeAddr, first.Addr(), second.Addr(), third.Addr()}
	streaming := func() {
		t.Helper()
		for _, addr := range everyone {
			reaches(t, s, addr)
		}
	}
	streaming()
	wantSyncs(t, masterAddr, 2, 0) // the node and the first replica
	wantSyncs(t, nodeAddr, 1, 0)

	for range 3 {
		toMaster.cut()
		toNode.cut()
		streaming()
	}
	wantFull(t, masterAddr, 2)
	wantFull(t, nodeAddr, 1)

	master.kill()
	master.start()
	streaming()
	wantSyncs(t, masterAddr, 0, 2)
	wantFull(t, nodeAddr, 1)

	node.kill()
	node.start()
	streaming()
	wantSyncs(t, nodeAddr, 0, 1)
	wantFull(t, masterAddr, 0)

	// The replica comes back with the snapshot that it once got, and asks for what
	// came after it.
	must(t, third.Kill())
	must(t, third.Restart(t.Context()))
	streaming()
	wantSyncs(t, nodeAddr, 0, 2)

	// Everything at once, the database included.
	must(t, s.db.Kill())
	master.kill()
	node.kill()
	must(t, third.Kill())
	must(t, s.db.Restart(t.Context()))
	must(t, third.Restart(t.Context()))
	node.start()
	master.start()
	streaming()
	wantFull(t, masterAddr, 0)
	wantFull(t, nodeAddr, 0)

	writes.stop()
	s.mustEqual(t, file, everyone...)
	// Since the master's last start it sent nobody everything.
	wantFull(t, masterAddr, 0)
	wantFull(t, nodeAddr, 0)
	// The replica of the replica never lost its upstream's backlog.
	if n := info(t, first.Addr(), "stats", "sync_full"); n != 1 {
		t.Errorf("the first replica sent %d full syncs, want 1", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reaches waits until a server streams and has what MySQL has now.
func reaches(t *testing.T, s *source, addr string) {
	t.Helper()
	end := s.end()
	r := sink.OpenRemote(addr, "")
	defer func() { _ = r.Close() }()
	waitFor(t, fmt.Sprintf("%s reaches %s", addr, end), func(ctx context.Context) (bool, error) {
		p, err := r.Progress(ctx, "zoo")
		return p.Phase == sink.Streaming && p.Position.CompareFile(end) >= 0, err
	})
}

// wantSyncs checks how often a node was asked for everything, and for a part,
// since it started.
func wantSyncs(t *testing.T, addr string, full, partial int) {
	t.Helper()
	wantFull(t, addr, full)
	if n := info(t, addr, "stats", "sync_partial_ok"); n != partial {
		t.Errorf("%s answered %d partial resyncs, want %d", addr, n, partial)
	}
}

func wantFull(t *testing.T, addr string, full int) {
	t.Helper()
	if n := info(t, addr, "stats", "sync_full"); n != full {
		t.Errorf("%s sent %d full syncs, want %d", addr, n, full)
	}
}

// TestFirstLoadUnderFire kills rowfall again and again while it reads the tables
// for the first time and the tables change.
func TestFirstLoadUnderFire(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			s := startSource(t, kind, servers.DatabaseOptions{GTID: true})
			s.fill(2000)
			addr := testAddr(t)
			file := s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "master"))
			writes := s.traffic(3)
			defer writes.stop()
			p := startProcess(t, addr, "run", file)
			for i := range 6 {
				timer := time.NewTimer(time.Duration(20+60*i) * time.Millisecond)
				select {
				case <-timer.C:
				case <-t.Context().Done():
				}
				p.kill()
				p.start()
			}
			reaches(t, s, addr)
			writes.stop()
			s.mustEqual(t, file, addr)
		})
	}
}
