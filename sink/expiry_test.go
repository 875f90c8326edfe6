package sink_test

import (
	"strings"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// Repair leaves the expiry of equal values, and gives an expiry to what is written and to what
// should have one. The clock of the sink stands at 1000; entry is the entry of field f of key k.
func TestRepairExpiry(t *testing.T) {
	key := []byte("k")
	expect := func(kind transform.OutputKind, x transform.Expiry) transform.Expectation {
		e := transform.Expectation{Kind: kind, Key: key, Expiry: x}
		switch kind {
		case transform.Hash:
			e.Pairs = split("a 1")
		case transform.String:
			e.Value = []byte("v")
		case transform.Set:
			e.Member = []byte("m")
		case transform.SortedSet:
			e.Member, e.Score = []byte("m"), []byte("1")
		}
		return e
	}
	field := func(x transform.Expiry) transform.Expectation {
		text := append([]byte{byte(transform.Hash), 1, byte(x.Rule)},
			0, 0, 2, 'k', 2, 2, 'f', 2, 'v', 0, 0, 0)
		var e transform.Expectation
		transform.ParseExpectation(&e, text)
		e.Expiry = x
		return e
	}
	none := transform.Expiry{}
	never := transform.Expiry{Rule: transform.NeverExpires}
	after := transform.Expiry{Rule: transform.ExpiresAfter, Milliseconds: 500}
	later := transform.Expiry{Rule: transform.ExpiresAt, Milliseconds: 7000}
	past := transform.Expiry{Rule: transform.ExpiresAt, Milliseconds: 1000}
	for _, c := range []struct {
		name, held string
		want       transform.Expectation
		commands   string
	}{
		{"absent", "", expect(transform.Hash, after), "HSET k a 1; PEXPIREAT k 1500"},
		{"equal", "HSET k a 1; PEXPIREAT k 1200", expect(transform.Hash, after), ""},
		{"lacks a ttl", "HSET k a 1", expect(transform.Hash, after), "PEXPIREAT k 1500"},
		{
			"differs", "HSET k a 2; PEXPIREAT k 1200", expect(transform.Hash, after),
			"HSET k a 1; PEXPIREAT k 1500",
		},
		{
			"has expired", "HSET k a 1 b 2; PEXPIREAT k 900", expect(transform.Hash, after),
			"HSET k a 1; PEXPIREAT k 1500",
		},
		{
			"no ttl any more", "HSET k a 1; PEXPIREAT k 1200", expect(transform.Hash, none),
			"PERSIST k",
		},
		{"NULL", "HSET k a 1; PEXPIREAT k 1200", expect(transform.Hash, never), "PERSIST k"},
		{
			"another time", "SET k v; PEXPIREAT k 1200", expect(transform.String, later),
			"PEXPIREAT k 7000",
		},
		{"the same time", "SET k v; PEXPIREAT k 7000", expect(transform.String, later), ""},
		{
			"SET removes it", "SET k w; PEXPIREAT k 7000", expect(transform.String, later),
			"SET k v; PEXPIREAT k 7000",
		},
		{"SET persists", "SET k w; PEXPIREAT k 7000", expect(transform.String, never), "SET k v"},
		{"past", "SET k v", expect(transform.String, past), "DEL k"},
		{"past and absent", "", expect(transform.String, past), ""},
		{"past member", "SADD k m n", expect(transform.Set, past), "SREM k m"},
		{"past score", "ZADD k 1 m 1 n", expect(transform.SortedSet, past), "ZREM k m"},
		{"member", "SADD k m; PEXPIREAT k 1200", expect(transform.Set, after), ""},
		{
			"new member", "SADD k n; PEXPIREAT k 1200", expect(transform.Set, after),
			"SADD k m; PEXPIREAT k 1500",
		},
		// Another row may have given the key that both share another time, or none.
		{"another row's time", "SADD k m; PEXPIREAT k 1200", expect(transform.Set, later), ""},
		{"another row's NULL", "SADD k m", expect(transform.Set, later), "PEXPIREAT k 7000"},
		{"own NULL", "SADD k m; PEXPIREAT k 1200", expect(transform.Set, never), ""},
		{"field", "HSET k f v; ZADD fields 1200 \x01kf", field(after), ""},
		{"new field", "", field(after), "HSET k f v; ZADD fields 1500 \x01kf"},
		{
			"field differs", "HSET k f w; ZADD fields 1200 \x01kf", field(after),
			"HSET k f v; ZADD fields 1500 \x01kf",
		},
		{"field lacks a ttl", "HSET k f v", field(after), "ZADD fields 1500 \x01kf"},
		{
			"field with NULL", "HSET k f v; ZADD fields 1200 \x01kf", field(never),
			"ZREM fields \x01kf",
		},
		{
			"field with another time", "HSET k f v; ZADD fields 1200 \x01kf", field(later),
			"ZADD fields 7000 \x01kf",
		},
		{
			"past field", "HSET k f v g v; ZADD fields 900 \x01kf", field(past),
			"HDEL k f; ZREM fields \x01kf",
		},
		{"field without ttl", "HSET k f v; PEXPIREAT k 1200", field(none), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := sinktest.NewMemory("shop")
			m.Clock = func() int64 { return 1000 }
			execute(t, m, c.held)
			var u transform.Commands
			x := sink.Expiry{Now: m.Now(), FieldsKey: []byte("fields")}
			if _, err := sink.Repair(t.Context(), m, &u, &c.want, x); err != nil {
				t.Fatal(err)
			}
			var want []byte
			for line := range strings.SplitSeq(c.commands, "; ") {
				if line != "" {
					want = append(want, resp.AppendCommand(nil, strings.Fields(line)...)...)
				}
			}
			if string(u.Bytes) != string(want) {
				t.Fatalf("commands %q, want %q", u.Bytes, want)
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
			if changed, err := sink.Repair(t.Context(), m, &u, &c.want, x); changed || err != nil {
				t.Errorf("a second repair: %q, %v", u.Bytes, err)
			}
		})
	}
}

// Overwrite gives the new value its expiry, and removes a row whose time has passed.
func TestOverwriteExpiry(t *testing.T) {
	e := transform.Expectation{
		Kind: transform.String, Key: []byte("k"), Value: []byte("v"),
		Expiry: transform.Expiry{Rule: transform.ExpiresAt, Milliseconds: 2000},
	}
	for now, want := range map[int64]string{
		1000: "DEL k; SET k v; PEXPIREAT k 2000", 2000: "DEL k",
	} {
		var u transform.Commands
		sink.Overwrite(&u, &e, sink.Expiry{Now: now})
		var text []byte
		for line := range strings.SplitSeq(want, "; ") {
			text = append(text, resp.AppendCommand(nil, strings.Fields(line)...)...)
		}
		if string(u.Bytes) != string(text) {
			t.Errorf("at %d: %q, want %s", now, u.Bytes, want)
		}
	}
}
