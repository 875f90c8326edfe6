package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/replication"
)

// ErrDemoted is returned when the sink no longer takes units from this term:
// its node became a replica, or was promoted anew.
var ErrDemoted = errors.New("sink: demoted")

// State is what a sink holds of a pipeline.
type State struct {
	Progress
	// Keys are the pieces of state by name.
	Pieces map[string][]byte
	// Foreign says that the sink holds keys, but no position of the pipeline:
	// they are somebody else's.
	Foreign bool
}

// Node is a replication node as a sink of one pipeline.
type Node struct {
	node     *replication.Node
	pipeline string
	term     replication.Term
	encoder  *Encoder
	buffer   []byte
}

// maxKeptBuffer is the largest unit that is encoded in a buffer of its own, which is kept. Larger ones
// are encoded where they are.
const maxKeptBuffer = 1 << 20

// NewNode returns the sink of a pipeline on a node.
func NewNode(node *replication.Node, pipeline string) *Node {
	return &Node{node: node, pipeline: pipeline, encoder: NewEncoder(pipeline)}
}

// Load reads what the node holds of the pipeline and takes up its present term:
// units applied from now on are refused with ErrDemoted once the role changes.
// A node that is a replica gives ErrDemoted at once. A position or a piece of state that
// cannot be read is another error, along with a State that is Foreign.
func (n *Node) Load(context.Context) (State, error) {
	role, term := n.node.Role()
	if role != replication.Master {
		return State{}, ErrDemoted
	}
	n.term = term
	return n.encoder.Load(n.node.Keyspace())
}

// Apply makes the unit durable as the node's settings say and visible, whole.
// It blocks while the node holds the pipeline back. On an error nothing of the
// unit is applied. The unit's commands may be lost by it.
func (n *Node) Apply(ctx context.Context, u *Unit) error {
	var b []byte
	if u.Size() > maxKeptBuffer {
		n.buffer = nil
		b = n.encoder.EncodeInPlace(u)
	} else {
		n.buffer = n.encoder.Encode(n.buffer[:0], u)
		b = n.buffer
	}
	if _, err := n.node.Apply(ctx, n.term, b); err != nil {
		n.encoder.Reset()
		if errors.Is(err, replication.ErrDemoted) {
			return ErrDemoted
		}
		return fmt.Errorf("apply unit: %w", err)
	}
	return nil
}

// SetComplete says whether the pipeline's data may be handed to replicas.
func (n *Node) SetComplete(complete bool) { n.node.SetComplete(complete) }

// Held returns why Apply waits or is slowed, and since when; both are zero while it is not.
func (n *Node) Held() (reason string, since time.Time) { return n.node.Held() }
