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
