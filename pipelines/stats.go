package pipelines

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"rowfall/pipelines/holds"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// stats counts what a pipeline does. The loop writes it; any goroutine may read it.
type stats struct {
	rows, transactions, units, commands, bytes, splits, statements atomic.Uint64

	passed atomic.Uint64 // see Stats.PassedStatements

	letters  atomic.Int64  // see Stats.DeadLetters
	prepared atomic.Int64  // see Stats.PreparedXA
	loaded   atomic.Int64  // rows of finished chunks
	expected atomic.Int64  // estimate of loaded at the end of the load
	tables   atomic.Int64  // mapped tables
	complete atomic.Int64  // the number of complete tables, see mappedTable.isComplete
	time     atomic.Int64  // commit time of the last applied transaction, µs since 1970
	phase    atomic.Uint32 // sink.Phase

	// streaming is true from the source's first event to the end of the run.
	streaming atomic.Bool

	replacing  atomic.Pointer[time.Time] // when a replacement began; nil: none is being built
	installing atomic.Bool               // the replacement is taking the place of the data

	stopped  atomic.Pointer[string]           // see Stats.Stopped; nil if empty
	retrying atomic.Pointer[string]           // see Stats.Retrying; nil if empty
	unproved atomic.Pointer[string]           // see Stats.Unproved; nil if empty
	unmapped atomic.Pointer[[]UnmappedTable]  // see Stats.Unmapped
	jobs     atomic.Pointer[[]Job]            // see Stats.Jobs
	faults   atomic.Pointer[[]TableFault]     // see Stats.Quarantined
	gaps     atomic.Pointer[[]tablestate.Gap] // see Stats.Gaps
	skips    atomic.Pointer[[]PendingSkip]    // see Stats.Skips
	removing atomic.Pointer[holds.Hold]       // the removal of keys that the stream waits for
	cascades atomic.Pointer[[]string]         // see Stats.IgnoredCascades
	warnings atomic.Pointer[[]TableWarning]   // see Stats.Warnings
}

// Stats is what a pipeline has done since New, and its present state.
type Stats struct {
	// Rows counts the applied row changes of mapped tables. Transactions counts all transactions,
	// including those without changes of mapped tables.
	Rows, Transactions uint64
	// Units, Commands and Bytes count what the sink has applied. Bytes are those of the commands
	// and state as RESP, without MULTI, EXEC and the position.
	Units, Commands, Bytes uint64
	// Splits counts transactions that were too large for one unit.
	Splits uint64
	// Statements counts statements that were logged as text.
	Statements uint64
	// PassedStatements counts those of Statements that have changed rows, but none of mapped
	// tables.
	PassedStatements uint64
	// DeadLetters is the number of rows of which a change could not be applied, and which have a
	// dead letter instead.
	DeadLetters int64
	// PreparedXA is the number of XA transactions that are prepared, and neither committed nor
	// rolled back, at the position of the data.
	PreparedXA int64
	// Loaded counts the rows that the initial load has finished, each once. Expected estimates
	// Loaded at the end of the load, from the server's table statistics.
	Loaded, Expected int64
	// Tables is the number of mapped tables.
	Tables int64
	// Time is when the last applied transaction committed; zero before the first one.
	Time  time.Time
	Phase sink.Phase
	// Stopped is the error of the last run, if a retry cannot succeed; else empty.
	Stopped string
	// Retrying is the error of the last run, if a retry is due or under way; else empty.
	Retrying string
	// Unproved is why the source's history could not be compared with the data's; empty once it
	// was compared.
	Unproved string
	// Streaming is true while a run follows the binlog. A pipeline that is neither streaming nor
	// stopped is connecting or waiting for its next retry, or its node is a replica.
	Streaming bool
	// Held lists what keeps the pipeline from making progress although nothing has failed, the
	// oldest first: its sink, a lock in MySQL, a query without an answer.
	Held []holds.Hold
	// Unmapped lists the tables that match the mapping but are not mapped, sorted by name.
	Unmapped []UnmappedTable
	// Jobs lists the jobs that are not done, and Quarantined the tables whose changes are not
	// applied, with the reasons.
	Jobs        []Job
	Quarantined []TableFault
	// Gaps lists the open gaps, oldest first: stretches of the binlog whose changes were not
	// applied and whose tables are not all reconciled yet. Skips lists the transactions that will
	// be skipped.
	Gaps  []tablestate.Gap
	Skips []PendingSkip
	// IgnoredCascades lists the tables with `cascades: ignore` and foreign keys whose cascades the
	// server does not log, sorted by name: their rows may differ from MySQL's.
	IgnoredCascades []string
	// Warnings lists what is most likely a mistake in the mapping of the present tables, and
	// settings of the server that can cost data or time later.
	Warnings []TableWarning
	// Replacement is set while a replacement of the data is built. Then Phase and all counters of
	// tables and rows are those of the replacement.
	Replacement *ReplacementProgress
}

// TableFault is a table in quarantine, with the reason and the position after which its changes
// are not applied.
type TableFault struct {
	Table    string `json:"table"`
	Reason   string `json:"reason"`
	Position string `json:"position"`
}

// UnmappedTable is a table that matches the mapping but is not mapped, and the reason.
type UnmappedTable struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
}

// Stats returns a snapshot. Any goroutine may call it at any time.
func (p *Pipeline) Stats() Stats {
	m := &p.stats
	s := Stats{
		Rows: m.rows.Load(), Transactions: m.transactions.Load(), Units: m.units.Load(),
		Commands: m.commands.Load(), Bytes: m.bytes.Load(), Splits: m.splits.Load(),
		Statements: m.statements.Load(), PassedStatements: m.passed.Load(),
		Loaded: m.loaded.Load(), Expected: m.expected.Load(),
		DeadLetters: m.letters.Load(), PreparedXA: m.prepared.Load(), Tables: m.tables.Load(),
		Phase: sink.Phase(m.phase.Load()), Streaming: m.streaming.Load(), Held: p.held(),
		Stopped: textOf(&m.stopped), Retrying: textOf(&m.retrying), Unproved: textOf(&m.unproved),
	}
	if t := m.time.Load(); t > 0 {
		s.Time = time.UnixMicro(t)
	}
	if tables := m.unmapped.Load(); tables != nil {
		s.Unmapped = *tables
	}
	if list := m.jobs.Load(); list != nil {
		s.Jobs = *list
	}
	if list := m.faults.Load(); list != nil {
		s.Quarantined = *list
	}
	if list := m.gaps.Load(); list != nil {
		s.Gaps = *list
	}
	if list := m.skips.Load(); list != nil {
		s.Skips = *list
	}
	if list := m.cascades.Load(); list != nil {
		s.IgnoredCascades = *list
	}
	if list := m.warnings.Load(); list != nil {
		s.Warnings = *list
	}
	s.Replacement = m.replacementOf(&s)
	return s
}

func textOf(p *atomic.Pointer[string]) string {
	if text := p.Load(); text != nil {
		return *text
	}
	return ""
}

// recordFailure records the error that ended a run.
func (m *stats) recordFailure(err error) {
	text := err.Error()
	if errors.As(err, new(*StopError)) {
		m.stopped.Store(&text)
		m.retrying.Store(nil)
	} else {
		m.retrying.Store(&text)
	}
}

// recordTables records which tables are mapped and which are not.
func (m *stats) recordTables(s *tableSet) {
	m.tables.Store(int64(len(s.all)))
	reasons := s.unmappedTables()
	tables := make([]UnmappedTable, 0, len(reasons))
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		tables = append(tables, UnmappedTable{name, reasons[name]})
	}
	m.unmapped.Store(&tables)
	m.recordJobs(s)
	var faults []TableFault
	for _, name := range s.names() {
		if f := s.all[name].Fault; f != nil {
			faults = append(faults, TableFault{name, f.Reason, f.Position})
		}
	}
	m.faults.Store(&faults)
	ignored := slices.Sorted(maps.Keys(s.ignoredCascades))
	m.cascades.Store(&ignored)
}

// recordJobs records the jobs that are not done.
func (m *stats) recordJobs(s *tableSet) {
	list := s.jobList()
	m.jobs.Store(&list)
	m.letters.Store(int64(s.letters.count))
	complete := int64(0)
	for _, t := range s.all {
		if t.isComplete() {
			complete++
		}
	}
	m.complete.Store(complete)
}

// held returns what holds the pipeline or its jobs now, oldest first.
func (p *Pipeline) held() []holds.Hold {
	reason, since := p.target().Held()
	others := []holds.Hold{{Reason: reason, Since: since}}
	if removal := p.stats.removing.Load(); removal != nil {
		others = append(others, *removal)
	}
	return p.holds.Now(others...)
}
