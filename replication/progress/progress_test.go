package progress_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"rowfall/replication/progress"
	"rowfall/replication/replog"
)

var start = time.Unix(1_700_000_000, 0)

func after(d time.Duration) time.Time { return start.Add(d) }

// Each resync passes the states in the order of the sketch at State.
func TestStates(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []func(r *progress.Replica)
		want  []progress.State
	}{
		{
			"full resync",
			[]func(*progress.Replica){
				(*progress.Replica).BecomeSending,
				func(r *progress.Replica) { r.SendSnapshot(10) },
				func(r *progress.Replica) { r.BecomeLoading(100, start) },
				func(r *progress.Replica) { r.Ack(100, 0, start) },
			},
			[]progress.State{progress.Sending, progress.Sending, progress.Loading, progress.Online},
		},
		{
			"empty snapshot",
			[]func(*progress.Replica){
				func(r *progress.Replica) { r.BecomeLoading(100, start) },
				func(r *progress.Replica) { r.Ack(100, 0, start) },
			},
			[]progress.State{progress.Loading, progress.Online},
		},
		{
			"partial resync",
			[]func(*progress.Replica){
				func(r *progress.Replica) { r.ContinueFrom(7, start) },
			},
			[]progress.State{progress.Online},
		},
		{
			"SYNC without an acknowledgement",
			[]func(*progress.Replica){
				(*progress.Replica).BecomeSending,
				func(r *progress.Replica) { r.BecomeLoading(100, start) },
				(*progress.Replica).BecomeOnline,
			},
			[]progress.State{progress.Sending, progress.Loading, progress.Online},
		},
		{
			"an acknowledgement before the snapshot's end changes no state",
			[]func(*progress.Replica){
				func(r *progress.Replica) { r.Ack(100, 100, start) },
				(*progress.Replica).BecomeSending,
				func(r *progress.Replica) { r.Ack(100, 100, start) },
			},
			[]progress.State{progress.Waiting, progress.Sending, progress.Sending},
		},
		{
			"no step leads back",
			[]func(*progress.Replica){
				func(r *progress.Replica) { r.ContinueFrom(7, start) },
				(*progress.Replica).BecomeSending,
				func(r *progress.Replica) { r.BecomeLoading(100, start) },
			},
			[]progress.State{progress.Online, progress.Online, progress.Online},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := progress.New(start)
			for i, step := range tc.steps {
				step(r)
				if got := r.State(); got != tc.want[i] {
					t.Fatalf("state %v after step %d, want %v", got, i+1, tc.want[i])
				}
			}
		})
	}
}

// Only the first acknowledgement after the snapshot reports that the replica came online.
func TestAckReportsOnlineOnce(t *testing.T) {
	r := progress.New(start)
	r.BecomeLoading(100, start)
	if !r.Ack(100, 0, start) {
		t.Error("the first acknowledgement does not make the replica online")
	}
	if r.Ack(100, 0, start) {
		t.Error("the second acknowledgement makes the replica online again")
	}
}

// An acknowledgement of bytes that were never sent counts up to what was sent, and an
// older acknowledgement changes no offset.
func TestAckIsBounded(t *testing.T) {
	r := progress.New(start)
	r.ContinueFrom(10, start)
	r.SendTo(50)
	r.Ack(1000, 2000, after(time.Second))
	if s := r.Status(); s.Acked != 50 || s.Synced != 50 || !s.AckedAt.Equal(after(time.Second)) {
		t.Errorf("after an acknowledgement beyond the end: %+v", s)
	}
	r.SendTo(90)
	r.Ack(20, 0, after(2*time.Second))
	if s := r.Status(); s.Acked != 50 || s.Synced != 50 || !s.AckedAt.Equal(after(2*time.Second)) {
		t.Errorf("after an older acknowledgement: %+v", s)
	}
}

// The invariants above Status hold after any sequence of steps.
func TestInvariants(t *testing.T) {
	const seeds, steps = 200, 100
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		offset := func() replog.Offset { return replog.Offset(rnd.IntN(1000)) }
		r := progress.New(start)
		before := r.Status()
		for step := range steps {
			switch rnd.IntN(7) {
			case 0:
				r.BecomeSending()
			case 1:
				r.BecomeLoading(offset(), start)
			case 2:
				r.BecomeOnline()
			case 3:
				r.ContinueFrom(offset(), start)
			case 4:
				r.SendTo(offset())
			default:
				r.Ack(offset(), offset(), start)
			}
			s := r.Status()
			if s.Acked > s.Sent || s.Synced > s.Sent {
				t.Fatalf("seed %d, step %d: more is acknowledged than sent: %+v", seed, step, s)
			}
			if s.State < before.State || s.Sent < before.Sent || s.Acked < before.Acked ||
				s.Synced < before.Synced {
				t.Fatalf("seed %d, step %d: %+v follows %+v", seed, step, s, before)
			}
			before = s
		}
	}
}

// Which replicas count for WAIT, WAITAOF and min-replicas-to-write.
func TestCounts(t *testing.T) {
	at := start
	for _, tc := range []struct {
		name                     string
		s                        progress.Status
		applied, synced, keepsUp bool
	}{
		{
			"all of it",
			progress.Status{State: progress.Online, Sent: 9, Acked: 9, Synced: 9, AckedAt: at},
			true, true, true,
		},
		{
			"loading",
			progress.Status{State: progress.Loading, Sent: 9, Acked: 9, Synced: 9, AckedAt: at},
			false, false, false,
		},
		{
			"behind",
			progress.Status{State: progress.Online, Sent: 9, Acked: 8, Synced: 8, AckedAt: at},
			false, false, false,
		},
		{
			"no append-only file",
			progress.Status{State: progress.Online, Sent: 9, Acked: 9, AckedAt: at},
			true, false, true,
		},
		{
			"silent",
			progress.Status{State: progress.Online, Sent: 9, Acked: 9, AckedAt: at.Add(-1)},
			true, false, false,
		},
		{
			"never acknowledged",
			progress.Status{State: progress.Online, Sent: 9, Acked: 9},
			true, false, false,
		},
	} {
		if got := tc.s.HasApplied(9); got != tc.applied {
			t.Errorf("%s: applied %v", tc.name, got)
		}
		if got := tc.s.HasSynced(9); got != tc.synced {
			t.Errorf("%s: synced %v", tc.name, got)
		}
		if got := tc.s.KeepsUp(9, at); got != tc.keepsUp {
			t.Errorf("%s: keeps up %v", tc.name, got)
		}
	}
	if (progress.Status{State: progress.Online, Sent: 9, Acked: 9}).HasSynced(0) {
		t.Error("a replica without an append-only file counts for WAITAOF at offset 0")
	}
	if got := (progress.Status{}).Lag(at); got != 0 {
		t.Errorf("the lag before the first acknowledgement is %v", got)
	}
	if got := (progress.Status{AckedAt: at}).Lag(after(time.Second)); got != time.Second {
		t.Errorf("the lag is %v", got)
	}
}
