package main

import (
	"strings"
	"testing"
	"time"

	"rowfall/pipelines"
	"rowfall/pipelines/holds"
	"rowfall/sink"
)

// An initial load of hours used to show only a log line every ten seconds, without an estimate of
// its end.
func TestProgress(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, width: func() int { return 120 }}
	begin := time.Unix(1000, 0)
	var stats pipelines.Stats
	p.add((&loadProgress{name: "shop", stats: func() pipelines.Stats { return stats }}).line)
	for _, step := range []struct {
		at    int
		stats pipelines.Stats
		want  string
	}{
		{0, pipelines.Stats{}, ""},
		// After a restart the rate counts only new rows.
		{
			0,
			pipelines.Stats{Phase: sink.Snapshot, Loaded: 1000, Expected: 5000},
			"shop: initial load: [####----------------] 1000 of about 5000 rows (20%)\n",
		},
		{
			10,
			pipelines.Stats{Phase: sink.Snapshot, Loaded: 2000, Expected: 5000},
			"shop: initial load: [########------------] 2000 of about 5000 rows (40%), " +
				"100 rows/s, about 30s left\n",
		},
		{
			70,
			pipelines.Stats{Phase: sink.Snapshot, Loaded: 8000, Expected: 8000},
			"shop: initial load: 8000 rows, 100 rows/s\n",
		},
		{
			71,
			pipelines.Stats{
				Phase: sink.Snapshot, Loaded: 8000,
				Held: []holds.Hold{{
					Reason: "waiting for a metadata lock on a.b",
					Since:  begin,
				}},
			},
			"shop: initial load: 8000 rows, waiting for a metadata lock on a.b\n",
		},
		{80, pipelines.Stats{Phase: sink.Snapshot, Loaded: 8000, Retrying: "connect: refused"}, ""},
		{
			90,
			pipelines.Stats{Phase: sink.Snapshot, Loaded: 8000},
			"shop: initial load: 8000 rows\n",
		},
		{91, pipelines.Stats{Phase: sink.Streaming, Loaded: 8000}, ""},
		{
			92,
			pipelines.Stats{
				Phase: sink.Snapshot, Loaded: 10, Expected: 100,
				Replacement: &pipelines.ReplacementProgress{Rows: 10, Expected: 100},
			},
			"shop: replacement: [##------------------] 10 of about 100 rows (10%)\n",
		},
	} {
		stats = step.stats
		p.erase()
		out.Reset()
		p.draw(begin.Add(time.Duration(step.at) * time.Second))
		if out.String() != step.want {
			t.Errorf("%+v is drawn as %q, want %q", step.stats, out.String(), step.want)
		}
	}
}

// Log output is written as whole lines above the progress lines.
func TestProgressBesideLog(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, width: func() int { return 10 }}
	for _, name := range []string{"a", "b"} {
		p.add(func(time.Time) string { return name + ": working" })
	}
	p.draw(time.Unix(0, 0))
	if _, err := p.Write([]byte("a line of the log\n")); err != nil {
		t.Fatal(err)
	}
	p.draw(time.Unix(0, 0))
	p.draw(time.Unix(0, 0))
	const lines, up = "a: working\nb: working\n", "\x1b[2A\x1b[J"
	if want := lines + up + "a line of the log\n" + lines + up + lines; out.String() != want {
		t.Errorf("the terminal receives\n%q, want\n%q", out.String(), want)
	}
}
