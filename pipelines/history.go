package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/mysqlsource"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

const (
	// resetCheckTimeout limits how long the cause of a stream's end is investigated.
	resetCheckTimeout = time.Minute
	// resetCheckInterval is how often an idle source is checked for a reset.
	resetCheckInterval = 10 * time.Second
)

// history holds the evidence by which every connect checks that the source still has the history
// from which the data were built. The evidence identifies single transactions, and is stored with
// the position.
type history struct {
	// last is the last transaction that progress includes. Before the first transaction it is the
	// binlog file in which the data begin.
	last binlog.Evidence
	// partial is the split transaction of which the sink holds a part.
	partial binlog.Evidence
	// oldForm means that the sink may hold last as a piece of state, as older versions stored it.
	oldForm bool
	// isFirstRun means that there were no data before this run.
	isFirstRun bool
	// reason is why there is no evidence, if this run has dropped it.
	reason string
	// server is the UUID of the server that the data's position was written for.
	server string
	// checked is when the source was last checked for a reset.
	checked time.Time
	// text is the buffer in which evidence is encoded.
	text []byte
}

// load reads the evidence that the sink holds.
func (h *history) load(state *sink.State, stored *progress) error {
	text := state.Position.Get(evidenceField)
	if old := state.Pieces[tablestate.LastPiece]; old != nil {
		// This version removes the piece, so an older version has written it since.
		h.oldForm, text = true, old
	}
	var err error
	if h.last, err = binlog.ParseEvidence(text, stored.Server, &stored.Position); err == nil {
		partial := state.Pieces[tablestate.PartialPiece]
		h.partial, err = binlog.ParseEvidence(partial, "", &binlog.Position{})
	}
	if err != nil {
		return stop("read the evidence of the source's history: %w; "+
			"discard it with --from and the position of the data, "+
			"or start again with --from snapshot", err)
	}
	return nil
}

// forget removes the evidence, because --from moves the position.
func (h *history) forget(pipeline string, unit *sink.Unit) {
	h.last, h.partial = binlog.Evidence{}, binlog.Evidence{}
	unit.DropState(pipeline, tablestate.LastPiece)
	unit.DropState(pipeline, tablestate.PartialPiece)
}

// advance copies the evidence of the stream's last transaction, along with its position. If the
// stream has none yet, the evidence stays.
func (h *history) advance(stream source.HistoryEvidence) {
	if last := stream.Last(); !last.IsZero() {
		h.last = last
	}
}

// save returns the evidence as the unit's position stores it, in a buffer that the next call
// overwrites.
func (h *history) save(
	pipeline string, p *progress, stream source.HistoryEvidence, unit *sink.Unit,
) []byte {
	if h.last.IsZero() {
		h.last = stream.PositionEvidence(p.Position)
	}
	if h.oldForm {
		h.oldForm = false
		unit.DropState(pipeline, tablestate.LastPiece)
	}
	h.text = h.text[:0]
	if !h.last.IsZero() {
		h.text = h.last.AppendText(h.text, p.Server, &p.Position)
	}
	return h.text
}

// savePartial adds the evidence of the transaction that is being split to the unit.
func (h *history) savePartial(pipeline string, unit *sink.Unit, stream source.HistoryEvidence) {
	t := stream.Transaction()
	if t == h.partial {
		return
	}
	h.partial = t
	h.text = t.AppendText(h.text[:0], "", &binlog.Position{})
	unit.SetState(pipeline, tablestate.PartialPiece, h.text)
}

// dropPartial removes that evidence at the end of the split transaction.
func (h *history) dropPartial(pipeline string, unit *sink.Unit) {
	if !h.partial.IsZero() {
		h.partial = binlog.Evidence{}
		unit.DropState(pipeline, tablestate.PartialPiece)
	}
}

// verifyPartial compares the transaction that the stream sends with the one of which the sink holds
// a part. With another transaction in its place, the skipped rows would be lost.
func (h *history) verifyPartial(stream source.HistoryEvidence) error {
	held := &h.partial
	if held.IsZero() {
		return nil // an older version wrote this state; commit still compares the number of rows
	}
	found := stream.Transaction()
	if differs, _ := held.Compare(&found); differs != "" {
		return &StopError{Err: &binlog.HistoryError{
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
	if reason == "" || l.history.isFirstRun {
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

// clearUnproved removes the reason of reportProof once the stream has none any more: a transaction
// was applied that the next connect can compare.
func (l *loop) clearUnproved() {
	if l.stats.unproved.Load() != nil && l.history.reason == "" && l.stream.Unproved() == "" {
		l.stats.unproved.Store(nil)
	}
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
		return &StopError{Err: &binlog.HistoryError{Held: l.history.last, Reason: fmt.Sprintf(
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
	return &StopError{Err: l.notExecuted(&missing)}
}

func (l *loop) notExecuted(missing *binlog.GTIDSet) error {
	server := l.server.Identity()
	return fmt.Errorf("server %s at %s %w of position %s, it lacks %s: "+
		"it is of another history, or has yet to catch up; "+
		"connect to one that has them, or build the data again with --from snapshot",
		server.UUID, server.Addr, errNotExecuted, l.progress.Position, missing)
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
	if l.isOffline || time.Since(l.history.checked) < resetCheckInterval {
		return nil
	}
	l.history.checked = time.Now()
	l.history.server = l.progress.Server
	err := l.checkExecuted(ctx)
	if err == nil && !l.server.Identity().HasGTIDs {
		var end binlog.Position
		end, _, err = l.positions.End(ctx)
		if err == nil && end.CompareFile(l.progress.Position) < 0 {
			err = &StopError{Err: &binlog.HistoryError{Held: l.history.last, Reason: fmt.Sprintf(
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
	if !mysqlsource.EndedByReset(err) || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resetCheckTimeout)
	defer cancel()
	// Does the server still have what the stream has read from it?
	l.history.server = l.progress.Server
	check := l.checkExecuted(ctx)
	if check == nil && !l.history.last.IsZero() {
		var again source.Stream
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
