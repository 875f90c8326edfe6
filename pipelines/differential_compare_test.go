package pipelines_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines"
	"rowfall/sink"
)

// dataCopy is one copy of the data: those of the pipeline, or a replica.
type dataCopy struct {
	keys pipelines.KeyReader
	read keyReader
	// progress returns the position. Its Phase is Empty if the position is not known now.
	progress func() stored
}

// compare waits until no job is left, and compares each copy of the data with a rebuild: keys, dead
// letters, and entries of lists and streams.
func (x *execution) compare(s script) *failure {
	x.subject.start()
	ctx := x.t.Context()
	for _, c := range x.sessions {
		_ = c.Exec(ctx, "COMMIT")
	}
	end, err := query.End(ctx, x.admin)
	must(x.t, err)
	for _, c := range x.subject.copies() {
		if f := x.wait(c, end); f != nil {
			return f
		}
	}
	data, err := pipelines.ReadDataset(ctx, x.admin, &x.config.Mapping)
	if err != nil {
		return &failure{kind: "rebuild", text: err.Error()}
	}
	for _, c := range x.subject.copies() {
		if f := x.compareCopy(s, data, c); f != nil {
			return f
		}
	}
	return nil
}

// wait waits until a copy is at a position and no job is left.
func (x *execution) wait(c dataCopy, end binlog.Position) *failure {
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if f := x.fault(); f != nil {
			return f
		}
		at := c.progress()
		isThere := at.Phase == sink.Streaming && at.Partial == 0 &&
			at.Position.CompareFile(end) >= 0
		if isThere && at.Quarantined != "" {
			return &failure{kind: "quarantine", text: at.Quarantined}
		}
		if isThere && at.Rebuilding == "" {
			return nil
		}
		select {
		case <-deadline.C:
			return &failure{kind: "late", text: fmt.Sprintf("%s at %s, %s, rebuilding %s, end %s",
				c.keys.Addr(), at.Progress.Position, at.Phase, at.Rebuilding, end)}
		case <-tick.C:
		}
	}
}

// compareCopy compares a copy with a rebuild.
func (x *execution) compareCopy(s script, data *pipelines.Dataset, c dataCopy) *failure {
	pieces := make(map[string][]byte)
	state := c.read("HGETALL", sink.StateKey("test")).Elements
	for i := 0; i+1 < len(state); i += 2 {
		pieces[string(state[i].Text)] = state[i+1].Text
	}
	letters, err := pipelines.LettersIn(pieces)
	must(x.t, err)
	got := make([]string, len(letters))
	for i, l := range letters {
		got[i] = l.Table + " " + l.Row
	}
	want := slices.Clone(data.FailedRows())
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return &failure{kind: "letters", text: fmt.Sprintf(
			"%s has letters of %v, and the rows that fail are %v", c.keys.Addr(), got, want)}
	}
	if os.Getenv("ROWFALL_VERBOSE") != "" {
		x.t.Logf("%s: %d keys, %d letters", c.keys.Addr(), data.Keys(), len(letters))
	}
	must(x.t, data.UseLetters(pieces))
	diffs, err := data.Compare(x.t.Context(), c.keys, 10)
	must(x.t, err)
	var fields []string
	for _, e := range c.read("ZRANGE", sink.FieldExpiryKey("test"), "0", "-1").Elements {
		fields = append(fields, string(e.Text))
	}
	diffs = append(diffs, data.CompareFieldExpiry(fields)...)
	if len(diffs) > 0 {
		return &failure{kind: "different", text: strings.Join(diffs, "\n")}
	}
	if diff := x.checkEntries(s, c); diff != "" {
		return &failure{kind: "entries", text: c.keys.Addr() + ": " + diff}
	}
	return nil
}
