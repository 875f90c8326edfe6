package binlog_test

import (
	"testing"
	"time"

	"rowfall/binlog"
)

// A time is given in the form of RFC 3339, with a zone.
func TestPositionTime(t *testing.T) {
	want := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"time:2026-11-28T10:00:00Z":        want,
		"time:2026-11-28T12:00:00+02:00":   want,
		"time:2026-11-28T10:00:00.000001Z": want.Add(time.Microsecond),
		"time:2026-11-28T10:00:00.5+00:00": want.Add(time.Second / 2),
	} {
		got, ok, err := binlog.ParsePositionTime(s)
		if !ok || err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v, %v", s, got, ok, err)
		}
	}
	for _, s := range []string{
		"time:", "time:2026-11-28", "time:2026-11-28 10:00:00", "time:2026-11-28T10:00:00",
		"time:1969-11-28T10:00:00Z", "time:1",
	} {
		if _, ok, err := binlog.ParsePositionTime(s); !ok || err == nil {
			t.Errorf("%s: %v, %v", s, ok, err)
		}
		if binlog.CheckPosition(s) == nil {
			t.Errorf("position %s is accepted", s)
		}
	}
	for _, s := range []string{"binlog.000001:4", "gtid:0-1-2", "time:2026-11-28T10:00:00Z"} {
		if err := binlog.CheckPosition(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}
