package sink

import (
	"context"
	"errors"
	"fmt"

	"rowfall/replication"
)

// Replacer is a sink that can build new data while it serves the old data, and then replace the old
// data in one step. With any other sink, --from snapshot --replace is rejected.
type Replacer interface {
	// OpenReplacement begins a replacement, or continues an unfinished one.
	OpenReplacement(ctx context.Context) (*Replacement, error)
	// HasReplacement reports whether there is an unfinished replacement.
	HasReplacement() bool
	// DiscardReplacement removes the replacement. existed is false if there was none.
	DiscardReplacement() (existed bool, err error)
}

var _ Replacer = (*Node)(nil)

// Replacement is a sink that holds a second set of data. No client can read them before Install.
type Replacement struct {
	core
	served *replication.Core
}

// OpenReplacement opens the node's replacement, see Replacer. Until the replacement is installed,
// the node and its replicas serve the node's old data unchanged.
func (n *Node) OpenReplacement(ctx context.Context) (*Replacement, error) {
	second, err := n.node.OpenReplacement(ctx)
	if err != nil {
		return nil, wrapClosed(err)
	}
	return &Replacement{newCore(second, n.pipeline), n.node}, nil
}

// HasReplacement reports whether the node has a replacement, see Replacer.
func (n *Node) HasReplacement() bool { return n.node.HasReplacement() }

// DiscardReplacement removes the node's replacement, see Replacer.
func (n *Node) DiscardReplacement() (existed bool, err error) { return n.node.DiscardReplacement() }

// Install replaces the data that the node serves by those of r, in one step. Every replica gets a
// full resync. After Install, the caller must load the node's sink again, and must not use r. If
// Install returns an error, the node serves the old data, and Install may be called again.
func (r *Replacement) Install(ctx context.Context) error {
	err := r.served.InstallReplacement(ctx)
	if errors.Is(err, replication.ErrDemoted) {
		return ErrDemoted
	}
	return wrapClosed(err)
}

// wrapClosed makes the error of a closed node an ErrClosed.
func wrapClosed(err error) error {
	if errors.Is(err, replication.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
