package pipelines

import (
	"context"
	"errors"
	"sync"
	"time"

	"rowfall/sink"
)

const (
	// backoffMin and backoffMax bound the pause between two runs of which the first one failed.
	backoffMin = 500 * time.Millisecond
	backoffMax = 30 * time.Second
	// backoffResetAfter is how long a run must last to reset the pause to backoffMin.
	backoffResetAfter = time.Minute
)

// supervise runs the pipeline whenever its sink is writable, and retries after errors. It returns
// when ctx ends or the sink is closed, with the error of the last run if that was a StopError.
func (p *Pipeline) supervise(ctx context.Context) error {
	var stopped error
	backoff := backoffMin
	for ctx.Err() == nil {
		wait := time.Duration(0)
		writable, changed := p.sink.Writable()
		if writable {
			began := time.Now()
			err := p.runUntilRoleChange(ctx, changed)
			stopped = nil
			switch {
			case ctx.Err() != nil && !errors.As(err, new(*StopError)),
				errors.Is(err, sink.ErrClosed):
				return nil
			case errors.Is(err, sink.ErrDemoted):
				p.log.Warn().Msg("the node's role changed; the pipeline ends its run")
				continue
			case errors.As(err, new(*StopError)):
				p.log.Error().Err(err).Msg("the pipeline stops; its node continues to serve reads")
				stopped = err
			default:
				if time.Since(began) > backoffResetAfter {
					backoff = backoffMin
				}
				wait, backoff = backoff, min(2*backoff, backoffMax)
				p.log.Error().Err(err).Dur("retry_in", wait).
					Msg("the pipeline failed; it will retry")
			}
		} else {
			stopped = p.standBy()
		}
		waitForRetry(ctx, changed, p.retryNow, wait)
	}
	return stopped
}

// standBy is called when the node is a replica, whose data come from its upstream. It discards an
// unfinished replacement. It returns a StopError if --from was given.
func (p *Pipeline) standBy() error {
	stopped := p.rejectFromOnReplica()
	if err := p.discardReplacement(); err != nil {
		p.log.Error().Err(err).Msg("the unfinished replacement was not discarded")
	}
	if stopped != nil {
		p.log.Error().Err(stopped).Msg("the pipeline does not start")
		return stopped
	}
	p.log.Info().Msg("the node is a replica; the pipeline waits")
	return nil
}

// waitForRetry waits until ctx ends, changed is closed, now has an element, or delay has passed. A
// delay of 0 means no limit.
func waitForRetry(ctx context.Context, changed, now <-chan struct{}, delay time.Duration) {
	var over <-chan time.Time
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-now:
	case <-over:
	}
}

// runUntilRoleChange runs the pipeline until it fails or changed is closed. A closed channel is
// reported as sink.ErrDemoted, since the sink of an idle pipeline has no occasion to return it.
func (p *Pipeline) runUntilRoleChange(ctx context.Context, changed <-chan struct{}) error {
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { waitForRetry(run, changed, nil, 0); cancel() })
	err := p.Run(run)
	ended := run.Err() != nil
	cancel()
	wg.Wait()
	if ended && ctx.Err() == nil {
		return sink.ErrDemoted
	}
	return err
}
