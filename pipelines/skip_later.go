package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// A request may name further tables of a transaction that was stepped over already. A statement
// that was logged as its text changes such tables if the first request did not name them. While
// the gap of that transaction is open, the request makes another gap of the same stretch.

// findGap returns the open gap of the transaction that a request names tables of. It returns nil if
// that transaction has no open gap, or if the data at a position do not include the transaction.
func (c *skipCall) findGap(at *binlog.Position, gaps *tablestate.Gaps) *tablestate.Gap {
	if len(c.tables) == 0 || !c.at.IsIncludedIn(at) {
		return nil
	}
	text := c.at.String()
	i := slices.IndexFunc(gaps.Open, func(g tablestate.Gap) bool {
		return g.Cause == tablestate.CauseSkip && g.At == text
	})
	if i < 0 {
		return nil
	}
	return &gaps.Open[i]
}

// makeLaterGap puts a gap of the request's tables into the unit; first is the gap that findGap
// has returned, and requests the number of stored requests. Tables that have a gap of the
// transaction already are left out. stored reports whether the unit contains a new gap.
func (l *loop) makeLaterGap(
	c *skipCall, first tablestate.Gap, requests int,
) (stored bool, err error) {
	var tables []string
	for _, table := range c.tables {
		isOpen := slices.ContainsFunc(l.gaps.Open, func(g tablestate.Gap) bool {
			return g.Cause == first.Cause && g.At == first.At && slices.Contains(g.Tables, table)
		})
		if !isOpen {
			tables = append(tables, table)
		}
	}
	if len(tables) == 0 {
		return false, nil
	}
	if n := len(l.gaps.Open) + requests; n >= tablestate.MaxGaps {
		return false, errTooManyGaps(c, n)
	}
	return true, l.makeGap(tablestate.Gap{
		Cause: first.Cause, At: first.At, From: first.From, To: first.To,
	}, tables)
}

// storeLaterGap makes the gap of a request in the sink while no run writes to it, and in state and
// stored.
func (p *Pipeline) storeLaterGap(
	ctx context.Context, c *skipCall, state *sink.State, stored *progress,
) error {
	unit, err := p.changeState(state, func(l *loop, stored *progress) error {
		requests, err := tablestate.DecodeSkips(state.Pieces[tablestate.SkipsPiece])
		if err != nil {
			return corrupt("skip requests", err)
		}
		gap := c.findGap(&stored.Position, &l.gaps)
		_, err = l.makeLaterGap(c, *gap, len(requests))
		return err
	})
	if err != nil || unit == nil {
		return err
	}
	if err := p.sink.Apply(ctx, unit); err != nil {
		return fmt.Errorf("store the gap: %w", err)
	}
	changed, err := p.sink.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the stored gap: %w", err)
	}
	at, err := parseProgress(p.config.Name, &changed.Progress)
	if err != nil {
		return err
	}
	*state, *stored = changed, at
	return nil
}

// errIncluded returns the error for a request whose transaction the data at a position include.
func errIncluded(c *skipCall, at *binlog.Position) error {
	err := fmt.Errorf("skip %s: the data include this transaction already, they are at %s",
		c.at, at)
	if len(c.tables) == 0 {
		return fmt.Errorf("%w; use the POSITION that the error contains", err)
	}
	commands := make([]string, len(c.tables))
	for i, table := range c.tables {
		commands[i] = "rowfall backfill FILE --table " + table
	}
	return fmt.Errorf("%w; if changes of it are missing, run %s", err,
		strings.Join(commands, " and "))
}

func errTooManyGaps(c *skipCall, n int) error {
	return fmt.Errorf("skip %s: there are %d gaps and requests, and no more can be recorded; "+
		"close gaps with rowfall backfill first", c.at, n)
}
