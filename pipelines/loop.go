package pipelines

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/pacing"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// Limits that are not settings yet.
const (
	// positionInterval limits the age of the stored position while only transactions without
	// changes of mapped tables pass.
	positionInterval = 500 * time.Millisecond
	// unitBytes and unitAge limit how long committed transactions are batched in one unit.
	unitBytes = 64 << 10
	unitAge   = time.Millisecond
	// hugeUnit is the size from which the memory of a row or a unit is returned to the system, at
	// most once per freeInterval.
	hugeUnit     = 16 << 20
	freeInterval = 10 * time.Second
)

// loop is one run of a pipeline. One goroutine owns all of it. It has many fields because it joins
// the parts of a run: each part has a type of its own. Besides them, the loop holds the transaction
// that is being read and the unit that is being filled.
type loop struct {
	config *file.Config
	stats  *stats
	// warned are the warnings that this run has logged, of the present tables.
	warned map[TableWarning]bool
	// unknownNames are warnings about columns of wildcards that no table has any more.
	unknownNames []TableWarning
	// serverWarnings are about settings of the server.
	serverWarnings []query.Problem
	// warningsRead is when serverWarnings was read.
	warningsRead time.Time
	// hasData is set if the run continues data that the mapping of this file has built.
	hasData   bool
	log       zerolog.Logger
	sink      Sink
	deltas    bool // the sink accepts transform.Delta
	server    source.Server
	positions source.PositionReader
	schemas   source.SchemaReader
	stream    source.Stream
	tables    *tableSet
	check     schemaCheck
	writes    writeChecks
	jobs      *jobs.Engine
	lastJob   int // the number of the last job
	// jobsChanged is set when a table has a job that the engine may not know.
	jobsChanged bool
	// repeatDue is set when a table may have a Job.Again that can begin.
	repeatDue bool
	// scan is the running reference scan, or nil. scanTimer wakes the loop for the next one. narrow
	// are the tables that wait for a scan, or for its keys job.
	scan      *referenceScan
	scanTimer *time.Timer
	narrow    narrowTables
	// jobsRecorded is when status last got the progress of jobs.
	jobsRecorded time.Time
	// jobsUnrecorded is set if the jobs have changed since jobsRecorded.
	jobsUnrecorded bool
	history        history
	requests       chan request // what users ask of the loop
	keys           source.KeySource
	older          source.PreparedSource
	search         *searchRun    // the running search, or nil
	skipCalls      chan skipCall // transactions that users ask to skip
	// gaps are the stretches whose changes were not applied, as of unit. skips are the transactions
	// that are left out when the stream reaches them.
	gaps  tablestate.Gaps
	skips []pendingSkip
	// leftOut are the tables of the statements that were left out of the open transaction.
	leftOut binlog.Skipped
	// endedIn is Pipeline.endedIn.
	endedIn *binlog.TransactionID
	// keyTypes is Pipeline.keyTypes. clearedKeys are keys whose value of another type was removed
	// by this unit or an earlier one of the run.
	keyTypes    keyTypeFaults
	clearedKeys map[string]bool

	// schemaDump is the text of --schema, see UseSchema; empty without --schema.
	schemaDump string
	// isOffline is set if the source is binlog files: no server can be asked for definitions, rows
	// or its history. Jobs are stored, and begin with the next run.
	isOffline bool
	// from is the POSITION that replaces the data's own position; empty keeps that.
	from string
	// replaces is set if the run fills a replacement of the data that the sink serves.
	replaces bool
	// followed is called once the stream works; nil is not called.
	followed func() error
	// initialUnit writes the first position of new data, or a position that --from has moved. nil
	// continues at the data's position. run calls it after the stream's first event.
	initialUnit func(ctx context.Context) error
	// started is set once initialUnit has been applied.
	started bool

	// progress is the state of the data after unit is applied. It is a copy, because the stream's
	// position changes with each Next.
	progress progress
	// previous is the position before the statement that is being applied or, between transactions,
	// before the last transaction.
	previous binlog.Position
	head     binlog.Position // during a replay: the position to reach
	unit     sink.Unit

	// The transaction that is being read. Its rows are row changes of mapped tables.
	rows     int // rows read
	skip     int // rows at its beginning that the sink already holds
	openRows int // rows in unit
	// spans are the parts of unit that belong to the transaction, in their order.
	spans []span
	// changedTables are the tables with rows in the transaction.
	changedTables []*mappedTable

	// committed marks the end of the committed transactions in unit. committedSince is when the
	// first of them committed; zero if unit has no committed transaction.
	committed      transform.Mark
	committedSince time.Time
	pacer          pacing.Pacer
	// hasDeletes is set if unit contains a transaction after which a reference scan is due.
	hasDeletes bool
	fields     fieldExpiry

	rebuilding      rebuildingList
	positionWritten time.Time // when the position was last applied
	positionDirty   bool      // progress has changed since then

	huge  bool      // a huge row or unit has passed since freed
	freed time.Time // when memory was last returned to the system
}

// run reads, transforms and applies until something fails.
func (l *loop) run(ctx context.Context) error {
	defer l.fields.close()
	l.positionWritten, l.pacer = time.Now(), pacing.New()
	// The first event proves that the server can serve the position. Nothing is written before
	// it, so that a wrong --from does not cost the data their position.
	ev, err := l.next(ctx)
	// skipUnreadable sets endedIn again if this run ends within a transaction to skip.
	previous := *l.endedIn
	*l.endedIn = binlog.TransactionID{}
	if err != nil && l.initialUnit == nil {
		// A transaction to skip may be the first that comes. Its error is not wrapped then.
		if ended := l.skipUnreadable(ctx, err, previous); !errors.Is(ended, err) {
			return ended
		}
	}
	if err != nil {
		return ofServer(err)
	}
	if l.initialUnit != nil {
		if ev.Kind == binlog.Progress {
			l.progress.Position = *l.stream.Position()
		}
		if err := l.initialUnit(ctx); err != nil {
			return err
		}
		l.started = true
	}
	l.reportProof()
	if err := l.ready(ctx); err != nil {
		return err
	}
	if l.followed != nil {
		if err := l.followed(); err != nil {
			return err
		}
	}
	if err := l.scheduleSchemaCheck(ctx); err != nil {
		return err
	}
	for {
		if err := l.handle(ctx, ev); err != nil {
			return err
		}
		if ev, err = l.next(ctx); err != nil {
			return l.skipUnreadable(ctx, err, previous)
		}
	}
}

func (l *loop) handle(ctx context.Context, ev *binlog.Event) error {
	if l.skip > 0 && ev.Kind != binlog.Progress {
		if err := l.history.verifyPartial(l.stream); err != nil {
			return err
		}
	}
	switch ev.Kind {
	case binlog.Changes:
		return l.changes(ctx, ev)
	case binlog.Commit:
		return l.commit(ctx, ev)
	case binlog.Statement:
		return l.statement(ctx, ev)
	case binlog.Progress:
		return l.idle(ctx, ev)
	case binlog.PreparedRows:
		return l.preparedRows(ctx, ev)
	case binlog.RowStatement:
		return l.rowStatement(ctx, ev)
	}
	return nil
}

// next reads an event. Before it waits for the source, it applies the committed transactions in the
// unit. While the source is busy, it pauses, and receives what has arrived meanwhile, without
// waiting for the source at all: these transactions join the unit, or become the next one.
func (l *loop) next(ctx context.Context) (*binlog.Event, error) {
	ev, err := l.stream.Present(ctx)
	for ev == nil && err == nil {
		switch {
		case l.pacer.Pause() && l.stream.Fill():
			ev, err = l.stream.Present(ctx)
		case !l.committedSince.IsZero():
			if err := l.flushCommitted(ctx); err != nil {
				return nil, err
			}
		default:
			ev, err = l.stream.Next(ctx)
		}
	}
	if err != nil {
		err = fmt.Errorf("read binlog after %s: %w", l.progress.Position, err)
		return nil, l.explainUnreadable(err)
	}
	return ev, nil
}

// advancePosition copies the stream's position into progress, between transactions. at is the
// commit time in microseconds since 1970; 0 keeps the last one.
func (l *loop) advancePosition(at int64) {
	l.previous = l.progress.Position
	l.progress.Position = *l.stream.Position()
	l.history.advance(l.stream)
	l.clearUnproved()
	l.saveLetters()
	if at > 0 {
		l.progress.Time = at
	}
	l.positionDirty = true
	if l.progress.Phase == sink.Replaying && includes(&l.progress.Position, &l.head) {
		l.progress.Phase = sink.Streaming
		l.unit.DropState(l.config.Name, tablestate.HeadPiece)
		l.log.Info().Stringer("position", l.progress.Position).Msg("replay reached the old head")
	}
}

// idle handles a Progress event: the source has nothing to send, or the position has moved without
// a transaction. It never comes within a transaction.
func (l *loop) idle(ctx context.Context, ev *binlog.Event) error {
	// A stream that was opened at a GTID set has no file at first.
	if l.stream.Position().CompareFile(l.progress.Position) > 0 {
		l.advancePosition(0)
	}
	if ev.Skipped != nil {
		if err := l.makeGapOfMissing(); err != nil {
			return err
		}
	}
	positionDue := l.positionDirty && time.Since(l.positionWritten) >= positionInterval
	if !l.unit.IsEmpty() || positionDue {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	if l.huge && time.Since(l.freed) >= freeInterval {
		// Go would keep the memory for minutes, in case more such rows come.
		debug.FreeOSMemory()
		l.huge, l.freed = false, time.Now()
	}
	if l.jobsUnrecorded {
		l.recordJobs()
	}
	if err := l.checkReset(ctx); err != nil {
		return err
	}
	l.updateServerWarnings(ctx)
	return l.betweenTransactions(ctx)
}

// betweenTransactions does what must not happen within a transaction: it compares schemas, and
// applies what jobs have read.
func (l *loop) betweenTransactions(ctx context.Context) error {
	// Does the sink hold a part of the transaction that comes next? Then a resume skips as many
	// rows of mapped tables as the sink holds. A table that went into quarantine now, or left it,
	// would change which rows these are, and rows of other tables would be lost.
	if l.progress.Partial > 0 {
		return nil
	}
	if err := l.checkSchemas(ctx); err != nil {
		return err
	}
	if l.tables.cascades.validate(l.stream.Position()) {
		l.stream.Forget()
	}
	if err := l.handleLookups(ctx); err != nil {
		return err
	}
	if err := l.handleRequests(ctx); err != nil {
		return err
	}
	if err := l.stepSearches(ctx); err != nil {
		return err
	}
	if l.jobsChanged {
		l.startJobs(ctx)
	}
	if err := l.jobs.Step(ctx); err != nil {
		return err
	}
	if err := l.endSearches(ctx); err != nil {
		return err
	}
	if err := l.removeAllFormer(ctx); err != nil {
		return err
	}
	if err := l.finishInitialLoad(ctx); err != nil {
		return err
	}
	if err := l.stepReferences(ctx); err != nil {
		return err
	}
	if err := l.removeDueFields(ctx); err != nil {
		return err
	}
	if err := l.repeatJobs(); err != nil {
		return err
	}
	return l.finishReplacement(ctx)
}

// includes reports whether position at includes everything up to p. It compares GTIDs if both have
// them, else file and offset.
func includes(at, p *binlog.Position) bool {
	if !p.GTID.IsZero() && !at.GTID.IsZero() {
		return at.GTID.Contains(p.GTID)
	}
	return p.File != "" && at.CompareFile(*p) >= 0
}
