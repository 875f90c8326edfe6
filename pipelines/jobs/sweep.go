package jobs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

const (
	// sweepLocations is the number of keys or members that one sweep looks up.
	sweepLocations = 500
	// sweepScans limits the scan commands for one sweep, so that the stream does not wait long
	// where few keys are the output's.
	sweepScans = 20
)

// alwaysRemoved is the number of stale keys up to which no confirmation is needed, however few keys
// the table has.
const alwaysRemoved = 100

// sweepCursor is where the sweep of an output continues.
type sweepCursor struct {
	// keys is the cursor of the keys; empty at the beginning.
	keys string
	// found are keys that were found and whose members are not scanned yet; members is the cursor
	// within the first.
	found   [][]byte
	members string
	// done is set after the last key was found.
	done bool
	// checked and stale count the locations of the output so far, and those that no row writes.
	checked, stale int64
}

// isDone reports whether the output has no further locations.
func (c *sweepCursor) isDone() bool { return c.done && len(c.found) == 0 }

// sweep looks up the rows of keys and members that an output of the table has written, and removes
// those that no row writes. Which keys are the output's is decided by its templates.
type sweep struct {
	taskBase
	plan   *transform.Plan // a clone for the worker
	output int
	// locations are what is looked up, by their text; stale tells whether no row writes them.
	locations []transform.Location
	stale     map[string]bool
	// last is set if the output has no further locations.
	last  bool
	dirty map[string]struct{}
	text  []byte // buffer
}

// nextSweep returns the step that continues a table's sweep.
func (e *Engine) nextSweep(ctx context.Context, t *Table) (*sweep, error) {
	s := &sweep{
		plan: t.Plan.Clone(), output: t.Job.Sweep.Output,
		stale: make(map[string]bool), dirty: make(map[string]struct{}),
	}
	for scans := 0; len(s.locations) < sweepLocations && !t.cursor.isDone(); scans++ {
		if scans == sweepScans {
			break
		}
		var err error
		if t.Plan.HasMembers(s.output) {
			err = s.scanMembers(ctx, e.host.Sink(), t)
		} else {
			err = s.scanKeys(ctx, e.host.Sink(), t)
		}
		if err != nil {
			return nil, fmt.Errorf("scan keys of %s: %w", t.FullName(), err)
		}
	}
	s.last = t.cursor.isDone()
	s.reserved = len(s.locations)
	return s, nil
}

// scanKeys adds some keys of an output whose rows own their keys.
func (s *sweep) scanKeys(ctx context.Context, r sink.Reader, t *Table) error {
	return s.scan(ctx, r, t, func(key []byte) {
		s.locations = append(s.locations, transform.Location{Output: s.output, Key: key})
	})
}

// scan visits copies of some keys of the output.
func (s *sweep) scan(ctx context.Context, r sink.Reader, t *Table, visit func(key []byte)) error {
	c := &t.cursor
	if c.keys == "" {
		c.keys = "0"
	}
	next, err := sink.ScanKeys(ctx, r, c.keys, keysOf(t.Plan, s.output), sweepLocations,
		func(key []byte) {
			if t.Plan.OwnsKey(s.output, key) {
				visit(append([]byte(nil), key...))
			}
		})
	c.keys, c.done = next, next == "0" && err == nil
	return err
}

// scanMembers adds some members of an output whose rows are members, or finds the keys that have
// members.
func (s *sweep) scanMembers(ctx context.Context, r sink.Reader, t *Table) error {
	c := &t.cursor
	if len(c.found) == 0 {
		return s.scan(ctx, r, t, func(key []byte) { c.found = append(c.found, key) })
	}
	if c.members == "" {
		c.members = "0"
	}
	key := c.found[0]
	next, err := sink.ScanMembers(ctx, r, t.Plan.OutputKind(s.output), key, c.members,
		sweepLocations, func(member []byte) {
			if t.Plan.OwnsMember(s.output, member) {
				s.locations = append(s.locations, transform.Location{
					Output: s.output, Key: key, Member: append([]byte{}, member...),
				})
			}
		})
	if c.members = next; next == "0" {
		c.found, c.members = c.found[1:], ""
	}
	return err
}

// run looks the rows of the locations up.
func (s *sweep) run(ctx context.Context, rows RowReader) error {
	request := query.MatchRequest{Table: s.plan.Table()}
	for _, at := range s.locations {
		s.text = appendLocation(s.text[:0], at)
		s.stale[string(s.text)] = true
		values, ok := s.plan.Values(at)
		if !ok {
			continue // no row of the table can write it
		}
		columns, texts := make([]int, len(values)), make([][]byte, len(values))
		for i, v := range values {
			columns[i], texts[i] = v.Column, v.Text
		}
		if query.CheckValues(s.plan.Table(), columns, texts) != nil {
			continue // the text is of no value of the column
		}
		request.Columns = columns // the same for every location of an output
		request.Values = append(request.Values, texts)
	}
	s.rows = len(s.locations)
	if len(request.Values) == 0 {
		s.fence = s.from // there is nothing to look up
		return nil
	}
	var err error
	s.fence, err = rows.ReadMatching(ctx, request, s.from, s)
	return err
}

// Reset does nothing: a row that is found twice changes nothing.
func (s *sweep) Reset() {}

// Add marks what a row writes.
func (s *sweep) Add(row *binlog.Row) error {
	return s.plan.Expect(row, func(e transform.Expectation) error {
		if e.Output == s.output {
			s.text = appendLocation(s.text[:0], e.Location())
			delete(s.stale, string(s.text))
		}
		return nil
	})
}

// markDirty records what the change may have written or removed.
func (s *sweep) markDirty(c *binlog.Change) error {
	if s.discarded {
		return nil
	}
	for _, row := range [...]*binlog.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		err := s.table.Plan.Locations(row, func(at transform.Location) {
			if at.Output == s.output {
				s.dirty[string(appendLocation(nil, at))] = struct{}{}
			}
		})
		if err != nil {
			return err
		}
	}
	// A statement may change every row of the table. Then the output is scanned again.
	if len(s.dirty) > 100*sweepLocations {
		s.discard()
	}
	return nil
}

func (s *sweep) retry(*Engine) bool { return false }

// discard makes the locations be scanned again.
func (s *sweep) discard() {
	s.discarded = true
	s.table.cursor = sweepCursor{}
}

// apply counts or removes the locations that no row writes.
func (s *sweep) apply(ctx context.Context, e *Engine) error {
	t, progress := s.table, s.table.Job.Sweep
	if err := e.host.Flush(ctx); err != nil {
		return err
	}
	for _, at := range s.locations {
		s.text = appendLocation(s.text[:0], at)
		if _, dirty := s.dirty[string(s.text)]; dirty {
			continue
		}
		t.cursor.checked++
		if !s.stale[string(s.text)] {
			continue
		}
		t.cursor.stale++
		if progress.Remove {
			t.Plan.Remove(e.host.Commands(), at)
		}
	}
	if s.last {
		s.endOutput(e)
	}
	if err := e.host.SaveJob(t); err != nil {
		return err
	}
	return e.host.Flush(ctx)
}

// endOutput continues with the next output, with the second pass, or ends the job.
func (s *sweep) endOutput(e *Engine) {
	t, p := s.table, s.table.Job.Sweep
	p.Checked, p.Stale = p.Checked+t.cursor.checked, p.Stale+t.cursor.stale
	t.cursor = sweepCursor{}
	p.Output++
	if p.Output < t.Plan.Outputs() {
		return
	}
	switch {
	case p.Remove:
		e.log.Info().Str("table", t.FullName()).Int64("removed", p.Stale).
			Msg("keys without a row are removed")
		t.Job.Done = true
	case p.Stale == 0:
		t.Job.Done = true
	case p.Stale > alwaysRemoved && 2*p.Stale > p.Checked && !p.Confirmed:
		p.Waiting = true
		e.log.Warn().Str("table", t.FullName()).Int("job", t.Job.ID).
			Int64("stale", p.Stale).Int64("of", p.Checked).
			Msg("a job would remove more than half of the table's keys and waits; " +
				"run `rowfall jobs FILE confirm ID` if that is right, " +
				"or `rowfall jobs FILE cancel ID`")
	default:
		t.Job.Sweep = &tablestate.Sweep{Reached: true, Remove: true, Confirmed: p.Confirmed}
	}
	if p.Waiting {
		p.Output = 0 // the second pass begins there
	}
}

// appendLocation appends the text that stands for a location in maps.
func appendLocation(dst []byte, at transform.Location) []byte {
	dst = binary.AppendUvarint(dst, uint64(at.Output))
	dst = binary.AppendUvarint(dst, uint64(len(at.Key)))
	return append(append(dst, at.Key...), at.Member...)
}

// errUnswept means that an output's keys cannot be looked up.
var errUnswept = errors.New("keys cannot be looked up")

// CheckSweep returns an error if the keys that a plan writes do not lead back to their rows.
func CheckSweep(p *transform.Plan) error {
	for _, columns := range p.LocationColumns() {
		if err := query.CheckMatch(p.Table(), columns); err != nil {
			return fmt.Errorf("%w: %w", errUnswept, err)
		}
	}
	return nil
}
