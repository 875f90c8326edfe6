package sink_test

import (
	"bytes"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// position returns a position as package pipelines writes those of MySQL.
func position(set, file, offset string) sink.Position {
	return sink.Position{
		{Name: "gtid", Value: []byte(set)},
		{Name: "file", Value: []byte(file)},
		{Name: "offset", Value: []byte(offset)},
	}
}

func progress(t testing.TB, set, file string, offset uint64) sink.Progress {
	t.Helper()
	return sink.Progress{
		Position: position(set, file, strconv.FormatUint(offset, 10)),
		Server:   "server-a", Time: int64(offset) * 1000, Phase: sink.Streaming,
	}
}

const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"

// Whatever unchanged fields a unit leaves out, the position hash is complete afterwards.
func TestEncoderLeavesCompletePosition(t *testing.T) {
	partial := progress(t, uuid+":1-6", "binlog.000002", 400)
	partial.Partial, partial.Row = 2, 20000
	again := partial
	again.Partial, again.Row = 3, 30000
	steps := []sink.Progress{
		progress(t, uuid+":1-5", "binlog.000001", 100),
		progress(t, uuid+":1-6", "binlog.000001", 250),
		progress(t, uuid+":1-6", "binlog.000002", 400),
		partial,
		again,
		progress(t, uuid+":1-7", "binlog.000002", 500),
		progress(t, "", "binlog.000002", 500),
	}
	ks := keyspace.New(keyspace.Options{})
	e := sink.NewEncoder("shop")
	var u sink.Unit
	for i, want := range steps {
		u.Reset()
		u.Progress = want
		u.Commands.Bytes = resp.AppendCommand(u.Commands.Bytes, "SET", "a", "b")
		u.SetState("shop", "mapping", []byte("m"))
		if i == 4 {
			// A new run begins within a split transaction: every field is
			// written again, and none of them lost.
			e.Reset()
		}
		if err := ks.Stage(e.Encode(nil, &u)); err != nil {
			t.Fatal(err)
		}
		ks.Publish()
		fields, _ := ks.HashFields(sink.PositionKey("shop"))
		got, err := sink.ParseProgress(fields)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range want.Position {
			if !bytes.Equal(got.Position.Get(f.Name), f.Value) {
				t.Errorf("step %d: the position is %s, want %s", i, got.Position, want.Position)
			}
		}
		if len(got.Position) != len(want.Position) ||
			got.Server != want.Server || got.Time != want.Time || got.Phase != want.Phase ||
			got.Partial != want.Partial ||
			got.Row != want.Row {
			t.Errorf("step %d: the hash says %+v, want %+v", i, got, want)
		}
		if known := sink.Positions(ks); len(known) != 1 ||
			known["shop"]["offset"] != fields["offset"] {
			t.Errorf("step %d: the keyspace shows positions %v", i, known)
		}
		if pieces, _ := ks.HashFields(sink.StateKey("shop")); pieces["mapping"] != "m" {
			t.Errorf("step %d: state is %q", i, pieces)
		}
	}
}

func TestParseProgressRefuses(t *testing.T) {
	good := map[string]string{
		"gtid": uuid + ":1-5", "file": "b.1", "offset": "4",
		"server": "s", "time": "1", "state": "streaming",
	}
	if _, err := sink.ParseProgress(good); err != nil {
		t.Fatal(err)
	}
	for field, bad := range map[string]string{
		"time": "", "state": "done", "partial": "one", "row": "-1",
	} {
		broken := maps.Clone(good)
		broken[field] = bad
		if _, err := sink.ParseProgress(broken); err == nil {
			t.Errorf("%s=%q was taken", field, bad)
		}
	}
}

// A position that was parsed is written with the same values.
func FuzzParseProgress(f *testing.F) {
	f.Add(uuid+":1-5", "binlog.000001", "250", "s", "1", "streaming", "2", "20000")
	f.Add("0-1-5", "", "0", "", "-1", "snapshot", "0", "7")
	f.Fuzz(func(t *testing.T, gtid, file, offset, server, at, state, partial, row string) {
		p, err := sink.ParseProgress(map[string]string{
			"gtid": gtid, "file": file, "offset": offset, "server": server, "time": at,
			"state": state, "partial": partial, "row": row,
		})
		if err != nil {
			return
		}
		ks := keyspace.New(keyspace.Options{})
		command := sink.NewEncoder("shop").Encode(nil, &sink.Unit{Progress: p})
		if err := ks.Stage(command); err != nil {
			t.Fatal(err)
		}
		ks.Publish()
		fields, _ := ks.HashFields(sink.PositionKey("shop"))
		again, err := sink.ParseProgress(fields)
		if p.Partial == 0 {
			p.Row = 0 // it counts in a split transaction only
		}
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", p) {
			t.Errorf("%+v reads back as %+v, %v", p, again, err)
		}
	})
}

// words returns the words of RESP commands, a line each command.
func words(commands []byte) string {
	var text strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(string(commands), "\r\n"), "\r\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			text.WriteByte('\n')
		case !strings.HasPrefix(line, "$"):
			text.WriteString(line + " ")
		}
	}
	return text.String()
}

// Each unit writes the changed fields of the position, always in the same order.
func TestPositionOnTheWire(t *testing.T) {
	const hset = "\nHSET rowfall:position:shop "
	set := func(n int) string { return fmt.Sprintf("%s:1-%d", uuid, n) }
	partial := progress(t, set(6), "binlog.000002", 400)
	partial.Partial, partial.Row = 1, 10
	replaying := progress(t, set(6), "binlog.000002", 400)
	replaying.Phase, replaying.Server = sink.Replaying, "server-b"
	e := sink.NewEncoder("shop")
	for i, step := range []struct {
		progress sink.Progress
		reset    bool
		want     string
	}{
		{
			progress(t, set(5), "binlog.000001", 100), false,
			"\nHSET rowfall:state::pipelines shop v3 " + hset + "gtid " + set(5) +
				" file binlog.000001 offset 100 server server-a time 100000 state streaming " +
				"\nHDEL rowfall:position:shop partial row rebuilding quarantined gaps ",
		},
		{progress(t, set(5), "binlog.000001", 100), false, ""},
		{
			progress(t, set(6), "binlog.000001", 200), false,
			hset + "gtid " + set(6) + " offset 200 time 200000 ",
		},
		{
			progress(t, set(6), "binlog.000002", 400), false,
			hset + "file binlog.000002 offset 400 time 400000 ",
		},
		{partial, false, hset + "partial 1 row 10 "},
		{replaying, false, hset + "server server-b state replaying " +
			"\nHDEL rowfall:position:shop partial row "},
		{
			progress(t, "", "binlog.000002", 400), true,
			"\nHSET rowfall:state::pipelines shop v3 " + hset + "gtid " +
				" file binlog.000002 offset 400 server server-a time 400000 state streaming " +
				"\nHDEL rowfall:position:shop partial row rebuilding quarantined gaps ",
		},
	} {
		if step.reset {
			e.Reset()
		}
		u := sink.Unit{Progress: step.progress}
		want := "\nMULTI " + step.want + "\nEXEC "
		if got := words(e.Encode(nil, &u)); got != want {
			t.Errorf("unit %d is\n%s\nwant\n%s", i, got, want)
		}
	}
}

// A unit contains a list of tables only if the list has changed. A load writes every field again.
func TestUnchangedLists(t *testing.T) {
	long := "[" + strings.Repeat(`"shop.t",`, 10_000) + `"shop.t"]`
	u := sink.Unit{Progress: sink.Progress{
		Phase: sink.Streaming, Rebuilding: long, Quarantined: long, Gaps: long,
		Position: position("1-10", "log", "4"),
	}}
	e := sink.NewEncoder("shop")
	encoded := func() int { return len(e.Encode(nil, &u)) }
	if n := encoded(); n < 3*len(long) {
		t.Errorf("the first unit has %d bytes", n)
	}
	u.Progress.Position, u.Progress.Time = position("1-11", "log", "5"), 7
	if n := encoded(); n > 200 {
		t.Errorf("a unit with unchanged lists has %d bytes", n)
	}
	u.Progress.Quarantined = ""
	if n := encoded(); n > 200 {
		t.Errorf("a unit without a list has %d bytes", n)
	}
	if e.Reset(); encoded() < 2*len(long) {
		t.Error("after a unit that may not be applied, the lists are missing")
	}
}
