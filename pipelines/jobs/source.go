package jobs

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
)

// RowSource reads the rows of tables. A fence is a file and offset of the stream's server, or a
// GTID set without a file.
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
	// ScanRows reads all rows of a table, in no order, as of one moment. It returns
	// query.ErrNoSnapshot if the source cannot do that.
	ScanRows(ctx context.Context, request query.ScanRequest, from binlog.Position,
		to Scanner) error
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

// Scanner receives the rows of a scan. Begin is called after Reset, with the fence of the rows that
// follow. If IsFull returns true, HandOver is called before the next row. HandOver may wait for
// long.
type Scanner interface {
	Collector
	Begin(fence binlog.Position) error
	IsFull() bool
	HandOver(ctx context.Context) error
}
