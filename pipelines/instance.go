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
	backoffMin = 500 * time.Millisecond
	backoffMax = 30 * time.Second
	// backoffResetAfter is how long a run must last for the back-off to begin anew.
	backoffResetAfter = time.Minute
)

// Instance is a pipeline with the node it owns.
type Instance struct {
	Config   file.Config
	Pipeline *Pipeline
	Node     *replication.Node
	log      zerolog.Logger
}

// Open opens a pipeline's node: its directory is locked, recovered, and its
// address listened on. from is as in New. Close it if Run is never called.
func Open(c file.Config, from string, log zerolog.Logger) (*Instance, error) {
	log = log.With().Str("pipeline", c.Name).Logger()
	var node *replication.Node
	commands := NewCommands(func() *replication.Node { return node })
	tlsConfig, err := c.Node.TLS.Config()
	if err != nil {
		return nil, c.Fault("sink.node.tls", "%v", err)
	}
	masterTLS, err := c.Node.MasterTLS.Config()
	if err != nil {
		return nil, c.Fault("sink.node.master_tls", "%v", err)
	}
	node, err = replication.Open(replication.Config{
		Listen: c.Node.Listen, Dir: c.Node.Dir, Password: c.Node.Password,
		ReplicaOf: c.Node.ReplicaOf, MasterUser: c.Node.MasterUser, MasterPassword: c.Node.MasterPassword,
		TLS: tlsConfig, UpstreamTLS: masterTLS, Log: c.Node.Log, HiddenPrefix: sink.HiddenPrefix,
		MinReplicas: c.Node.MinReplicas, MinReplicasMaxLag: c.Node.MinReplicasMaxLag,
		AssumeReplicas: c.Node.AssumeReplicas, MaxFullSyncs: c.Node.MaxFullSyncs, FullSyncRate: c.Node.FullSyncRate,
		FullSyncMinRate: c.Node.FullSyncMinRate, FullSyncSlack: c.Node.FullSyncSlack, FullSyncLog: c.Node.FullSyncLog,
		SnapshotMemory: c.Node.SnapshotMemory,
		Commands:       commands.Handlers(), Info: commands.Info,
		Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	p := New(c, sink.NewNode(node, c.Name), from, log)
	commands.pipeline = p
	return &Instance{Config: c, Pipeline: p, Node: node, log: log}, nil
}

// Close frees what Open took; after Run it does nothing.
func (i *Instance) Close() error { return i.Node.Close() }

// Run serves the node and runs the pipeline whenever the node is a master, until
// ctx ends (nil) or the node fails. A pipeline that stops for good is logged and
// its error returned at the end; its node goes on serving reads until then.
func (i *Instance) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		stopped error
	)
	wg.Go(func() { stopped = i.supervise(ctx) })
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

// supervise runs the pipeline whenever the node is a master. It returns when ctx ends,
// with the error of the last run if that was one that no retry mends.
func (i *Instance) supervise(ctx context.Context) error {
	var stopped error
	backoff := backoffMin
	for ctx.Err() == nil {
		changed := i.Node.RoleChanged()
		role, _ := i.Node.Role()
		wait := time.Duration(0)
		if role == replication.Master {
			began := time.Now()
			err := i.runUntilRoleChange(ctx, changed)
			stopped = nil
			switch {
			case ctx.Err() != nil && !errors.As(err, new(*StopError)), errors.Is(err, replication.ErrClosed):
				return nil // but why it had stopped just before is told
			case errors.Is(err, sink.ErrDemoted):
				i.log.Warn().Msg("the node's role changed; the pipeline ends its run")
				continue
			case errors.As(err, new(*StopError)):
				i.log.Error().Err(err).Msg("the pipeline stops; its node goes on serving reads")
				stopped = err
			default:
				if time.Since(began) > backoffResetAfter {
					backoff = backoffMin
				}
				wait, backoff = backoff, min(2*backoff, backoffMax)
				i.log.Error().Err(err).Dur("retry_in", wait).Msg("the pipeline failed; trying again")
			}
		} else if stopped = i.Pipeline.rejectFromOnReplica(); stopped != nil {
			i.log.Error().Err(stopped).Msg("the pipeline does not start")
		} else {
			i.log.Info().Msg("the node is a replica; the pipeline waits")
		}
		waitForRetry(ctx, changed, wait)
	}
	return stopped
}

// pause waits for the end of ctx, a change of role, and, where it is not 0, for
// a time to pass.
func waitForRetry(ctx context.Context, changed <-chan struct{}, wait time.Duration) {
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

// runUntilRoleChange runs the pipeline until it fails or the role changes, which it takes
// for a demotion: a quiet source would not show it.
func (i *Instance) runUntilRoleChange(ctx context.Context, changed <-chan struct{}) error {
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { waitForRetry(run, changed, 0); cancel() })
	err := i.Pipeline.Run(run)
	ended := run.Err() != nil
	cancel()
	wg.Wait()
	if ended && ctx.Err() == nil {
		return sink.ErrDemoted
	}
	return err
}

// RunAll opens several pipelines and runs them side by side until ctx ends. One
// that fails stops alone; one that cannot be opened (its port or its directory may
// still be held) is tried again, unless there is no other to wait for. It returns
// the failures of all, joined, when every member has ended.
func RunAll(ctx context.Context, log zerolog.Logger, open ...func() (*Instance, error)) error {
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i := range open {
		wg.Go(func() {
			m, err := open[i]()
			for backoff := backoffMin; err != nil && len(open) > 1; backoff = min(2*backoff, backoffMax) {
				log.Error().Err(err).Dur("retry_in", backoff).Msg("cannot open a pipeline's node; trying again")
				if waitForRetry(ctx, nil, backoff); ctx.Err() != nil {
					break
				}
				m, err = open[i]()
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
