package sink_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// A block is read back as it was written. One that is missing, cut or changed is an error. Blocks
// are no pieces.
func TestBlocks(t *testing.T) {
	m := sinktest.NewMemory("shop")
	if _, err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply := func(fill func(u *sink.Unit)) {
		t.Helper()
		u := sink.Unit{Progress: progress(t, uuid+":1-5", "binlog.000001", 100)}
		fill(&u)
		if err := m.Apply(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) ([]byte, error) {
		return sink.ReadBlock(t.Context(), m, "shop", name)
	}
	isCorrupt := func(err error) bool { return errors.As(err, new(*sink.CorruptStateError)) }
	want := map[string][]byte{"a": []byte("x\x00y"), "b:1:t": {}}
	apply(func(u *sink.Unit) {
		for name, value := range want {
			u.SetBlock("shop", name, value)
		}
	})
	for name, value := range want {
		if got, err := read(name); err != nil || !bytes.Equal(got, value) {
			t.Errorf("block %s is %q, %v, want %q", name, got, err, value)
		}
	}
	state, err := m.Load(t.Context())
	if err != nil || len(state.Pieces) != 0 {
		t.Errorf("the pieces are %q, %v", state.Pieces, err)
	}
	for _, damaged := range []string{"", "1234567", "00000000x"} {
		key := sink.BlockKey("shop", "a")
		if !strings.HasPrefix(key, sink.HiddenPrefix) {
			t.Fatalf("key %s is not hidden", key)
		}
		if err := m.Execute(resp.AppendCommand(nil, "SET", key, damaged)); err != nil {
			t.Fatal(err)
		}
		if got, err := read("a"); !isCorrupt(err) {
			t.Errorf("a block that holds %q is read as %q, %v", damaged, got, err)
		}
	}
	apply(func(u *sink.Unit) { u.DropBlock("shop", "b:1:t") })
	if got, err := read("b:1:t"); !isCorrupt(err) {
		t.Errorf("a block that was dropped is read as %q, %v", got, err)
	}
}

// HoldsLocation finds what an output may have written, and no key of another type.
func TestHoldsLocation(t *testing.T) {
	m := sinktest.NewMemory("shop")
	for _, command := range []string{"SET s x", "HSET h a 1", "SADD set a", "ZADD z 1 a"} {
		parts := strings.Fields(command)
		if err := m.Execute(resp.AppendCommand(nil, parts...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		kind        transform.OutputKind
		key, member string
		want        bool
	}{
		{transform.String, "s", "", true},
		{transform.String, "h", "", false},
		{transform.JSON, "s", "", true},
		{transform.JSON, "other", "", false},
		{transform.Hash, "h", "", true},
		{transform.Hash, "s", "", false},
		{transform.Hash, "h", "a", true},
		{transform.Hash, "h", "b", false},
		{transform.Set, "set", "a", true},
		{transform.Set, "set", "b", false},
		{transform.Set, "z", "a", false},
		{transform.SortedSet, "z", "a", true},
		{transform.SortedSet, "z", "b", false},
		{transform.SortedSet, "other", "a", false},
	} {
		at := transform.Location{Key: []byte(c.key)}
		if c.member != "" {
			at.Member = []byte(c.member)
		}
		got, err := sink.HoldsLocation(t.Context(), m, c.kind, at)
		if err != nil || got != c.want {
			t.Errorf("%v at %s %q: %v, %v, want %v", c.kind, c.key, c.member, got, err, c.want)
		}
	}
}
