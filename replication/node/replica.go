package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/progress"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

// sendAtOnce is the most bytes of the log that are sent to a replica by one write.
const sendAtOnce = 256 << 10

// replica is one connection that follows the node. The goroutine of ServeReplica sends, and another
// goroutine reads the acknowledgements. At the end of the log the appender sends, too: see direct.
// All of them share progress.
type replica struct {
	n        *Node
	conn     *ReplicaConn
	addr     string // as announced
	legacy   bool   // it attached by SYNC: it has no offset and may never acknowledge
	cancel   func()
	loaded   chan struct{}  // closed at the first acknowledgement after a full resync
	encoding chosenEncoding // of the snapshot in a full resync
	progress *progress.Replica

	pin          atomic.Pointer[replog.Pin] // the log that a full resync still needs, or nil
	disconnected atomic.Bool                // the node has closed the connection
	// direct is nil if the appender does not send to this replica. It is set before the replica is
	// added to replicas.direct, and does not change afterwards.
	direct *direct
}

// unpin releases the log that a full resync needed.
func (r *replica) unpin() {
	if p := r.pin.Swap(nil); p != nil {
		p.Release()
	}
}

func (r *replica) status(now time.Time) ReplicaStatus {
	p := r.progress.Status()
	return ReplicaStatus{
		Addr: r.addr, State: p.State, Acked: p.Acked, Sent: p.Sent,
		Lag: p.Lag(now), Version: r.conn.Announced.Version,
	}
}

// ServeReplica decides a PSYNC or SYNC. If the request is granted, ServeReplica sends the snapshot
// or the log until either side closes the connection, and returns an empty rejection. If the
// request is rejected, ServeReplica sends nothing and returns the error reply; the connection stays
// a client's.
func (n *Node) ServeReplica(ctx context.Context, c *ReplicaConn, request PSync) (rejection string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &psync{PSync: request}
	r := &replica{
		n: n, conn: c, addr: c.addr(), legacy: request.Legacy, cancel: cancel,
		loaded: make(chan struct{}), progress: progress.New(time.Now()),
	}
	n.admit(p, r)
	if p.rejection != "" {
		return p.rejection
	}
	defer n.replicas.remove(r)
	c.Admitted()
	var reader sync.WaitGroup
	// The first of the two goroutines that ends closes the connection, which ends the other.
	reader.Go(func() {
		defer cancel()
		r.readAcks()
	})
	err := r.send(ctx, p)
	c.Conn.Close() // ends the reader
	reader.Wait()
	r.keepLog()
	last := r.progress.Status()
	if p.answer != identity.Continue {
		// a full resync that did not bring the replica online delays its next one
		n.throttle.Ended(r.addr, time.Now())
		n.encodings.recordResult(r.addr, r.encoding, last.State == ReplicaOnline)
	}
	n.logger.Info().Err(err).Str("replica", r.addr).Int64("sent", int64(last.Sent)).
		Int64("acked", int64(last.Acked)).Msg("replica left")
	return ""
}

// keepLog releases the pinned log after the connection has ended, or keeps it for the time-out: a
// replica that got the whole snapshot completes its load, connects again and requests the log after
// the snapshot.
func (r *replica) keepLog() {
	state := r.progress.State()
	hasSnapshot := state == ReplicaLoading || state == ReplicaOnline
	if r.legacy || r.conn.Announced.RDBOnly || !hasSnapshot {
		r.unpin()
		return
	}
	r.n.replicas.keepFor(r, r.n.settings.Timeout())
}

// readAcks reads what the replica sends until the connection ends: REPLCONF ACK, and the empty
// lines that a server sends while it loads.
func (r *replica) readAcks() {
	for {
		args, _, err := r.conn.Reader.ReadCommand()
		if err != nil {
			return
		}
		now := time.Now()
		r.progress.Heard(now)
		applied, synced, ok := parseAck(args)
		if !ok {
			continue
		}
		if r.progress.Ack(applied, synced, now) {
			r.cameOnline(applied)
		}
		if p := r.pin.Load(); p != nil {
			// After a lost connection the replica requests the log after this offset.
			p.Advance(r.progress.Status().Acked)
		}
		r.n.replicas.notifyAcked()
	}
}

// parseAck parses REPLCONF ACK offset [FACK offset]. synced is 0 if it is absent or malformed.
func parseAck(args [][]byte) (applied, synced replog.Offset, ok bool) {
	if len(args) < 3 || !resp.IsWord(args[0], "REPLCONF") || !resp.IsWord(args[1], "ACK") {
		return 0, 0, false
	}
	applied, err := replog.ParseOffset(string(args[2]))
	if err != nil {
		return 0, 0, false
	}
	if len(args) >= 5 && resp.IsWord(args[3], "FACK") {
		if synced, err = replog.ParseOffset(string(args[4])); err != nil {
			synced = 0
		}
	}
	return applied, synced, true
}

// cameOnline ends the full resync of a replica that acknowledged its snapshot.
func (r *replica) cameOnline(acked replog.Offset) {
	n := r.n
	// This bounds a write that began without a deadline during the load. An error means that the
	// connection is closed.
	_ = r.conn.Conn.SetWriteDeadline(time.Now().Add(n.settings.Timeout()))
	if r.progress.Status().Sent >= n.log.End() {
		r.unpin() // sendLog, which unpins otherwise, may wait long for the next record
	}
	close(r.loaded)
	n.throttle.Reset(r.addr)
	n.logger.Info().Str("replica", r.addr).Int64("acked", int64(acked)).Msg("replica online")
}

// send replies to PSYNC and then sends the snapshot, if needed, and the log until the connection
// ends.
func (r *replica) send(ctx context.Context, p *psync) error {
	if p.answer == identity.Continue {
		return r.partialSync(ctx, p)
	}
	at, marked, err := r.fullSync(ctx, p)
	if err != nil || r.conn.Announced.RDBOnly {
		return err
	}
	switch {
	case marked:
		// A server may lose bytes that directly follow the mark, or read them as a part of the
		// snapshot. So the log follows after the replica has acknowledged the snapshot.
		select {
		case <-r.loaded:
		case <-ctx.Done():
			return ctx.Err()
		}
	case p.Legacy: // no acknowledgement may ever come
		r.progress.BecomeOnline()
	}
	return r.sendLog(ctx, at)
}

// partialSync replies +CONTINUE and sends the log from the requested byte on.
func (r *replica) partialSync(ctx context.Context, p *psync) error {
	r.n.stats.partialOK.Add(1)
	reply := "+CONTINUE\r\n"
	if r.conn.Announced.PSync2 {
		reply = "+CONTINUE " + string(p.with) + "\r\n"
	}
	if err := r.write([]byte(reply)); err != nil {
		return err
	}
	from := p.Offset - 1
	r.progress.ContinueFrom(from, time.Now())
	return r.sendLog(ctx, from)
}

// sendLog sends the log after offset from. The log stays pinned until the replica is online and has
// got the bytes that were written while it loaded, which may be more than Log.Keep.
func (r *replica) sendLog(ctx context.Context, from replog.Offset) error {
	n := r.n
	reader, err := n.log.NewReader(from)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer reader.Close() //nolint:errcheck // only read from
	n.replicas.startDirect(r, reader)
	var caughtUp replog.Offset // end of the log when the replica came online
	for {
		var b []byte
		if r.direct != nil && r.progress.State() == ReplicaOnline && r.pin.Load() == nil {
			b, err = r.direct.next(ctx, n.log)
		} else {
			b, err = reader.Next(ctx, sendAtOnce)
		}
		if err != nil {
			n.excludeDamagedLog(err)
			return fmt.Errorf("read log: %w", err)
		}
		// Before the write, because the acknowledgement may arrive before the write returns.
		r.progress.SendTo(reader.Offset())
		if err := r.write(b); err != nil {
			return err
		}
		if r.progress.State() == ReplicaOnline {
			if caughtUp.IsZero() {
				caughtUp = n.log.End()
			}
			if reader.Offset() >= caughtUp {
				r.unpin()
			}
		}
	}
}

// excludeDamagedLog excludes the part of the log that cannot be read, and requests a snapshot of a
// later offset. Replicas that need the excluded part then get a full resync instead of the same
// error again, and a restart does not read that part.
func (n *Node) excludeDamagedLog(err error) {
	var damage *replog.CorruptError
	if !errors.As(err, &damage) {
		return
	}
	start, fault := n.log.ExcludeDamaged(damage)
	n.logger.Error().Err(errors.Join(err, fault)).Stringer("log_start", start).
		Msg("the log is damaged: a new snapshot is taken, and replicas that need the lost part " +
			"get a full resync")
	n.snaps.Request()
}

// write sends b. A server that loads its snapshot from disk does not read the connection meanwhile,
// however long that takes. So a write to a loading replica has no deadline: enforceLimits closes
// the connection of a replica that is silent or loads too long.
func (r *replica) write(b []byte) error {
	deadline := time.Now().Add(r.n.settings.Timeout())
	err := r.conn.Conn.SetWriteDeadline(deadline)
	if r.progress.State() == ReplicaLoading && err == nil {
		err = r.conn.Conn.SetWriteDeadline(time.Time{})
		if r.progress.State() != ReplicaLoading && err == nil { // it came online in between
			err = r.conn.Conn.SetWriteDeadline(deadline)
		}
	}
	if err != nil {
		return fmt.Errorf("send to replica: %w", err)
	}
	if _, err := r.conn.Conn.Write(b); err != nil {
		return fmt.Errorf("send to replica: %w", err)
	}
	return nil
}
