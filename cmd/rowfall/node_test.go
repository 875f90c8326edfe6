package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// The worst night: the upstream is gone for good, and the node below it was
// killed and starts without it. Promoted, it hands on what it has.
func TestNodePromotedAfterAKill(t *testing.T) {
	servertest.Need(t, servers.RedisStable)
	upstream := servertest.Cache(t, servers.RedisStable, servers.CacheOptions{})
	up := redis.NewClient(&redis.Options{Addr: upstream.Addr()})
	defer up.Close()
	must(t, up.Set(t.Context(), "k", "v", 0).Err())
	addr := testAddr(t)
	p := startProcess(t, addr, "node", "--listen", addr, "--dir", t.TempDir(), "--replicaof", upstream.Addr())
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	waitFor(t, "the node has the data", func(ctx context.Context) (bool, error) { return has(ctx, node) })
	must(t, upstream.Kill())
	p.kill()
	p.start()
	must(t, node.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	host, port, _ := net.SplitHostPort(addr)
	below := servertest.Cache(t, servers.RedisStable, servers.CacheOptions{Args: []string{"--replicaof", host, port}})
	c := redis.NewClient(&redis.Options{Addr: below.Addr()})
	defer c.Close()
	waitFor(t, "a replica of it has the data", func(ctx context.Context) (bool, error) { return has(ctx, c) })
}

func has(ctx context.Context, c *redis.Client) (bool, error) {
	v, err := c.Get(ctx, "k").Result()
	return v == "v", err
}

// A flag that would be ignored, or a secret that is not there, is an error that names it.
func TestNodeFlags(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	must(t, os.WriteFile(empty, []byte("\n"), 0o600))
	good := filepath.Join(dir, "good")
	must(t, os.WriteFile(good, []byte("secret\n"), 0o600))
	base := nodeFlags{
		listen: "127.0.0.1:0", dir: filepath.Join(dir, "node"), fsync: "no", logMemory: 1, logKeep: 1, maxFullSyncs: 1, assumeReplicas: "6.2",
		fullSyncMinRate: 1, fullSyncSlack: time.Second,
	}
	for want, edit := range map[string]func(f *nodeFlags){
		`--log-fsync`:                                func(f *nodeFlags) { f.fsync = "sometimes" },
		`--tls-cert`:                                 func(f *nodeFlags) { f.tls = file.ServerTLS{CA: good} },
		`--master-tls-ca`:                            func(f *nodeFlags) { f.masterCA = good },
		`--password-file`:                            func(f *nodeFlags) { f.passwordFile = empty },
		`--master-password-file`:                     func(f *nodeFlags) { f.masterPasswordFile = filepath.Join(dir, "none") },
		`needs --listen host:port and --dir`:         func(f *nodeFlags) { f.dir = "" },
		`--listen "foo": want host:port`:             func(f *nodeFlags) { f.listen = "foo" },
		`--listen "[::1]:65536": want host:port`:     func(f *nodeFlags) { f.listen = "[::1]:65536" },
		`--replicaof "foo": want host:port`:          func(f *nodeFlags) { f.replicaOf = "foo" },
		`--replicaof "127.0.0.1:1" is this node`:     func(f *nodeFlags) { f.listen, f.replicaOf = "127.0.0.1:1", "127.0.0.1:1" },
		`--log-memory -1: want at least 1 byte`:      func(f *nodeFlags) { f.logMemory = -1 },
		`--log-keep 0: want at least 1 byte`:         func(f *nodeFlags) { f.logKeep = 0 },
		`--log-keep-age -1s: want a time`:            func(f *nodeFlags) { f.keepAge = -time.Second },
		`--snapshot-memory -1: want bytes`:           func(f *nodeFlags) { f.snapshotMemory = -1 },
		`--max-full-syncs 0: want at least 1`:        func(f *nodeFlags) { f.maxFullSyncs = 0 },
		`--full-sync-rate -1: want bytes a second`:   func(f *nodeFlags) { f.fullSyncRate = -1 },
		`--full-sync-min-rate 0: want at least 1`:    func(f *nodeFlags) { f.fullSyncMinRate = 0 },
		`--full-sync-slack 1ms: want at least 1s`:    func(f *nodeFlags) { f.fullSyncSlack = time.Millisecond },
		`--full-sync-log -1: want bytes`:             func(f *nodeFlags) { f.fullSyncLog = -1 },
		`--assume-replicas six: want a version such`: func(f *nodeFlags) { f.assumeReplicas = "six" },
	} {
		f := base
		edit(&f)
		if _, err := f.config(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %s", f, err, want)
		}
	}
	f := base
	f.passwordFile, f.keepAge, f.maxFullSyncs, f.fullSyncRate, f.masterTLS = good, time.Hour, 3, 5, true
	f.fullSyncMinRate, f.fullSyncSlack, f.fullSyncLog = 6, time.Second, 7
	c, err := f.config()
	if err != nil || c.Password != "secret" || c.Log.KeepAge != time.Hour || c.MaxFullSyncs != 3 || c.FullSyncRate != 5 ||
		c.FullSyncMinRate != 6 || c.FullSyncSlack != time.Second || c.FullSyncLog != 7 || c.UpstreamTLS == nil || c.TLS != nil {
		t.Errorf("got %+v, %v", c, err)
	}
	f.listen, f.logKeep = "foo", 0
	if _, err := f.config(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two bad flags: %v", err)
	}
}

// Wrong usage leaves nothing behind: the directory of a node with a bad address stayed.
func TestWrongUsageCreatesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	pipeline := func(name, sink string) string {
		text := "pipeline: " + name + "\nsource:\n  mysql: {addresses: [127.0.0.1:1], user: u}\ntables: {\"shop.*\": {}}\nsink:\n  node: {" + sink + ", dir: data/" + name + "}\n"
		must(t, os.WriteFile(name+".yaml", []byte(text), 0o600))
		return name + ".yaml"
	}
	good, bad, other := pipeline("good", "listen: 127.0.0.1:0"), pipeline("bad", "listen: 127.0.0.1:0, master_tls: {ca: none.pem}"), pipeline("other", "listen: foo")
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
	if err == nil || !strings.Contains(err.Error(), "bad.yaml:6: sink.node.master_tls: ") || !strings.Contains(err.Error(), "\nother.yaml:6: sink.node.listen: ") {
		t.Errorf("the faults of all files: %v", err)
	}
}

// The first load of a pipeline was interrupted when it had written nothing but its state, which
// is hidden: the node took itself for one that holds nothing, and kept what it said before.
func TestHiddenKeysAreNotComplete(t *testing.T) {
	var node *replication.Node
	commands := pipelines.NewCommands(func() *replication.Node { return node })
	node, err := replication.Open(replication.Config{
		Listen: "127.0.0.1:0", Dir: t.TempDir(), HiddenPrefix: sink.HiddenPrefix, Logger: zerolog.Nop(),
	})
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
	_, err = node.Apply(ctx, term, resp.AppendCommand(nil, "SET", sink.HiddenPrefix+"shop:mapping", "1"))
	must(t, err)
	node.SetComplete(true)
	running.Go(func() { judgeData(ctx, node, commands, zerolog.Nop()) })
	waitFor(t, "the node is not complete", func(context.Context) (bool, error) { return !node.Status().Complete, nil })
}
