package sink

import "errors"

var (
	// ErrDemoted is returned by Load and Apply if the sink is not writable, or has been not
	// writable since Load. A node's sink returns it if the node is a replica or has a new term.
	ErrDemoted = errors.New("sink: demoted")
	// ErrClosed is returned by Apply after the sink was closed.
	ErrClosed = errors.New("sink: closed")
)

// Capabilities are what a pipeline may rely on when it writes to a sink. The zero value is the
// safe choice.
type Capabilities struct {
	// Atomic means that Apply applies a unit completely or not at all, even in a crash.
	Atomic bool
	// Deltas means that nobody else changes the sink's data. A unit may then contain only the
	// changed fields of a row that the sink holds.
	Deltas bool
}

// State is what a sink holds of a pipeline.
type State struct {
	// Progress is the position of the data. Its Phase is Empty if the sink holds none.
	Progress
	// Pieces are the pieces of state by name, as they were given to Unit.SetState.
	Pieces map[string][]byte
	// Foreign means that the sink holds keys, but no position of the pipeline: something else
	// wrote them.
	Foreign bool
}
