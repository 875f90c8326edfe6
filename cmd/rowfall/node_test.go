package main

import (
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
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
	below := servertest.Cache(t, servers.RedisStable, servers.CacheOptions{Args: []string{"--replicaof", host + " " + port}})
	c := redis.NewClient(&redis.Options{Addr: below.Addr()})
	defer c.Close()
	waitFor(t, "a replica of it has the data", func(ctx context.Context) (bool, error) { return has(ctx, c) })
}

func has(ctx context.Context, c *redis.Client) (bool, error) {
	v, err := c.Get(ctx, "k").Result()
	return v == "v", err
}
