package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// Sink is where a pipeline's units go; sink.Node is the one there is.
type Sink interface {
	// Load reads what the sink holds of the pipeline. It fails with
	// sink.ErrDemoted, or because what is there cannot be read.
	Load(ctx context.Context) (sink.State, error)
	// Apply applies a unit whole or not at all. It may use it until it returns, and take its
	// commands out of it.
	Apply(ctx context.Context, u *sink.Unit) error
	// SetComplete says whether the data may be handed to replicas.
	SetComplete(complete bool)
	// Held returns why Apply waits, and since when; both are zero while it does not.
	Held() (reason string, since time.Time)
}

// StopError is a failure that trying again does not mend: the mapping, the
// schema or the data must change first. Its text says how.
type StopError struct{ Err error }

// Error returns the cause's text.
func (e *StopError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StopError) Unwrap() error { return e.Err }

func stop(format string, args ...any) error { return &StopError{fmt.Errorf(format, args...)} }

// Pipeline moves one mapping's rows from a source to a sink.
type Pipeline struct {
	config file.Config
	sink   Sink
	log    zerolog.Logger
	// from is a POSITION to start at instead of where the data says, once.
	from string

	// prepared outlives a connection to the source.
	prepared events.XATransactions
	// silence is how long MySQL may send nothing while a statement runs; 0 is mysql's default.
	// It grows while runs fail by it.
	silence time.Duration

	stats stats
	holds holds
}

// New returns a pipeline that has opened nothing yet. from is empty, or a
// POSITION at which to start instead of where the data says.
func New(c file.Config, s Sink, from string, log zerolog.Logger) *Pipeline {
	return &Pipeline{config: c, sink: s, from: from, log: log}
}

// Run streams until ctx ends or something fails: *StopError when trying again is
// of no use, sink.ErrDemoted when the sink is no longer this pipeline's to write.
// It may be called again after it returned, not at the same time.
func (p *Pipeline) Run(ctx context.Context) error {
	p.stats.stopped.Store(nil)
	defer p.stats.streaming.Store(false)
	began := time.Now()
	err := p.run(ctx)
	p.adaptSilence(err, time.Since(began))
	if located := p.config.Locate(err); located != nil {
		err = &StopError{located}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, sink.ErrDemoted) {
		p.stats.recordFailure(err)
	}
	return err
}

// maxSilence is how far the limit of a server's silence grows. Where even that is too short,
// nothing but a hint in the log helps.
const maxSilence = 32 * time.Minute

// adaptSilence doubles the time for which MySQL may be silent where a run failed by it, since the
// statement may need longer; a run that had long worked begins with the least again.
func (p *Pipeline) adaptSilence(err error, lasted time.Duration) {
	var silent *mysql.SilentError
	if !errors.As(err, &silent) {
		return
	}
	if lasted > 10*silent.Limit {
		p.silence = p.config.Source.MySQL.Silence
		return
	}
	p.silence = min(2*silent.Limit, maxSilence)
}

// mysql returns how to connect to the source.
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

// lockWait replaces mysql.Config's default. A variable for tests.
var lockWait time.Duration

func (p *Pipeline) run(ctx context.Context) error {
	state, err := p.sink.Load(ctx)
	switch {
	case errors.Is(err, sink.ErrDemoted):
		return err
	case err != nil && p.from != "snapshot":
		return &StopError{err}
	}
	// What the node holds may go to replicas whether or not MySQL is there.
	switch state.Phase {
	case sink.Streaming, sink.Replaying:
		p.sink.SetComplete(true)
	case sink.Snapshot:
		p.sink.SetComplete(false)
	}
	conn, err := mysql.Dial(ctx, p.mysqlConfig())
	if err != nil {
		return fmt.Errorf("connect to MySQL: %w", err)
	}
	defer func() { _ = conn.Close() }()
	wait := newQueryWait(conn, "a question about settings, schemas or positions", p.log)
	defer p.holds.add(wait)()
	// Everything the loop owns ends with it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	l := &loop{pipeline: p, config: &p.config, sink: p.sink, conn: conn, wait: wait, log: p.log}
	// It waits for DDL, maybe for days.
	if err := conn.Exec(ctx, "SET SESSION wait_timeout = 2147483"); err != nil {
		return fmt.Errorf("prepare connection: %w", err)
	}
	if err := l.decideStart(ctx, state); err != nil {
		return err
	}
	if err := l.checkNames(ctx); err != nil {
		return err
	}
	if err := l.checkForeignKeys(ctx); err != nil {
		return err
	}
	l.stream, err = dump.Open(ctx, l.dumpConfig(), l.progress.Position)
	if err != nil {
		return markFinal(fmt.Errorf("follow binlog from %s: %w", l.progress.Position, err))
	}
	defer func() { _ = l.stream.Close() }()
	if got := l.stream.Server().UUID; got != conn.Server().UUID {
		return fmt.Errorf("follow binlog: the dump connection reached server %s, the reading one %s; give the address of one server, not of several behind a proxy", got, conn.Server().UUID)
	}
	// It wakes the stream, so it ends first.
	defer func() { l.reconciler.Close() }()
	return markFinal(l.explainReset(ctx, l.run(ctx)))
}

// dumpConfig says how to follow the source from where the data stand.
func (l *loop) dumpConfig() dump.Config {
	return dump.Config{
		MySQL:          l.pipeline.mysqlConfig(),
		ServerID:       serverID(l.config),
		Tables:         l.tables,
		XATransactions: &l.pipeline.prepared,
		Last:           l.history.last,
		Logger:         l.log,
	}
}

// rejectFromOnReplica is called while the sink is not the pipeline's to write. A move of the
// position that waits for a promotion would come when nobody thinks of it.
func (p *Pipeline) rejectFromOnReplica() error {
	if p.from == "" {
		return nil
	}
	from := p.from
	p.from = ""
	err := stop("--from %s: the node is a replica and its position is its upstream's; promote it first, then start with --from", from)
	p.stats.recordFailure(err)
	return err
}

// final makes an error of the source a StopError if no later try can go better.
func markFinal(err error) error {
	if errors.As(err, new(*binlog.RefusedError)) || errors.As(err, new(*binlog.HistoryError)) {
		return &StopError{err}
	}
	var se *mysql.ServerError
	if errors.As(err, &se) && se.Code == mysql.CodeBinlogMissing {
		if strings.Contains(se.Message, "same server_") {
			return fmt.Errorf("%w; if that is no old connection of this process, set source.mysql.server_id", err)
		}
		return &StopError{err}
	}
	return err
}
