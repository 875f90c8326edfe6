// Package progress tracks how far one replica has come: which part of the replication log
// was sent to it, applied by it and synced by it, and in which state its resync is.
//
// The package does no I/O, starts no goroutine and reads no clock: the caller reports what
// happened and when. The node decides by the answers which replicas count for WAIT, WAITAOF,
// min-replicas-to-write and FAILOVER.
package progress

import (
	"sync"
	"time"

	"rowfall/replication/replog"
)

// State is the phase of a replica's resync.
//
//	                full resync
//	Waiting ─────────────────────────────> Sending ──> Loading ──> Online
//	   │                                                  ^           ^
//	   ├── an empty snapshot, sent in one write ──────────┘           │
//	   └── partial resync ────────────────────────────────────────────┘
//
// No state is left backwards: a replica that needs another full resync opens a new
// connection, and with it a new Replica.
type State uint8

// The states of a replica.
const (
	Waiting State = iota // for a full resync slot and for a snapshot
	Sending              // the snapshot is being sent
	Loading              // the whole snapshot was sent; no acknowledgement yet
	Online               // the replica acknowledges the replication log
)

// String returns the state as Redis spells it in INFO and ROLE.
func (s State) String() string {
	return [...]string{"wait_bgsave", "send_bulk", "send_bulk", "online"}[s]
}

// Replica is the progress of one replica's connection. It is safe for concurrent use: the
// goroutine that sends, the one that reads acknowledgements and those that count replicas
// share it.
type Replica struct {
	mu sync.Mutex
	s  Status
}

// Status is a consistent copy of a replica's progress.
//
// Offsets count bytes of the replication log. Invariants:
//
//	0 <= Acked  <= Sent
//	0 <= Synced <= Sent
//
// Each of the three only grows. Sent covers bytes whose write to the socket has begun, so
// that an acknowledgement cannot arrive before its bytes count as sent. A replica that
// reports more than was sent is recorded with Sent.
type Status struct {
	State  State
	Sent   replog.Offset // written to the socket, or being written
	Acked  replog.Offset // reported as applied (REPLCONF ACK)
	Synced replog.Offset // reported as fsynced in its append-only file (REPLCONF ACK n FACK m)

	HeardAt      time.Time // last bytes from the replica, or the end of the snapshot's transfer
	AckedAt      time.Time // last acknowledgement; zero: none yet
	LoadingSince time.Time // start of Loading; zero: not reached
	SnapshotSent int64     // bytes of the snapshot that were sent
}

// New returns the progress of a replica that connected at now.
func New(now time.Time) *Replica { return &Replica{s: Status{HeardAt: now}} }

// Status returns a copy of the progress.
func (r *Replica) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s
}

// State returns the current state.
func (r *Replica) State() State { return r.Status().State }

// BecomeSending records that the transfer of the snapshot begins. It only changes Waiting.
func (r *Replica) BecomeSending() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s.State == Waiting {
		r.s.State = Sending
	}
}

// BecomeLoading records that the whole snapshot, which ends at offset at, is sent. The caller
// reports it before it sends the last bytes, because the acknowledgement may arrive right
// after them. It only changes Waiting and Sending.
func (r *Replica) BecomeLoading(at replog.Offset, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s.State >= Loading {
		return
	}
	r.s.State = Loading
	r.s.Sent = max(r.s.Sent, at)
	r.s.HeardAt, r.s.LoadingSince = now, now
}

// BecomeOnline records that the replica gets the replication log without an acknowledgement
// of its snapshot: a client that attached by SYNC may never send one.
func (r *Replica) BecomeOnline() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.State = Online
}

// ContinueFrom records the start of a partial resync: the replica requested what follows
// offset at, so it has everything up to there.
func (r *Replica) ContinueFrom(at replog.Offset, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Sent = max(r.s.Sent, at)
	r.s.Acked = max(r.s.Acked, at)
	r.s.HeardAt, r.s.AckedAt = now, now
	r.s.State = Online
}

// SendTo records that the log up to offset end is about to be written to the socket.
func (r *Replica) SendTo(end replog.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Sent = max(r.s.Sent, end)
}

// SendSnapshot records that n more bytes of the snapshot are about to be written.
func (r *Replica) SendSnapshot(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.SnapshotSent += n
}

// Heard records that the replica sent something, or was not expected to until now.
func (r *Replica) Heard(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.HeardAt = now
}

// Ack records an acknowledgement: applied is the reported offset and synced the reported
// offset on disk, 0 where the replica reports none. The first acknowledgement after a full
// resync makes the replica Online; Ack then returns true.
func (r *Replica) Ack(applied, synced replog.Offset, now time.Time) (becameOnline bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.AckedAt = now
	r.s.Acked = max(r.s.Acked, min(applied, r.s.Sent))
	r.s.Synced = max(r.s.Synced, min(synced, r.s.Sent))
	if r.s.State != Loading {
		return false
	}
	r.s.State = Online
	return true
}

// HasApplied reports whether the replica is online and acknowledged everything up to at.
func (s Status) HasApplied(at replog.Offset) bool { return s.State == Online && s.Acked >= at }

// HasSynced reports whether the replica is online and has everything up to at on disk. A
// replica without an append-only file never reports an offset, and never counts.
func (s Status) HasSynced(at replog.Offset) bool {
	return s.State == Online && s.Synced > 0 && s.Synced >= at
}

// KeepsUp reports whether the replica is online, acknowledged anything at since or later, and
// has applied everything up to at.
func (s Status) KeepsUp(at replog.Offset, since time.Time) bool {
	return s.HasApplied(at) && !s.AckedAt.Before(since)
}

// Lag returns the time since the last acknowledgement; 0 before the first one.
func (s Status) Lag(now time.Time) time.Duration {
	if s.AckedAt.IsZero() {
		return 0
	}
	return now.Sub(s.AckedAt)
}
