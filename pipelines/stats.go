package pipelines

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"rowfall/sink"
)

// meter counts what a pipeline does; the loop adds, anyone reads.
type stats struct {
	rows, transactions, units, commands, bytes, splits, statements atomic.Uint64

	loaded   atomic.Int64  // rows of the finished ranges
	expected atomic.Int64  // what loaded will be in the end, about
	tables   atomic.Int64  // mapped tables
	time     atomic.Int64  // commit time of the last applied transaction, µs
	phase    atomic.Uint32 // sink.Phase

	// streaming is set while a run follows the binlog: from when the server has shown that it has
	// the position, to the run's end.
	streaming atomic.Bool

	stopped  atomic.Pointer[string]          // why the last run stopped for good; nil while it runs or tries again
	retrying atomic.Pointer[string]          // why the last run failed, until one streams again
	unmapped atomic.Pointer[[]UnmappedTable] // tables that are left out
	unproved atomic.Pointer[string]          // why the source's history is not proved; nil if it is
}

// Stats is what a pipeline has done since it was made, and where it is.
type Stats struct {
	// Rows are the changed rows of mapped tables that were applied;
	// Transactions also counts those that touched nothing mapped.
	Rows, Transactions, Units, Commands, Bytes uint64
	// Splits counts transactions that were too large for one unit.
	Splits uint64
	// Statements counts the statements that were logged as text.
	Statements uint64
	// Loaded are the rows that the first load has done with, each counted once;
	// Expected is about what they will be in the end, by MySQL's own estimate.
	Loaded, Expected int64
	Tables           int64
	// Time is when the last applied transaction committed; zero before it.
	Time  time.Time
	Phase sink.Phase
	// Stopped says why the last run ended, if trying again is of no use.
	Stopped string
	// Retrying says why the last run ended, if another is due or under way.
	Retrying string
	// Unproved says why it could not be proved that the source still has the history that the data
	// were built from; empty once it was proved.
	Unproved string
	// Streaming says that a run follows the binlog. A pipeline that is neither
	// streaming nor stopped is connecting, waits for its next try, or its node is
	// a replica.
	Streaming bool
	// Held is what keeps the pipeline from making progress although nothing has
	// failed, the oldest first: its sink, a lock in MySQL, a query without an answer.
	Held []Hold
	// Unmapped are the tables that the mapping names and that are not mapped, by
	// name.
	Unmapped []UnmappedTable
}

// UnmappedTable is a table that is not mapped, and the reason.
type UnmappedTable struct{ Table, Reason string }

// Stats may be called by anyone at any time.
func (p *Pipeline) Stats() Stats {
	m := &p.stats
	s := Stats{
		Rows: m.rows.Load(), Transactions: m.transactions.Load(), Units: m.units.Load(),
		Commands: m.commands.Load(), Bytes: m.bytes.Load(), Splits: m.splits.Load(),
		Statements: m.statements.Load(), Loaded: m.loaded.Load(), Expected: m.expected.Load(), Tables: m.tables.Load(),
		Phase: sink.Phase(m.phase.Load()), Streaming: m.streaming.Load(), Held: p.holds.now(p.sink),
	}
	if t := m.time.Load(); t > 0 {
		s.Time = time.UnixMicro(t)
	}
	if text := m.stopped.Load(); text != nil {
		s.Stopped = *text
	}
	if text := m.retrying.Load(); text != nil {
		s.Retrying = *text
	}
	if text := m.unproved.Load(); text != nil {
		s.Unproved = *text
	}
	if tables := m.unmapped.Load(); tables != nil {
		s.Unmapped = *tables
	}
	return s
}

// tell takes over how a run ended.
func (m *stats) recordFailure(err error) {
	text := err.Error()
	if errors.As(err, new(*StopError)) {
		m.stopped.Store(&text)
		m.retrying.Store(nil)
	} else {
		m.retrying.Store(&text)
	}
}

// take counts the tables.
func (m *stats) recordTables(s *tableSet) {
	m.tables.Store(int64(len(s.all)))
	reasons := s.unmappedTables()
	tables := make([]UnmappedTable, 0, len(reasons))
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		tables = append(tables, UnmappedTable{name, reasons[name]})
	}
	m.unmapped.Store(&tables)
}
