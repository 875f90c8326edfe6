package node

import (
	"context"
	"sync"
	"syscall"

	"rowfall/replication/replog"
)

const (
	// directReplicas is the number of replicas to which the appender sends. Each costs it a system
	// call per unit, so the log wakes the goroutines of further replicas instead.
	directReplicas = 3
	// directBytes is the most log that the appender sends by itself. A larger piece is worth the
	// wake-up of the replica's goroutine.
	directBytes = 16 << 10
)

// direct lets the appender send new log to a replica that has all earlier log, without waking the
// replica's goroutine. For a small unit that wake-up costs more than the sending.
//
// The goroutine owns the reader, except on standby: then the holder of mu owns it. The appender
// never waits for the connection. What the socket does not take at once, it leaves to the
// goroutine.
type direct struct {
	socket syscall.RawConn
	write  func(fd uintptr) bool // writes out once, and sets sent
	out    []byte
	sent   int

	mu      sync.Mutex
	standby bool
	reader  *replog.Reader
	rest    []byte // bytes of the reader that the goroutine must send
	err     error  // of the reader
	wake    chan struct{}
}

// newDirect returns nil if the connection has TLS, or is no socket.
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

// deliver sends the log up to its end to the replicas on standby. The appender calls it.
func (rs *replicas) deliver(end replog.Offset) {
	for _, r := range *rs.direct.Load() {
		r.direct.mu.Lock()
		if r.direct.standby {
			r.sendDirect(end)
		}
		r.direct.mu.Unlock()
	}
}

// sendDirect sends the log up to its end, or wakes the replica's goroutine. The caller holds mu.
func (r *replica) sendDirect(end replog.Offset) {
	d := r.direct
	for end > d.reader.Offset() {
		if end-d.reader.Offset() > directBytes {
			d.wakeLocked(nil, nil)
			return
		}
		b, err := d.reader.Present(directBytes)
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

// wakeLocked ends the standby.
func (d *direct) wakeLocked(rest []byte, err error) {
	d.standby, d.rest, d.err = false, rest, err
	d.wake <- struct{}{} // has room, because only the end of a standby sends
}

// next returns the log that the replica's goroutine must send. At the log's end it waits, on
// standby.
func (d *direct) next(ctx context.Context, log *replog.Log) ([]byte, error) {
	for {
		b, err := d.reader.Present(sendAtOnce)
		if b != nil || err != nil {
			return b, err
		}
		d.mu.Lock()
		// A record that is appended from here on finds the standby.
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

// startDirect makes the appender send to a replica, unless it sends to enough others.
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

// stopDirectLocked ends that.
func (rs *replicas) stopDirectLocked(r *replica) {
	var list []*replica
	for _, other := range *rs.direct.Load() {
		if other != r {
			list = append(list, other)
		}
	}
	rs.direct.Store(&list)
}
