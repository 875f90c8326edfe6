package replication_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// redis-cli --rdb and its siblings write a file that the servers' checkers accept, with and without
// an existing snapshot. redis-cli --replica shows the stream.
func TestServersTools(t *testing.T) {
	in := servertest.Need(t, kinds...)
	conf := config(t)
	dir := conf.Dir
	n, _ := complete(t, conf)
	fill(t, n, "a", 500)
	port := strings.TrimPrefix(n.Addr(), "127.0.0.1:")
	tool := func(kind servers.Kind, name string, args ...string) *exec.Cmd {
		cmd, err := in.Command(t.Context(), kind, name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for _, kind := range kinds {
		file := filepath.Join(t.TempDir(), "dump.rdb")
		fetch := tool(kind, kind.Tool("cli"), "-p", port, "--rdb", file)
		if out, err := fetch.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", kind, err, out)
		}
		eventually(t, "the snapshot is complete",
			func() bool { return n.Status().Snapshot.Written == 1 })
		files := []string{file}
		// Redis 6.2 cannot load the node's snapshot file, only the form that it was sent.
		if kind != servers.RedisOldest {
			files = append(files, snapshotsIn(t, dir)[0])
		}
		for _, f := range files {
			out, err := tool(kind, kind.Tool("check-rdb"), f).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "RDB looks OK") {
				t.Errorf("%s rejects the file: %v: %s", kind, err, out)
			}
		}
	}
	cmd := tool(servers.Redis, "redis-cli", "-p", port, "--replica")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "redis-cli follows", func() bool {
		st := n.Status().Replicas
		return len(st) == 1 && st[0].State == replication.ReplicaOnline
	})
	apply(t, n, unit("SET", "seen", "by redis-cli"))
	seen := ""
	for b := make([]byte, 4096); !strings.Contains(seen, "by redis-cli"); {
		k, err := out.Read(b)
		if err != nil {
			t.Fatalf("redis-cli ended with %v after %q", err, seen)
		}
		seen += string(b[:k])
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
