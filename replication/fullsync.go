package replication

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

// fullSync sends a snapshot and returns the offset at which the stream goes on,
// and whether a mark was its end: then nothing may follow before the replica has
// acknowledged.
//
// The answer waits until an offset is fixed; an empty line each second tells the
// replica to be patient. They are legal before the answer and between it and the
// line that begins with "$", and nowhere else: in the stream they would be counted.
func (r *replica) fullSync(ctx context.Context, p *psync) (at replog.Offset, marked bool, err error) {
	n := r.s.n
	n.stats.fullSyncs.Add(1)
	if !p.legacy && p.id != "?" {
		n.stats.partialErr.Add(1)
	}
	if delay := n.throttle.Delay(r.addr, time.Now()); delay > 0 {
		n.logger.Warn().Str("replica", r.addr).Dur("delay", delay).Msg("replica asks for one full resync after another")
		if err := r.keepAliveWhile(ctx, func(ctx context.Context) error { return sleep(ctx, delay) }); err != nil {
			return 0, false, err
		}
	}
	leave := func() {}
	err = r.keepAliveWhile(ctx, func(ctx context.Context) (err error) {
		leave, err = n.throttle.Acquire(ctx)
		return err
	})
	if leave != nil {
		defer leave()
	}
	if err != nil {
		return 0, false, err
	}
	var chosen form
	err = r.keepAliveWhile(ctx, func(ctx context.Context) error {
		chosen = n.forms.choose(ctx, r, p) // while the slot is held: so there are few at once
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
	r.form = chosen
	t := &transfer{ctx: ctx, r: r, p: p, l: l, plain: chosen.plain}
	t.allowance = syncthrottle.NewAllowance(n.settings.minRate.Load(), n.slack())
	began := time.Now()
	if err := t.run(); err != nil {
		var damaged *snapshots.FileError
		if errors.As(err, &damaged) {
			n.snaps.MarkUnreadable(l, err)
		}
		return 0, false, fmt.Errorf("send snapshot: %w", err)
	}
	n.logger.Info().Str("replica", r.addr).Stringer("offset", l.At).Int64("bytes", t.sent).Dur("took", time.Since(began)).
		Bool("eof", t.eofMark != nil).Bool("plain", t.plain).Msg("snapshot sent")
	n.forms.warn(r.addr, chosen, l.Lossy)
	return l.At, t.eofMark != nil, nil
}

// keepAliveWhile calls wait and sends an empty line each second until it returns.
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

// transfer is one snapshot on its way to one replica. What comes before the "$"
// says how its end is found: by a length where that is known, so that the stream
// may follow at once; else by 40 random bytes, which are sent again at the end.
type transfer struct {
	ctx     context.Context
	r       *replica
	p       *psync
	l       *snapshots.Reader
	plain   bool   // in a form that Redis 6.2 loads
	eofMark []byte // of the end; nil: a length was sent
	size    int64  // that length
	sent    int64

	allowance syncthrottle.Allowance // the time that the replica may still take for what it is sent
}

func (t *transfer) run() error {
	if !t.p.legacy {
		if err := t.r.write(fmt.Appendf(nil, "+FULLRESYNC %s %d\r\n", t.p.with, t.l.At)); err != nil {
			return err
		}
	}
	repl := &t.r.s.repl
	body := t.copyFile
	switch {
	case repl.rdbEmpty:
		return t.sendEmpty()
	case t.plain:
		body = t.copyPlain
	}
	var head []byte
	// Who came by SYNC may never acknowledge, and after a mark that is waited for.
	if repl.eof && (!t.p.legacy || repl.rdbOnly) && (t.plain || !t.l.Complete()) {
		t.eofMark = []byte(identity.NewID())
		head = append(append([]byte("$EOF:"), t.eofMark...), "\r\n"...)
	} else {
		if err := t.measure(); err != nil {
			return err
		}
		head = fmt.Appendf(nil, "$%d\r\n", t.size)
	}
	t.r.progress.BecomeSending()
	if err := t.r.write(head); err != nil {
		return err
	}
	if err := body(); err != nil {
		return err
	}
	if t.eofMark == nil {
		t.r.progress.Heard(time.Now()) // until now it was not expected to speak
		return nil
	}
	t.r.progress.BecomeLoading(t.l.At, time.Now())
	return t.r.write(t.eofMark)
}

// measure waits until the length of what is to be sent is known.
func (t *transfer) measure() error {
	return t.r.keepAliveWhile(t.ctx, func(ctx context.Context) error {
		if !t.plain {
			size, err := t.l.WaitComplete(ctx)
			t.size = size
			return err
		}
		var c counter
		err := t.l.Transcode(ctx, &c)
		t.size = int64(c)
		t.l.Rewind()
		return err
	})
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

const sendChunk = 1 << 20

// copyFile sends the file as it is on disk, from file to socket without a copy.
func (t *transfer) copyFile() error {
	file := t.l.Sequential()
	for {
		ready, err := t.l.Ready(t.ctx)
		if err != nil || ready == 0 {
			return err
		}
		piece := t.r.s.n.throttle.ChunkSize(min(ready, sendChunk))
		if err := t.throttle(piece); err != nil {
			return err
		}
		n, err := t.send(piece, func() (int64, error) { return io.CopyN(t.r.s.conn, file, piece) })
		t.l.Advance(n)
		if err != nil {
			return errors.Join(t.l.CheckReadable(), err)
		}
	}
}

// copyPlain sends the file in the form for Redis 6.2.
func (t *transfer) copyPlain() error { return t.l.Transcode(t.ctx, t) }

// Write sends in pieces, so that a replica that takes nothing for the time-out is noticed.
func (t *transfer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		piece := t.r.s.n.throttle.ChunkSize(min(int64(len(p)-done), sendChunk))
		if err := t.throttle(piece); err != nil {
			return done, err
		}
		n, err := t.send(piece, func() (int64, error) {
			n, err := t.r.s.conn.Write(p[done : done+int(piece)])
			return int64(n), err
		})
		done += int(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// pay waits until the next n bytes may be sent.
func (t *transfer) throttle(n int64) error {
	if wait := t.r.s.n.throttle.Reserve(n, time.Now()); wait > 0 {
		if err := sleep(t.ctx, wait); err != nil {
			return err
		}
	}
	t.r.progress.SendSnapshot(n)
	if t.eofMark == nil && t.sent+n == t.size {
		t.r.progress.BecomeLoading(t.l.At, time.Now())
	}
	return nil
}

// send gives the replica the next piece by write. It must take the piece within the time-out, and
// all pieces so far at the least rate on average. Only the time in which the replica is waited for
// counts.
func (t *transfer) send(piece int64, write func() (int64, error)) (int64, error) {
	most, began := t.allowance.For(piece), time.Now()
	if err := t.r.s.conn.SetWriteDeadline(began.Add(min(most, t.r.s.n.timeout()))); err != nil {
		return 0, err
	}
	n, err := write()
	took := time.Since(began)
	t.allowance.Spend(n, took)
	t.sent += n
	if errors.Is(err, os.ErrDeadlineExceeded) && took >= most {
		err = fmt.Errorf("it takes less than %d bytes a second of the snapshot: %w",
			t.r.s.n.settings.minRate.Load(), err)
		t.r.drop(err.Error() +
			"; if its link is that slow, lower full-sync-min-rate or raise full-sync-slack")
	}
	return n, err
}

// sendEmpty answers who wants only what we never have, such as functions.
func (t *transfer) sendEmpty() error {
	var b bytes.Buffer
	snapshot := t.r.s.n.newKeyspace().Snapshot()
	defer snapshot.Close()
	if err := rdb.Write(&b, rdb.Aux{Version: redisVersion, CTime: time.Now().Unix()}, snapshot); err != nil {
		return err
	}
	t.r.progress.BecomeLoading(t.l.At, time.Now())
	return t.r.write(append(fmt.Appendf(nil, "$%d\r\n", b.Len()), b.Bytes()...))
}
