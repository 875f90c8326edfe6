package pipelines

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rowfall/pipelines/holds"
	"rowfall/replication"
)

// statusFields reads a line of ROWFALL STATUS as docs/operations.md says it is written.
func statusFields(t *testing.T, line string) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	for line != "" {
		name, rest, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("no value in %q", line)
		}
		value := ""
		if strings.HasPrefix(rest, `"`) {
			d := json.NewDecoder(strings.NewReader(rest))
			if err := d.Decode(&value); err != nil {
				t.Fatalf("read %q: %v", rest, err)
			}
			line = strings.TrimPrefix(rest[d.InputOffset():], ",")
		} else {
			value, line, _ = strings.Cut(rest, ",")
		}
		fields[name] = value
	}
	return fields
}

// Values with commas, such as a GTID set of two servers, can be parsed from STATUS.
func TestStatusValues(t *testing.T) {
	const set = "7a5a5545-e919-11f1-b04d-02fc00000001:1-9," +
		"7a5a5545-e919-11f1-b04d-02fc00000002:1-3:5"
	values := map[string]string{
		"gtid": set, "plain": "7a5a5545-e919-11f1-b04d-02fc00000001:1-9", "empty": "",
		"stopped": "line one,\nline \"two\": a\\b <x> = ü", "last": "x=y",
	}
	var line []byte
	for _, name := range []string{"gtid", "plain", "empty", "stopped", "last"} {
		line = appendValue(line, name, values[name])
	}
	text := strings.TrimPrefix(string(line), ",")
	if strings.ContainsAny(text, "\r\n") || !strings.Contains(text, set) ||
		!strings.Contains(text, "plain="+values["plain"]+",") {
		t.Errorf("the line is %q", text)
	}
	got := statusFields(t, text)
	for name, want := range values {
		if got[name] != want {
			t.Errorf("%s is read as %q, want %q", name, got[name], want)
		}
	}
}

// The phase of the data stays streaming while MySQL is away, but the shown state does not.
func TestVisibleState(t *testing.T) {
	hold := []holds.Hold{{Reason: "the disk is full", Since: time.Now()}}
	for _, test := range []struct {
		stats *Stats
		role  replication.Role
		want  string
	}{
		{nil, replication.Master, "streaming"},
		{&Stats{Streaming: true}, replication.Master, "streaming"},
		{&Stats{Streaming: true, Held: hold}, replication.Master, "held"},
		{&Stats{Retrying: "connection refused"}, replication.Master, "retrying"},
		{&Stats{Retrying: "connection refused", Held: hold}, replication.Master, "retrying"},
		{&Stats{}, replication.Master, "starting"},
		{&Stats{Stopped: "the binlog was purged"}, replication.Master, "stopped"},
		{&Stats{}, replication.Replica, "streaming"},
	} {
		if got := visibleState("streaming", test.stats, test.role); got != test.want {
			t.Errorf("%+v as a %s is %q, want %q", test.stats, test.role, got, test.want)
		}
	}
}
