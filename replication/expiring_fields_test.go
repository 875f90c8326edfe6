package replication_test

import (
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// Hash fields that expire are rejected with the key's name, and the upstream gives only one full
// resync. Once, the node announced no version, and a Valkey 9 could not write such a key for it: it
// forked every five seconds and closed the connection, and the node logged "read snapshot header:
// EOF" without end.
func TestFieldsThatExpireAreRejectedByName(t *testing.T) {
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := servertest.Cache(t, kind,
				servers.CacheOptions{Args: []string{"--repl-diskless-sync-delay", "0"}})
			up := client(t, srv.Addr())
			for _, words := range [][]any{
				{"HSET", "h:fields", "f", "v", "g", "w"},
				{"HPEXPIRE", "h:fields", "1000000", "FIELDS", "1", "f"},
			} {
				if err := up.Do(t.Context(), words...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			c := config(t)
			c.ReplicaOf = srv.Addr()
			n, _ := start(t, c)
			eventually(t, "the node stops following",
				func() bool { return n.Status().Upstream.State == replication.LinkStopped })
			got := n.Status().Upstream.Err
			for _, want := range []string{"h:fields", "hash with field expiry", "REPLICAOF"} {
				if !strings.Contains(got, want) {
					t.Errorf("the error is %q; it lacks %q", got, want)
				}
			}
			if got := field(up, "stats", "sync_full"); got != "1" {
				t.Errorf("the upstream gave %s full resyncs, want 1", got)
			}
		})
	}
}
