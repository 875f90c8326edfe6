package pipelines_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"rowfall/pipelines"
	"rowfall/sink"
)

// countingSink applies only the progress of units, and counts their rows. So the memory that a test
// measures is that of the pipeline.
type countingSink struct {
	*memory
	rows, parts int
}

var _ pipelines.Sink = (*countingSink)(nil)

func (s *countingSink) Apply(ctx context.Context, u *sink.Unit) error {
	s.rows += u.Commands.Rows
	if u.Progress.Partial > 0 {
		s.parts++
	}
	u.Commands.Reset()
	return s.memory.Apply(ctx, u)
}

// testLargeTransaction measures how much memory one transaction takes that changes many rows of two
// tables: 64 MiB at most, whatever the number of rows. With ROWFALL_LONG it has a million rows.
func testLargeTransaction(t *testing.T, d *database) {
	rows := 60_000
	if os.Getenv("ROWFALL_LONG") != "" {
		rows = 1_000_000
	}
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))", "CREATE TABLE u LIKE t",
		"CREATE TABLE digits (n INT PRIMARY KEY)",
		"INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
	s := &countingSink{memory: newMemory()}
	r := start(t, d.config(), s, "")
	r.waitAt(s.memory, d.end())
	number := "a.n + 10*b.n + 100*c.n + 1000*d.n + 10000*e.n + 100000*f.n"
	insert := func(table string) string {
		return fmt.Sprintf("INSERT INTO %s SELECT %s AS i, REPEAT('x', 150) FROM digits a, "+
			"digits b, digits c, digits d, digits e, digits f HAVING i < %d", table, number, rows/2)
	}
	floor, before := heapReachable(), s.rows
	watch := watchHeap(t.Context())
	d.exec("BEGIN", insert("t"), insert("u"), "COMMIT")
	r.waitAt(s.memory, d.end())
	const most = 64 << 20
	took := watch() - floor
	if took > most {
		t.Errorf("a transaction of %d rows takes %d MiB, want at most %d", rows, took>>20, most>>20)
	}
	t.Logf("a transaction of %d rows takes %d MiB and has %d parts", rows, took>>20, s.parts)
	if got := s.rows - before; got != rows {
		t.Errorf("%d rows were applied, want %d", got, rows)
	}
	if s.parts == 0 {
		t.Error("the transaction was not split")
	}
}
