package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
	"rowfall/replication/syncthrottle"
)

// fullSync sends a snapshot. It returns the snapshot's offset, after which the log follows, and
// whether a mark ended the snapshot: if so, the log may follow only after the replica's
// acknowledgement.
//
// The reply +FULLRESYNC waits for the snapshot's offset. An empty line each second keeps the
// connection alive. Redis accepts empty lines before that reply, and between the reply and the line
// that begins with "$". Later they would count as bytes of the log.
func (r *replica) fullSync(
	ctx context.Context, p *psync,
) (at replog.Offset, marked bool, err error) {
	n := r.n
	n.stats.fullSyncs.Add(1)
	if !p.Legacy && p.ID != "?" {
		n.stats.partialErr.Add(1)
	}
	release, err := r.acquireSlot(ctx)
	if err != nil {
		return 0, false, err
	}
	defer release()
	var encoding chosenEncoding
	err = r.keepAliveWhile(ctx, func(ctx context.Context) error {
		// while the slot is held, which bounds the number of probes
		encoding = n.encodings.choose(ctx, r, p)
		return ctx.Err()
	})
	if err != nil {
		return 0, false, err
	}
	var l *snapshots.Reader
	err = r.keepAliveWhile(ctx, func(ctx context.Context) (err error) {
		l, err = n.snaps.Acquire(ctx)
		return err
	})
	if l != nil {
		defer l.Close() //nolint:errcheck // only read from
		r.pin.Store(l.Pin)
	}
	if err != nil {
		return 0, false, err
	}
	r.encoding = encoding
	return r.sendSnapshot(ctx, p, l)
}

// acquireSlot waits for the back-off of a replica that requests full resyncs repeatedly, and for
// one of the slots of full resyncs.
func (r *replica) acquireSlot(ctx context.Context) (release func(), err error) {
	n := r.n
	if delay := n.throttle.Delay(r.addr, time.Now()); delay > 0 {
		n.logger.Warn().Str("replica", r.addr).Dur("delay", delay).
			Msg("replica requests full resyncs repeatedly; delaying it")
		err := r.keepAliveWhile(ctx, func(ctx context.Context) error { return sleep(ctx, delay) })
		if err != nil {
			return nil, err
		}
	}
	err = r.keepAliveWhile(ctx, func(ctx context.Context) (err error) {
		release, err = n.throttle.Acquire(ctx)
		return err
	})
	if err != nil && release != nil { // the slot was acquired when the connection broke
		release()
	}
	return release, err
}

// sendSnapshot sends the snapshot of l. The results are those of fullSync.
func (r *replica) sendSnapshot(
	ctx context.Context, p *psync, l *snapshots.Reader,
) (at replog.Offset, marked bool, err error) {
	n := r.n
	t := &transfer{r: r, p: p, l: l, legacyRDB: r.encoding.legacyRDB}
	t.allowance = syncthrottle.NewAllowance(n.settings.minRate.Load(), n.settings.slack())
	began := time.Now()
	if err := t.run(ctx); err != nil {
		var damaged *snapshots.FileError
		if errors.As(err, &damaged) {
			n.snaps.MarkUnreadable(l, err)
		}
		return 0, false, fmt.Errorf("send snapshot: %w", err)
	}
	n.logger.Info().Str("replica", r.addr).Stringer("offset", l.At).
		Int64("bytes", t.sent).Dur("took", time.Since(began)).
		Bool("eof", t.eofMark != nil).Bool("plain", t.legacyRDB).Msg("snapshot sent")
	n.encodings.warnLossy(r.addr, r.encoding, l.Lossy)
	return l.At, t.eofMark != nil, nil
}

// keepAliveWhile calls wait and sends an empty line each second until wait returns.
func (r *replica) keepAliveWhile(ctx context.Context, wait func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- wait(ctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if err := r.write([]byte("\n")); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}

// transfer sends one snapshot to one replica. The line that begins with "$" announces how the
// snapshot ends. Either it has the length, after which the log may follow at once. Or the length is
// not known, and the line has a mark of 40 random bytes, which is sent again after the snapshot.
type transfer struct {
	r         *replica
	p         *psync
	l         *snapshots.Reader
	legacyRDB bool   // the snapshot is encoded for Redis 6.2
	eofMark   []byte // ends the snapshot; nil: the length was sent
	size      int64  // the announced length
	sent      int64

	allowance syncthrottle.Allowance // time that the replica may still take
}

func (t *transfer) run(ctx context.Context) error {
	if !t.p.Legacy {
		reply := fmt.Appendf(nil, "+FULLRESYNC %s %d\r\n", t.p.with, t.l.At)
		if err := t.r.write(reply); err != nil {
			return err
		}
	}
	announced := &t.r.conn.Announced
	body := t.copyFile
	switch {
	case announced.RDBEmpty:
		return t.sendEmpty()
	case t.legacyRDB:
		body = t.copyLegacyRDB
	}
	var head []byte
	// A client that sent SYNC may never send an ACK, for which the node waits after an EOF mark:
	// such a client gets a length.
	legacyClient := t.p.Legacy && !announced.RDBOnly
	if announced.EOF && !legacyClient && (t.legacyRDB || !t.l.Complete()) {
		t.eofMark = []byte(identity.NewID())
		head = append(append([]byte("$EOF:"), t.eofMark...), "\r\n"...)
	} else {
		if err := t.measure(ctx); err != nil {
			return err
		}
		head = fmt.Appendf(nil, "$%d\r\n", t.size)
	}
	t.r.progress.BecomeSending()
	if err := t.r.write(head); err != nil {
		return err
	}
	if err := body(ctx); err != nil {
		return err
	}
	if t.eofMark == nil {
		// During the transfer the replica is not expected to send anything: its silence does not
		// count.
		t.r.progress.Heard(time.Now())
		return nil
	}
	t.r.progress.BecomeLoading(t.l.At, time.Now())
	return t.r.write(t.eofMark)
}

// measure waits until the length of the snapshot is known.
func (t *transfer) measure(ctx context.Context) error {
	return t.r.keepAliveWhile(ctx, func(ctx context.Context) error {
		if !t.legacyRDB {
			size, err := t.l.WaitComplete(ctx)
			t.size = size
			return err
		}
		var c byteCounter
		err := t.l.Transcode(ctx, &c)
		t.size = int64(c)
		t.l.Rewind()
		return err
	})
}

// byteCounter is an io.Writer that counts the bytes and discards them.
type byteCounter int64

func (c *byteCounter) Write(p []byte) (int, error) {
	*c += byteCounter(len(p))
	return len(p), nil
}

// sendChunk is the most bytes of a snapshot that one write to a replica takes.
const sendChunk = 1 << 20

// copyFile sends the file as it is on disk. The kernel copies it from file to socket.
func (t *transfer) copyFile(ctx context.Context) error {
	file := t.l.Sequential()
	for {
		ready, err := t.l.Ready(ctx)
		if err != nil || ready == 0 {
			return err
		}
		chunk := t.r.n.throttle.ChunkSize(min(ready, sendChunk))
		if err := t.throttle(ctx, chunk); err != nil {
			return err
		}
		n, err := t.send(chunk, func() (int64, error) {
			return io.CopyN(t.r.conn.Conn, file, chunk)
		})
		t.l.Advance(n)
		if err != nil {
			return errors.Join(t.l.CheckReadable(), err)
		}
	}
}

// copyLegacyRDB sends the file in the encoding that Redis 6.2 loads.
func (t *transfer) copyLegacyRDB(ctx context.Context) error {
	return t.l.Transcode(ctx, writerFunc(func(p []byte) (int, error) {
		return t.sendChunks(ctx, p)
	}))
}

// writerFunc is a function as an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// sendChunks sends p in chunks. Each has a deadline, so that a replica that reads nothing for the
// time-out is disconnected.
func (t *transfer) sendChunks(ctx context.Context, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		chunk := t.r.n.throttle.ChunkSize(min(int64(len(p)-done), sendChunk))
		if err := t.throttle(ctx, chunk); err != nil {
			return done, err
		}
		n, err := t.send(chunk, func() (int64, error) {
			n, err := t.r.conn.Conn.Write(p[done : done+int(chunk)])
			return int64(n), err
		})
		done += int(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// throttle waits until n more bytes are within Config.FullSyncRate, and then records them as sent.
// Before the last bytes it records that the replica is loading.
func (t *transfer) throttle(ctx context.Context, n int64) error {
	if wait := t.r.n.throttle.Reserve(n, time.Now()); wait > 0 {
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	t.r.progress.SendSnapshot(n)
	if t.eofMark == nil && t.sent+n == t.size {
		t.r.progress.BecomeLoading(t.l.At, time.Now())
	}
	return nil
}

// send writes the next chunk. The replica must read the chunk within the time-out, and all chunks
// so far at Config.FullSyncMinRate on average. Only the time of the writes counts.
func (t *transfer) send(chunk int64, write func() (int64, error)) (int64, error) {
	most, began := t.allowance.For(chunk), time.Now()
	deadline := began.Add(min(most, t.r.n.settings.Timeout()))
	if err := t.r.conn.Conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := write()
	took := time.Since(began)
	t.allowance.Spend(n, took)
	t.sent += n
	if errors.Is(err, os.ErrDeadlineExceeded) && took >= most {
		err = fmt.Errorf("it takes less than %d bytes a second of the snapshot: %w",
			t.r.n.settings.minRate.Load(), err)
		t.r.disconnect(err.Error() +
			"; if its link is that slow, lower full-sync-min-rate or raise full-sync-slack")
	}
	return n, err
}

// sendEmpty sends an empty snapshot to a client that requested only data that the node never has,
// such as functions.
func (t *transfer) sendEmpty() error {
	var b bytes.Buffer
	snapshot := t.r.n.newKeyspace().Snapshot()
	defer snapshot.Close()
	aux := rdb.Aux{Version: RedisVersion, CTime: time.Now().Unix()}
	if err := rdb.Write(&b, aux, snapshot); err != nil {
		return err
	}
	t.r.progress.BecomeLoading(t.l.At, time.Now())
	return t.r.write(append(fmt.Appendf(nil, "$%d\r\n", b.Len()), b.Bytes()...))
}
