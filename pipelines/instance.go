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
		ReplicaOf:  c.Node.ReplicaOf,
		MasterUser: c.Node.MasterUser, MasterPassword: c.Node.MasterPassword,
		TLS: tlsConfig, UpstreamTLS: masterTLS, Log: c.Node.Log, HiddenPrefix: sink.HiddenPrefix,
		MinReplicas: c.Node.MinReplicas, MinReplicasMaxLag: c.Node.MinReplicasMaxLag,
		AssumeReplicas: c.Node.AssumeReplicas,
		MaxFullSyncs:   c.Node.MaxFullSyncs, FullSyncRate: c.Node.FullSyncRate,
		FullSyncMinRate: c.Node.FullSyncMinRate, FullSyncSlack: c.Node.FullSyncSlack,
		FullSyncLog: c.Node.FullSyncLog, SnapshotMemory: c.Node.SnapshotMemory,
		Commands: commands.Handlers(), Info: commands.Info,
		Logger: log,
	})
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

// RunAll opens several pipelines and runs them concurrently until ctx ends. A pipeline that fails
// does not stop the others. With more than one pipeline, an open that fails is retried, since a
// port or a directory may still be in use. RunAll returns the joined errors of all pipelines when
// the last one has ended.
func RunAll(ctx context.Context, log zerolog.Logger, open ...func() (*Instance, error)) error {
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i := range open {
		wg.Go(func() {
			instance, err := open[i]()
			retry := len(open) > 1
			for backoff := backoffMin; err != nil && retry; backoff = min(2*backoff, backoffMax) {
				log.Error().Err(err).Dur("retry_in", backoff).
					Msg("cannot open a pipeline's node; will retry")
				if waitForRetry(ctx, nil, backoff); ctx.Err() != nil {
					break
				}
				instance, err = open[i]()
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
