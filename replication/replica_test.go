package replication_test

import (
	"testing"
	"time"
)

func TestPing(t *testing.T) {
	c := config(t)
	c.PingPeriod = 20 * time.Millisecond
	n, _ := complete(t, c)
	r := dialRaw(t, n.Addr())
	psync(r, "?", "-1")
	r.expect(string(unit("SELECT", "0")) + string(unit("PING")) + string(unit("PING")))
}

// A replica that sends nothing for the time-out is dropped, together with its pin on the log.
func TestSilentReplicaIsDropped(t *testing.T) {
	c := config(t)
	c.Timeout, c.PingPeriod = 100*time.Millisecond, 20*time.Millisecond
	n, _ := complete(t, c)
	psync(dialRaw(t, n.Addr()), "?", "-1")
	eventually(t, "the replica is dropped", func() bool { return len(n.Status().Replicas) == 0 })
}
