package replication_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"rowfall/replication"
)

func TestApplyAndRead(t *testing.T) {
	n, _ := start(t, config(t))
	c := client(t, n.Addr())
	ctx := t.Context()
	published := n.Published()
	at := apply(t, n, atomically(unit("HSET", "u:1", "a", "1", "b", "2"), unit("SADD", "s", "x")))
	if at != n.Offset() || at == 0 {
		t.Errorf("the unit ends at %d, the log at %d", at, n.Offset())
	}
	<-published
	if got := c.HGetAll(ctx, "u:1").Val(); len(got) != 2 || got["b"] != "2" {
		t.Errorf("got %v", got)
	}
	if err := c.Set(ctx, "x", "y", 0).Err(); err == nil ||
		err.Error() != "READONLY You can't write against a read only replica." {
		t.Errorf("a write gets %v", err)
	}
	if err := c.Do(ctx, "NOSUCH", "a").Err(); err == nil ||
		err.Error() != "ERR unknown command 'NOSUCH', with args beginning with: 'a' " {
		t.Errorf("an unknown command gets %q", err)
	}
}

// A unit that cannot be staged changes neither the log nor any key, not even the keys of its valid
// commands.
func TestBadUnitLeavesNoTrace(t *testing.T) {
	n, _ := start(t, config(t))
	at := apply(t, n, unit("SET", "k", "v"))
	_, term := n.Role()
	for _, bad := range [][]byte{
		atomically(unit("SET", "other", "v"), unit("HSET", "k", "f", "v")),
		unit("SPOP", "k"), []byte("SET k w\r\n"), nil, unit("MULTI"),
	} {
		if _, err := n.Apply(t.Context(), term, bad); err == nil ||
			errors.Is(err, replication.ErrDemoted) {
			t.Errorf("Apply of %q returns %v", bad, err)
		}
	}
	if n.Offset() != at || n.Keyspace().Len() != 1 {
		t.Errorf("offset %d became %d, there are %d keys", at, n.Offset(), n.Keyspace().Len())
	}
}

func TestTerms(t *testing.T) {
	n, _ := start(t, config(t))
	_, term := n.Role()
	apply(t, n, unit("SET", "k", "v"))
	changed := n.RoleChanged()
	was := n.Status().ID
	if err := n.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, err := n.Apply(t.Context(), term, unit("SET", "k", "w")); !errors.Is(err,
		replication.ErrDemoted) {
		t.Errorf("a replica accepts a unit: %v", err)
	}
	if st := n.Status(); st.ID != was || st.Role != replication.Replica {
		t.Errorf("after the demotion: %+v", st)
	}
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context(), term, unit("SET", "k", "w")); !errors.Is(err,
		replication.ErrDemoted) {
		t.Errorf("an old term is accepted: %v", err)
	}
	if st := n.Status(); st.ID == was || st.PreviousID != was || st.PreviousTo != n.Offset() ||
		st.Role != replication.Master {
		t.Errorf("after the promotion: %+v", st)
	}
	apply(t, n, unit("SET", "k", "w"))
}

func TestLockedDirectory(t *testing.T) {
	c := config(t)
	_, stop := start(t, c)
	if _, err := replication.Open(c); err == nil || !strings.Contains(err.Error(), "owns it") {
		t.Errorf("a second owner gets %v", err)
	}
	stop()
	start(t, c)
}

func TestCloseWithoutRun(t *testing.T) {
	c := config(t)
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Run(context.Background()); !errors.Is(err, replication.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	if _, err := n.Apply(context.Background(), 0, unit("SET", "k", "v")); !errors.Is(err,
		replication.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
}
