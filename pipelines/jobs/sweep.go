package jobs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

const (
	// sweepLocations is the number of keys or members that one sweep looks up.
	sweepLocations = 500
	// sweepBytes is about the memory that the keys and members of one sweep may take: they are held
	// until the result is applied, and the query contains parts of them.
	sweepBytes = 1 << 20
	// sweepScans limits the scan commands for one sweep, so that the stream does not wait long
	// where few keys are the output's.
	sweepScans = 20
	// firstScanCount is the number of elements of an output's first scan command, which shows how
	// large they are.
	firstScanCount = 16
)

// alwaysRemoved is the number of stale keys up to which no confirmation is needed, however few keys
// the table has.
const alwaysRemoved = 100

// sweepCursor is where the sweep of an output continues.
type sweepCursor struct {
	// keys is the cursor of the keys; empty at the beginning. keysEnded is set after the last key.
	keys      string
	keysEnded bool
	// found are keys that were found and whose members are not scanned yet; members is the cursor
	// within the first.
	found   [][]byte
	members string
	// foundMembers are members of the first key whose rows are not scanned yet, if the output is
	// shared. rows is the cursor within the first.
	foundMembers [][]byte
	rows         string
	// count is the number of elements of the next scan; 0 at the beginning.
	count int
	// checked and stale count the locations of the output so far, and those that no row writes.
	checked, stale int64
}

// isAtEnd reports whether every key and member was scanned.
func (c *sweepCursor) isAtEnd() bool {
	return c.keysEnded && len(c.found) == 0 && len(c.foundMembers) == 0
}

// adjustCount adapts the size of the next scan to the bytes that the last one has found.
func (c *sweepCursor) adjustCount(size int) {
	switch {
	case size > sweepBytes:
		c.count = max(1, c.count/4)
	case size < sweepBytes/4:
		c.count = min(2*c.count, sweepLocations)
	}
}

// sweep looks up the rows of keys and members that an output of the table has written, and removes
// those that no row writes. Which keys are the output's is decided by its templates.
type sweep struct {
	taskBase
	plan   *transform.Plan // a clone for the worker
	output int
	// now is when the sweep was requested, by the sink's clock, in milliseconds since 1970.
	now int64
	// progress and cursor are those of the table's job, or of its keys job.
	progress *tablestate.Sweep
	cursor   *sweepCursor
	// columns are what a location's row is looked up by.
	columns []int
	// locations are what is looked up. index has their places in it, by their texts; it does not
	// change once the task is requested.
	locations []transform.Location
	index     map[string]int
	// size is the number of bytes of locations.
	size int
	// stale tells whether no row writes a location; the worker sets it. dirty tells whether the
	// stream has changed a location since the request; the loop sets it.
	stale, dirty []bool
	// last is set if the output has no further locations.
	last bool
	// workerText and loopText are buffers of the worker and of the loop.
	workerText, loopText []byte
}

// nextSweep returns the step that continues the sweep of a table's job, or of its keys job. It
// returns an *UnreadableError if the rows of the output's keys cannot be looked up.
func (e *Engine) nextSweep(ctx context.Context, t *Table, ofKeys bool) (*sweep, error) {
	s := &sweep{plan: t.Plan.Clone(), index: make(map[string]int), now: e.host.Now()}
	s.ofKeys, s.progress, s.cursor = ofKeys, t.Job.Sweep, &t.cursor
	if ofKeys {
		s.progress, s.cursor = t.Keys.Sweep, &t.keys.cursor
	}
	s.output = s.progress.Output
	var err error
	if s.columns, err = lookupColumns(t.Plan, s.output); err != nil {
		return nil, err
	}
	c := s.cursor
	if c.keys == "" {
		c.keys, c.count = "0", firstScanCount
		c.keysEnded = !t.Plan.HoldsRows(s.output)
	}
	for range sweepScans {
		if c.isAtEnd() || len(s.locations) >= e.sweepLocations || s.size >= sweepBytes {
			break
		}
		switch {
		case len(c.foundMembers) > 0:
			err = s.scanReferences(ctx, e.host, t)
		case len(c.found) > 0:
			err = s.scanMembers(ctx, e.host.Sink(), t)
		default:
			err = s.scanKeys(ctx, e.host.Sink(), t)
		}
		if err != nil {
			return nil, fmt.Errorf("scan keys of %s: %w", t.FullName(), err)
		}
	}
	s.last = c.isAtEnd()
	s.reserved = len(s.locations)
	s.stale, s.dirty = make([]bool, len(s.locations)), make([]bool, len(s.locations))
	return s, nil
}

// scanKeys scans some keys of the output. If its rows are members, the keys' members are scanned
// next; otherwise the keys are what is looked up.
func (s *sweep) scanKeys(ctx context.Context, r sink.Reader, t *Table) error {
	c, size := s.cursor, 0
	next, err := sink.ScanKeys(ctx, r, c.keys, keysOf(t.Plan, s.output), c.count,
		func(key []byte) {
			size += len(key)
			if !t.Plan.OwnsKey(s.output, key) {
				return
			}
			key = append([]byte(nil), key...)
			if t.Plan.HasMembers(s.output) {
				c.found = append(c.found, key)
			} else {
				s.add(t, transform.Location{Output: s.output, Key: key})
			}
		})
	if err != nil {
		return err
	}
	c.keys, c.keysEnded = next, next == "0"
	c.adjustCount(size)
	return nil
}

// scanMembers scans some members of the first key that was found.
func (s *sweep) scanMembers(ctx context.Context, r sink.Reader, t *Table) error {
	c, size := s.cursor, 0
	if c.members == "" {
		c.members = "0"
	}
	key := c.found[0]
	next, err := sink.ScanMembers(ctx, r, t.Plan.OutputKind(s.output), key, c.members,
		c.count, func(member []byte) {
			size += len(member)
			if !t.Plan.OwnsMember(s.output, member) {
				return
			}
			member = append([]byte{}, member...)
			if t.Plan.IsShared(s.output) {
				c.foundMembers = append(c.foundMembers, member)
			} else {
				s.add(t, transform.Location{Output: s.output, Key: key, Member: member})
			}
		})
	if err != nil {
		return err
	}
	c.members = next
	c.endKey()
	c.adjustCount(size)
	return nil
}

// endKey continues with the next key, if the members of the first and their rows are scanned.
func (c *sweepCursor) endKey() {
	if c.members == "0" && len(c.foundMembers) == 0 {
		c.found, c.members = c.found[1:], ""
	}
}

// add adds a location, unless the scan has returned it before, or the sweep is that of a keys job
// and no row of its keys can have written the location.
func (s *sweep) add(t *Table, at transform.Location) {
	if s.ofKeys && !t.mayHaveLeft(at) || t.Letters.At(at) != nil {
		return
	}
	s.loopText = appendLocation(s.loopText[:0], at)
	if _, ok := s.index[string(s.loopText)]; ok {
		return
	}
	s.index[string(s.loopText)] = len(s.locations)
	s.locations = append(s.locations, at)
	s.size += len(at.Key) + len(at.Member) + len(at.Row)
}

// run looks the rows of the locations up.
func (s *sweep) run(ctx context.Context, rows RowReader) error {
	places := placesOfKey(s.plan.Table(), s.columns)
	request := query.MatchRequest{Table: s.plan.Table(), Columns: pick(s.columns, places)}
	for i, at := range s.locations {
		s.stale[i] = true
		if texts := s.texts(at); texts != nil {
			request.Values = append(request.Values, pick(texts, places))
		}
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

// placesOfKey returns the places in columns by which rows are looked up: those of the table's key,
// if columns include it, else all. With a further column that has an index, a MariaDB may read all
// rows with the same value of that column.
func placesOfKey(table *binlog.Table, columns []int) (places []int) {
	for _, k := range table.Key() {
		if i := slices.Index(columns, k); i >= 0 {
			places = append(places, i)
		}
	}
	if len(places) > 0 && len(places) == len(table.Key()) {
		return places
	}
	places = make([]int, len(columns))
	for i := range places {
		places[i] = i
	}
	return places
}

// pick returns the elements at some places.
func pick[T any](all []T, places []int) []T {
	picked := make([]T, len(places))
	for i, place := range places {
		picked[i] = all[place]
	}
	return picked
}

// texts returns the texts of s.columns in the row that writes a location; nil if no row of the
// table can write it.
func (s *sweep) texts(at transform.Location) [][]byte {
	values, ok := s.plan.Values(at)
	if !ok {
		return nil
	}
	texts := make([][]byte, 0, len(s.columns))
	for _, v := range values {
		if query.CheckMatch(s.plan.Table(), []int{v.Column}) == nil {
			texts = append(texts, v.Text)
		}
	}
	if query.CheckValues(s.plan.Table(), s.columns, texts) != nil {
		return nil // a text is of no value of its column
	}
	return texts
}

// Reset does nothing: a row that is found twice changes nothing.
func (s *sweep) Reset() {}

// Add marks what a row writes.
func (s *sweep) Add(row *binlog.Row) error {
	err := s.plan.Expect(row, func(e transform.Expectation) error {
		if e.Output == s.output && !e.Expiry.IsPast(s.now) {
			s.workerText = appendLocation(s.workerText[:0], e.Location())
			if i, ok := s.index[string(s.workerText)]; ok {
				s.stale[i] = false
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	if _, err := rowFaultOf(err, row, s.columns); err != nil {
		return err
	}
	return s.keepAllOf(row)
}

// keepAllOf keeps every location that a row may have written. The row has a dead letter, so its old
// version stays.
func (s *sweep) keepAllOf(row *binlog.Row) error {
	key, err := keyOfRow(row, s.columns)
	if err != nil {
		return err
	}
	for i, at := range s.locations {
		if s.stale[i] && slices.EqualFunc(s.texts(at), key, bytes.Equal) {
			s.stale[i] = false
		}
	}
	return nil
}

// markDirty records what the change may have written or removed. Only the sweep's own locations are
// recorded, so that a statement may change any number of rows.
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
				s.loopText = appendLocation(s.loopText[:0], at)
				if i, ok := s.index[string(s.loopText)]; ok {
					s.dirty[i] = true
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sweep) retry(*Engine) bool { return false }

// apply counts or removes the locations that no row writes.
func (s *sweep) apply(ctx context.Context, e *Engine) error {
	t := s.table
	if err := e.host.Flush(ctx); err != nil {
		return err
	}
	for i, at := range s.locations {
		if s.dirty[i] {
			continue
		}
		s.cursor.checked++
		if !s.stale[i] || t.Letters.At(at) != nil {
			continue
		}
		s.cursor.stale++
		if s.progress.Remove {
			t.Plan.Remove(e.host.Commands(), at)
		}
	}
	// If the set of keys has become too large meanwhile, the sweep was removed or begins again.
	if s.last && (!s.ofKeys || s.progress == t.Keys.Sweep) {
		s.endOutput(e)
		save := e.host.SaveJob
		if s.ofKeys {
			t.keys.changed = true
			save = e.host.SaveKeys
		}
		if err := save(t); err != nil {
			return err
		}
	}
	return e.host.Flush(ctx)
}

// endOutput continues with the next output, with the second pass, or ends the job.
func (s *sweep) endOutput(e *Engine) {
	t, p := s.table, s.progress
	p.Checked, p.Stale = p.Checked+s.cursor.checked, p.Stale+s.cursor.stale
	*s.cursor = sweepCursor{}
	p.Output = s.outputFrom(p.Output + 1)
	if p.Output < t.Plan.Outputs() {
		return
	}
	switch {
	case p.Remove:
		e.log.Info().Str("table", t.FullName()).Int64("removed", p.Stale).
			Msg("keys without a row are removed")
		s.endJob(e)
	case p.Stale == 0:
		s.endJob(e)
	case p.Stale > alwaysRemoved && 2*p.Stale > p.Checked && !p.Confirmed:
		p.Waiting = true
		e.log.Warn().Str("table", t.FullName()).Int("job", s.job()).
			Int64("stale", p.Stale).Int64("of", p.Checked).
			Msg("a job would remove more than half of the table's keys and waits; " +
				"run `rowfall jobs FILE confirm ID` if that is right, " +
				"or `rowfall jobs FILE cancel ID`")
	default:
		*p = tablestate.Sweep{
			Reached: true, Remove: true, Confirmed: p.Confirmed, Output: s.outputFrom(0),
		}
	}
	if p.Waiting {
		p.Output = s.outputFrom(0) // the second pass begins there
	}
}

// job returns the number of the job that the sweep is a part of.
func (s *sweep) job() int {
	if s.ofKeys {
		return s.table.Keys.ID
	}
	return s.table.Job.ID
}

// outputFrom returns the first output from n on that the job sweeps. A keys job has removed what is
// at the locations that follow from its keys.
func (s *sweep) outputFrom(n int) int {
	if s.ofKeys {
		return s.table.nextUnlocated(n)
	}
	return n
}

// endJob ends the job that the sweep is a part of.
func (s *sweep) endJob(e *Engine) {
	t := s.table
	if !s.ofKeys {
		t.Job.Done = true
		return
	}
	k := t.Keys
	k.Sweep = nil
	switch {
	case k.Again: // rows of keys that were read meanwhile may have written swept locations
		t.beginKeySweep()
	case k.First == k.Next:
		e.endKeys(t)
	}
}

// appendLocation appends the text that stands for a location in maps.
func appendLocation(dst []byte, at transform.Location) []byte {
	dst = binary.AppendUvarint(dst, uint64(at.Output))
	dst = binary.AppendUvarint(dst, uint64(len(at.Key)))
	dst = append(dst, at.Key...)
	dst = binary.AppendUvarint(dst, uint64(len(at.Member)))
	return append(append(dst, at.Member...), at.Row...)
}

// UnreadableError means that a job cannot read a table's rows, or cannot look up the rows of its
// keys, because of the table's columns.
type UnreadableError struct{ Err error }

// Error returns the cause's text, which names the table and the column.
func (e *UnreadableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// lookupColumns returns the columns by which the rows of an output's locations are looked up: those
// that a location determines and that can be compared exactly. More rows than the location's may
// match, so the rows found are compared with the location. It returns an *UnreadableError if there
// is no such column. No key belongs to an output that holds no rows, so that it needs no columns.
func lookupColumns(p *transform.Plan, output int) ([]int, error) {
	if !p.HoldsRows(output) {
		return nil, nil
	}
	var columns []int
	var err error
	for _, k := range p.LocationColumns()[output] {
		if e := query.CheckMatch(p.Table(), []int{k}); e != nil {
			err = e
		} else {
			columns = append(columns, k)
		}
	}
	if len(columns) == 0 {
		return nil, &UnreadableError{fmt.Errorf("look up the rows of keys: %w", err)}
	}
	return columns, nil
}
