package jobs

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// A keys job reads a set of rows of a table again, by their keys. The keys are stored in blocks of
// the state. The job looks up the rows of one or more blocks, and removes the blocks in the unit
// that writes these rows. The table stays complete meanwhile. The stream writes rows whose keys are
// in the set in mode Replace (see Table.MustReplace), because the sink may hold stale versions of
// them.

const (
	// maxSetKeys and maxSetBytes limit the keys that a table's keys job has not read yet. Beyond
	// them the whole table is read instead.
	maxSetKeys  = 2_000_000
	maxSetBytes = 64 << 20
	// blockKeys and blockBytes limit a block, and so the rows of one SELECT.
	blockKeys  = 500
	blockBytes = 16 << 10
	// openBlockBytes limits the size of a last block to which a later call of AddKeys adds keys,
	// because that call writes the whole block again.
	openBlockBytes = 1 << 10
	// maxTracked limits the keys that all tables together keep in memory.
	maxTracked = 200_000
)

// Key holds the texts of a row's key columns (see Order), as Row.AppendText returns them.
type Key [][]byte

// appendKey appends a key in the encoding of blocks.
func appendKey(dst []byte, key Key) []byte {
	for _, text := range key {
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	return dst
}

// appendKeyOf appends the key of a row in the encoding of blocks. Two keys have the same bytes if
// and only if their texts are equal.
func appendKeyOf(dst []byte, row *binlog.Row, columns []int) ([]byte, error) {
	var scratch [64]byte
	for _, k := range columns {
		text := scratch[:0]
		if !row.IsNull(k) {
			var err error
			if text, err = row.AppendText(text, k); err != nil {
				return dst, err
			}
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	return dst, nil
}

// KeyOf returns the key of a row of the table, for AddKeys and Letters.
func KeyOf(t *Table, row *binlog.Row) (Key, error) {
	return keyOfRow(row, Order(t.Schema, t.Plan))
}

func keyOfRow(row *binlog.Row, columns []int) (Key, error) {
	key := make(Key, len(columns))
	for i, k := range columns {
		text, err := row.AppendText(nil, k)
		if err != nil {
			return nil, err
		}
		key[i] = text
	}
	return key, nil
}

// parseKey decodes a key of n columns at the beginning of a block. It returns nil if the block does
// not begin with such a key.
func parseKey(block []byte, n int) (key Key, rest []byte) {
	key = make(Key, n)
	for i := range key {
		size, used := binary.Uvarint(block)
		if used <= 0 || size > uint64(len(block)-used) {
			return nil, nil
		}
		end := used + int(size)
		key[i], block = block[used:end:end], block[end:]
	}
	return key, block
}

// keySet is the part of a table's keys job that is kept in memory and not stored.
type keySet struct {
	// next is the number of the first block of the table's next keys job, so that no number is used
	// twice.
	next int
	// last is the content of the last block while keys can be added to the block; nil otherwise.
	// lastKeys is the number of keys in last.
	last     []byte
	lastKeys int
	// pending counts for each hash of a key how often the key is in the blocks. It is nil after a
	// restart, and if there are too many keys. budget points to Engine.tracked, the number of
	// entries of all tables.
	pending map[uint64]int32
	budget  *int
	// handled holds the hashes of the keys whose rows were read, for the sweep. It is nil in the
	// same cases as pending.
	handled map[uint64]struct{}
	// limit is the number of keys in the next SELECT; 0 stands for blockKeys.
	limit int
	// cursor is where the sweep continues within an output.
	cursor sweepCursor
	// afterBatch is set if the last task was a batch, so that the next task is one of the sweep.
	afterBatch bool

	// plan is the plan for which the following fields were computed. columns are the key columns.
	// located is set if the key determines all locations of a row. leadToKeys is set if each other
	// location determines the key of its row.
	plan       *transform.Plan
	columns    []int
	located    bool
	leadToKeys bool

	// changed is set if Table.Keys must be stored. The blocks obsolete to obsoleteNext-1 must be
	// removed.
	changed                bool
	obsolete, obsoleteNext int

	key []byte // buffer of the loop
}

var keySeed = maphash.MakeSeed()

// describeKeys computes the fields of the set that depend on the table's plan, if the plan is new.
// It returns the set.
func (t *Table) describeKeys() *keySet {
	s := &t.keys
	if s.plan == t.Plan {
		return s
	}
	s.plan, s.columns, s.located, s.leadToKeys = t.Plan, Order(t.Schema, t.Plan), true, true
	determined := t.Plan.LocationColumns()
	for i := range t.Plan.Outputs() {
		if t.Plan.IsLocatedBy(i, s.columns) {
			continue
		}
		s.located = false
		for _, k := range s.columns {
			s.leadToKeys = s.leadToKeys && slices.Contains(determined[i], k)
		}
	}
	return s
}

// AddKeys makes the engine read some rows of a table again: the engine writes what differs in the
// sink, and removes what the sink holds of rows that no longer exist. The keys are stored in the
// unit that is being filled, unless another job of the table will read all rows. reason is shown in
// the list of jobs.
//
// The rows must have changed at or before the position that the stream has after the present
// transaction. Call AddKeys once per transaction and table, if possible, because each call stores a
// block. Any number of keys is allowed, and a key may be added again at any time.
func (e *Engine) AddKeys(t *Table, reason string, keys []Key) error {
	// A job that has not read the table's definition yet will read every row, and so will the job
	// that ends a quarantine.
	if len(keys) == 0 || t.Fault != nil || t.Job.NeedsSchema || t.Plan == nil {
		return nil
	}
	s := t.describeKeys()
	if t.Keys == nil {
		t.Keys = &tablestate.Keys{
			ID: e.host.NewJob(), Reason: reason, First: s.next, Next: s.next,
		}
		s.pending, s.budget = make(map[uint64]int32), &e.tracked
		s.handled = make(map[uint64]struct{})
	}
	s.changed = true
	if t.Keys.Whole == "" {
		e.addKeys(t, keys)
	}
	if err := e.host.SaveKeys(t); err != nil {
		return err
	}
	e.enqueue(t)
	return nil
}

// addKeys appends keys to the last block and to new blocks.
func (e *Engine) addKeys(t *Table, keys []Key) {
	k, s := t.Keys, &t.keys
	if err := query.CheckMatch(t.Schema, s.columns); err != nil {
		t.readWhole(err.Error())
		return
	}
	if len(s.last) >= openBlockBytes {
		s.last = nil
	}
	for _, key := range keys {
		if len(key) != len(s.columns) {
			t.readWhole("its key columns have changed")
			return
		}
		if k.Count >= int64(e.maxSetKeys) || k.Bytes >= maxSetBytes {
			t.readWhole(fmt.Sprintf("more than %d of its rows must be read", k.Count))
			return
		}
		s.key = appendKey(s.key[:0], key)
		isFull := s.lastKeys >= e.blockKeys || len(s.last)+len(s.key) > blockBytes
		if s.last != nil && isFull {
			e.host.SetKeyBlock(t, k.Next-1, s.last)
			s.last = nil
		}
		if s.last == nil {
			s.last, s.lastKeys = make([]byte, 0, len(s.key)), 0
			k.Next++
		}
		s.last, s.lastKeys = append(s.last, s.key...), s.lastKeys+1
		k.Count, k.Bytes = k.Count+1, k.Bytes+int64(len(s.key))
		s.track(s.key)
	}
	e.host.SetKeyBlock(t, k.Next-1, s.last)
}

// track records a key for MustReplace. If there are too many keys, track discards those of the
// table, and all changes of the table are written in mode Replace.
func (s *keySet) track(key []byte) {
	if s.pending == nil {
		return
	}
	h := maphash.Bytes(keySeed, key)
	if s.pending[h]++; s.pending[h] > 1 {
		return
	}
	if *s.budget++; *s.budget > maxTracked {
		s.untrack()
	}
}

// untrackKey removes n occurrences of a key from pending.
func (s *keySet) untrackKey(key []byte, n int32) {
	if s.pending == nil {
		return
	}
	h := maphash.Bytes(keySeed, key)
	if s.pending[h] -= n; s.pending[h] <= 0 {
		delete(s.pending, h)
		*s.budget--
	}
}

// untrack discards pending.
func (s *keySet) untrack() {
	if s.pending != nil {
		*s.budget -= len(s.pending)
		s.pending = nil
	}
}

// markHandled records that the row of a key was read, if the sweep will use that.
func (t *Table) markHandled(key []byte) {
	s := &t.keys
	if s.handled == nil || s.located || !s.leadToKeys {
		return
	}
	h := maphash.Bytes(keySeed, key)
	if _, ok := s.handled[h]; ok {
		return
	}
	s.handled[h] = struct{}{}
	if *s.budget++; *s.budget > maxTracked {
		t.forgetHandled()
	}
}

// forgetHandled discards handled. A sweep that relied on it begins again, looks up every location,
// and waits for a confirmation before it removes more than half of the keys.
func (t *Table) forgetHandled() {
	s := &t.keys
	if s.handled != nil {
		*s.budget -= len(s.handled)
		s.handled = nil
	}
	if t.Keys != nil && t.Keys.Exact {
		t.Keys.Exact, t.Keys.Sweep = false, &tablestate.Sweep{Reached: true}
		s.cursor = sweepCursor{}
	}
}

// beginKeySweep begins the sweep of the outputs whose locations the key does not determine.
func (t *Table) beginKeySweep() {
	exact := t.keys.handled != nil && t.keys.leadToKeys
	t.Keys.Exact, t.Keys.Again = exact, false
	t.Keys.Sweep = &tablestate.Sweep{
		Reached: true, Remove: exact, Confirmed: exact, Output: t.nextUnlocated(0),
	}
}

// mayHaveLeft reports whether a row of the set may have written a location. It returns true for
// every location unless Keys.Exact is set.
func (t *Table) mayHaveLeft(at transform.Location) bool {
	s := &t.keys
	if !t.Keys.Exact {
		return true
	}
	values, ok := t.Plan.Values(at)
	if !ok {
		return true
	}
	s.key = s.key[:0]
	for _, k := range s.columns {
		for _, v := range values {
			if v.Column == k {
				s.key = appendKey(s.key, Key{v.Text})
				break
			}
		}
	}
	_, ok = s.handled[maphash.Bytes(keySeed, s.key)]
	return ok
}

// readWhole removes the keys, and records why the whole table must be read instead.
func (t *Table) readWhole(reason string) {
	t.dropBlocks()
	t.Keys.Whole, t.Keys.Sweep = reason, nil
}

// dropBlocks removes all blocks.
func (t *Table) dropBlocks() {
	k := t.Keys
	t.removeBlocks(k.Next)
	k.Count, k.Bytes = 0, 0
	t.keys.last = nil
}

// removeBlocks marks the blocks before next as obsolete.
func (t *Table) removeBlocks(next int) {
	s := &t.keys
	if s.obsolete == s.obsoleteNext {
		s.obsolete = t.Keys.First
	}
	t.Keys.First, s.obsoleteNext = next, next
	s.next = max(s.next, t.Keys.Next)
	s.changed = true
}

// dropKeys ends the keys job.
func (t *Table) dropKeys() {
	if t.Keys == nil {
		return
	}
	t.dropBlocks()
	t.Keys = nil
	t.keys.untrack()
	t.forgetHandled()
	t.keys.cursor, t.keys.limit = sweepCursor{}, 0
}

// CancelKeys ends the keys job. The host must store the table, and must treat the rows that were
// not read as stale.
func (t *Table) CancelKeys() {
	for _, task := range t.tasks {
		if b := task.base(); b.ofKeys {
			b.discarded = true
		}
	}
	t.dropKeys()
}

// ConfirmKeys lets a keys job that waits for a confirmation remove what the sweep has counted.
func (t *Table) ConfirmKeys() {
	t.describeKeys()
	t.Keys.Sweep = &tablestate.Sweep{
		Reached: true, Remove: true, Confirmed: true, Output: t.nextUnlocated(0),
	}
	t.keys.changed = true
}

// TakeKeyChanges returns the changes of Keys that the host must store, and resets them. changed is
// set if the host must store Keys. The host must remove the blocks first to next-1.
func (t *Table) TakeKeyChanges() (changed bool, first, next int) {
	s := &t.keys
	changed, first, next = s.changed, s.obsolete, s.obsoleteNext
	s.changed, s.obsolete, s.obsoleteNext = false, 0, 0
	return changed, first, next
}

// RestoreKeys sets Keys to the value that an earlier run has stored.
func (t *Table) RestoreKeys(k *tablestate.Keys) {
	t.Keys = k
	t.keys.next = k.Next
	t.forgetHandled()
}

// MustReplace reports whether a change of the table must be written in mode Replace, because the
// sink may hold a stale version of the row: the row has a dead letter, or a keys job has not yet
// read the row. If the job is reading the row at the moment, it does not write the row again.
func (t *Table) MustReplace(c *binlog.Change) (bool, error) {
	if touches, err := t.touchesLetter(c); touches || err != nil {
		return true, err
	}
	if t.Keys == nil {
		return false, nil
	}
	s := t.describeKeys()
	// Does the key of a row not determine all its locations? Then every location may hold what a
	// row with another key has left there.
	if s.pending == nil || !s.located || t.Keys.Whole != "" {
		return true, nil
	}
	for _, row := range [...]*binlog.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		var err error
		if s.key, err = appendKeyOf(s.key[:0], row, s.columns); err != nil {
			return false, err
		}
		if s.pending[maphash.Bytes(keySeed, s.key)] > 0 {
			return true, nil
		}
	}
	return false, nil
}

// nextUnlocated returns the first output from n on whose locations a row's key does not determine.
func (t *Table) nextUnlocated(n int) int {
	for n < t.Plan.Outputs() && t.Plan.IsLocatedBy(n, t.keys.columns) {
		n++
	}
	return n
}

// hasKeys reports whether the keys job has something to do now. A keys job waits until the table's
// other job is done.
func (t *Table) hasKeys() bool {
	k := t.Keys
	if k == nil || t.Fault != nil || t.Plan == nil || t.Job.NeedsSchema || t.hasJob() {
		return false
	}
	return k.Whole != "" || k.First < k.Next || k.Sweep == nil || !k.Sweep.Waiting
}

// nextOfKeys returns the next task of a keys job; nil if the whole table is read instead.
func (e *Engine) nextOfKeys(ctx context.Context, t *Table) (task, error) {
	k, s := t.Keys, t.describeKeys()
	if k.Whole != "" {
		return nil, e.host.Reconcile(t, k.Reason+": "+k.Whole)
	}
	hasSweep := k.Sweep != nil && !k.Sweep.Waiting
	if k.First < k.Next && (!hasSweep || !s.afterBatch) {
		s.afterBatch = true
		b, err := e.nextBatch(ctx, t)
		if b == nil {
			return nil, err
		}
		return b, err
	}
	s.afterBatch = false
	k.Sweep.Output = t.nextUnlocated(k.Sweep.Output)
	return e.nextSweep(ctx, t, true)
}
