package pipelines_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/sink"
	"rowfall/transform"
)

// Data that replace others have the state of their own rows: when fields expire, which rows yield a
// shared member, and dead letters. Nothing is left of the state before, on the node and on a
// replica.
func testReplaceState(t *testing.T, d *database) {
	servertest.Need(t, servers.Redis)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, country CHAR(2), v VARCHAR(9))",
		"INSERT INTO t VALUES (1, 'DE', '1'), (2, 'DE', '2'), (3, 'FR', '3'), (4, 'IT', '4'), "+
			"(5, 'ES', '5'), (6, 'AT', '6')")
	mapping := `.*": {on_error: dead_letter, columns: {add: {n: 'int(v ?? "0")'}}, write: [
    {hash: "%s:{id}"}, {hash: all, field: "{id}", value: "{v}", ttl: %s},
    {hash: brief, field: "{id}", value: "{v}", ttl: 3s},
    {set: countries, member: "{country}", shared: true}]}`
	c := d.config(`.*": {}`, fmt.Sprintf(mapping, "old", "1h"))
	m := runInstance(t, c)
	m.wait(d)
	replica := stockReplica(t, servers.Redis, m.Node.Addr())
	d.exec("UPDATE t SET v = 'bad' WHERE id IN (3, 4)")
	m.wait(d)
	if n := m.Pipeline.Stats().DeadLetters; n != 2 {
		t.Fatalf("there are %d dead letters, want 2", n)
	}
	m.stop()
	d.exec("UPDATE t SET v = '40' WHERE id = 4", "DELETE FROM t WHERE id = 6", // AT is gone
		"UPDATE t SET country = 'FR' WHERE id = 5") // ES, too
	other := d.config(`.*": {}`, fmt.Sprintf(mapping, "new", "5h"))
	other.Sink.Node = c.Sink.Node
	other.Sink.Node.Listen = m.Node.Addr()
	m = runInstanceFrom(t, other, pipelines.FromReplace)
	d.exec("INSERT INTO t VALUES (7, 'NL', '7')", "UPDATE t SET v = '10' WHERE id = 1",
		"DELETE FROM t WHERE id = 5") // the row 3 yields FR, and has a letter
	m.wait(d)
	waitFor(t, "the replacement is over",
		func() bool { return m.Pipeline.Stats().Replacement == nil })

	ctx := t.Context()
	references := func(client *redis.Client, country string) []string {
		members := client.SMembers(ctx,
			sink.ReferencesKey("test", []byte("countries"), []byte(country))).Val()
		slices.Sort(members)
		return members
	}
	for name, client := range map[string]*redis.Client{"node": m.client, "replica": replica} {
		want := map[string]string{"1": "10", "2": "2", "4": "40", "7": "7"}
		waitFor(t, name+" has the new data", func() bool {
			return maps.Equal(client.HGetAll(ctx, "all").Val(), want) &&
				client.HLen(ctx, "brief").Val() == 0
		})
		if n := client.Exists(ctx, "old:1", "old:2", "old:6").Val(); n > 0 {
			t.Errorf("%s has %d keys of the old data", name, n)
		}
		entries := client.ZRangeWithScores(ctx, sink.FieldExpiryKey("test"), 0, -1).Val()
		expiring := make(map[string]time.Duration)
		for _, e := range entries {
			key, field, ok := transform.ParseFieldEntry([]byte(e.Member.(string)))
			if !ok || string(key) != "all" {
				t.Errorf("%s: the field %s of %s expires", name, field, key)
			}
			expiring[string(field)] = time.Until(time.UnixMilli(int64(e.Score)))
		}
		for field := range want {
			if left := expiring[field]; left < 4*time.Hour || left > 5*time.Hour {
				t.Errorf("%s: the field %s expires in %v", name, field, left)
			}
		}
		if len(expiring) != len(want) {
			t.Errorf("%s: fields expire that are not there: %v", name, expiring)
		}
		countries := client.SMembers(ctx, "countries").Val()
		if slices.Sort(countries); !slices.Equal(countries, []string{"DE", "IT", "NL"}) {
			t.Errorf("%s: the members are %v", name, countries)
		}
		for country, want := range map[string]int{
			"DE": 2, "IT": 1, "NL": 1, "FR": 0, "ES": 0, "AT": 0,
		} {
			if rows := references(client, country); len(rows) != want {
				t.Errorf("%s: the rows of %s are %v", name, country, rows)
			}
		}
	}
	if n := m.Pipeline.Stats().DeadLetters; n != 1 {
		t.Errorf("there are %d dead letters, want that of row 3", n)
	}

	// The state is in use: members leave with their last row, and a letter with its fault.
	d.exec("DELETE FROM t WHERE id IN (1, 4)", "UPDATE t SET v = '30' WHERE id = 3")
	m.wait(d)
	for name, client := range map[string]*redis.Client{"node": m.client, "replica": replica} {
		waitFor(t, name+" has the last changes", func() bool {
			countries := client.SMembers(ctx, "countries").Val()
			slices.Sort(countries)
			return slices.Equal(countries, []string{"DE", "FR", "NL"}) &&
				len(references(client, "DE")) == 1 && client.HGet(ctx, "all", "3").Val() == "30"
		})
	}
	if n := m.Pipeline.Stats().DeadLetters; n != 0 {
		t.Errorf("there are %d dead letters in the end", n)
	}
}
