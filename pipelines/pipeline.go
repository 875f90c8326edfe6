package pipelines

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/file"
	"rowfall/pipelines/holds"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/mysqlsource"
	"rowfall/pipelines/source"
	"rowfall/sink"
)

// StopError is a failure that a retry cannot correct; see source.StopError.
type StopError = source.StopError

func stop(format string, args ...any) error { return source.Stopf(format, args...) }

// Pipeline moves the rows of one mapping from a source to a sink.
type Pipeline struct {
	config file.Config
	sink   Sink
	log    zerolog.Logger
	// from is a POSITION that replaces the data's own position once; empty after that.
	from string
	// isFromOwn is set if rebuildAfter has set from, and not the user.
	isFromOwn bool
	// schemaDump belongs to from, or to the start of new data. It is empty once that has begun.
	schemaDump string

	// silence is how long MySQL may send nothing while a statement runs; 0 is the default of
	// mysql.Config. It grows while runs fail because of it.
	silence time.Duration

	// replacement is the sink that the present run fills instead of sink; nil if it writes to sink.
	replacement atomic.Pointer[sink.Replacement]

	stats stats
	holds holds.Set
	// serverAddr is the address of the server that the present run follows; nil between two.
	serverAddr atomic.Pointer[string]

	// keyTypes is used only by the goroutine of the run.
	keyTypes keyTypeFaults

	// requests are what users ask of the running loop; wake makes the loop look at them.
	requests chan request
	wake     atomic.Pointer[func()]
	// skipCalls are requests to skip a transaction. retryNow has an element if the next run shall
	// begin at once, to handle them.
	skipCalls chan skipCall
	retryNow  chan struct{}
	// endedIn is the transaction to skip in which the last run has ended; zero if that run has
	// ended elsewhere. A run that received no event does not count.
	endedIn binlog.TransactionID
}

// POSITIONs with a meaning of their own.
const (
	fromSnapshot = "snapshot"
	// FromReplace builds all data anew while the sink serves the old data, and replaces the old
	// data when every table is complete.
	FromReplace = "snapshot --replace"
)

// New returns a pipeline that has opened nothing yet. from is empty, or a POSITION to start at
// instead of the data's own position.
func New(c file.Config, s Sink, from string, log zerolog.Logger) *Pipeline {
	c.Mapping.FieldExpiry = sink.FieldExpiryKey(c.Name)
	c.Source.MySQL.Attributes = map[string]string{"pipeline": c.Name}
	return &Pipeline{
		config: c, sink: s, from: from, log: log, requests: make(chan request, maxRequests),
		skipCalls: make(chan skipCall, maxRequests), retryNow: make(chan struct{}, 1),
		keyTypes: make(keyTypeFaults),
	}
}

// Run streams until ctx ends or something fails. It returns a *StopError if a retry cannot
// succeed, and sink.ErrDemoted if the sink is not writable any more. Run may be called again
// after it returned, but not concurrently.
func (p *Pipeline) Run(ctx context.Context) error {
	p.stats.stopped.Store(nil)
	defer p.stats.streaming.Store(false)
	began := time.Now()
	err := p.run(ctx)
	for errors.Is(err, errPreparedFound) {
		err = p.run(ctx)
	}
	p.adaptSilence(err, time.Since(began))
	if located := p.config.Locate(err); located != nil {
		err = &StopError{Err: located}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, sink.ErrDemoted) {
		p.stats.recordFailure(err)
	}
	return err
}

// adaptSilence doubles the time for which MySQL may be silent, if a run failed because of it: the
// statement may need longer. A run that worked for long resets that time.
func (p *Pipeline) adaptSilence(err error, lasted time.Duration) {
	var silent *mysql.SilentError
	if !errors.As(err, &silent) {
		return
	}
	if lasted > 10*silent.Limit {
		p.silence = p.config.Source.MySQL.Silence
		return
	}
	p.silence = min(2*silent.Limit, mysqlsource.MaxSilence)
}

// mysqlConfig returns how to connect to the source.
func (p *Pipeline) mysqlConfig() mysql.Config {
	c := p.config.Source.MySQL
	if p.silence > 0 {
		c.Silence = p.silence
	}
	if lockWait > 0 {
		c.LockWait = lockWait
	}
	return c
}

// openMySQL connects to the first of the addresses that accepts. Close the result.
func (p *Pipeline) openMySQL(
	ctx context.Context, addresses []string,
) (*mysqlsource.Source, error) {
	config := p.mysqlConfig()
	config.Addresses = addresses
	return mysqlsource.Open(ctx, mysqlsource.Config{
		File: &p.config, MySQL: config, Holds: &p.holds, Log: p.log,
	})
}

// chunkBytes and dirtyKeyBytes replace the defaults of jobs.Config. Variables for tests.
var chunkBytes, dirtyKeyBytes int

// lockWait replaces mysql.Config's default. A variable for tests.
var lockWait time.Duration

// run opens source and sink, decides where to start, and runs the loop.
func (p *Pipeline) run(ctx context.Context) error {
	select {
	case <-p.retryNow: // this run
	default:
	}
	state, err := p.sink.Load(ctx)
	var stored progress
	if err == nil {
		stored, err = parseProgress(p.config.Name, &state.Progress)
	}
	rejected := err
	if err == nil && p.from == FromReplace {
		rejected = errors.New("all data are being replaced; a transaction can be skipped " +
			"while the replacement is streaming, or after its installation")
	}
	p.acceptSkips(ctx, &state, &stored, rejected)
	isEmpty := err == nil && state.Phase == sink.Empty && !state.Foreign
	switch {
	case errors.Is(err, sink.ErrDemoted):
		return err
	// Shall data that the sink serves be replaced?
	case p.from == FromReplace && !isEmpty:
		if err := p.replace(ctx); err != nil {
			return err
		}
		return p.run(ctx)
	case err != nil:
		return p.withReplacement(&StopError{Err: err})
	case p.from == FromReplace:
		p.from = fromSnapshot // there is nothing to replace
	}
	return p.withReplacement(p.runServers(ctx, state, stored))
}

// runSource runs with one source until something fails.
func (p *Pipeline) runSource(
	ctx context.Context, src source.Source, state sink.State, stored progress,
) error {
	err := p.runOnce(ctx, src, state, stored)
	return p.rebuildAfter(ctx, src, &stored, err)
}

// runOnce runs a new loop until something fails. If that is an XA COMMIT whose rows are unknown,
// they are searched for.
func (p *Pipeline) runOnce(
	ctx context.Context, src source.Source, state sink.State, stored progress,
) error {
	// The workers of jobs end with this context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := p.newLoop(src)
	err := p.runLoop(ctx, l, src, state, stored)
	unprepared := new(events.UnpreparedError)
	if errors.As(err, &unprepared) && (l.initialUnit == nil || l.started) {
		return l.findPrepared(ctx, unprepared.XID)
	}
	return err
}

// runLoop runs a loop until something fails.
func (p *Pipeline) runLoop(
	ctx context.Context, l *loop, src source.Source, state sink.State, stored progress,
) error {
	if err := l.decideStart(ctx, state, stored); err != nil {
		return err
	}
	if err := l.checkNames(ctx); err != nil {
		return err
	}
	if err := l.checkForeignKeys(ctx, foreignKeyCheck{atStart: true}); err != nil {
		return err
	}
	l.tables.prepared.readBlock = l.blockReader(ctx)
	stream, err := src.OpenStream(ctx, l.streamStart())
	if err != nil {
		return ofServer(mysqlsource.MarkFinal(err))
	}
	defer func() { _ = stream.Close() }()
	l.stream = stream
	l.updateSkips()
	l.tables.position = stream.Position
	wake := stream.Wake
	p.wake.Store(&wake)
	defer p.wake.Store(nil)
	// Jobs wake the stream, so they are closed first.
	defer func() { l.jobs.Close() }()
	defer func() { l.search.close() }()
	defer l.stopScan()
	err = mysqlsource.MarkFinal(l.explainReset(ctx, l.run(ctx)))
	if l.started && !l.replaces {
		p.from, p.isFromOwn, p.schemaDump = "", false, ""
	}
	return err
}

// rebuildAfter returns the error that ended a run. If the source cannot continue from the data's
// position and the file says so, the next run reads every table again.
func (p *Pipeline) rebuildAfter(
	ctx context.Context, src source.Source, stored *progress, err error,
) error {
	if err == nil || !p.mayRebuild(ctx, stored) {
		return err
	}
	reason, reconcile, checked := p.sourceLost(ctx, src, stored, err)
	switch {
	case checked != nil:
		return checked
	case reason == "" || !reconcile:
		return err
	}
	return p.beginRebuild(reason, err)
}

// mayRebuild reports whether a run with data has ended that did not read every table again.
func (p *Pipeline) mayRebuild(ctx context.Context, stored *progress) bool {
	return ctx.Err() == nil && p.from == "" && stored.Phase != sink.Empty
}

// beginRebuild makes the next run read every table again. err has ended this run.
func (p *Pipeline) beginRebuild(reason string, err error) error {
	p.from, p.isFromOwn = fromSnapshot, true
	p.log.Warn().Err(err).Str("reason", reason).
		Msg("every table is read again, while the data serve")
	// Not a StopError: the next run succeeds.
	return fmt.Errorf("%s, and every table is read again: %s", reason, err.Error())
}

// sourceLost examines err, which has ended a run: has the source another history than the data, or
// has it purged the binlog at the stored position? Then reason describes that, and reconcile
// reports whether the settings of the pipeline file allow reading every table again; otherwise
// reason is empty. The last result is an error of the examination itself.
func (p *Pipeline) sourceLost(
	ctx context.Context, src source.Source, stored *progress, err error,
) (reason string, reconcile bool, _ error) {
	c := &p.config.Source
	switch {
	case errors.As(err, new(*binlog.HistoryError)):
		return "the source has another history than the data", !c.StopAtReset, nil
	case p.from != FromReplace && c.StopAtPurge:
	case mysql.IsCode(err, mysql.CodeBinlogMissing):
		// The position may have moved since; what was purged then is purged now, too.
		purged, checked := src.IsPurged(ctx, stored.Position, stored.Server)
		if checked != nil {
			return "", false, fmt.Errorf("find out whether the binlog was purged (%s): %w",
				err.Error(), checked)
		}
		if purged {
			return "the source has purged the binlog at the data's position", !c.StopAtPurge, nil
		}
	}
	return "", false, nil
}

// newLoop returns the loop of one run, without a stream.
func (p *Pipeline) newLoop(src source.Source) *loop {
	to := p.target()
	can := to.Capabilities()
	l := &loop{
		config: &p.config, stats: &p.stats, from: p.from, log: p.log,
		sink: to, deltas: can.Atomic && can.Deltas,
		server: src, positions: src, schemas: src, keys: src, older: src,
		writes: writeChecks{source: src},
	}
	if p.from == FromReplace {
		l.from, l.replaces = "", true
	} else {
		l.followed = p.discardReplacement
	}
	b := p.config.Source.Backfill
	l.requests, l.skipCalls, l.endedIn = p.requests, p.skipCalls, &p.endedIn
	l.keyTypes, l.schemaDump = p.keyTypes, p.schemaDump
	l.jobs = jobs.New(l, src, jobs.Config{
		Parallel: b.Parallel, ChunkRows: b.ChunkRows, RowsPerSecond: b.RowsPerSecond,
		ChunkBytes: chunkBytes, DirtyKeyBytes: dirtyKeyBytes,
		Throttle: p.newThrottle(src.Identity().Addr),
	}, p.log)
	return l
}

// streamStart returns where the stream of the run starts: at the data's position.
func (l *loop) streamStart() source.StreamStart {
	start := source.StreamStart{
		Position: l.progress.Position, Last: l.history.last, Tables: l.tables,
	}
	if l.isOffline {
		start.Tables = &fileTables{tableSet: l.tables, unknown: make(map[*binlog.Table]bool)}
	}
	return start
}

// rejectFromOnReplica drops a pending --from while the sink is not writable, and returns an error
// if the user gave one. Otherwise the position would move at a later promotion, unexpectedly.
func (p *Pipeline) rejectFromOnReplica() error {
	if p.from == "" {
		return nil
	}
	from, isOwn := p.from, p.isFromOwn
	p.from, p.isFromOwn = "", false
	p.stats.endReplacement()
	if isOwn {
		return nil // the run after a promotion finds out whether it is still necessary
	}
	err := stop("--from %s: the node is a replica and its position is its upstream's; "+
		"promote it first, then start with --from", from)
	p.stats.recordFailure(err)
	return err
}
