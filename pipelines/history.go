package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
)

const (
	// resetCheckTimeout limits how long the cause of a stream's end is investigated.
	resetCheckTimeout = time.Minute
	// resetCheckInterval is how often an idle source is checked for a reset.
	resetCheckInterval = 10 * time.Second
)

// history proves, at every connect, that the source still has the history that the data were built
// from. Its evidence identifies transactions, and is stored with the position.
type history struct {
	// last is the last transaction that progress includes. saved is what the sink holds of it.
	last, saved binlog.Evidence
	// partial is the split transaction of which the sink holds a part.
	partial binlog.Evidence
	// first means that there were no data before this run.
	first bool
	// reason is why there is no evidence, if this run has dropped it.
	reason string
	// server is the UUID of the server that the data's position was written for.
	server string
	// checked is when the source was last checked for a reset.
	checked time.Time
	// text is the buffer in which pieces of state are encoded.
	text []byte
}

// loadEvidence reads the evidence that the sink holds.
func (l *loop) loadEvidence(pieces map[string][]byte) error {
	var err error
	h := &l.history
	if h.last, err = binlog.ParseEvidence(pieces[tablestate.LastPiece]); err == nil {
		h.partial, err = binlog.ParseEvidence(pieces[tablestate.PartialPiece])
	}
	if err != nil {
		return stop("read the evidence of the source's history: %w; "+
			"drop it with --from and the position where the data stand, "+
			"or start again with --from snapshot", err)
	}
	h.saved = h.last
	return nil
}

// forgetEvidence removes the evidence from the sink, because --from moves the position.
func (l *loop) forgetEvidence() {
	l.unit.DropVolatile(l.config.Name, tablestate.LastPiece)
	l.unit.DropVolatile(l.config.Name, tablestate.PartialPiece)
}

// advanceEvidence copies the evidence of the stream's last transaction, along with its position. If
// the stream has none yet, the evidence stays.
func (l *loop) advanceEvidence() {
	if last := l.stream.Last(); !last.IsZero() {
		l.history.last = last
	}
}

// saveEvidence adds the evidence to the unit, if it has changed. Before the first transaction the
// evidence is the binlog file in which the data begin.
func (l *loop) saveEvidence() {
	h := &l.history
	if h.last.IsZero() {
		h.last = l.stream.PositionEvidence(l.progress.Position)
	}
	if h.last == h.saved {
		return
	}
	h.text = h.last.AppendJSON(h.text[:0])
	l.unit.SetVolatile(l.config.Name, tablestate.LastPiece, h.text)
	h.saved = h.last
}

// savePartial adds the evidence of the transaction that is being split to the unit.
func (l *loop) savePartial() {
	h := &l.history
	t := l.stream.Transaction()
	if t == h.partial {
		return
	}
	h.partial = t
	h.text = t.AppendJSON(h.text[:0])
	l.unit.SetVolatile(l.config.Name, tablestate.PartialPiece, h.text)
}

// dropPartial removes that evidence at the end of the split transaction.
func (l *loop) dropPartial() {
	if !l.history.partial.IsZero() {
		l.history.partial = binlog.Evidence{}
		l.unit.DropVolatile(l.config.Name, tablestate.PartialPiece)
	}
}

// verifyPartial compares the transaction that the stream sends with the one of which the sink holds
// a part. With another transaction in its place, the skipped rows would be lost.
func (l *loop) verifyPartial() error {
	held := &l.history.partial
	if held.IsZero() {
		return nil // an older version wrote this state; commit still compares the number of rows
	}
	found := l.stream.Transaction()
	if differs, _ := held.Compare(&found); differs != "" {
		return &StopError{&binlog.HistoryError{
			Held: *held, Found: found,
			Reason: "the data hold a part of a transaction, and the server has another one " +
				"in its place: the " + differs + " differs",
		}}
	}
	return nil
}

// reportProof records in stats and log whether the source's history was compared.
func (l *loop) reportProof() {
	l.history.checked = time.Now()
	reason := l.stream.Unproved()
	m := l.stats
	if reason == "" || l.history.first {
		m.unproved.Store(nil)
		return
	}
	if l.history.reason != "" {
		reason = l.history.reason
	}
	m.unproved.Store(&reason)
	l.log.Warn().Str("reason", reason).Stringer("position", l.progress.Position).
		Msg("cannot prove that the source still has the history of the data; " +
			"continuing, since it has the position")
}

// errNotExecuted is returned if the server lacks transactions of a position.
var errNotExecuted = errors.New("has not executed all transactions")

// checkExecuted checks that the server has all transactions of the position. Missing transactions
// may still be on their way to a server that was promoted: then a retry can succeed. If the server
// lacks transactions that it committed itself, it was reset: that is a *binlog.HistoryError.
func (l *loop) checkExecuted(ctx context.Context) error {
	missing, err := l.missing(ctx)
	if err != nil || missing.IsZero() {
		return err
	}
	server := l.server.Identity()
	own := missing.Of(server.UUID)
	if missing.IsMariaDB() && l.history.server == server.UUID {
		own = missing.OfServerID(server.ServerID) // other servers may have the same id
	}
	if !own.IsZero() {
		return &StopError{&binlog.HistoryError{Held: l.history.last, Reason: fmt.Sprintf(
			"server %s no longer has transactions that it committed itself, %s", server.UUID, own)}}
	}
	return l.notExecuted(&missing)
}

// requireExecuted is checkExecuted for a position that the user has chosen. Missing transactions
// are a StopError.
func (l *loop) requireExecuted(ctx context.Context) error {
	missing, err := l.missing(ctx)
	if err != nil || missing.IsZero() {
		return err
	}
	return &StopError{l.notExecuted(&missing)}
}

func (l *loop) notExecuted(missing *binlog.GTIDSet) error {
	return fmt.Errorf("server %s %w of position %s, it lacks %s: "+
		"it is of another history, or has yet to catch up; "+
		"connect to one that has them, or build the data again with --from snapshot",
		l.server.Identity().UUID, errNotExecuted, l.progress.Position, missing)
}

// missing returns the transactions of the position that the server does not have.
func (l *loop) missing(ctx context.Context) (missing binlog.GTIDSet, err error) {
	set := &l.progress.Position.GTID
	if set.IsZero() || !l.server.Identity().HasGTIDs {
		return missing, nil
	}
	if missing, err = l.server.MissingGTIDs(ctx, set); err != nil {
		return missing, fmt.Errorf("compare the position with the server's: %w", err)
	}
	return missing, nil
}

// checkReset checks, every resetCheckInterval while the source is idle, whether the source still
// has what was read from it. A server that was reset continues to send heartbeats until its new
// binlog is longer than the old one.
func (l *loop) checkReset(ctx context.Context) error {
	if time.Since(l.history.checked) < resetCheckInterval {
		return nil
	}
	l.history.checked = time.Now()
	l.history.server = l.progress.Server
	err := l.checkExecuted(ctx)
	if err == nil && !l.server.Identity().HasGTIDs {
		var end binlog.Position
		end, _, err = l.positions.End(ctx)
		if err == nil && end.CompareFile(l.progress.Position) < 0 {
			err = &StopError{&binlog.HistoryError{Held: l.history.last, Reason: fmt.Sprintf(
				"the server's binlog ends at %s, before %s", end, l.progress.Position)}}
		}
	}
	return whileFollowed(err)
}

// whileFollowed makes a StopError of a HistoryError that occurred during streaming.
func whileFollowed(err error) error {
	if different := new(binlog.HistoryError); errors.As(err, &different) {
		return stop("the source was reset while it was followed: %w", different)
	}
	return err
}

// explainReset replaces err if the source was reset, and returns other errors of the stream as they
// are.
func (l *loop) explainReset(ctx context.Context, err error) error {
	if !endedByReset(err) || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resetCheckTimeout)
	defer cancel()
	// Does the server still have what the stream has read from it?
	l.history.server = l.progress.Server
	check := l.checkExecuted(ctx)
	if check == nil && !l.history.last.IsZero() {
		var again eventStream
		if again, check = l.server.OpenStream(ctx, l.streamStart()); check == nil {
			_ = again.Close()
		}
	}
	if errors.As(check, new(*binlog.HistoryError)) {
		l.log.Error().Err(err).Msg("the stream of a source that was reset has ended")
		return whileFollowed(check)
	}
	return err
}
