package sink_test

import (
	"fmt"
	"slices"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// applyReferences applies a unit of deferred commands, see deferReference.
func applyReferences(t *testing.T, s applier, texts ...string) error {
	t.Helper()
	u := sink.Unit{Progress: sink.Progress{Phase: sink.Streaming}}
	for _, text := range texts {
		deferReference(&u.Commands, text)
	}
	return s.Apply(t.Context(), &u)
}

// A row that is added again adds its member again, if the set misses the member. A member without
// rows leaves the set with the next row that does not yield the member any more.
func TestReferencesComplete(t *testing.T) {
	s := sinktest.NewMemory("shop")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ command, text, want string }{
		{"", "+1 fr", "[fr]"},
		{"SREM countries fr", "+1 fr", "[fr]"},
		{"DEL countries", "+2 de", "[de]"},
		{"SADD countries it", "-9 it", "[de]"},
		{"DEL countries", "-1 fr", "[]"},
		{"", "+2 de", "[de]"},
	} {
		if c.command != "" {
			words := make([]string, 0, 3)
			for _, w := range split(c.command) {
				words = append(words, string(w))
			}
			if err := s.Execute(resp.AppendCommand(nil, words...)); err != nil {
				t.Fatal(err)
			}
		}
		if err := applyReferences(t, s, c.text); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(members(t, s, "countries")); got != c.want {
			t.Errorf("after %q, %q the members are %s, want %s", c.command, c.text, got, c.want)
		}
	}
}

// A key of another type fails the unit with the usual error, unless the unit removes the key first.
func TestReferencesAtAnotherType(t *testing.T) {
	s := sinktest.NewMemory("shop")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Execute(resp.AppendCommand(nil, "SET", "countries", "x")); err != nil {
		t.Fatal(err)
	}
	if err := applyReferences(t, s, "-1 fr"); err != nil {
		t.Errorf("a row that ends: %v", err)
	}
	if err := applyReferences(t, s, "+1 fr"); err == nil {
		t.Error("a row begins to yield a member of a string")
	}
	u := sink.Unit{Progress: sink.Progress{Phase: sink.Streaming}}
	u.Commands.Append([]byte("DEL"), []byte("countries"))
	deferReference(&u.Commands, "+1 fr")
	if err := s.Apply(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
	if got := members(t, s, "countries"); !slices.Equal(got, []string{"fr"}) {
		t.Errorf("the members are %q", got)
	}
}

// Repair completes the rows of a member, too, and changes nothing if all is there.
func TestRepairReference(t *testing.T) {
	s := sinktest.NewMemory("shop")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := transform.Expectation{
		Kind: transform.Set, Key: []byte("countries"), Member: []byte("fr"), Row: []byte("1"),
	}
	rows := sink.ReferencesKey("shop", want.Key, want.Member)
	for _, command := range [][]string{
		{"PING"}, {"SREM", rows, "1"}, {"SREM", "countries", "fr"}, {"PING"},
	} {
		if command[0] != "PING" {
			if err := s.Execute(resp.AppendCommand(nil, command...)); err != nil {
				t.Fatal(err)
			}
		}
		u := sink.Unit{Progress: sink.Progress{Phase: sink.Streaming}}
		if _, err := sink.Repair(t.Context(), s, &u.Commands, &want, sink.Expiry{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
		if got := members(t, s, "countries"); !slices.Equal(got, []string{"fr"}) {
			t.Errorf("after %q the members are %q", command, got)
		}
		if got := members(t, s, rows); !slices.Equal(got, []string{"1"}) {
			t.Errorf("after %q the rows are %q", command, got)
		}
	}
	if units := s.Units(0); units[len(units)-1].Commands != "" {
		t.Errorf("the last unit has commands: %q", units[len(units)-1].Commands)
	}
}

// Different pairs of key and member have different keys, which nodes hide.
func TestReferencesKey(t *testing.T) {
	seen := make(map[string]bool)
	texts := []string{"", "a", "b", "aa", "ab", "a\x01", "\x01a", "\x00"}
	for _, key := range texts {
		for _, member := range texts {
			name := sink.ReferencesKey("shop", []byte(key), []byte(member))
			if seen[name] || name[:len(sink.HiddenPrefix)] != sink.HiddenPrefix {
				t.Errorf("%q and %q have the key %q", key, member, name)
			}
			seen[name] = true
		}
	}
}

// A row that yields a member takes about 8 bytes of a node's memory besides its text if the member
// has many rows, and about 70 bytes if the member has one. docs/mapping.md has the numbers.
func TestReferenceMemory(t *testing.T) {
	for _, c := range []struct{ members, rows, most int }{{20, 5000, 35}, {20000, 1, 90}} {
		ks := keyspace.New(keyspace.Options{HiddenPrefix: sink.HiddenPrefix})
		before := int(ks.Memory().Live)
		var b []byte
		for m := range c.members {
			key := sink.ReferencesKey("shop", []byte("countries"), fmt.Appendf(nil, "%d", m))
			for row := range c.rows {
				b = resp.AppendCommand(b[:0], "SADD", key,
					fmt.Sprintf("shop\xffusers\xff0:%d", 1000*m+row))
				if err := ks.Stage(b); err != nil {
					t.Fatal(err)
				}
				ks.Publish()
			}
		}
		each := (int(ks.Memory().Live) - before) / (c.members * c.rows)
		t.Logf("%d members with %d rows each: %d bytes for each row", c.members, c.rows, each)
		if each > c.most {
			t.Errorf("a row takes %d bytes, want at most %d", each, c.most)
		}
	}
}
