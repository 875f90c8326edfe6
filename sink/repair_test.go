package sink_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

func split(text string) (out [][]byte) {
	for _, w := range strings.Fields(text) {
		out = append(out, []byte(w))
	}
	return out
}

func execute(t *testing.T, m *sinktest.Memory, commands string) {
	t.Helper()
	for line := range strings.SplitSeq(commands, "; ") {
		if line == "" {
			continue
		}
		if err := m.Execute(resp.AppendCommand(nil, strings.Fields(line)...)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// Repair writes the difference and nothing else, whatever the sink holds, and then nothing.
func TestRepair(t *testing.T) {
	key := []byte("k")
	row := transform.Expectation{Kind: transform.Hash, Key: key, Pairs: split("a 1 b 2")}
	text := transform.Expectation{Kind: transform.String, Key: key, Value: []byte("v")}
	member := transform.Expectation{Kind: transform.Set, Key: key, Member: []byte("m")}
	score := transform.Expectation{
		Kind: transform.SortedSet, Key: key, Member: []byte("m"), Score: []byte("1.50"),
	}
	for _, c := range []struct {
		name, held string
		want       transform.Expectation
		commands   string
	}{
		{"absent", "", row, "HSET k a 1 b 2"},
		{"equal", "HSET k b 2 a 1", row, ""},
		{"a field differs", "HSET k a 1 b 3", row, "HSET k b 2"},
		{"a field more", "HSET k a 1 b 2 c 3 d 4", row, "HDEL k c d"},
		{"fields differ", "HSET k a 0 c 3", row, "HSET k a 1 b 2; HDEL k c"},
		{"no text", "", text, "SET k v"},
		{"equal text", "SET k v", text, ""},
		{"another text", "SET k w", text, "SET k v"},
		{"no set", "", member, "SADD k m"},
		{"a member", "SADD k m n", member, ""},
		{"no member", "SADD k n", member, "SADD k m"},
		{"no sorted set", "", score, "ZADD k 1.50 m"},
		{"the score", "ZADD k 1.5 m", score, ""},
		{"another score", "ZADD k 1 m", score, "ZADD k 1.50 m"},
		{"no score", "ZADD k 1 n", score, "ZADD k 1.50 m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := sinktest.NewMemory("shop")
			execute(t, m, c.held)
			var u transform.Commands
			x := sink.Expiry{}
			changed, err := sink.Repair(t.Context(), m, &u, &c.want, x)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for line := range strings.SplitSeq(c.commands, "; ") {
				if line != "" {
					want = append(want, resp.AppendCommand(nil, strings.Fields(line)...)...)
				}
			}
			if string(u.Bytes) != string(want) || changed != (c.commands != "") {
				t.Errorf("commands %q, changed %v; want %q", u.Bytes, changed, want)
			}
			for rest := u.Bytes; len(rest) > 0; {
				_, n, err := resp.ParseCommand(rest, nil)
				if err == nil {
					err = m.Execute(rest[:n])
				}
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			u.Reset()
			if changed, err = sink.Repair(t.Context(), m, &u, &c.want, x); changed || err != nil {
				t.Errorf("a second repair: %q, %v", u.Bytes, err)
			}
		})
	}
}

// scanAll collects everything that a scan visits.
func scanAll(
	t *testing.T, scan func(ctx context.Context, cursor string, visit func([]byte)) (string, error),
) []string {
	t.Helper()
	var all []string
	for cursor := "0"; ; {
		next, err := scan(t.Context(), cursor, func(b []byte) { all = append(all, string(b)) })
		if err != nil {
			t.Fatal(err)
		}
		if cursor = next; cursor == "0" {
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
}

func TestScan(t *testing.T) {
	m := sinktest.NewMemory("shop")
	var want []string
	for i := range 5000 {
		n := strconv.Itoa(i)
		execute(t, m, "SET a*:"+n+" v; SET ab:"+n+" v; SADD set "+n+"; HSET hash "+n+" v; "+
			"ZADD zset 1 "+n)
		want = append(want, n)
	}
	slices.Sort(want)
	type visit = func([]byte)
	keys := scanAll(t, func(ctx context.Context, cursor string, v visit) (string, error) {
		withoutPrefix := func(key []byte) { v(key[3:]) }
		return sink.ScanKeys(ctx, m, cursor, sink.KeyFilter{Prefix: "a*:"}, 100, withoutPrefix)
	})
	if !slices.Equal(keys, want) {
		t.Errorf("%d keys begin with a*:, want %d", len(keys), len(want))
	}
	for key, kind := range map[string]transform.OutputKind{
		"set": transform.Set, "hash": transform.Hash, "zset": transform.SortedSet,
	} {
		got := scanAll(t, func(ctx context.Context, cursor string, v visit) (string, error) {
			return sink.ScanMembers(ctx, m, kind, []byte(key), cursor, 100, v)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s has %d members, want %d", key, len(got), len(want))
		}
		next, err := sink.ScanMembers(t.Context(), m, kind, []byte("a*:1"), "0", 100, func([]byte) {
			t.Error("a string has members")
		})
		if next != "0" || err != nil {
			t.Errorf("a string as %s: next %s, %v", key, next, err)
		}
	}
}
