package pipelines

import (
	"context"
	"time"

	"rowfall/sink"
)

// Sink is where a pipeline's units go. sink.Node is a replication node; sinktest.Memory is a sink
// for tests. Another kind of sink is one more file in package sink that implements this, and a line
// in Open, which chooses the sink by the pipeline file. The initial load and the stream only call
// Load and Apply; jobs that compare also call Read.
//
// The pipeline calls Load, Apply and Read from one goroutine at a time. Held, Now and Writable may
// be called by any goroutine. The methods are one interface, although more than five, because they
// concern one set of data.
type Sink interface {
	// Load returns what the sink holds of the pipeline, and makes the sink ready for Apply. It
	// returns sink.ErrDemoted while the sink is not writable.
	Load(ctx context.Context) (sink.State, error)
	// Apply applies a unit; Capabilities tells whether atomically. It returns sink.ErrDemoted
	// once the sink has been not writable since Load, and sink.ErrClosed once the sink is closed.
	// Apply may take the commands out of the unit.
	Apply(ctx context.Context, u *sink.Unit) error
	// Capabilities returns what the loop may rely on. The result never changes.
	Capabilities() sink.Capabilities
	// Writable reports whether Load and Apply can succeed now. changed is closed when this may
	// have changed; nil means that it never changes.
	Writable() (writable bool, changed <-chan struct{})
	// Now returns the clock that decides about expired keys, in milliseconds since 1970.
	Now() int64
	// Held returns why Apply waits or is slowed, and since when; both are zero if it does not.
	Held() (reason string, since time.Time)

	sink.Reader
}
