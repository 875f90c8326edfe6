package replication_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// COMMAND lists the commands that read and write keys. Once, it listed only those of the
// connection.
func TestCommandListsTheKeyspace(t *testing.T) {
	c := config(t)
	c.Commands = map[string]replication.Handler{
		"ROWFALL": func(_ context.Context, dst []byte, _ int, _ [][]byte) []byte { return dst },
	}
	n, _ := start(t, c)
	cl := client(t, n.Addr())
	all, err := cl.Command(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	names := cl.CommandList(t.Context(), nil).Val()
	docs := cl.Do(t.Context(), "COMMAND", "DOCS").Val().(map[any]any)
	if count := cl.Do(t.Context(), "COMMAND", "COUNT").Val(); count != int64(len(all)) ||
		len(names) != len(all) ||
		len(docs) != len(all) {
		t.Errorf("COUNT is %v, INFO has %d, LIST %d, DOCS %d", count, len(all), len(names),
			len(docs))
	}
	for name, readOnly := range map[string]bool{
		"get": true, "hgetall": true, "zrange": true, "xrange": true,
		"set": false, "hset": false, "xadd": false,
	} {
		got := all[name]
		if got == nil || got.ReadOnly != readOnly || got.FirstKeyPos != 1 ||
			!slices.Contains(names, name) ||
			docs[name] == nil {
			t.Errorf("%s is %+v, docs %v", name, got, docs[name])
		}
	}
	for _, name := range []string{"ping", "psync", "rowfall"} {
		if all[name] == nil || !slices.Contains(names, name) || docs[name] == nil {
			t.Errorf("%s is not listed", name)
		}
	}
	some := cl.Do(t.Context(), "COMMAND", "INFO", "GET", "nosuch").Val().([]any)
	if len(some) != 2 || some[0] == nil || some[1] != nil {
		t.Errorf("COMMAND INFO GET nosuch is %v", some)
	}
}

// Clients route by the reply to COMMAND: which arguments are keys, and which commands write. The
// reply agrees with that of Redis.
func TestCommandInfoIsThatOfRedis(t *testing.T) {
	servertest.Need(t, servers.Redis)
	srv := client(t, servertest.Cache(t, servers.Redis, servers.CacheOptions{}).Addr())
	n, _ := start(t, config(t))
	theirs, err := srv.Command(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := client(t, n.Addr()).Command(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	describe := func(c *redis.CommandInfo) string {
		return fmt.Sprint(c.FirstKeyPos, c.LastKeyPos, c.StepCount,
			slices.Contains(c.Flags, "write"), slices.Contains(c.Flags, "movablekeys"))
	}
	compared := 0
	for name, c := range ours {
		their := theirs[name]
		// Redis has key positions of these two only by subcommand.
		if their == nil || name == "object" || name == "xinfo" ||
			!slices.Contains(c.Flags, "readonly") && !slices.Contains(c.Flags, "write") {
			continue
		}
		compared++
		if got, want := describe(c), describe(their); got != want {
			t.Errorf("%s is %s, in Redis %s", name, got, want)
		}
	}
	if compared < 90 {
		t.Errorf("only %d commands were compared", compared)
	}
}
