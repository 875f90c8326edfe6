package pipelines

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/replication"
	"rowfall/sink"
)

// Instance is a pipeline with the replication node that it writes to.
type Instance struct {
	// Config is the pipeline file.
	Config file.Config
	// Pipeline runs while Node is a master.
	Pipeline *Pipeline
	// Node serves clients and replicas whether or not the pipeline runs.
	Node *replication.Node
	log  zerolog.Logger
}

// Open opens a pipeline's node: it locks and recovers the directory, and listens on the address.
// from is as in New. Call Close if Run is never called.
func Open(c file.Config, from string, log zerolog.Logger) (*Instance, error) {
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
	return &Instance{Config: c, Pipeline: p, Node: node, log: log}, nil
}

// Close closes the node. After Run it does nothing.
func (i *Instance) Close() error { return i.Node.Close() }

// Run serves the node, and runs the pipeline whenever the node is a master. It returns when ctx
// ends or the node fails. If the pipeline stops with a StopError, Run logs the error, continues to
// serve reads, and returns the error when ctx ends.
func (i *Instance) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		stopped error
	)
	wg.Go(func() { stopped = i.Pipeline.supervise(ctx) })
	err := i.Node.Run(ctx)
	cancel()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("node of pipeline %s: %w", i.Config.Name, err)
	}
	if stopped != nil {
		return fmt.Errorf("pipeline %s: %w", i.Config.Name, stopped)
	}
	return nil
}

// Opener opens an instance for RunAll. Open may be called several times, until it succeeds.
type Opener struct {
	Open func() (*Instance, error)
	Log  zerolog.Logger // for failures of Open, since a pipeline that is not open has no logger
}

// RunAll opens several pipelines and runs them concurrently until ctx ends. A pipeline that fails
// does not stop the others. With more than one pipeline, an open that fails is retried, since a
// port or a directory may still be in use. RunAll returns the joined errors of all pipelines when
// the last one has ended.
func RunAll(ctx context.Context, openers ...Opener) error {
	errs := make([]error, len(openers))
	var wg sync.WaitGroup
	for i, o := range openers {
		wg.Go(func() {
			instance, err := o.Open()
			retry := len(openers) > 1
			for backoff := backoffMin; err != nil && retry; backoff = min(2*backoff, backoffMax) {
				o.Log.Error().Err(err).Dur("retry_in", backoff).
					Msg("cannot open a pipeline's node; will retry")
				if waitForRetry(ctx, nil, nil, backoff); ctx.Err() != nil {
					break
				}
				instance, err = o.Open()
			}
			if err != nil {
				errs[i] = err
				return
			}
			if errs[i] = instance.Run(ctx); errs[i] != nil && ctx.Err() == nil {
				instance.log.Error().Err(errs[i]).Msg("ended")
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
