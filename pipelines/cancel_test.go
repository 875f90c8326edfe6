package pipelines

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// waitingTable returns the loop of a table whose job 1 waits for a confirmation.
func waitingTable(t *testing.T, to *sinktest.Memory) (*loop, *mappedTable) {
	t.Helper()
	_, l := scriptedPipeline(t, to, &scriptedSource{tables: []*binlog.Table{intTable()}})
	m := l.tables.all["shop.t"]
	m.Job = tablestate.Job{
		ID: 1, Reason: "backfill", Compare: true,
		Sweep: &tablestate.Sweep{Reached: true, Waiting: true},
	}
	return l, m
}

// A cancelled job leaves keys that may be stale. The table is listed as incomplete until a job has
// read it, also after a restart.
func TestCancelledJobShows(t *testing.T) {
	to := sinktest.NewMemory("test")
	l, m := waitingTable(t, to)
	if err := l.cancelJob(1); err != nil {
		t.Fatal(err)
	}
	l.tablesChanged()
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.writeMode(m) != transform.Replace {
		t.Errorf("later rows are written in mode %v, want replace", l.writeMode(m))
	}
	if err := l.cancelJob(1); err == nil || !strings.Contains(err.Error(), "cancelled before") {
		t.Errorf("it is cancelled again with %v", err)
	}
	if p, err := to.Progress("test"); err != nil || p.Rebuilding != `["shop.t"]` {
		t.Errorf("rebuilding is %q, %v", p.Rebuilding, err)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored := newTableSet(&l.config.Mapping)
	if err := stored.load(state.Pieces); err != nil {
		t.Fatal(err)
	}
	list := stored.jobList()
	if len(list) != 1 || list[0].State != "cancelled" || list[0].Reason != "backfill" {
		t.Errorf("jobs are %+v, want the cancelled one", list)
	}
}

// A TRUNCATE leaves no stale key, so that the table is complete.
func TestTruncateEndsCancelledJob(t *testing.T) {
	l, m := waitingTable(t, sinktest.NewMemory("test"))
	if err := l.cancelJob(1); err != nil {
		t.Fatal(err)
	}
	if err := l.rowsRemoved(t.Context(), m, "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	if !m.Job.Done || len(l.tables.jobList()) > 0 {
		t.Errorf("the job is %+v", m.Job)
	}
}

// The log does not count tables in quarantine among the complete ones.
func TestLogOfIncompleteTables(t *testing.T) {
	l, m := waitingTable(t, sinktest.NewMemory("test"))
	m.Fault = &tablestate.Fault{Reason: "test"}
	var log bytes.Buffer
	l.log = zerolog.New(&log)
	l.progress.Phase = sink.Rebuilding
	if err := l.finishInitialLoad(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "except those in quarantine") ||
		!strings.Contains(text, `"incomplete":1`) {
		t.Errorf("the log has %s", text)
	}
}

// The cancellation of a job makes a gap if the data miss changes without the job: those between the
// old position and that of --from snapshot, those of a quarantine, and those that log no rows. A
// job that a user has requested for a complete table makes none.
func TestCancelMakesGap(t *testing.T) {
	type setup func(t *testing.T, l *loop, m *mappedTable) error
	statement := func(sql string) setup {
		return func(t *testing.T, l *loop, _ *mappedTable) error {
			return l.statement(t.Context(), &binlog.Event{
				Kind: binlog.Statement, SQL: sql, Database: "shop",
			})
		}
	}
	backfill := func(_ *testing.T, l *loop, m *mappedTable) error { return l.backfill(m.name()) }
	adopt := func(t *testing.T, l *loop, m *mappedTable) error {
		return l.AdoptSchema(t.Context(), &m.Table, m.definition)
	}
	cascade := func(t *testing.T, l *loop, m *mappedTable) error {
		l.tables.cascades.addDue(m.FullName(), "test")
		return l.commit(t.Context(), &binlog.Event{Kind: binlog.Commit})
	}
	for what, test := range map[string]struct {
		steps []setup
		from  string // "" without a gap
	}{
		"backfill":              {[]setup{backfill}, ""},
		"an ALTER":              {[]setup{statement("ALTER TABLE t ADD w INT DEFAULT 7")}, "log:5"},
		"a backfill after that": {[]setup{statement("ALTER TABLE t ADD w INT"), backfill}, "log:5"},
		"a cascade":             {[]setup{cascade}, "log:5"},
		"a cascade while a job runs": {
			[]setup{backfill, func(t *testing.T, l *loop, m *mappedTable) error {
				m.Job.After = [][]byte{[]byte("1")}
				return cascade(t, l, m)
			}}, "log:5",
		},
		"unknown columns": {[]setup{
			func(_ *testing.T, l *loop, m *mappedTable) error {
				return l.rebuildUnknown(m.name(), "test")
			}, adopt,
		}, "log:5"},
		"quarantine": {[]setup{
			func(_ *testing.T, _ *loop, m *mappedTable) error {
				m.Fault = &tablestate.Fault{Reason: "test", Position: "log:3"}
				return nil
			}, backfill, adopt,
		}, "log:3"},
	} {
		t.Run(what, func(t *testing.T) {
			source := &scriptedSource{tables: []*binlog.Table{intTable()}}
			_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
			defer l.jobs.Close()
			l.progress.Position = binlog.Position{File: "log", Offset: 5}
			source.script = make([]*binlog.Event, 9)
			source.position = binlog.Position{File: "log", Offset: 6}
			m := l.tables.all["shop.t"]
			for _, step := range test.steps {
				if err := step(t, l, m); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.cancelJob(m.Job.ID); err != nil {
				t.Fatal(err)
			}
			mustHaveCancelGap(t, l, test.from)
		})
	}
}

// mustHaveCancelGap checks the gap of shop.t; an empty from means no gap.
func mustHaveCancelGap(t *testing.T, l *loop, from string) {
	t.Helper()
	gaps := l.gaps.Open
	if from == "" && len(gaps) == 0 {
		return
	}
	if len(gaps) != 1 || gaps[0].From != from || gaps[0].To != l.progress.Position.String() ||
		gaps[0].Cause != "cancel" || gaps[0].Tables[0] != "shop.t" {
		t.Errorf("the gaps are %+v, want one from %q", gaps, from)
	}
}

// The same for a job of --from snapshot. A job that is done misses nothing.
func TestCancelOfRebuildAll(t *testing.T) {
	to, state := storedData(t)
	source := &scriptedSource{tables: []*binlog.Table{intTable()}}
	_, l := scriptedPipeline(t, to, source)
	l.tables = newTableSet(&l.config.Mapping)
	stored := l.progress
	stored.Position = binlog.Position{File: "log", Offset: 1}
	if err := l.rebuildAll(t.Context(), state, stored); err != nil {
		t.Fatal(err)
	}
	m := l.tables.all["shop.t"]
	job := m.Job
	if err := l.cancelJob(job.ID); err != nil {
		t.Fatal(err)
	}
	mustHaveCancelGap(t, l, "log:1")
	m.Job, m.Job.Done = job, true
	if err := l.SaveJob(&m.Table); err != nil || m.Job.MissedFrom != "" {
		t.Errorf("a job that is done misses changes from %q on, %v", m.Job.MissedFrom, err)
	}
}
