package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// A user may request to skip one transaction that cannot be applied. The request is stored with the
// data, so that a restart keeps it. When the stream reaches the transaction, its changes are left
// out. The unit that moves the position past the transaction records the gap and removes the
// request.

// pendingSkip is a stored request, parsed.
type pendingSkip struct {
	tablestate.SkipRequest
	skip binlog.Skip
}

// skipCall is a call of Skip whose request is not stored yet.
type skipCall struct {
	at     binlog.TransactionID
	tables []string   // empty: all changes of the transaction
	result chan error // has room for one element
}

// Skip stores a request to skip a transaction, or only its changes of some tables. at names the
// transaction in the form that binlog.TransactionID prints. Each of tables is database.table;
// without tables, all changes are skipped. If the pipeline waits for a retry or has stopped, it
// runs again at once. supervise must be running.
func (p *Pipeline) Skip(ctx context.Context, at string, tables []string) error {
	id, err := binlog.ParseTransactionID(at)
	if err != nil {
		return err
	}
	if writable, _ := p.sink.Writable(); !writable {
		return errors.New("the node is a replica, whose data come from its upstream; " +
			"skip the transaction on the master")
	}
	c := skipCall{id, tables, make(chan error, 1)}
	deadline := time.NewTimer(requestTimeout)
	defer deadline.Stop()
	select {
	case p.skipCalls <- c:
	default:
		return fmt.Errorf("%d requests to skip a transaction wait already; try again later",
			maxRequests)
	}
	// A run that is streaming handles the request; otherwise the next run does.
	select {
	case p.retryNow <- struct{}{}:
	default:
	}
	if wake := p.wake.Load(); wake != nil {
		(*wake)()
	}
	select {
	case err := <-c.result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-deadline.C:
		return fmt.Errorf("the pipeline has not answered within %v; "+
			"the request may still be stored", requestTimeout)
	}
}

// acceptSkips stores the requests that wait. It is called before a run connects to its source,
// because the transaction to skip may end that run at once. If rejected is not nil, each request is
// answered with that error instead.
func (p *Pipeline) acceptSkips(
	ctx context.Context, state *sink.State, stored *progress, rejected error,
) {
	for len(p.skipCalls) > 0 {
		c := <-p.skipCalls
		err := rejected
		if err == nil {
			err = p.storeSkip(ctx, &c, state, stored)
		}
		c.result <- err
	}
}

// storeSkip stores a request in the sink while no run writes to it, and in state.
func (p *Pipeline) storeSkip(
	ctx context.Context, c *skipCall, state *sink.State, stored *progress,
) error {
	if stored.Phase == sink.Empty {
		return fmt.Errorf("the node holds no data of pipeline %s", p.config.Name)
	}
	var l loop // a loop that does not run: loadGaps decodes the gaps into it
	if err := l.loadGaps(state.Pieces); err != nil {
		return err
	}
	list, err := tablestate.DecodeSkips(state.Pieces[tablestate.SkipsPiece])
	if err != nil {
		return corrupt("skip requests", err)
	}
	for _, table := range c.tables {
		if state.Pieces[tablestate.JobPrefix+table] == nil {
			return fmt.Errorf("table %q is not mapped; want DATABASE.TABLE", table)
		}
	}
	if c.findGap(&stored.Position, &l.gaps) != nil {
		return p.storeLaterGap(ctx, c, state, stored)
	}
	if list, err = addSkip(list, c, stored, len(l.gaps.Open)); err != nil {
		return err
	}
	text, err := tablestate.EncodeSkips(list)
	if err != nil {
		return err
	}
	u := sink.Unit{Progress: state.Progress}
	u.SetState(p.config.Name, tablestate.SkipsPiece, text)
	if err := p.sink.Apply(ctx, &u); err != nil {
		return fmt.Errorf("store the request: %w", err)
	}
	state.Pieces[tablestate.SkipsPiece] = text
	p.stats.recordSkips(list)
	p.log.Warn().Stringer("transaction", c.at).Strs("tables", c.tables).
		Msg("a transaction will be skipped, as requested")
	return nil
}

// addSkip returns list with a request added. It returns an error if the stream cannot reach the
// transaction from the data's position.
func addSkip(
	list []tablestate.SkipRequest, c *skipCall, at *progress, gaps int,
) ([]tablestate.SkipRequest, error) {
	p := &at.Position
	byGTID := !c.at.GTID.IsZero()
	switch {
	case byGTID && p.GTID.IsZero():
		return nil, fmt.Errorf("skip %s: the data have no GTIDs; use the FILE:OFFSET that the "+
			"error contains", c.at)
	case byGTID && p.GTID.IsMariaDB() != c.at.GTID.MariaDB:
		return nil, fmt.Errorf("skip %s: the data are at %s, and the GTIDs of that server have "+
			"another form; use the GTID that the error contains", c.at, p)
	case !byGTID && p.File == "":
		return nil, fmt.Errorf("skip %s: the data have only GTIDs (%s), and no file and offset; "+
			"use gtid: and the transaction's GTID", c.at, p)
	case !byGTID && binlog.BaseName(p.File) != binlog.BaseName(c.at.File):
		return nil, fmt.Errorf("skip %s: the server's binlog files are named like %s; use the "+
			"FILE:OFFSET that the error contains", c.at, p.File)
	case c.at.IsIncludedIn(p):
		return nil, errIncluded(c, p)
	case gaps+len(list) >= tablestate.MaxGaps:
		return nil, errTooManyGaps(c, gaps+len(list))
	}
	text := c.at.String()
	i := slices.IndexFunc(list, func(r tablestate.SkipRequest) bool { return r.At == text })
	if i < 0 {
		i = len(list)
		list = append(slices.Clone(list), tablestate.SkipRequest{At: text})
	} else {
		list = slices.Clone(list)
		if len(list[i].Tables) == 0 {
			return list, nil // the request for the whole transaction includes this one
		}
	}
	r := &list[i]
	r.Time = time.Now().UnixMicro()
	if !byGTID {
		r.Server = at.Server
	}
	if len(c.tables) == 0 {
		r.Tables = nil
		return list, nil
	}
	r.Tables = slices.Clone(r.Tables)
	for _, table := range c.tables {
		if !slices.Contains(r.Tables, table) {
			r.Tables = append(r.Tables, table)
		}
	}
	return list, nil
}

// handleSkips stores the requests that have arrived since the run began.
func (l *loop) handleSkips(ctx context.Context) error {
	for len(l.skipCalls) > 0 {
		c := <-l.skipCalls
		stored, err := l.addSkip(&c)
		if err == nil && stored {
			err = l.flush(ctx)
		}
		if err == nil {
			l.updateSkips()
		}
		c.result <- err
		if err != nil && stored {
			return err
		}
	}
	return nil
}

// addSkip puts a request into the unit, or the gap that it makes at once if its transaction was
// stepped over already. stored reports whether the unit contains one of them.
func (l *loop) addSkip(c *skipCall) (stored bool, err error) {
	for _, table := range c.tables {
		if l.tables.all[table] == nil {
			return false, l.tables.errNotMapped(table)
		}
	}
	list := l.skipRequests()
	at := l.progress
	at.Position = *l.stream.Position()
	if gap := c.findGap(&at.Position, &l.gaps); gap != nil {
		return l.makeLaterGap(c, *gap, len(list))
	}
	if list, err = addSkip(list, c, &at, len(l.gaps.Open)); err != nil {
		return false, err
	}
	if err := l.setSkips(list); err != nil {
		return false, err
	}
	l.log.Warn().Stringer("transaction", c.at).Strs("tables", c.tables).
		Msg("a transaction will be skipped, as requested")
	return true, l.saveSkips()
}

// loadSkips decodes the stored requests. Requests with the FILE:OFFSET of another server are
// discarded.
func (l *loop) loadSkips(pieces map[string][]byte) error {
	list, err := tablestate.DecodeSkips(pieces[tablestate.SkipsPiece])
	if err != nil {
		return corrupt("skip requests", err)
	}
	n := len(list)
	list = slices.DeleteFunc(list, func(r tablestate.SkipRequest) bool {
		isOther := r.Server != "" && r.Server != l.progress.Server
		if isOther {
			l.log.Warn().Str("transaction", r.At).Str("server", r.Server).
				Msg("a request to skip a transaction is discarded: its FILE:OFFSET belongs to " +
					"the binlog of another server")
		}
		return isOther
	})
	if err := l.setSkips(list); err != nil || len(list) == n {
		return err
	}
	return l.saveSkips()
}

func (l *loop) setSkips(list []tablestate.SkipRequest) error {
	l.skips = make([]pendingSkip, len(list))
	for i := range list {
		skip, err := list[i].Skip()
		if err != nil {
			return err
		}
		l.skips[i] = pendingSkip{list[i], skip}
	}
	return nil
}

// saveSkips puts the requests into the unit.
func (l *loop) saveSkips() error {
	if len(l.skips) == 0 {
		l.unit.DropState(l.config.Name, tablestate.SkipsPiece)
		return nil
	}
	text, err := tablestate.EncodeSkips(l.skipRequests())
	if err != nil {
		return err
	}
	l.unit.SetState(l.config.Name, tablestate.SkipsPiece, text)
	return nil
}

// updateSkips passes the requests to the stream and to the stats.
func (l *loop) updateSkips() {
	list := make([]binlog.Skip, len(l.skips))
	for i, s := range l.skips {
		list[i] = s.skip
	}
	l.stream.Skip(list)
	l.stats.recordSkips(l.skipRequests())
}

// skipRequests returns the requests as they are stored.
func (l *loop) skipRequests() []tablestate.SkipRequest {
	list := make([]tablestate.SkipRequest, len(l.skips))
	for i := range l.skips {
		list[i] = l.skips[i].SkipRequest
	}
	return list
}
