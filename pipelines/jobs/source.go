package jobs

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/sink"
	"rowfall/transform"
)

// RowSource reads the rows of tables.
type RowSource interface {
	// EstimateRows returns estimates of the numbers of rows of tables, in their order.
	EstimateRows(ctx context.Context, tables []*binlog.Table) ([]int64, error)
	// OpenRows returns a reader, which one goroutine uses. Several readers may read at a time.
	OpenRows() RowReader
}

// RowReader reads rows of one table after the other. Close it. Every method waits until everything
// up to from is visible, and returns errors of its last argument unchanged.
type RowReader interface {
	// ReadRows reads a part of a table, in the order of its key.
	ReadRows(ctx context.Context, request query.ChunkRequest, from binlog.Position,
		to Collector) (query.ChunkResult, error)
	// ReadMatching reads rows by the values of some columns, and returns the fence.
	ReadMatching(ctx context.Context, request query.MatchRequest, from binlog.Position,
		to Collector) (binlog.Position, error)
	// ReadSchema reads a table's present definition, and returns the fence. It returns nil if there
	// is no such table.
	ReadSchema(ctx context.Context, database, table string) (*ddl.Schema, binlog.Position, error)
	Close()
}

// Collector receives rows. Reset is called before the first row, and before rows are read again.
type Collector interface {
	Reset()
	// Add adds a row, which is valid until Add returns.
	Add(row *binlog.Row) error
}

// Host is the stream beside which jobs run, and the sink that both write to. Only Wake may be
// called from another goroutine than that of Step.
type Host interface {
	// Position returns where the stream stands. It changes with the next event.
	Position() *binlog.Position
	// Wake makes the host call Step soon, even if the source is idle.
	Wake()
	// Commands returns the commands of the unit that is being filled. Flush applies the unit.
	Commands() *transform.Commands
	// FlushIfLarge applies the unit if it has reached a limit: of n things, or of bytes.
	FlushIfLarge(ctx context.Context, n, limit int) (flushed bool, err error)
	Flush(ctx context.Context) error
	// Sink reads what the sink holds.
	Sink() sink.Reader
	// Plans returns the plans of all mapped tables.
	Plans() []*transform.Plan
	// SaveJob puts a table's Job into the unit.
	SaveJob(t *Table) error
	// AdoptSchema gives a table the definition that a job has read; nil if the table is gone from
	// the server. The job continues if t.Job is not done afterwards.
	AdoptSchema(ctx context.Context, t *Table, schema *ddl.Schema) error
	// Fault handles a fault of one table: it returns nil if the table is in quarantine now.
	Fault(t *Table, err error) error
	// Report records how many rows all jobs have read, and will have read in the end.
	Report(rows, expected int64)
}
