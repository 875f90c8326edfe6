package replication_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers/servertest"
)

// killClients closes the connections to a node that have a type, such as replica, and returns how
// many it closed.
func killClients(t *testing.T, addr, kind string) int64 {
	t.Helper()
	n, err := client(t, addr).ClientKillByFilter(t.Context(), "TYPE", kind).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func client(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, DialTimeout: 5 * time.Second, MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	return c
}

// contents returns all keys of a server with their values and expiry times as text. Keys of the
// hidden prefix are missing.
func contents(ctx context.Context, c *redis.Client) (map[string]string, error) {
	all := map[string]string{}
	iter := c.Scan(ctx, 0, "*", 1000).Iterator()
	for iter.Next(ctx) {
		key := iter.Val()
		kind, err := c.Type(ctx, key).Result()
		if err != nil {
			return nil, err
		}
		var v any
		switch kind {
		case "string":
			v, err = c.Get(ctx, key).Result()
		case "hash":
			v, err = c.HGetAll(ctx, key).Result()
		case "set":
			v, err = c.SMembersMap(ctx, key).Result()
		case "list":
			v, err = c.LRange(ctx, key, 0, -1).Result()
		case "stream":
			v, err = c.XRange(ctx, key, "-", "+").Result()
		case "zset":
			v, err = c.ZRangeWithScores(ctx, key, 0, -1).Result()
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, key, err)
		}
		at, err := servertest.ExpireTime(
			func(args ...any) (int64, error) { return c.Do(ctx, args...).Int64() }, key,
		)
		if err != nil {
			return nil, err
		}
		all[key] = fmt.Sprintf("%s %v expires %d", kind, v, at)
	}
	return all, iter.Err()
}

// equal waits until two servers have the same contents.
func equal(t *testing.T, a, b string) {
	t.Helper()
	ca, cb := client(t, a), client(t, b)
	var diff string
	defer func() {
		if t.Failed() {
			t.Log(diff)
		}
	}()
	eventually(t, a+" and "+b+" have the same contents", func() bool {
		x, err := contents(t.Context(), ca)
		if err != nil {
			t.Fatal(err)
		}
		y, err := contents(t.Context(), cb)
		if err != nil {
			diff = err.Error()
			return false
		}
		diff = fmt.Sprintf("%d and %d keys", len(x), len(y))
		for k, v := range x {
			if y[k] != v {
				diff += fmt.Sprintf("; %s: %.200q and %.200q", k, v, y[k])
				return false
			}
		}
		return len(x) == len(y)
	})
}
