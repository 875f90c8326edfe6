package pipelines

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

// Pieces of state that identify transactions, as JSON of binlog.Evidence. They prove, at every
// connect, that the source still has the history that the data were built from.
const (
	// evidenceState is the last transaction that the position includes.
	evidenceState = "last"
	// partialState is the transaction that is split, while some of its units are applied.
	partialState = "partial"
)

const (
	// resetCheckTimeout bounds how long a stream's end is looked into.
	resetCheckTimeout = time.Minute
	// resetCheckInterval is how often a source that is idle is asked whether it was reset.
	resetCheckInterval = 10 * time.Second
)

// history is the evidence of one run.
type history struct {
	// last is the last transaction that progress includes, saved what the sink holds of it.
	last, saved binlog.Evidence
	// partial is the split transaction that the sink holds in part.
	partial binlog.Evidence
	// first says that there were no data before this run, reason why there is no evidence of them.
	first  bool
	reason string
	// server is the server that the data's position was written for.
	server string
	// checked is when the source was last asked whether it was reset.
	checked time.Time
	// text is the buffer that pieces of state are written into.
	text []byte
}

// loadEvidence reads what the sink holds.
func (l *loop) loadEvidence(state map[string][]byte) error {
	var err error
	h := &l.history
	if h.last, err = binlog.ParseEvidence(state[evidenceState]); err == nil {
		h.partial, err = binlog.ParseEvidence(state[partialState])
	}
	if err != nil {
		return stop("read the evidence of the source's history: %w; "+
			"drop it with --from and the position where the data stand, "+
			"or start again with --from snapshot", err)
	}
	h.saved = h.last
	return nil
}

// forgetEvidence removes what the sink holds, because the position is moved by hand.
func (l *loop) forgetEvidence() {
	l.unit.DropState(l.config.Name, evidenceState)
	l.unit.DropState(l.config.Name, partialState)
}

// advanceEvidence takes over the last transaction that the stream has passed, along with its
// position. A stream that has passed none, or one of which nothing proves the history, leaves what
// there is.
func (l *loop) advanceEvidence() {
	if last := l.stream.Last(); !last.IsZero() {
		l.history.last = last
	}
}

// saveEvidence writes the evidence along with the position, if it has changed.
func (l *loop) saveEvidence() {
	h := &l.history
	if h.last == h.saved {
		return
	}
	h.text = h.last.AppendJSON(h.text[:0])
	l.unit.SetState(l.config.Name, evidenceState, h.text)
	h.saved = h.last
}

// savePartial writes which transaction is being split.
func (l *loop) savePartial() {
	h := &l.history
	t := l.stream.Transaction()
	if t == h.partial {
		return
	}
	h.partial = t
	h.text = t.AppendJSON(h.text[:0])
	l.unit.SetState(l.config.Name, partialState, h.text)
}

func (l *loop) dropPartial() {
	if !l.history.partial.IsZero() {
		l.history.partial = binlog.Evidence{}
		l.unit.DropState(l.config.Name, partialState)
	}
}

// verifyPartial compares the transaction that the stream brings with the one whose first units the
// sink holds. Another one in its place would lose as many rows as are passed over.
func (l *loop) verifyPartial() error {
	held := &l.history.partial
	if held.IsZero() {
		return nil // an older version wrote this state; the rows are counted all the same
	}
	found := l.stream.Transaction()
	if differs, _ := held.Compare(&found); differs != "" {
		return &StopError{&binlog.HistoryError{
			Held: *held, Found: found,
			Reason: "the data hold a part of a transaction, and the server has another one in its place: " +
				"the " + differs + " differs",
		}}
	}
	return nil
}

// reportProof says in status and log whether the source's history is proved.
func (l *loop) reportProof() {
	l.history.checked = time.Now()
	reason := l.stream.Unproved()
	m := &l.pipeline.stats
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

// checkFlavor rejects data from a MySQL where the server is a MariaDB, and the reverse.
func (l *loop) checkFlavor() error {
	is, was := l.conn.Server().Flavor, mysql.FlavorOf(l.progress.Server)
	if is == was {
		return nil
	}
	return stop("the data were built from a %s, but the server at %s is a %s, "+
		"which cannot continue at a %s's position; give the address of a %s of the old history, "+
		"or build the data again with --from snapshot",
		was, l.conn.Addr(), is, was, was)
}

// errNotExecuted is returned when the server answers that it lacks transactions of
// a position.
var errNotExecuted = errors.New("has not executed all transactions")

// executed checks that the server has all transactions of the position. Of those that are missing,
// some may still be on their way to a server that was promoted: that passes. Transactions that the
// server committed itself and no longer has do not come back: that is a *binlog.HistoryError.
func (l *loop) checkExecuted(ctx context.Context) error {
	missing, err := l.missing(ctx)
	if err != nil || missing.IsZero() {
		return err
	}
	server := l.conn.Server()
	own := missing.Of(server.UUID)
	if server.Flavor == mysql.MariaDB && l.history.server == server.UUID {
		own = missing.OfServerID(server.ServerID) // other servers may have the same id
	}
	if !own.IsZero() {
		return &StopError{&binlog.HistoryError{Held: l.history.last, Reason: fmt.Sprintf(
			"server %s no longer has transactions that it committed itself, %s", server.UUID, own)}}
	}
	return l.notExecuted(&missing)
}

// requireExecuted is executed for a position that somebody has just chosen: what
// the server has not got it will not get.
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
		l.conn.Server().UUID, errNotExecuted, l.progress.Position, missing)
}

// missing returns the transactions of the position that the server does not have. A MySQL does not
// check that itself for those of other servers, and a MariaDB not for domains that are absent from
// its binlog: they would send all that they have.
func (l *loop) missing(ctx context.Context) (missing binlog.GTIDSet, err error) {
	set, server := &l.progress.Position.GTID, l.conn.Server()
	switch {
	case set.IsZero() || !server.GTIDMode:
		return missing, nil
	case server.Flavor == mysql.MariaDB:
		missing, err = l.missingMariaDB(ctx, set)
	default:
		missing, err = l.missingMySQL(ctx, set)
	}
	if err != nil {
		return missing, fmt.Errorf("compare the position with the server's: %w", err)
	}
	return missing, nil
}

// missingMySQL waits a moment for what is in the binlog and not committed yet. A commit that waits
// for semi-synchronous replicas takes longer: its GTID is owned meanwhile, and counts as executed.
func (l *loop) missingMySQL(ctx context.Context, set *binlog.GTIDSet) (binlog.GTIDSet, error) {
	executed, _, err := query.WaitExecuted(ctx, l.conn, *set, time.Second)
	if err != nil || executed {
		return binlog.GTIDSet{}, err
	}
	has, err := l.gtidSet(ctx,
		"CONCAT_WS(',', NULLIF(@@GLOBAL.gtid_owned, ''), NULLIF(@@GLOBAL.gtid_executed, ''))")
	return set.Subtract(&has), err
}

// missingMariaDB takes what the server has logged and what it has replicated. A domain that is
// absent from both is missing only if the server committed in it itself; others are for the server
// to accept.
func (l *loop) missingMariaDB(ctx context.Context, set *binlog.GTIDSet) (binlog.GTIDSet, error) {
	logged, err := l.gtidSet(ctx, "@@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return binlog.GTIDSet{}, err
	}
	replicated, err := l.gtidSet(ctx, "@@GLOBAL.gtid_slave_pos")
	if err != nil {
		return binlog.GTIDSet{}, err
	}
	missing := set.Subtract(&logged)
	missing = missing.Subtract(&replicated)
	id := l.conn.Server().ServerID
	return missing.Filter(func(g binlog.GTID) bool {
		l, r := logged.LastOf(g.Domain), replicated.LastOf(g.Domain)
		return g.Server == id || !l.IsZero() || !r.IsZero()
	}), nil
}

// owners are the threads in the text of gtid_owned: "uuid:5#31#32:7#33".
var owners = regexp.MustCompile(`#[0-9]+`)

// gtidSet reads a GTID set that an expression gives.
func (l *loop) gtidSet(ctx context.Context, expression string) (binlog.GTIDSet, error) {
	r, err := l.conn.Query(ctx, "SELECT "+expression)
	if err != nil {
		return binlog.GTIDSet{}, err
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 1 {
		return binlog.GTIDSet{}, fmt.Errorf("SELECT %s answered %d rows", expression, len(r.Rows))
	}
	return binlog.ParseGTIDSet(owners.ReplaceAllString(string(r.Rows[0][0]), ""))
}

// checkReset looks, now and then while the source has nothing to say, whether it still has what was
// read from it. A server that was reset sends heartbeats as before, until its new binlog has
// outgrown the old one.
func (l *loop) checkReset(ctx context.Context) error {
	if time.Since(l.history.checked) < resetCheckInterval {
		return nil
	}
	l.history.checked = time.Now()
	l.history.server = l.progress.Server
	err := l.checkExecuted(ctx)
	if err == nil && !l.conn.Server().GTIDMode {
		var end binlog.Position
		end, err = query.End(ctx, l.conn)
		if err == nil && end.CompareFile(l.progress.Position) < 0 {
			err = &StopError{&binlog.HistoryError{Held: l.history.last, Reason: fmt.Sprintf(
				"the server's binlog ends at %s, before %s", end, l.progress.Position)}}
		}
	}
	return whileFollowed(err)
}

// whileFollowed adds to a HistoryError that the stream was on its way.
func whileFollowed(err error) error {
	if different := new(binlog.HistoryError); errors.As(err, &different) {
		return stop("the source was reset while it was followed: %w", different)
	}
	return err
}

// explainReset tells a reset of the source from other errors of the stream. A server whose binlog
// is reset ends the dumps of it as if a file could not be read, or without a reason.
func (l *loop) explainReset(ctx context.Context, err error) error {
	ended := mysql.IsCode(err, mysql.CodeBinlogMissing) || errors.Is(err, dump.ErrEnded)
	if !ended || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resetCheckTimeout)
	defer cancel()
	// Does the server still have what the stream has read from it?
	l.history.server = l.progress.Server
	check := l.checkExecuted(ctx)
	if check == nil && !l.history.last.IsZero() {
		var again *dump.Stream
		if again, check = dump.Open(ctx, l.dumpConfig(), l.progress.Position); check == nil {
			_ = again.Close()
		}
	}
	if errors.As(check, new(*binlog.HistoryError)) {
		l.log.Error().Err(err).Msg("the stream of a source that was reset has ended")
		return whileFollowed(check)
	}
	return err // what it is, a retry or the reader of the error finds out
}
