package replication_test

import (
	"errors"
	"strings"
	"testing"

	"rowfall/replication"
)

// When the old data were dropped for a full resync that failed, the node keeps replying LOADING.
// Once, the node served the empty keyspace when the next full resync could not start.
func TestDroppedDataStayDropped(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		if link == 1 {
			return fullResync(5, string(unit("SET", "k", "v")))
		}
		return mute
	})
	n, _ := follow(t, up.addr)
	eventually(t, "the node follows", func() bool { return has(n, "k") })
	r := dialRaw(t, n.Addr())
	_, term := n.Role()
	for i, want := range []error{nil, replication.ErrDemoted} {
		if err := n.Drop(t.Context(), term+replication.Term(i)); !errors.Is(err, want) {
			t.Fatalf("drop %d: %v", i+1, err)
		}
		r.do("CONFIG", "SET", "replica-serve-stale-data",
			"yes") // makes the node decide again whether to serve reads
		if got := r.do("GET", "k"); !strings.HasPrefix(got, "-LOADING") {
			t.Errorf("after drop %d, GET gets %q", i+1, got)
		}
	}
}
