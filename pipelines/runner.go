package pipelines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/replication"
	"rowfall/sink"
)

// Back-off between the tries of a pipeline whose failure can pass.
const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
	// healthyAfter is how long a run must last for the back-off to begin anew.
	healthyAfter = time.Minute
)

// Member is a pipeline with the node it owns.
type Member struct {
	Config   file.Config
	Pipeline *Pipeline
	Node     *replication.Node
	log      zerolog.Logger
}

// Open opens a pipeline's node: its directory is locked, recovered, and its
// address listened on. from is as in New. Close it if Run is never called.
func Open(c file.Config, from string, log zerolog.Logger) (*Member, error) {
	log = log.With().Str("pipeline", c.Name).Logger()
	if err := c.CheckFiles(); err != nil {
		return nil, err
	}
	node, commands, err := OpenNode(c.Sink.Node, log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	p := New(c, sink.NewNode(node, c.Name), from, log)
	commands.pipeline = p
	return &Member{Config: c, Pipeline: p, Node: node, log: log}, nil
}

// Close frees what Open took; after Run it does nothing.
func (m *Member) Close() error { return m.Node.Close() }

// Run serves the node and runs the pipeline whenever the node is a master, until
// ctx ends (nil) or the node fails. A pipeline that stops for good is logged and
// its error returned at the end; its node goes on serving reads until then.
func (m *Member) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		stopped error
	)
	wg.Go(func() { stopped = m.pump(ctx) })
	err := m.Node.Run(ctx)
	cancel()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("node of pipeline %s: %w", m.Config.Name, err)
	}
	if stopped != nil {
		return fmt.Errorf("pipeline %s: %w", m.Config.Name, stopped)
	}
	return nil
}

// pump runs the pipeline whenever the node is a master. It returns when ctx ends,
// with the error of the last run if that was one that no retry mends.
func (m *Member) pump(ctx context.Context) error {
	var stopped error
	backoff := backoffFirst
	for ctx.Err() == nil {
		changed := m.Node.RoleChanged()
		role, _ := m.Node.Role()
		wait := time.Duration(0)
		if role == replication.Master {
			began := time.Now()
			err := m.runWhile(ctx, changed)
			stopped = nil
			switch {
			case ctx.Err() != nil && !errors.As(err, new(*StopError)), errors.Is(err, replication.ErrClosed):
				return nil // but why it had stopped just before is told
			case errors.Is(err, sink.ErrDemoted):
				m.log.Warn().Msg("the node's role changed; the pipeline ends its run")
				continue
			case errors.As(err, new(*StopError)):
				m.log.Error().Err(err).Msg("the pipeline stops; its node goes on serving reads")
				stopped = err
			default:
				if time.Since(began) > healthyAfter {
					backoff = backoffFirst
				}
				wait, backoff = backoff, min(2*backoff, backoffMost)
				m.log.Error().Err(err).Dur("retry_in", wait).Msg("the pipeline failed; trying again")
			}
		} else if stopped = m.Pipeline.standBy(); stopped != nil {
			m.log.Error().Err(stopped).Msg("the pipeline does not start")
		} else {
			m.log.Info().Msg("the node is a replica; the pipeline waits")
		}
		pause(ctx, changed, wait)
	}
	return stopped
}

// pause waits for the end of ctx, a change of role, and, where it is not 0, for
// a time to pass.
func pause(ctx context.Context, changed <-chan struct{}, wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-over:
	}
}

// runWhile runs the pipeline until it fails or the role changes, which it takes
// for a demotion: a quiet source would not show it.
func (m *Member) runWhile(ctx context.Context, changed <-chan struct{}) error {
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { pause(run, changed, 0); cancel() })
	err := m.Pipeline.Run(run)
	ended := run.Err() != nil
	cancel()
	wg.Wait()
	if ended && ctx.Err() == nil {
		return sink.ErrDemoted
	}
	return err
}

// Opener opens a pipeline for RunAll. Open may be called several times, until it succeeds.
type Opener struct {
	Open func() (*Member, error)
	Log  zerolog.Logger // for failures of Open, since a pipeline that is not open has no logger
}

// RunAll opens several pipelines and runs them side by side until ctx ends. A pipeline that fails
// does not affect the others. If there are others, a pipeline that cannot be opened is retried, as
// its port or its directory may still be in use. RunAll returns the errors of all pipelines,
// joined, when every pipeline has ended.
func RunAll(ctx context.Context, openers ...Opener) error {
	errs := make([]error, len(openers))
	var wg sync.WaitGroup
	for i, o := range openers {
		wg.Go(func() {
			m, err := o.Open()
			for backoff := backoffFirst; err != nil && len(openers) > 1; backoff = min(2*backoff, backoffMost) {
				o.Log.Error().Err(err).Dur("retry_in", backoff).Msg("cannot open a pipeline's node; trying again")
				if pause(ctx, nil, backoff); ctx.Err() != nil {
					break
				}
				m, err = o.Open()
			}
			if err != nil {
				errs[i] = err
				return
			}
			if errs[i] = m.Run(ctx); errs[i] != nil && ctx.Err() == nil {
				m.log.Error().Err(errs[i]).Msg("ended")
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
