package pipelines_test

import (
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// testTimesToLive shows on a node, on a stand-by and on replicas of the oldest and the newest
// versions that keys and fields expire: rows of the load, of the stream, and rows whose time has
// passed. Fields leave every replica, because they leave by HDEL. After a promotion the new master
// removes the fields that are due.
func testTimesToLive(t *testing.T, d *database) {
	kinds := []servers.Kind{servers.RedisOldest, servers.RedisStable, servers.Redis, servers.Valkey}
	servertest.Need(t, kinds...)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT, ends DATETIME(3))",
		"INSERT INTO t VALUES (1, 1, UTC_TIMESTAMP(3) + INTERVAL 1 HOUR), (2, 2, NULL), "+
			"(3, 3, '2001-01-01')")
	c := d.config(`.*": {}`, `.t": {write: [
    {hash: "long:{id}", ttl: 1h, ttl_jitter: 50%},
    {string: "until:{id}", value: "{v}", expire_at: ends},
    {hash: all, field: "{id}", value: "{v}", expire_at: ends},
    {hash: brief, field: "{id}", value: "{v}", ttl: 2s},
    {set: ids, member: "{id}", ttl: 1h},
    {string: "brief:{id}", value: "{v}", ttl: 2s}]}`)
	m := runInstance(t, c)
	m.wait(d)
	watched := map[string]*redis.Client{
		"master": m.client, "stand-by": newClient(t, followingNode(t, m.Node.Addr())),
	}
	for _, kind := range kinds {
		watched[string(kind)] = stockReplica(t, kind, m.Node.Addr())
	}
	ctx := t.Context()
	d.exec("UPDATE t SET v = 10 WHERE id = 1", "INSERT INTO t VALUES (4, 4, NULL)",
		"UPDATE t SET ends = '2001-01-01' WHERE id = 2", "UPDATE t SET v = 4 WHERE id = 4")
	m.wait(d)
	for name, client := range watched {
		waitFor(t, name+" has lost what has expired", func() bool {
			return client.HLen(ctx, "brief").Val() == 0 &&
				client.HGet(ctx, "all", "1").Val() == "10" &&
				client.Exists(ctx, "brief:1", "brief:2", "brief:4").Val() == 0
		})
		if got := client.HGetAll(ctx, "all").Val(); !maps.Equal(got,
			map[string]string{"1": "10", "4": "4"}) {
			t.Errorf("%s: the fields are %v", name, got)
		}
		if client.Get(ctx, "until:4").Val() != "4" || client.TTL(ctx, "until:4").Val() != -1 ||
			client.Exists(ctx, "until:2", "until:3").Val() > 0 ||
			client.TTL(ctx, "until:1").Val() < 0 {
			t.Errorf("%s: keys with expire_at are wrong", name)
		}
		for _, key := range []string{"ids", "long:1", "long:3"} {
			ttl := client.PTTL(ctx, key).Val()
			if least := 25 * time.Minute; ttl > time.Hour || ttl < least {
				t.Errorf("%s: %s expires in %s", name, key, ttl)
			}
		}
	}
	// The position, four of long, two of until, all and ids; the times of fields are not counted.
	waitFor(t, "the master counts nine keys",
		func() bool { return m.client.DBSize(ctx).Val() == 9 })

	// A job leaves the expiry of keys that are equal. An absent key gets its full time to live.
	before := expireTime(t, m.client, "long:1")
	if _, err := m.Pipeline.Backfill(ctx, d.name+".t"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the job is done", func() bool { return len(m.Pipeline.Stats().Jobs) == 0 })
	if at := expireTime(t, m.client, "long:1"); at != before {
		t.Errorf("after a job, long:1 expires at %d, before it at %d", at, before)
	}
	if n := m.client.Exists(ctx, "until:2", "until:3").Val(); n > 0 {
		t.Errorf("a job has written %d rows whose time has passed", n)
	}

	c.Sink.Node = d.config().Sink.Node
	c.Sink.Node.ReplicaOf = m.Node.Addr()
	second := runInstance(t, c)
	d.exec("INSERT INTO t VALUES (5, 5, NULL)")
	m.wait(d)
	second.wait(d)
	m.stop()
	if err := second.client.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	second.wait(d)
	waitFor(t, "the new master has removed the fields", func() bool {
		return second.client.HLen(ctx, "brief").Val() == 0 &&
			second.client.HGet(ctx, "all", "5").Val() == "5"
	})
}

// expireTime returns when a key expires, in milliseconds since 1970.
func expireTime(t *testing.T, c *redis.Client, key string) int64 {
	t.Helper()
	at, err := c.Do(t.Context(), "PEXPIRETIME", key).Int64()
	if err != nil || at <= 0 {
		t.Fatalf("%s expires at %d, %v", key, at, err)
	}
	return at
}
