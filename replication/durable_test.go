package replication_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"rowfall/internal/memfs"
	"rowfall/replication"
)

// diskCases are operations of a node after which the directory must hold the old state or the new
// one.
var diskCases = []struct {
	name     string
	upstream string
	least    int                            // the smallest number of file operations
	before   func(t *testing.T, n *memNode) // a preparation without faults
	do       func(n *memNode) error
	// is reports whether the state is the new one. A state that is neither the old nor the new one
	// fails the test.
	is func(t *testing.T, n *memNode) bool
}{
	{
		name: "promotion", upstream: nowhere, least: 6,
		do: func(n *memNode) error { return n.ReplicaOf(context.Background(), "") },
		is: func(t *testing.T, n *memNode) bool {
			role, _ := n.Role()
			if n.last(t) != rowsBefore {
				t.Errorf("%d rows", n.last(t))
			}
			return role == replication.Master
		},
	},
	{
		name: "hand-over", least: 12,
		do: func(n *memNode) error {
			if role, _ := n.Role(); role == replication.Replica {
				return nil
			}
			return n.HandOver(context.Background(), nowhere)
		},
		is: handedOver,
	},
	{
		name: "take-back", least: 8,
		before: func(t *testing.T, n *memNode) {
			if err := n.HandOver(t.Context(), nowhere); err != nil {
				t.Fatal(err)
			}
		},
		do: func(n *memNode) error {
			if role, _ := n.Role(); role == replication.Master {
				return nil
			}
			return n.AbortFailover(context.Background())
		},
		is: func(t *testing.T, n *memNode) bool { return !handedOver(t, n) },
	},
	{
		name: "snapshot", least: 15,
		before: func(t *testing.T, n *memNode) { n.write(t, 5) }, // not durable yet
		do: func(n *memNode) error {
			_, err := n.Snapshot(context.Background())
			return err
		},
		is: func(t *testing.T, n *memNode) bool {
			last, at := n.last(t), n.Status().Snapshot.Offset
			if last < rowsBefore || at > n.Offset() || at == 0 {
				t.Errorf("%d rows, snapshot of %d, log up to %d", last, at, n.Offset())
			}
			return last == rowsBefore+5
		},
	},
	{
		name: "full resync", upstream: nowhere, least: 25,
		do: installOther,
		is: func(t *testing.T, n *memNode) bool {
			st := n.Status()
			if st.ID != string(otherID) {
				if n.last(t) != rowsBefore || n.Offset() >= newOffset ||
					st.Snapshot.Offset > n.Offset() {
					t.Errorf("%d rows at %d: %+v", n.last(t), n.Offset(), st.Snapshot)
				}
				return false
			}
			if v, _ := n.Keyspace().Get("other"); string(v) != "data" || n.Keyspace().Len() != 1 ||
				n.Offset() != newOffset ||
				st.Snapshot.Offset != newOffset {
				t.Errorf("other is %q at %d: %+v", v, n.Offset(), st.Snapshot)
			}
			return true
		},
	},
	{
		name: "replacement", least: 60,
		do: func(n *memNode) error { return replaceByOther(context.Background(), n) },
		is: wasReplaced,
	},
	{
		name: "replacement removed", least: 15,
		before: func(t *testing.T, n *memNode) {
			if err := buildOther(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		},
		do: func(n *memNode) error {
			_, err := n.DiscardReplacement()
			return err
		},
		is: wasDiscarded,
	},
	{
		name: "CONFIG REWRITE", least: 6,
		do: func(n *memNode) error {
			_, err := n.do("CONFIG", "SET", "repl-timeout", "77", "masterauth", "a secret")
			if err != nil {
				return err
			}
			_, err = n.do("CONFIG", "REWRITE")
			return err
		},
		is: func(t *testing.T, n *memNode) bool {
			got, err := n.do("CONFIG", "GET", "masterauth", "repl-timeout")
			secret := strings.Contains(got, "a secret")
			if err != nil || n.last(t) != rowsBefore ||
				secret != strings.Contains(got, "repl-timeout:77") {
				t.Errorf("%d rows, %q, %v", n.last(t), got, err)
			}
			return secret
		},
	},
}

// handedOver reports whether the node gave its role to nowhere. Only then it keeps sending the
// request for the takeover.
func handedOver(t *testing.T, n *memNode) bool {
	role, _ := n.Role()
	info, err := n.do("INFO", "replication")
	const inProgress = "master_failover_state:failover-in-progress"
	if requests := strings.Contains(info, inProgress); err != nil ||
		n.last(t) != rowsBefore ||
		requests != (role == replication.Replica) {
		t.Errorf("%d rows, a %v: %s, %v", n.last(t), role, info, err)
	}
	return role == replication.Replica
}

// For each operation in diskCases the power fails, or the process is killed, at each file
// operation. The next start finds the complete old or new state, and the new one if the operation
// had ended.
func TestPowerCutAtEveryStep(t *testing.T) {
	for _, tc := range diskCases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			base := diskBefore(t, dir, tc.upstream)
			for step, done := 1, false; !done; step++ {
				volume := base.Copy()
				c := diskConfig(dir, volume)
				n := restarted(t, c, volume)
				if tc.before != nil {
					tc.before(t, n)
				}
				volume.FailAt(step, nil)
				err := tc.do(n)
				done = !volume.Failed()
				if done && (err != nil || step <= tc.least) {
					t.Errorf("after %d steps: %v", step-1, err)
				}
				left := []*memfs.FS{volume.Copy()}
				for seed := range uint64(4) {
					left = append(left, powerCut(t, volume, dir, step, seed))
				}
				n.stop()
				for i, volume := range left {
					n := restarted(t, c, volume)
					if is := tc.is(t, n); done && !is {
						t.Errorf("left %d: the finished operation is lost", i)
					}
					n.stop()
					if t.Failed() {
						t.Fatalf("step %d, left %d: %q", step, i, volume.Names(dir))
					}
				}
			}
		})
	}
}

// A file operation that fails once leaves the old or the new state, and no unfinished file. Then
// the operation can be repeated, or the node has stopped because it does not know what is on its
// disk, and the next start repeats it. A full disk does not stop the node before its first change.
func TestFaultAtEveryStep(t *testing.T) {
	for _, tc := range diskCases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			base := diskBefore(t, dir, tc.upstream)
			for step, done := 1, false; !done; step++ {
				for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
					volume := base.Copy()
					c := diskConfig(dir, volume)
					n := restarted(t, c, volume)
					if tc.before != nil {
						tc.before(t, n)
					}
					volume.FailOnceAt(step, fault)
					first := tc.do(n)
					done = !volume.Failed()
					volume.FailAt(0, nil)
					again := tc.do(n)
					if again == nil {
						wantNothingUnfinished(t, volume, dir)
					} else {
						select {
						case <-n.done:
						case <-time.After(waitTimeout):
							t.Errorf("the node runs on, but the operation fails: %v", again)
						}
						n.Close()
						if t.Failed() {
							t.Fatalf("step %d, %v: %v", step, fault, first)
						}
						n = restarted(t, c, volume)
						tc.is(t, n)
						again = tc.do(n)
					}
					if again != nil || !tc.is(t, n) {
						t.Errorf("repeated: %v", again)
					}
					n.stop()
					if t.Failed() {
						t.Fatalf("step %d, %v: %v", step, fault, first)
					}
				}
			}
		})
	}
}
