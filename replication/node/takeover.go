package node

import (
	"context"
	"errors"
	"strings"
)

// TakeOverRejectedError is returned by TakeOver if this node certainly did not take over. The node
// that sent the request then becomes the master again.
type TakeOverRejectedError struct{ err error }

func (e *TakeOverRejectedError) Error() string { return e.err.Error() }

func (e *TakeOverRejectedError) Unwrap() error { return e.err }

// TakeOver makes the node the master, because its upstream, whose replication id it follows, hands
// the role over by PSYNC id offset FAILOVER. After a *TakeOverRejectedError the node has not taken
// over. After any other error only the next start can decide whether it has.
func (n *Node) TakeOver(ctx context.Context, id string) error {
	return n.appender.do(ctx, func() error { return n.appender.takeOver(id) })
}

// takeOver is TakeOver on the appender.
func (a *appender) takeOver(id string) (err error) {
	switch {
	case a.role == Master:
		//nolint:staticcheck // Redis's own words
		err = errors.New("PSYNC FAILOVER can't be sent to a master.")
	case !strings.EqualFold(id, string(a.n.identity().History.ID())):
		//nolint:staticcheck // Redis's own words
		err = errors.New("PSYNC FAILOVER replid must match my replid.")
	case !a.n.isComplete():
		err = errors.New("PSYNC FAILOVER to a node whose data are not complete")
	default:
		err = a.replicaOf("")
	}
	if err != nil && a.err == nil {
		return &TakeOverRejectedError{err}
	}
	return err
}
