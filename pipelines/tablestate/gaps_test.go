package tablestate_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"rowfall/pipelines/tablestate"
)

// Gaps are closed table by table. A number is not used again, because jobs refer to it.
func TestGaps(t *testing.T) {
	var g tablestate.Gaps
	all := g.Add(tablestate.Gap{
		Cause: tablestate.CauseFrom, From: "log.1:4", To: "log.1:9", All: true, Time: 5,
	}, []string{"shop.b", "shop.a", "shop.c"})
	one := g.Add(tablestate.Gap{
		Cause: tablestate.CauseSkip, From: "log.1:9", To: "log.1:12", At: "log.1:9",
	}, []string{"shop.a", "shop.a"})
	if all.ID != 1 || one.ID != 2 || len(one.Tables) != 1 {
		t.Fatalf("the gaps are %+v and %+v", all, one)
	}
	if seen := g.Visible(); len(seen[0].Tables) != 0 || seen[0].Tables == nil || seen[0].All ||
		!slices.Equal(seen[1].Tables, []string{"shop.a"}) {
		t.Errorf("users see %+v", seen)
	}
	if !g.Concerns("shop.a", 1) || g.Concerns("shop.b", 1) || !g.Concerns("shop.b", 0) {
		t.Error("Concerns disregards the number of the gap")
	}
	// A job that began before the second gap closes the first one only.
	if changed, closed := g.CloseTable("shop.a", 1, true); !changed || len(closed) != 0 {
		t.Errorf("closing a table: %v, %+v", changed, closed)
	}
	if seen := g.Visible(); !slices.Equal(seen[0].Tables, []string{"shop.b", "shop.c"}) ||
		len(seen) != 2 {
		t.Errorf("after shop.a was reconciled, users see %+v", seen)
	}
	if changed, closed := g.CloseTable("shop.a", 1, true); changed || len(closed) != 0 {
		t.Errorf("closing it again: %v, %+v", changed, closed)
	}
	if _, closed := g.CloseTable("shop.a", 2, true); len(closed) != 1 || closed[0].ID != 2 {
		t.Errorf("the second gap is not closed: %+v", closed)
	}
	// Tables that are dropped count as closed.
	isB := func(name string) bool { return name == "shop.b" }
	if changed, closed := g.Keep(isB); !changed || len(closed) != 0 {
		t.Errorf("dropping shop.c: %v, %+v", changed, closed)
	}
	if _, closed := g.Keep(func(string) bool { return false }); len(closed) != 1 {
		t.Errorf("dropping the last table closes %+v", closed)
	}
	if next := g.Add(tablestate.Gap{}, []string{"shop.b"}); next.ID != 3 {
		t.Errorf("the next gap has number %d, want 3", next.ID)
	}
}

// A stored list reads back as it was. What no version writes is an error.
func TestGapsRoundTrip(t *testing.T) {
	g := tablestate.Gaps{Last: 9, Open: []tablestate.Gap{
		{
			ID: 3, Cause: "skip", From: "gtid:0-1-7", To: "gtid:0-1-8", At: "gtid:0-1-8",
			Tables: []string{"shop.t"}, Time: 1,
		},
		{
			ID: 9, Cause: "--from", From: "a.1:4", To: "a.2:4", Tables: []string{"a.b", "ü.\"x"},
			All: true, Reason: "because", Time: 2,
		},
	}}
	for _, want := range []tablestate.Gaps{{}, {Last: 4}, g} {
		text, err := tablestate.EncodeGaps(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tablestate.DecodeGaps(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads back as %+v, %v", text, got, err)
		}
	}
	if got, err := tablestate.DecodeGaps(nil); err != nil || got.Last != 0 || got.Open != nil {
		t.Errorf("no text is read as %+v, %v", got, err)
	}
	for _, text := range []string{
		"x", `{"last":1,"open":[{"id":2,"tables":["a.b"]}]}`,
		`{"last":3,"open":[{"id":2,"tables":["a.b"]},{"id":2,"tables":["a.b"]}]}`,
		`{"last":3,"open":[{"id":0,"tables":["a.b"]}]}`, `{"last":3,"open":[{"id":1}]}`,
		`{"last":-1}`,
	} {
		if g, err := tablestate.DecodeGaps([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v, want an error", text, g)
		}
	}
}

func TestSkipsRoundTrip(t *testing.T) {
	want := []tablestate.SkipRequest{
		{At: "gtid:0-1-8", Time: 3},
		{At: "log.000001:77", Server: "s", Tables: []string{"shop.t"}, Time: 4},
	}
	text, err := tablestate.EncodeSkips(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tablestate.DecodeSkips(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s reads back as %+v, %v", text, got, err)
	}
	for _, text := range []string{"x", `[{"at":""}]`, `[{"at":"gtid:0-1-8,1-1-1"}]`} {
		if got, err := tablestate.DecodeSkips([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v, want an error", text, got)
		}
	}
}

// Whatever is stored, a decoder returns an error or what reads back as the same.
func FuzzGaps(f *testing.F) {
	f.Add([]byte(`{"last":2,"open":[{"id":1,"cause":"skip","from":"a.1:4","to":"a.1:9",` +
		`"at":"a.1:4","tables":["shop.t"],"all":true,"reason":"r","time":5},` +
		`{"id":2,"tables":["x"]}]}`))
	f.Add([]byte(`[{"at":"gtid:0-1-8","tables":["shop.t"],"server":"s","time":4}]`))
	f.Add([]byte(`{"last":7}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if g, err := tablestate.DecodeGaps(text); err == nil {
			again := mustEncode(t, tablestate.EncodeGaps, &g)
			back, err := tablestate.DecodeGaps(again)
			if err != nil || !bytes.Equal(mustEncode(t, tablestate.EncodeGaps, &back), again) {
				t.Errorf("%s reads back as %+v, %v", again, back, err)
			}
			g.Visible()
			g.Keep(func(name string) bool { return len(name)%2 == 0 })
			g.CloseTable("shop.t", g.Last, true)
			closed := mustEncode(t, tablestate.EncodeGaps, &g)
			if _, err := tablestate.DecodeGaps(closed); err != nil {
				t.Errorf("after closing tables: %v", err)
			}
		}
		if s, err := tablestate.DecodeSkips(text); err == nil {
			again := mustEncode(t, tablestate.EncodeSkips, s)
			if _, err := tablestate.DecodeSkips(again); err != nil {
				t.Errorf("%s: %v", again, err)
			}
		}
	})
}

func mustEncode[T any](t *testing.T, encode func(T) ([]byte, error), v T) []byte {
	t.Helper()
	text, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
