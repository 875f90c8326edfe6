package pipelines

import (
	"testing"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// olderData returns the data of an older version, which did not store from which position on a
// definition is valid. They are at log:100.
func olderData(t *testing.T) (*loop, sink.State, progress) {
	t.Helper()
	to, state := storedData(t)
	delete(state.Pieces, tablestate.SincePrefix+"shop.t")
	source := new(scriptedSource)
	_, l := scriptedPipeline(t, to, source)
	source.tables = []*binlog.Table{intTable()}
	stored := l.progress
	stored.Server = "scripted"
	stored.Position = binlog.Position{File: "log", Offset: 100}
	return l, state, stored
}

// Data of an older version do not tell from which position on a definition is valid. It is valid at
// the data's position, and a move to an earlier one does not read rows with it.
func TestSinceOfOlderData(t *testing.T) {
	for _, test := range []struct {
		from        string
		isTentative bool
	}{{"log:50", true}, {"log:100", false}, {"log:150", false}} {
		l, state, stored := olderData(t)
		if err := l.rewind(t.Context(), test.from, state, stored); err != nil {
			t.Fatal(err)
		}
		m := l.tables.all["shop.t"]
		if m.isTentative() != test.isTentative {
			t.Errorf("--from %s: the definition is tentative: %v, want %v", test.from,
				m.isTentative(), test.isTentative)
		}
		if m.since == nil || m.since.String() != "log:100" {
			t.Errorf("--from %s: the definition is valid since %v", test.from, m.since)
		}
	}
}

// An older version that replayed read old rows with the definition of the replay's head.
func TestSinceOfOlderReplay(t *testing.T) {
	l, state, stored := olderData(t)
	stored.Phase = sink.Replaying
	head := binlog.Position{File: "log", Offset: 200}
	text, err := tablestate.EncodePosition(&head)
	if err != nil {
		t.Fatal(err)
	}
	state.Pieces[tablestate.HeadPiece] = text
	if err := l.resume(state, stored); err != nil {
		t.Fatal(err)
	}
	m := l.tables.all["shop.t"]
	if !m.isTentative() || m.since.String() != "log:200" {
		t.Errorf("tentative: %v, since %v", m.isTentative(), m.since)
	}
}

// The file and offset of a position belong to one server. On another one only its GTIDs count.
func TestSinceOnAnotherServer(t *testing.T) {
	const set = "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-"
	l, state, stored := olderData(t)
	at, err := binlog.ParsePosition(set + "5")
	if err != nil {
		t.Fatal(err)
	}
	since := at
	since.File, since.Offset = "log", 100
	text, err := tablestate.EncodePosition(&since)
	if err != nil {
		t.Fatal(err)
	}
	state.Pieces[tablestate.SincePrefix+"shop.t"] = text
	stored.Position, stored.Server = at, "scripted"
	l.progress.Server = "scripted"
	if err := l.resume(state, stored); err != nil {
		t.Fatal(err)
	}
	m := l.tables.all["shop.t"]
	if m.since.File != "log" {
		t.Fatalf("on its own server, the definition is valid since %+v", m.since)
	}
	stored.Server = "other"
	if err := l.completeSince(&stored, &l.head); err != nil {
		t.Fatal(err)
	}
	if m.since.File != "" || m.since.String() != at.String() {
		t.Errorf("on another server, the definition is valid since %+v", m.since)
	}
	// FILE:OFFSET of the new server cannot be compared with the GTIDs of the definition.
	was := l.progress.Position
	l.progress.Position = binlog.Position{File: "log", Offset: 500}
	if err := l.reviseDefinitions(t.Context(), "log:500", &was, nil); err != nil {
		t.Fatal(err)
	}
	if !m.isTentative() {
		t.Error("a definition is taken as valid at a position that cannot be compared")
	}
}
