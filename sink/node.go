package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/replication"
)

// Node is a replication node as the sink of one pipeline. Load and Apply are for one goroutine. It
// implements Replacer.
type Node struct{ core }

// core is a core of a node as the sink of one pipeline: the core of the served data, or the core of
// a replacement.
type core struct {
	node     *replication.Core
	pipeline string
	term     replication.Term // of the last Load
	encoder  *Encoder
	buffer   []byte
	reply    []byte // buffer of Read
	// complete is the last value given to the node's SetComplete since Load; nil before the first
	// call.
	complete *bool
}

// maxKeptBuffer is the size up to which units are encoded in a buffer that is kept. The buffer of
// a larger unit's commands is used itself, so that they are not copied.
const maxKeptBuffer = 1 << 20

// NewNode returns the sink of a pipeline on a node.
func NewNode(node *replication.Node, pipeline string) *Node {
	return &Node{newCore(node.Node, pipeline)}
}

func newCore(node *replication.Core, pipeline string) core {
	return core{node: node, pipeline: pipeline, encoder: NewEncoder(pipeline)}
}

// Capabilities returns all: a node applies each unit as one MULTI, and takes no other writes.
func (n *core) Capabilities() Capabilities { return Capabilities{Atomic: true, Deltas: true} }

// Writable reports whether the node is a master. changed is closed at the next change of role or
// term.
func (n *core) Writable() (writable bool, changed <-chan struct{}) {
	changed = n.node.RoleChanged() // before Role, so that no change is missed
	role, _ := n.node.Role()
	return role == replication.Master, changed
}

// Load returns what the node holds of the pipeline. Units applied from now on are rejected with
// ErrDemoted once the role or the term changes. If the node is a replica, Load returns ErrDemoted.
// If a position or a piece of state cannot be read, it returns another error and a Foreign State.
func (n *core) Load(ctx context.Context) (State, error) {
	role, term := n.node.Role()
	if role != replication.Master {
		return State{}, ErrDemoted
	}
	n.term, n.complete = term, nil
	state, err := n.encoder.Load(ctx, n)
	if err == nil && state.Phase != Empty {
		// Replicas may copy existing data whether or not the source is there.
		n.setComplete(state.Phase != Snapshot)
	}
	return state, err
}

// Apply makes the unit durable, as the node's settings require, and visible. It blocks during a
// write stall of the node. If it returns an error, nothing of the unit is applied. In either case
// the unit's commands may be gone.
//
// Replicas may not copy the data while the unit's phase is Snapshot.
func (n *core) Apply(ctx context.Context, u *Unit) error {
	isSnapshot := u.Progress.Phase == Snapshot
	if isSnapshot {
		n.setComplete(false)
	}
	if err := n.encoder.Resolve(ctx, n, u); err != nil {
		return fmt.Errorf("apply unit: %w", err)
	}
	if _, err := n.node.Apply(ctx, n.term, n.encode(u)); err != nil {
		n.encoder.Reset()
		switch {
		case errors.Is(err, replication.ErrDemoted):
			return ErrDemoted
		case errors.Is(err, replication.ErrClosed):
			return fmt.Errorf("apply unit: %w: %w", ErrClosed, err)
		}
		return fmt.Errorf("apply unit: %w", ExplainKeyType(n.node.Keyspace(), err))
	}
	if !isSnapshot {
		n.setComplete(true)
	}
	return nil
}

func (n *core) encode(u *Unit) []byte {
	if u.Size() > maxKeptBuffer {
		n.buffer = nil
		return n.encoder.EncodeInPlace(u)
	}
	n.buffer = n.encoder.Encode(n.buffer[:0], u)
	return n.buffer
}

// setComplete tells the node whether replicas may copy the data, if that has changed since Load.
func (n *core) setComplete(complete bool) {
	if n.complete == nil || *n.complete != complete {
		n.node.SetComplete(complete)
		n.complete = &complete
	}
}

// Now returns the node's clock in milliseconds since 1970, which decides about expired keys.
func (n *core) Now() int64 { return n.node.Now() }

// Held returns why Apply waits or is slowed, and since when; both are zero if it does not.
func (n *core) Held() (reason string, since time.Time) { return n.node.Held() }
