package replication_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"rowfall/replication"
)

const sharedKeys = 500 // keys that both the old and the new data have

// fillShared writes the shared keys and one of its own, in several units.
func fillShared(ctx context.Context, n *replication.Core, value string) error {
	_, term := n.Role()
	for i := range sharedKeys {
		u := atomically(
			unit("SET", fmt.Sprint("k", i), value), unit("SET", "only:"+value, value))
		if _, err := n.Apply(ctx, term, u); err != nil {
			return err
		}
	}
	return nil
}

// replace builds a replacement whose shared keys have a value, and installs it.
func replace(ctx context.Context, n *replication.Node, value string) error {
	r, err := n.OpenReplacement(ctx)
	if err != nil {
		return err
	}
	if err := fillShared(ctx, r, value); err != nil {
		return err
	}
	r.SetComplete(true)
	return n.InstallReplacement(ctx)
}

// watchShared reads the shared keys of a server again and again until stop is called. In each
// transaction all of them must have one value.
func watchShared(t *testing.T, addr string) (stop func() (seen map[string]bool)) {
	c := client(t, addr)
	ctx, cancel := context.WithCancel(t.Context())
	seen := map[string]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil && !t.Failed(); i++ {
			keys := []string{"k0", fmt.Sprint("k", i%sharedKeys), fmt.Sprint("k", sharedKeys-1)}
			var values *redis.SliceCmd
			var last *redis.StringCmd
			_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				values, last = p.MGet(ctx, keys...), p.Get(ctx, keys[1])
				return nil
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Errorf("%s: %v", addr, err)
				return
			}
			v := values.Val()
			if v[0] == nil || v[0] != v[1] || v[0] != v[2] || v[0] != last.Val() {
				t.Errorf("%s: %v = %v, then %q", addr, keys, v, last.Val())
			}
			seen[fmt.Sprint(v[0])] = true
		}
	})
	return func() map[string]bool {
		cancel()
		wg.Wait()
		return seen
	}
}

// While a replacement is built, the node and its replicas serve the old data, also to replicas that
// join. At the installation readers change from the old data to the new ones in one step. The node
// has the id of the replacement then, and every replica gets a full resync.
func TestReplacement(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	if err := fillShared(t.Context(), n.Node, "old"); err != nil {
		t.Fatal(err)
	}
	b, _ := follow(t, n.Addr())
	online(t, b)
	was := n.Status()
	var readers []func() map[string]bool
	for _, addr := range []string{n.Addr(), n.Addr(), b.Addr()} {
		readers = append(readers, watchShared(t, addr))
	}

	r, err := n.OpenReplacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := fillShared(t.Context(), r, "new"); err != nil {
		t.Fatal(err)
	}
	if err := n.InstallReplacement(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "not complete") {
		t.Errorf("an incomplete replacement gives %v", err)
	}
	late, _ := follow(t, n.Addr())
	online(t, late)
	equal(t, n.Addr(), late.Addr())
	if st := n.Status(); st.ID != was.ID || !st.Complete || st.Keys != was.Keys {
		t.Errorf("while it is built: %+v", st)
	}
	if got := client(t, late.Addr()).Get(t.Context(), "k7").Val(); got != "old" {
		t.Errorf("a replica that joined holds %q", got)
	}
	if !n.HasReplacement() {
		t.Error("the node has no replacement")
	}

	r.SetComplete(true)
	if err := n.InstallReplacement(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := n.Status()
	if st.ID == was.ID || st.PreviousID != "" || !st.Complete || st.Term != was.Term {
		t.Errorf("before: %+v\nafter: %+v", was, st)
	}
	for _, node := range []*replication.Node{b, late} {
		eventually(t, "a replica has the new data",
			func() bool { return node.Status().ID == st.ID })
		equal(t, n.Addr(), node.Addr())
	}
	apply(t, n, unit("SET", "after", "1"))
	equal(t, n.Addr(), b.Addr())
	for _, stop := range readers {
		if seen := stop(); !seen["old"] || !seen["new"] || len(seen) != 2 {
			t.Errorf("a reader has seen %v", seen)
		}
	}
	if full := n.Status().FullSyncs; full != 4 {
		t.Errorf("%d full resyncs", full)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "replacement")); !errors.Is(err, os.ErrNotExist) ||
		n.HasReplacement() {
		t.Errorf("its directory is left: %v", err)
	}

	// The directory opens as any other, and can be replaced again.
	stop()
	n, _ = start(t, c)
	if again := n.Status(); again.ID != st.ID || again.Keys != st.Keys+1 || !again.Complete {
		t.Errorf("after a restart: %+v", again)
	}
	if err := replace(t.Context(), n, "newer"); err != nil {
		t.Fatal(err)
	}
	if got := n.Keyspace().Len(); got != sharedKeys+1 {
		t.Errorf("replaced again, it has %d keys", got)
	}
}

// A replacement survives a stop of its node, and can be discarded.
func TestReplacementContinues(t *testing.T) {
	c := config(t)
	n, stop := complete(t, c)
	apply(t, n, unit("SET", "k", "old"))
	r, err := n.OpenReplacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, term := r.Role()
	if _, err := r.Apply(t.Context(), term, unit("SET", "k", "new")); err != nil {
		t.Fatal(err)
	}
	r.SetComplete(true)
	stop()
	if _, err := r.Apply(
		t.Context(), term, unit("SET", "k", "newer"),
	); !errors.Is(err, replication.ErrClosed) {
		t.Errorf("after the stop it replies %v", err)
	}

	n, stop = start(t, c)
	if !n.HasReplacement() {
		t.Error("there is no replacement after a restart")
	}
	if r, err = n.OpenReplacement(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, _ := r.Keyspace().Get("k"); string(v) != "new" {
		t.Errorf("the replacement holds %q", v)
	}
	if same, err := n.OpenReplacement(t.Context()); err != nil || same != r {
		t.Errorf("opened twice: %v", err)
	}
	if existed, err := n.DiscardReplacement(); err != nil || !existed {
		t.Errorf("discarded: %v, %v", existed, err)
	}
	if existed, err := n.DiscardReplacement(); err != nil || existed {
		t.Errorf("discarded twice: %v, %v", existed, err)
	}
	if r, err = n.OpenReplacement(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Keyspace().Len() != 0 {
		t.Error("a new replacement has data")
	}
	if v, _ := n.Keyspace().Get("k"); string(v) != "old" {
		t.Errorf("the node holds %q", v)
	}

	// What cannot be read is not continued.
	stop()
	logs, err := filepath.Glob(filepath.Join(c.Dir, "replacement", "log", "*.seg"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("%q, %v", logs, err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "replacement", "snapshot-7.rdb"),
		[]byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, c)
	if err := replace(t.Context(), n, "new"); err != nil {
		t.Fatal(err)
	}
	if got := n.Keyspace().Len(); got != sharedKeys+1 {
		t.Errorf("%d keys", got)
	}
}

// A replica's data are its upstream's, so that a replacement is not installed on it, and not while
// the role is being handed over.
func TestReplacementNeedsMaster(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "k", "old"))
	r, err := n.OpenReplacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.SetComplete(true)
	if err := n.ReplicaOf(t.Context(), nowhere); err != nil {
		t.Fatal(err)
	}
	if err := n.InstallReplacement(t.Context()); !errors.Is(err, replication.ErrDemoted) {
		t.Errorf("a replica replies %v", err)
	}
	if err := n.ReplicaOf(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b, _ := follow(t, n.Addr())
	online(t, b)
	if got := n.Keyspace().Len(); got != 1 {
		t.Errorf("%d keys", got)
	}
	_, term := r.Role()
	if _, err := r.Apply(t.Context(), term, unit("SET", "k", "new")); err != nil {
		t.Fatal(err)
	}
	if err := n.InstallReplacement(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, n.Addr(), b.Addr())
}
