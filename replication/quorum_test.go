package replication_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/replication"
)

// With MinReplicas, Apply waits until enough replicas keep up, and then continues by itself.
func TestMinReplicasStallsApply(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 200*time.Millisecond
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "0")) // no replica can follow before the data are complete
	n.SetComplete(true)
	_, term := n.Role()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Apply(soon, term, unit("SET", "k", "1")); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("without replicas: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := n.Apply(context.Background(), term, unit("SET", "k", "2"))
		done <- err
	}()
	eventually(t, "Status shows the missing replica",
		func() bool { return strings.Contains(n.Status().Held, "0 of 1 replicas") })
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	eventually(t, "Apply continues", func() bool {
		r.send("REPLCONF", "ACK", from.String())
		select {
		case err := <-done:
			return err == nil
		default:
			return false
		}
	})
	// The replica keeps acknowledging, but not the last write.
	stop := make(chan struct{})
	var acks sync.WaitGroup
	acks.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				ack := unit("REPLCONF", "ACK", from.String())
				r.Write(ack) //nolint:errcheck // the connection may be closed
			}
		}
	})
	eventually(t, "Apply stalls again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := n.Apply(ctx, term, unit("SET", "k", "3"))
		return errors.Is(err, context.DeadlineExceeded)
	})
	close(stop)
	acks.Wait()
	if info := client(t, n.Addr()).Info(t.Context(), "replication").Val(); !strings.Contains(info,
		"min_slaves_good_slaves:0\r\n") {
		t.Errorf("INFO shows %s", info)
	}
	// A waiting Apply returns an error at a demotion.
	go func() {
		_, err := n.Apply(context.Background(), term, unit("SET", "k", "4"))
		done <- err
	}()
	eventually(t, "Apply stalls", func() bool { return n.Status().Held != "" })
	if err := n.ReplicaOf(t.Context(), "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, replication.ErrDemoted) {
		t.Errorf("got %v", err)
	}
}

// MinReplicas applies to a node that becomes the master by FAILOVER, too: it writes when the former
// master, now its only replica, follows. When a failover ends, other reasons for a write stall
// remain. They were once lost, and Apply waited without a reason in Status.
func TestMinReplicasAndFailover(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 200*time.Millisecond
	a, _ := complete(t, c)
	bc := config(t)
	bc.MinReplicas, bc.MinReplicasMaxLag = c.MinReplicas, c.MinReplicasMaxLag
	bc.ReplicaOf = a.Addr()
	b, stopB := start(t, bc)
	replicaOnline(t, a, b.Addr())
	apply(t, a, unit("SET", "k", "0"))

	_, term := a.Role()
	demoted := make(chan error, 1)
	written := 0
	go func() {
		for {
			row := unit("SET", "k", strconv.Itoa(written+1))
			if _, err := a.Apply(context.Background(), term, row); err != nil {
				demoted <- err
				return
			}
			written++
		}
	}()
	failoverTo(t, a.Addr(), b.Addr())
	if err := <-demoted; !errors.Is(err, replication.ErrDemoted) {
		t.Errorf("the writer gets %v", err)
	}
	eventually(t, "the role changed",
		func() bool { role, _ := b.Role(); return role == replication.Master })
	if v, _ := b.Keyspace().Get("k"); string(v) != strconv.Itoa(written) {
		t.Errorf("the new master has unit %s, want %d", v, written)
	}
	apply(t, b, unit("SET", "k", "there")) // waits until a follows
	failoverTo(t, b.Addr(), a.Addr())
	eventually(t, "the role is back", func() bool {
		role, _ := a.Role()
		return role == replication.Master && b.Status().Failover == "no-failover"
	})
	apply(t, a, unit("SET", "k", "back"))
	equal(t, a.Addr(), b.Addr())
	if full := a.Status().FullSyncs + b.Status().FullSyncs; full != 1 {
		t.Errorf("%d full resyncs", full)
	}

	// A silent replica replaces b: Apply stalls for both reasons.
	stopB()
	r := dialRaw(t, a.Addr())
	psync(r, a.Status().ID, strconv.FormatInt(int64(a.Offset())+1, 10))
	apply(t, a, unit("SET", "k", "1"))
	_, term = a.Role()
	done := make(chan error, 1)
	// The result that a replica counts is valid for 10 ms.
	since := time.Now()
	eventually(t, "the replica no longer counts, and has not for a while", func() bool {
		if a.Status().GoodReplicas > 0 {
			since = time.Now()
		}
		return time.Since(since) > 50*time.Millisecond
	})
	go func() {
		_, err := a.Apply(context.Background(), term, unit("SET", "k", "2"))
		done <- err
	}()
	const lacking = "0 of 1 replicas"
	eventually(t, "Status shows the missing replica",
		func() bool { return strings.HasPrefix(a.Status().Held, lacking) })
	failoverTo(t, a.Addr(), "127.0.0.1:7777")
	eventually(t, "Status shows the failover, too",
		func() bool { return strings.Contains(a.Status().Held, "failover") })
	if err := a.AbortFailover(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the failover is over", func() bool {
		return a.Status().Failover == "no-failover" &&
			!strings.Contains(a.Status().Held, "failover")
	})
	if held := a.Status().Held; !strings.HasPrefix(held, lacking) {
		t.Errorf("Apply stalls, and Held is %q", held)
	}
	eventually(t, "Apply continues", func() bool {
		r.send("REPLCONF", "ACK", a.Offset().String())
		select {
		case err := <-done:
			return err == nil
		default:
			return false
		}
	})
	if held := a.Status().Held; held != "" {
		t.Errorf("nothing stalls, but Held is %q", held)
	}
}

// The last unit before a pause counts like every other: a replica that lacks the unit is lagging
// when the allowed lag is over.
func TestMinReplicasCountsTheLastUnit(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 50*time.Millisecond
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "1")) // no replica can follow before the data are complete
	n.SetComplete(true)
	_, leave := attachAckingReplica(t, n)
	defer leave()
	eventually(t, "the replica counts", func() bool { return n.Status().GoodReplicas == 1 })
	apply(t, n, unit("SET", "k", "2"))
	eventually(t, "the replica no longer counts",
		func() bool { return n.Status().GoodReplicas == 0 })
}

// A unit after a pause does not restart the allowed lag for units before the pause. Once, replicas
// that lacked those units counted as good again for that time.
func TestMinReplicasAfterPause(t *testing.T) {
	c := config(t)
	c.MinReplicas, c.MinReplicasMaxLag = 1, 500*time.Millisecond
	n, _ := start(t, c)
	apply(t, n, unit("SET", "k", "0")) // no replica can follow before the data are complete
	n.SetComplete(true)
	current, leave := attachAckingReplica(t, n)
	_, behindLeaves := attachAckingReplica(t, n)
	defer behindLeaves()
	defer leave()
	eventually(t, "both replicas count", func() bool { return n.Status().GoodReplicas == 2 })
	current.Store(int64(apply(t, n, unit("SET", "k", "before the pause"))))
	eventually(t, "one replica counts", func() bool { return n.Status().GoodReplicas == 1 })
	current.Store(int64(apply(t, n, unit("SET", "k", "after the pause"))))
	leave()
	eventually(t, "the first replica has left",
		func() bool { return len(n.Status().Replicas) == 1 })
	if good := n.Status().GoodReplicas; good != 0 {
		t.Errorf("%d replicas count, though the one that is left lacks what was written before "+
			"the pause", good)
	}
}
