package sink_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/sink"
)

const registry = sink.HiddenPrefix + ":pipelines"

// load returns what a keyspace holds of the encoder's pipeline.
func load(e *sink.Encoder, ks *keyspace.Keyspace) (sink.State, error) {
	return e.Load(context.Background(), &sink.KeyspaceReader{Keys: ks})
}

// written returns a keyspace that holds pieces, written in one unit, and the encoder of that unit.
func written(t *testing.T, pieces map[string]string) (*keyspace.Keyspace, *sink.Encoder) {
	t.Helper()
	ks, e := keyspace.New(keyspace.Options{HiddenPrefix: sink.HiddenPrefix}), sink.NewEncoder(
		"shop",
	)
	u := sink.Unit{Progress: progress(t, uuid+":1-5", "binlog.000001", 100)}
	for name, value := range pieces {
		u.SetState("shop", name, []byte(value))
	}
	run(t, ks, e.Encode(nil, &u))
	return ks, e
}

func run(t *testing.T, ks *keyspace.Keyspace, command []byte) {
	t.Helper()
	if err := ks.Stage(command); err != nil {
		t.Fatal(err)
	}
	ks.Publish()
}

func mustHold(t *testing.T, s sink.State, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for name, value := range s.Pieces {
		got[name] = string(value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the state is %q, want %q", got, want)
	}
}

var somePieces = map[string]string{
	"mapping": "v1:0a0b", "table:shop.t": `{"Database":"shop"}`, "unmapped:shop.u": "it has no key",
	"empty": "", "head": "crc32c:",
}

// Every changed byte in a stored piece is detected.
func TestChangedByteInState(t *testing.T) {
	ks, _ := written(t, somePieces)
	fields, _ := ks.HashFields(sink.StateKey("shop"))
	if len(fields) != 2*len(somePieces) {
		t.Fatalf("the hash has fields %q", fields)
	}
	load := func(edit func(fields map[string]string)) (sink.State, error) {
		ks, e := written(t, nil)
		edited := maps.Clone(fields)
		edit(edited)
		command := []string{"HSET", sink.StateKey("shop")}
		for name, value := range edited {
			command = append(command, name, value)
		}
		run(t, ks, resp.AppendCommand(nil, command...))
		return load(e, ks)
	}
	s, err := load(func(map[string]string) {})
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, somePieces)
	flip := func(s string, i int) string { return s[:i] + string([]byte{s[i] ^ 1}) + s[i+1:] }
	for name, value := range fields {
		edits := map[string]func(map[string]string){
			"field removed": func(f map[string]string) { delete(f, name) },
		}
		edits["value is longer"] = func(f map[string]string) { f[name] = value + "x" }
		for i := range value {
			edits["value changed at "+value[:i]] = func(f map[string]string) {
				f[name] = flip(value, i)
			}
		}
		for i := range name {
			edits["name changed at "+name[:i]] = func(f map[string]string) {
				delete(f, name)
				f[flip(name, i)] = value
			}
		}
		for what, edit := range edits {
			_, err := load(edit)
			var corrupt *sink.CorruptStateError
			if !errors.As(err, &corrupt) || corrupt.Piece == "" ||
				!strings.Contains(err.Error(), corrupt.Piece) ||
				!strings.Contains(err.Error(), "--from snapshot") {
				t.Errorf("field %q, %s: %v", name, what, err)
			}
		}
	}
}

func TestUnknownFormatOfState(t *testing.T) {
	for _, format := range []string{"v4", "", "V2"} {
		ks, e := written(t, somePieces)
		run(t, ks, resp.AppendCommand(nil, "HSET", registry, "shop", format))
		var corrupt *sink.CorruptStateError
		if _, err := load(e, ks); !errors.As(err, &corrupt) ||
			!strings.Contains(err.Error(), "its format is") {
			t.Errorf("format %q: %v", format, err)
		}
	}
	ks, e := written(t, somePieces)
	run(t, ks, resp.AppendCommand(nil, "HDEL", registry, "shop"))
	if _, err := load(e, ks); err == nil {
		t.Error("pieces without a format were read")
	}
}

// Data of a version without checksums are read, and get checksums with the next unit. From then
// on, a piece without a checksum is corrupt.
func TestStateWithoutChecksums(t *testing.T) {
	ks, e := written(t, nil)
	run(t, ks, resp.AppendCommand(nil, "HSET", registry, "shop", "v1"))
	// That version took over from a newer one: it wrote "mapping", and removed "gone".
	run(
		t, ks,
		resp.AppendCommand(nil, "HSET", sink.StateKey("shop"), "mapping", "m", "table:shop.t", "{}",
			"head", "h", "crc32c:mapping", "00000000", "crc32c:gone", "00000000"),
	)
	for range 2 { // nothing was written in between
		s, err := load(e, ks)
		if err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, map[string]string{"mapping": "m", "table:shop.t": "{}", "head": "h"})
	}
	u := sink.Unit{Progress: progress(t, uuid+":1-6", "binlog.000001", 200)}
	u.SetState("shop", "table:shop.t", []byte("{1}"))
	u.DropState("shop", "head")
	run(t, ks, e.Encode(nil, &u))
	u.Reset()
	u.SetState("shop", "mapping", []byte("n"))
	run(t, ks, e.Encode(nil, &u)) // what was read does not come back
	s, err := load(e, ks)
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, map[string]string{"mapping": "n", "table:shop.t": "{1}"})
	run(t, ks, resp.AppendCommand(nil, "HSET", sink.StateKey("shop"), "new", "without"))
	if _, err := load(e, ks); err == nil || !strings.Contains(err.Error(), `"new"`) {
		t.Errorf("a piece without a checksum: %v", err)
	}
}

// An older version wrote some pieces to a hash of their own. They are verified, take the place of
// pieces of the same name, and are moved by the next unit.
func TestVolatilePieces(t *testing.T) {
	ks, e := written(t, map[string]string{"mapping": "m", "last": "old"})
	key := sink.HiddenPrefix + "shop:volatile"
	run(t, ks, resp.AppendCommand(nil, "HSET", key, "last", "new", "crc32c:last", "00000000"))
	var corrupt *sink.CorruptStateError
	if _, err := load(e, ks); !errors.As(err, &corrupt) || corrupt.Key != key {
		t.Errorf("a changed piece: %v", err)
	}
	sum := crc32.Checksum([]byte("new"), crc32.MakeTable(crc32.Castagnoli))
	run(t, ks, resp.AppendCommand(nil, "HSET", key, "crc32c:last", fmt.Sprintf("%08x", sum)))
	mustLoad := func() {
		t.Helper()
		s, err := load(e, ks)
		if err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, map[string]string{"mapping": "m", "last": "new"})
	}
	mustLoad()
	u := sink.Unit{Progress: progress(t, uuid+":1-6", "binlog.000001", 200)}
	run(t, ks, e.Encode(nil, &u))
	if fields, _ := ks.HashFields(key); len(fields) > 0 {
		t.Errorf("the hash of the older version is still there: %v", fields)
	}
	mustLoad()
}
