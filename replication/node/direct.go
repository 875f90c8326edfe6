package node

import (
	"context"
	"sync"
	"syscall"

	"rowfall/replication/replog"
)

const (
	// directReplicas is the greatest number of replicas to which the appender sends. Each of them
	// costs the appender a system call per unit, so the log wakes the goroutines of further
	// replicas instead.
	directReplicas = 3
	// directBytes is the most log in bytes that the appender sends to a replica. For more, the
	// wake-up of the replica's goroutine is a small part of the cost.
	directBytes = 16 << 10
)

// direct lets the appender send new log to a replica that has all earlier log, without waking the
// replica's goroutine. For a small unit that wake-up costs more than the sending.
//
// A replica is on standby while its goroutine waits at the end of the log, in next. On standby the
// holder of mu uses the reader, and otherwise the goroutine. The appender never waits for the
// connection: bytes that the socket does not take at once are left to the goroutine.
type direct struct {
	socket syscall.RawConn
	reader *replog.Reader

	// Only the appender uses these, while it holds mu.
	write func(fd uintptr) bool // calls write(2) once with out, and sets sent
	out   []byte
	sent  int // number of bytes of out that the socket took

	mu      sync.Mutex
	standby bool
	rest    []byte // bytes of the reader that the goroutine must send after the standby
	err     error  // error of the reader that ended the standby
	wake    chan struct{}
}

// newDirect returns nil if the connection has TLS or is not a socket.
func newDirect(c *ReplicaConn, reader *replog.Reader) *direct {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok || c.Conn != c.Socket {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	d := &direct{socket: raw, reader: reader, wake: make(chan struct{}, 1)}
	d.write = func(fd uintptr) bool {
		if d.sent, err = syscall.Write(int(fd), d.out); err != nil {
			d.sent = 0 // the goroutine finds the error again
		}
		return true // do not wait for the socket
	}
	return d
}

// deliver sends the log up to its end to the replicas on standby. Only the holder of the appender's
// turn calls it.
func (rs *replicas) deliver(end replog.Offset) {
	for _, r := range *rs.direct.Load() {
		r.direct.mu.Lock()
		if r.direct.standby {
			r.sendDirectLocked(end)
		}
		r.direct.mu.Unlock()
	}
}

// sendDirectLocked sends the log up to its end, or wakes the replica's goroutine. The caller holds
// direct.mu.
func (r *replica) sendDirectLocked(end replog.Offset) {
	d := r.direct
	for end > d.reader.Offset() {
		if end-d.reader.Offset() > directBytes {
			d.wakeLocked(nil, nil)
			return
		}
		b, err := d.reader.TryNext(directBytes)
		if err != nil {
			d.wakeLocked(nil, err)
			return
		}
		// Before the write, because the acknowledgement may arrive before the write returns.
		r.progress.SendTo(d.reader.Offset())
		d.out, d.sent = b, 0
		_ = d.socket.Write(d.write) // fails if the deadline of the last write has passed
		if d.out = nil; d.sent < len(b) {
			d.wakeLocked(b[d.sent:], nil)
			return
		}
	}
}

// wakeLocked ends the standby, and passes bytes to send, or an error, to the goroutine.
func (d *direct) wakeLocked(rest []byte, err error) {
	d.standby, d.rest, d.err = false, rest, err
	d.wake <- struct{}{} // has room, because only the end of a standby sends
}

// next returns the bytes of the log that the replica's goroutine must send next. At the end of the
// log the replica is on standby, and next waits until bytes are left to the goroutine.
func (d *direct) next(ctx context.Context, log *replog.Log) ([]byte, error) {
	for {
		b, err := d.reader.TryNext(sendAtOnce)
		if b != nil || err != nil {
			return b, err
		}
		d.mu.Lock()
		// Was a record appended since TryNext? Then deliver may have missed the standby, and the
		// goroutine reads again. deliver finds the standby after every later record.
		d.standby = log.End() == d.reader.Offset()
		isStandby := d.standby
		d.mu.Unlock()
		if !isStandby {
			continue
		}
		select {
		case <-d.wake:
		case <-ctx.Done():
		case <-log.Failed():
		}
		d.mu.Lock()
		if d.standby = false; len(d.wake) > 0 {
			<-d.wake
		}
		b, err = d.rest, d.err
		d.rest = nil
		d.mu.Unlock()
		if err == nil {
			err = ctx.Err()
		}
		if b != nil || err != nil {
			return b, err
		}
	}
}

// startDirect lets the appender send to a replica, unless the appender already sends to
// directReplicas others.
func (rs *replicas) startDirect(r *replica, reader *replog.Reader) {
	d := newDirect(r.conn, reader)
	rs.Lock()
	defer rs.Unlock()
	old := *rs.direct.Load()
	if d == nil || len(old) >= directReplicas {
		return
	}
	r.direct = d
	list := append(append([]*replica(nil), old...), r)
	rs.direct.Store(&list)
}

// stopDirectLocked ends the appender's sending to a replica.
func (rs *replicas) stopDirectLocked(r *replica) {
	var list []*replica
	for _, other := range *rs.direct.Load() {
		if other != r {
			list = append(list, other)
		}
	}
	rs.direct.Store(&list)
}
