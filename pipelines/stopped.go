package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/sink"
)

// Stopped is the directory of a pipeline that no process runs, opened and locked. Its node serves
// no clients. Close it.
type Stopped struct {
	pipeline *Pipeline
	node     stoppedNode
	commands *Commands
	sink     *sink.Node
	// ended receives the result of the node's Run; nil while the node does not run.
	ended chan error
}

// stoppedNode is the part of *replication.Node that Stopped uses itself.
type stoppedNode interface {
	Run(ctx context.Context) error
	Close() error
}

// OpenStopped opens the directory of a pipeline. It returns an error if a process runs the
// pipeline, or if there is no directory.
func OpenStopped(c file.Config, log zerolog.Logger) (*Stopped, error) {
	if _, err := os.Stat(c.Sink.Node.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, errNoData(&c)
	}
	return openDirectory(c, log)
}

// errNoData is the error for a directory without data of the pipeline.
func errNoData(c *file.Config) error {
	return fmt.Errorf("%s: the directory %s holds no data of pipeline %s: the first "+
		"`rowfall run %s` reads every table", c.Path, c.Sink.Node.Dir, c.Name, c.Path)
}

// openDirectory is OpenStopped for a directory that need not exist.
func openDirectory(c file.Config, log zerolog.Logger) (*Stopped, error) {
	node := c.Sink.Node
	node.Listen = "127.0.0.1:0" // no client needs the node
	node.MinReplicas = 0        // no replica follows it, so that it would wait for ever
	n, commands, err := OpenNode(node, log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	to := sink.NewNode(n, c.Name)
	return &Stopped{
		pipeline: New(c, to, "", log), node: n, commands: commands, sink: to,
	}, nil
}

// Close writes what is not on disk yet, and unlocks the directory.
func (s *Stopped) Close() error {
	err := s.node.Close()
	if s.ended != nil {
		err = errors.Join(err, <-s.ended)
		s.ended = nil
	}
	if err != nil {
		return fmt.Errorf("close the node of %s: %w", s.pipeline.config.Path, err)
	}
	return nil
}

// start makes the node writable. It returns an error if the node is a replica. what is what the
// user should do on the master instead.
func (s *Stopped) start(ctx context.Context, what string) error {
	if writable, _ := s.sink.Writable(); !writable {
		return fmt.Errorf("%s: the node is a replica, whose data come from its upstream; "+
			"%s on the master", s.pipeline.config.Path, what)
	}
	s.ended = make(chan error, 1)
	ended := s.ended
	go func() { ended <- s.node.Run(context.WithoutCancel(ctx)) }() // ends with Close
	return nil
}

// change executes a change of the stored state, by a loop that does not run, and applies it. what
// is as in start.
func (s *Stopped) change(
	ctx context.Context, what string, execute func(l *loop, stored *progress) error,
) error {
	if err := s.start(ctx, what); err != nil {
		return err
	}
	state, err := s.sink.Load(ctx)
	if err != nil {
		return err
	}
	unit, err := s.pipeline.changeState(&state, execute)
	if err != nil || unit == nil {
		return err
	}
	return s.sink.Apply(ctx, unit)
}

// changeState executes a change of a state. It returns the unit that stores the change; nil if the
// change has no effect.
func (p *Pipeline) changeState(
	state *sink.State, execute func(l *loop, stored *progress) error,
) (*sink.Unit, error) {
	stored, err := parseProgress(p.config.Name, &state.Progress)
	if err != nil {
		return nil, err
	}
	if state.Phase == sink.Empty {
		return nil, errNoData(&p.config)
	}
	if err := checkMapping(&p.config, state.Pieces); err != nil {
		return nil, err
	}
	l, err := p.loadStopped(state)
	if err != nil {
		return nil, err
	}
	l.progress = stored // a gap has its position
	if err := execute(l, &stored); err != nil || l.unit.IsEmpty() {
		return nil, err
	}
	l.tablesChanged()
	u := &l.unit
	u.Progress = state.Progress // with the evidence of the position
	u.Progress.Rebuilding, u.Progress.Quarantined = l.progress.Rebuilding, l.progress.Quarantined
	u.Progress.Gaps = l.progress.Gaps
	return u, nil
}

// loadStopped returns a loop that does not run, with the tables, gaps and searches of a state.
func (p *Pipeline) loadStopped(state *sink.State) (*loop, error) {
	l := &loop{
		config: &p.config, stats: &p.stats, log: p.log, tables: newTableSet(&p.config.Mapping),
	}
	if err := l.tables.load(state.Pieces); err != nil {
		return nil, err
	}
	if err := l.loadGaps(state.Pieces); err != nil {
		return nil, err
	}
	l.countJobs(l.tables)
	return l, nil
}

// Jobs returns the jobs that the next run continues.
func (s *Stopped) Jobs(ctx context.Context) ([]Job, error) {
	state, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.pipeline.loadStopped(state)
	if err != nil {
		return nil, err
	}
	return l.tables.jobList(), nil
}

// load reads the state of the data, also on a replica.
func (s *Stopped) load(ctx context.Context) (*sink.State, error) {
	c := &s.pipeline.config
	state, err := sink.NewEncoder(c.Name).Load(ctx, s.sink)
	if err == nil && state.Phase == sink.Empty {
		err = errNoData(c)
	}
	return &state, err
}

// CancelJob is Pipeline.CancelJob for a pipeline that does not run.
func (s *Stopped) CancelJob(ctx context.Context, id int) error {
	return s.change(ctx, "cancel the job", func(l *loop, _ *progress) error {
		return l.cancelJob(id)
	})
}

// ConfirmJob is Pipeline.ConfirmJob for a pipeline that does not run. The next run removes the
// keys.
func (s *Stopped) ConfirmJob(ctx context.Context, id int) error {
	return s.change(ctx, "confirm the job", func(l *loop, _ *progress) error {
		return l.confirmJob(id)
	})
}

// StateNotRunning is PipelineStatus.State of a pipeline that no process runs.
const StateNotRunning = "not running"

// Status returns what the directory holds.
func (s *Stopped) Status(ctx context.Context) (NodeStatus, error) {
	status := s.commands.Status()
	state, err := s.load(ctx)
	if err != nil {
		return status, err
	}
	for i := range status.Pipelines {
		p := &status.Pipelines[i]
		p.State = StateNotRunning
		if p.Name != s.pipeline.config.Name {
			continue
		}
		p.Revision = s.pipeline.config.Revision
		l, err := s.pipeline.loadStopped(state)
		if err == nil {
			err = l.loadSkips(state.Pieces)
		}
		if err != nil {
			// For example, the mapping in the file does not fit the data.
			p.Stopped = err.Error()
			continue
		}
		l.stats.recordTables(l.tables)
		l.stats.recordSkips(l.skipRequests())
		stats := s.pipeline.Stats()
		p.Jobs, p.Skips, p.Unmapped = stats.Jobs, stats.Skips, stats.Unmapped
		for k := range p.Quarantined {
			p.Quarantined[k] = faultOf(p.Quarantined[k].Table, &stats)
		}
	}
	return status, nil
}
