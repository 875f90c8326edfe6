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
	for want, f := range map[string]nodeFlags{
		"--log-fsync":            {fsync: "sometimes"},
		"--tls-cert":             {tls: file.ServerTLS{CA: good}},
		"--master-tls-ca":        {masterCA: good},
		"--password-file":        {passwordFile: empty},
		"--master-password-file": {masterPasswordFile: filepath.Join(dir, "none")},
	} {
		if f.fsync == "" {
			f.fsync = "no"
		}
		if _, err := f.config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want it to name %s", f, err, want)
		}
	}
	c, err := nodeFlags{fsync: "no", passwordFile: good, keepAge: time.Hour, maxFullSyncs: 3, fullSyncRate: 5, masterTLS: true}.config()
	if err != nil || c.Password != "secret" || c.Log.KeepAge != time.Hour || c.MaxFullSyncs != 3 || c.FullSyncRate != 5 || c.UpstreamTLS == nil || c.TLS != nil {
		t.Errorf("got %+v, %v", c, err)
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
