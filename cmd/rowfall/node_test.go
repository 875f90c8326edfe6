package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// The upstream is lost, and the node that followed it was killed and starts without it. After its
// promotion, a replica copies the node's data.
func TestNodePromotedAfterAKill(t *testing.T) {
	servertest.Need(t, servers.RedisStable)
	upstream := servertest.Cache(t, servers.RedisStable, servers.CacheOptions{})
	up := redis.NewClient(&redis.Options{Addr: upstream.Addr()})
	defer up.Close()
	must(t, up.Set(t.Context(), "k", "v", 0).Err())
	addr := testAddr(t)
	p := startProcess(t, addr, "node", "--listen", addr, "--dir", t.TempDir(), "--replicaof",
		upstream.Addr())
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	waitFor(t, "the node has the data",
		func(ctx context.Context) (bool, error) { return has(ctx, node) })
	must(t, upstream.Kill())
	p.kill()
	p.start()
	must(t, node.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	host, port, _ := net.SplitHostPort(addr)
	below := servertest.Cache(t, servers.RedisStable,
		servers.CacheOptions{Args: []string{"--replicaof", host, port}})
	c := redis.NewClient(&redis.Options{Addr: below.Addr()})
	defer c.Close()
	waitFor(t, "a replica of it has the data",
		func(ctx context.Context) (bool, error) { return has(ctx, c) })
}

func has(ctx context.Context, c *redis.Client) (bool, error) {
	v, err := c.Get(ctx, "k").Result()
	return v == "v", err
}

// parseNodeFlags returns the flags of a node in a directory of its own, at a free port, and args.
func parseNodeFlags(t *testing.T, args ...string) *nodeFlags {
	t.Helper()
	cmd := new(cobra.Command)
	f := newNodeFlags(cmd)
	base := []string{"--listen", "127.0.0.1:0", "--dir", filepath.Join(t.TempDir(), "node")}
	must(t, cmd.ParseFlags(append(base, args...)))
	return f
}

// A flag that would be ignored, or a password file that does not exist, is an error with the name
// of the flag.
func TestNodeFlags(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	must(t, os.WriteFile(empty, []byte("\n"), 0o600))
	good := filepath.Join(dir, "good")
	must(t, os.WriteFile(good, []byte("secret\n"), 0o600))
	for want, args := range map[string][]string{
		`--log-fsync: "sometimes": want always`:       {"--log-fsync", "sometimes"},
		`--tls-cert: is required`:                     {"--tls-ca", good},
		`--tls-key: is required`:                      {"--tls-cert", good},
		`--tls-cert: load certificate`:                {"--tls-cert", good, "--tls-key", good},
		`--master-tls-ca: load certificate authority`: {"--master-tls-ca", good},
		`--password-file`:                             {"--password-file", empty},
		`--master-password-file`: {
			"--master-password-file",
			filepath.Join(dir, "none"),
		},
		`--dir: is required: the directory`:       {"--dir", ""},
		`--listen: is required: host:port`:        {"--listen", ""},
		`--listen: "foo": want host:port`:         {"--listen", "foo"},
		`--listen: "[::1]:65536": want host:port`: {"--listen", "[::1]:65536"},
		`--replicaof: "foo": want host:port`:      {"--replicaof", "foo"},
		`--replicaof: "127.0.0.1:1" is this node`: {
			"--listen", "127.0.0.1:1", "--replicaof",
			"127.0.0.1:1",
		},
		`--log-memory: "-1": want a size`:              {"--log-memory", "-1"},
		`--log-memory: "0": want a size above 0`:       {"--log-memory", "0"},
		`--log-keep: "0": want a size above 0, or -1`:  {"--log-keep", "0"},
		`--log-keep: "-2": want a size`:                {"--log-keep", "-2"},
		`--log-keep-age: "-1s": want a time`:           {"--log-keep-age", "-1s"},
		`--snapshot-memory: "-1": want a size`:         {"--snapshot-memory", "-1"},
		`--max-full-syncs: "0": want a whole number`:   {"--max-full-syncs", "0"},
		`--full-sync-rate: "-1": want a size`:          {"--full-sync-rate", "-1"},
		`--full-sync-min-rate: "0": want a size above`: {"--full-sync-min-rate", "0"},
		`--full-sync-slack: "1ms": want at least 1s`:   {"--full-sync-slack", "1ms"},
		`--full-sync-log: "-1": want a size`:           {"--full-sync-log", "-1"},
		`--assume-replicas: "six": want a version`:     {"--assume-replicas", "six"},
		`--assume-replicas: "6.0": want a version`:     {"--assume-replicas", "6.0"},
	} {
		_, err := parseNodeFlags(t, args...).config()
		if err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
	f := parseNodeFlags(t, "--password-file", good, "--log-keep-age", "1h", "--log-keep", "-1",
		"--log-memory", "1048576", "--max-full-syncs", "3", "--full-sync-rate", "5", "--master-tls",
		"--full-sync-min-rate", "6", "--full-sync-slack", "1s", "--full-sync-log", "7KiB")
	n, err := f.config()
	must(t, err)
	c, faults := n.Load()
	if len(faults) > 0 || c.Password != "secret" || c.Log.KeepAge != time.Hour ||
		c.Log.Keep != -1 ||
		c.Log.Memory != 1<<20 || c.MaxFullSyncs != 3 || c.FullSyncRate != 5 ||
		c.FullSyncMinRate != 6 ||
		c.FullSyncSlack != time.Second || c.FullSyncLog != 7<<10 ||
		c.UpstreamTLS == nil ||
		c.TLS != nil {
		t.Errorf("got %+v, %v", c, faults)
	}
	_, err = parseNodeFlags(t, "--listen", "foo", "--log-keep", "0").config()
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two wrong flags: %v", err)
	}
}

// Flags and pipeline files have the same defaults.
func TestNodeFlagDefaults(t *testing.T) {
	n, err := parseNodeFlags(t).config()
	must(t, err)
	want := file.Defaults().Sink.Node
	want.Listen, want.Dir = n.Listen, n.Dir
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v, want %+v", n, want)
	}
}

// Wrong usage creates no directories and no files.
func TestWrongUsageCreatesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	pipeline := func(name, sink string) string {
		text := "pipeline: " + name + "\nsource:\n  mysql: {addresses: [127.0.0.1:1], user: " +
			"u}\ntables: {\"shop.*\": {}}\nsink:\n  node: {" + sink + ", dir: data/" + name + "}\n"
		must(t, os.WriteFile(name+".yaml", []byte(text), 0o600))
		return name + ".yaml"
	}
	good, bad, other := pipeline("good", "listen: 127.0.0.1:0"), pipeline("bad",
		"listen: 127.0.0.1:0, master_tls: {ca: none.pem}"), pipeline(
		"other",
		"listen: foo",
	)
	for _, args := range [][]string{
		{"node", "--listen", "foo", "--dir", "data/node"},
		{"node", "--listen", "127.0.0.1:0", "--dir", "data/node", "--max-full-syncs", "0"},
		{"run", good, bad, other},
		{"run", good, good},
		{"run", good, "--log-level", "loud"},
	} {
		if got := run(t.Context(), args); got != exitUsage {
			t.Errorf("%q: exit status %d", args, got)
		}
		if _, err := os.Stat("data"); err == nil {
			t.Errorf("%q created a directory", args)
		}
	}
	_, err := loadAll([]string{good, bad, other})
	if err == nil || !strings.Contains(err.Error(), "bad.yaml:6: sink.node.master_tls: ") ||
		!strings.Contains(err.Error(), "\nother.yaml:6: sink.node.listen: ") {
		t.Errorf("the faults of all files: %v", err)
	}
}

// An initial load that was interrupted early has written only its state, whose keys are hidden. The
// node counted no keys, and kept its former completeness.
func TestHiddenKeysAreNotComplete(t *testing.T) {
	config := file.Defaults().Sink.Node
	config.Listen, config.Dir = "127.0.0.1:0", t.TempDir()
	node, commands, err := pipelines.OpenNode(config, zerolog.Nop())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := node.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	_, term := node.Role()
	_, err = node.Apply(ctx, term,
		resp.AppendCommand(nil, "SET", sink.HiddenPrefix+"shop:mapping", "1"))
	must(t, err)
	node.SetComplete(true)
	running.Go(func() { updateCompleteness(ctx, node, commands, zerolog.Nop()) })
	waitFor(t, "the node is not complete",
		func(context.Context) (bool, error) { return !node.Status().Complete, nil })
}
