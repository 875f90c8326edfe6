package jobs

import (
	"context"

	"rowfall/binlog"
)

// Throttle pauses jobs while the source or the replicas have more load than the user allows. Tasks
// that have begun are finished.
type Throttle interface {
	// Watch measures the load until ctx ends, and calls wake after each measurement. It runs in a
	// goroutine of the engine, as long as the engine has work.
	Watch(ctx context.Context, wake func())
	// IsPaused reports whether no task may begin now. at is the stream's position. The goroutine of
	// the loop calls it.
	IsPaused(at *binlog.Position) bool
}

// isPaused reports whether Config.Throttle allows no further task now.
func (e *Engine) isPaused() bool {
	return e.config.Throttle != nil && e.config.Throttle.IsPaused(e.host.Position())
}
