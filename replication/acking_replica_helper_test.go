package replication_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// attachAckingReplica attaches a fake replica that acknowledges the offset at, again and again,
// until leave is called. At first, at is the offset of the replica's full resync.
func attachAckingReplica(t *testing.T, n *replication.Node) (at *atomic.Int64, leave func()) {
	t.Helper()
	r, at, left := dialRaw(t, n.Addr()), &atomic.Int64{}, make(chan struct{})
	at.Store(int64(psync(r, "?", "-1")))
	var acks sync.WaitGroup
	acks.Go(func() {
		for {
			ack := unit("REPLCONF", "ACK", replog.Offset(at.Load()).String())
			r.Write(ack) //nolint:errcheck // the connection may be closed
			select {
			case <-left:
				r.Close()
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return at, sync.OnceFunc(func() { close(left); acks.Wait() })
}
