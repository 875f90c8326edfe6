package identity_test

import (
	"reflect"
	"strings"
	"testing"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

const (
	a = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	b = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	c = "cccccccccccccccccccccccccccccccccccccccc"
	x = "0123456789012345678901234567890123456789"
)

// The log holds bytes 101 to 1000. Id a is valid up to 300, b up to 600, and c is the current id.
func TestAnswer(t *testing.T) {
	h := identity.NewHistory(a).Begin(b, 300).Begin(c, 600)
	for _, tc := range []struct {
		name   string
		id     string
		offset replog.Offset
		want   identity.Answer
	}{
		{"has everything", c, 1001, identity.Continue},
		{"has a byte that the log does not have", c, 1002, identity.Ahead},
		{"lacks the last byte", c, 1000, identity.Continue},
		{"wants the first byte", c, 101, identity.Continue},
		{"wants the byte before the first", c, 100, identity.Full},
		{"upper case", strings.ToUpper(c), 500, identity.Continue},
		{"previous id, its last byte held", b, 601, identity.Continue},
		{"previous id, a byte beyond it", b, 602, identity.Full},
		{"older id, its last byte held", a, 301, identity.Continue},
		{"older id, a byte beyond it", a, 302, identity.Full},
		{"older id, trimmed", a, 100, identity.Full},
		{"unknown id", x, 500, identity.Full},
		{"no id", "?", -1, identity.Full},
		{"no id, but an offset", "?", 500, identity.Full},
		{"negative", c, -5, identity.Full},
		{"zero", c, 0, identity.Full},
		{"least", c, -1 << 63, identity.Full},
		{"most", c, 1<<63 - 1, identity.Ahead},
		{"empty id", "", 500, identity.Full},
	} {
		if got := h.Answer(tc.id, tc.offset, 100, 1000); got != tc.want {
			t.Errorf("%s: PSYNC %s %d gets %d, want %d", tc.name, tc.id, tc.offset, got, tc.want)
		}
	}
}

// Data of a past id belong to the history up to the id's last valid offset. An id that is not in a
// full history may be one that was dropped.
func TestHolds(t *testing.T) {
	h := identity.NewHistory(a).Begin(b, 300).Begin(c, 600)
	for _, tc := range []struct {
		id   string
		at   replog.Offset
		want bool
	}{
		{c, 5000, true},
		{strings.ToUpper(c), 0, true},
		{b, 600, true},
		{b, 601, false},
		{a, 300, true},
		{a, 301, false},
		{x, 0, false},
		{"", 0, false},
	} {
		if got := h.Holds(tc.id, tc.at); got != tc.want {
			t.Errorf("%.1s at %d: %v", tc.id, tc.at, got)
		}
	}
	for at := replog.Offset(601); at <= 900; at++ {
		h = h.Begin(identity.NewID(), at)
	}
	if !h.Holds(a, 300) || h.Holds(a, 800) || h.Holds("", 300) {
		t.Error(
			"a full history accepts an unknown id beyond its oldest offset, or rejects it before",
		)
	}
}

// A replica at offset 0 of a new master is up to date.
func TestAnswerEmpty(t *testing.T) {
	h := identity.NewHistory(a)
	if got := h.Answer(a, 1, 0, 0); got != identity.Continue {
		t.Errorf("PSYNC a 1 gets %d", got)
	}
	if got := h.Answer(b, 1, 0, 0); got != identity.Full {
		t.Errorf("PSYNC b 1 gets %d", got)
	}
}

// Bytes that a crash lost are valid under no id any more, and under no past id either.
func TestBeginClamps(t *testing.T) {
	h := identity.NewHistory(a).Begin(b, 300).Begin(c, 200)
	for id, last := range map[string]replog.Offset{a: 201, b: 201} {
		if h.Answer(id, last, 0, 1000) != identity.Continue ||
			h.Answer(id, last+1, 0, 1000) != identity.Full {
			t.Errorf("%s is not valid up to exactly 200", id)
		}
	}
	if again := h.Begin(c, 900); again.ID() != c {
		t.Errorf("id changed to %s", again.ID())
	}
}

func TestLost(t *testing.T) {
	h := identity.NewHistory(a)
	for _, tc := range []struct {
		name  string
		state identity.State
		boot  string
		want  bool
	}{
		{"kill -9, same boot", identity.State{History: h, Boot: "1"}, "1", false},
		{"power cut", identity.State{History: h, Boot: "1"}, "2", true},
		{
			"power cut with fsync always",
			identity.State{History: h, Boot: "1", Durable: true},
			"2", false,
		},
		{
			"clean stop, other boot",
			identity.State{History: h, Boot: "1", Clean: true, CleanEnd: 50},
			"2", false,
		},
		{
			"clean stop, but the log was changed since",
			identity.State{History: h, Boot: "1", Clean: true, CleanEnd: 51},
			"1", true,
		},
		{"no boot id", identity.State{History: h}, "", true},
		{"replica", identity.State{History: h, Boot: "1", Upstream: "h:1"}, "2", false},
		{
			"copy of a clean stop",
			identity.State{History: h, Boot: "1", Clean: true, CleanEnd: 50, Copied: true},
			"1",
			true,
		},
		{
			"copy of a replica",
			identity.State{History: h, Boot: "1", Upstream: "h:1", Copied: true},
			"1", false,
		},
	} {
		if got := tc.state.Lost(tc.boot, 50); got != tc.want {
			t.Errorf("%s: lost is %v", tc.name, got)
		}
	}
}

// A replica may return with an id of long ago; a history of 16 ids was once too short for that. A
// full history fits into the file.
func TestLongHistory(t *testing.T) {
	h := identity.NewHistory(a)
	for i := range 200 {
		h = h.Begin(identity.NewID(), replog.Offset(100+i))
	}
	if got := h.Answer(a, 101, 0, 1000); got != identity.Continue {
		t.Errorf("after 200 ids the first one gets %v", got)
	}
	for i := range 200 {
		h = h.Begin(identity.NewID(), replog.Offset(1e18+int64(i)))
	}
	if got := h.Answer(a, 101, 0, 2e18); got != identity.Full {
		t.Errorf("after 400 ids the first one gets %v", got)
	}
	dir := t.TempDir()
	if err := (identity.State{History: h}).Save(disk.SystemFS{}, dir); err != nil {
		t.Fatal(err)
	}
	if got, err := identity.Load(disk.SystemFS{}, dir); err != nil ||
		!reflect.DeepEqual(got.History, h) {
		t.Errorf("the history read differs from that written: %v", err)
	}
}
