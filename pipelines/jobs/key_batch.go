package jobs

import (
	"context"
	"errors"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/sink"
	"rowfall/transform"
)

// keyBatch is the task that reads rows by their keys. It writes what differs in the sink, and
// removes what the sink holds at the locations of keys without a row.
//
// A row that the stream changes between F and H (see doc.go) is dirty. The stream writes a dirty
// row in mode Replace, because its key is pending, so the batch does not write it.
type keyBatch struct {
	taskBase
	plan    *transform.Plan // a clone for the worker
	columns []int
	// keys are distinct. index maps the bytes of a key to its index in keys; the worker only reads
	// it. counts holds how often each key is in the blocks.
	keys   []Key
	index  map[string]int
	counts []int32
	// next is the number of the first block that the batch does not hold.
	next int
	// bytes is the memory that the rows shall take. Add rejects rows beyond twice as much.
	bytes int
	// dirty holds for each key whether the stream has changed its row since the request. The loop
	// sets it.
	dirty []bool
	key   []byte // buffer of the loop

	// handled is the number of keys to look up. The worker reduces it if the rows are too large.
	handled  int
	read     []batchRow
	rowKeys  []byte
	expected []byte
	// faults holds the rows that could not be turned into commands, by their indexes in read.
	faults map[int]rowFault
	// found and failed hold for each key whether its row was read, and whether that is in faults.
	// writeRows sets them.
	found, failed []bool
}

// batchRow holds the ends of a row's key in keyBatch.rowKeys, and of its expectations in expected.
type batchRow struct{ keyEnd, end int }

// nextBatch returns the batch that continues a keys job. It returns nil if the whole table must be
// read instead.
func (e *Engine) nextBatch(ctx context.Context, t *Table) (*keyBatch, error) {
	k, s := t.Keys, &t.keys
	if err := e.host.Flush(ctx); err != nil { // so that the sink holds the last block
		return nil, err
	}
	b := &keyBatch{
		plan: t.Plan.Clone(), columns: s.columns, index: make(map[string]int),
		next: k.First, bytes: e.chunkShare(),
	}
	b.ofKeys = true
	for entries := 0; b.next < k.Next; b.next++ {
		block, err := e.host.KeyBlock(ctx, t, b.next)
		if errors.As(err, new(*sink.CorruptStateError)) {
			e.log.Warn().Err(err).
				Msg("the stored keys of rows to read are unreadable; the table is read as a whole")
			t.readWhole("the stored keys of rows to read are unreadable")
			return nil, e.host.SaveKeys(t)
		} else if err != nil {
			return nil, err
		}
		keys, ok := parseBlock(block, len(s.columns))
		if !ok {
			t.readWhole("its key columns have changed")
			return nil, e.host.SaveKeys(t)
		}
		if entries += len(keys); entries > e.blockKeys && b.next > k.First {
			break
		}
		b.addAll(keys)
	}
	s.last = nil
	b.handled = len(b.keys)
	if s.limit > 0 {
		b.handled = min(b.handled, s.limit)
	}
	b.dirty, b.found = make([]bool, len(b.keys)), make([]bool, len(b.keys))
	b.failed = make([]bool, len(b.keys))
	b.reserved = b.handled
	return b, nil
}

// parseBlock returns the keys of a block, of n columns each.
func parseBlock(block []byte, n int) (keys []Key, ok bool) {
	for len(block) > 0 {
		var key Key
		if key, block = parseKey(block, n); key == nil {
			return nil, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

// addAll adds the keys of a block.
func (b *keyBatch) addAll(keys []Key) {
	for _, key := range keys {
		b.key = appendKey(b.key[:0], key)
		i, ok := b.index[string(b.key)]
		if !ok {
			i = len(b.keys)
			b.index[string(b.key)] = i
			b.keys, b.counts = append(b.keys, key), append(b.counts, 0)
		}
		b.counts[i]++
	}
}

// run looks up the rows. If their size exceeds the limit, run looks up half as many keys.
func (b *keyBatch) run(ctx context.Context, rows RowReader) error {
	for {
		request := query.MatchRequest{Table: b.plan.Table(), Columns: b.columns}
		for _, key := range b.keys[:b.handled] {
			// A key that is not a valid text of its columns has no row.
			if query.CheckValues(request.Table, b.columns, key) == nil {
				request.Values = append(request.Values, key)
			}
		}
		b.rows = b.handled
		if len(request.Values) == 0 {
			b.fence = b.from
			return nil
		}
		var err error
		b.fence, err = rows.ReadMatching(ctx, request, b.from, b)
		if !errors.Is(err, errChunkFull) {
			return err
		}
		b.handled = max(1, b.handled/2)
	}
}

// Reset discards the rows, before the query is repeated.
func (b *keyBatch) Reset() {
	b.read, b.rowKeys, b.expected = b.read[:0], b.rowKeys[:0], b.expected[:0]
	b.faults = nil
}

// Add appends a row. It returns errChunkFull if the rows are too large.
func (b *keyBatch) Add(row *binlog.Row) error {
	if b.handled > 1 && len(b.read) > 0 && len(b.expected) > 2*b.bytes {
		return errChunkFull
	}
	var err error
	if b.rowKeys, err = appendKeyOf(b.rowKeys, row, b.columns); err != nil {
		return err
	}
	before := len(b.expected)
	err = b.plan.Expect(row, func(e transform.Expectation) error {
		b.expected = e.AppendTo(b.expected)
		return nil
	})
	if err != nil {
		fault, e := rowFaultOf(err, row, b.columns)
		if e != nil {
			return e
		}
		b.expected = b.expected[:before]
		if b.faults == nil {
			b.faults = make(map[int]rowFault)
		}
		b.faults[len(b.read)] = fault
	}
	b.read = append(b.read, batchRow{len(b.rowKeys), len(b.expected)})
	return nil
}

// markDirty marks the rows of the batch that a change concerns.
func (b *keyBatch) markDirty(c *binlog.Change) error {
	for _, row := range [...]*binlog.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		var err error
		if b.key, err = appendKeyOf(b.key[:0], row, b.columns); err != nil {
			return err
		}
		if i, ok := b.index[string(b.key)]; ok {
			b.dirty[i] = true
		}
	}
	return nil
}

func (b *keyBatch) retry(*Engine) bool { return false }

// apply writes what differs in the sink, removes the locations that no row writes, and removes the
// blocks of the batch.
func (b *keyBatch) apply(ctx context.Context, e *Engine) error {
	if err := e.host.Flush(ctx); err != nil {
		return err
	}
	if err := e.host.RowsGone(b.table, b.gone()); err != nil {
		return err
	}
	written, others, err := b.writeRows(ctx, e)
	if err != nil || b.table.Fault != nil { // there are too many letters
		return errors.Join(err, e.host.Flush(ctx))
	}
	if err := b.removeStale(ctx, e, written); err != nil {
		return err
	}
	// If the set of keys has become too large, its blocks were removed already.
	if b.table.Keys.Whole == "" {
		if len(others) > 0 {
			e.addKeys(b.table, others)
		}
		b.finish(e)
	}
	if err := e.host.SaveKeys(b.table); err != nil {
		return err
	}
	return e.host.Flush(ctx)
}

// gone returns the keys without a row. What the stream has done to dirty ones is known.
func (b *keyBatch) gone() (keys []Key) {
	found := make([]bool, len(b.keys))
	from := 0
	for _, row := range b.read {
		if i, ok := b.index[string(b.rowKeys[from:row.keyEnd])]; ok {
			found[i] = true
		}
		from = row.keyEnd
	}
	for i, key := range b.keys[:b.handled] {
		if !found[i] && !b.dirty[i] {
			keys = append(keys, key)
		}
	}
	return keys
}

// writeRows writes the rows that are not dirty. written holds the locations of all rows, as texts.
// others are the keys of rows that the batch did not look up by exactly this key: in the column's
// collation the server found it equal to a key of the batch. Such a row may be dirty, so it must be
// read again.
func (b *keyBatch) writeRows(
	ctx context.Context, e *Engine,
) (written map[string]bool, others []Key, err error) {
	written = make(map[string]bool)
	from, keyFrom := 0, 0
	for n, row := range b.read {
		expected, key := b.expected[from:row.end:row.end], b.rowKeys[keyFrom:row.keyEnd]
		from, keyFrom = row.end, row.keyEnd
		var want transform.Expectation
		for rest := expected; len(rest) > 0; {
			rest = transform.ParseExpectation(&want, rest)
			written[string(appendLocation(nil, want.Location()))] = true
		}
		i, known := b.index[string(key)]
		if !known {
			other, _ := parseKey(key, len(b.columns))
			others = append(others, other)
			continue
		}
		b.found[i] = true
		if b.dirty[i] {
			continue
		}
		if fault, failed := b.faults[n]; failed {
			b.failed[i] = true
			err := e.host.KeepLetter(b.table, fault.key, fault.err)
			if err != nil || b.table.Fault != nil {
				return nil, nil, err
			}
			continue
		}
		e.clearLetter(b.table, b.keys[i], expected)
		if err := repair(ctx, e, expected); err != nil {
			return nil, nil, err
		}
		if _, err := e.host.FlushIfLarge(ctx, n, unitRows); err != nil {
			return nil, nil, err
		}
	}
	return written, others, e.host.Flush(ctx)
}

// removeStale removes what the sink holds at the locations that the batch's keys determine and no
// row writes.
func (b *keyBatch) removeStale(ctx context.Context, e *Engine, written map[string]bool) error {
	plan := b.table.Plan
	layout := binlog.NewTextLayout(plan.Table())
	cells := make([][]byte, len(plan.Table().Columns))
	var row binlog.Row
	for i, key := range b.keys[:b.handled] {
		if b.dirty[i] || b.failed[i] {
			continue
		}
		if !b.found[i] { // the row is gone
			e.clearLetter(b.table, key, nil)
		}
		if query.CheckValues(plan.Table(), b.columns, key) != nil {
			continue
		}
		for j, k := range b.columns {
			cells[k] = key[j]
		}
		row.SetText(layout, cells)
		var stale []transform.Location
		// The other columns are NULL, so Locations visits only locations that the key determines.
		err := plan.Locations(&row, func(at transform.Location) {
			if !written[string(appendLocation(nil, at))] {
				stale = append(stale, transform.Location{
					Output: at.Output, Key: append([]byte(nil), at.Key...),
					Member: cloneText(at.Member), Row: cloneText(at.Row),
				})
			}
		})
		if err != nil {
			return err
		}
		for _, at := range stale {
			kind := plan.OutputKind(at.Output)
			held, err := sink.HoldsLocation(ctx, e.host.Sink(), kind, at)
			if err != nil {
				return err
			}
			if held {
				plan.Remove(e.host.Commands(), at)
			}
		}
	}
	return nil
}

// cloneText copies a text of a location. The copy of nil is nil: the location has no such text.
func cloneText(text []byte) []byte {
	if text == nil {
		return nil
	}
	return append([]byte{}, text...)
}

// finish removes the blocks of the batch. Keys that were not looked up are stored as the first
// block.
func (b *keyBatch) finish(e *Engine) {
	t := b.table
	k, s := t.Keys, &t.keys
	if k.Whole != "" { // addKeys has just found the set too large
		return
	}
	s.limit = min(2*b.handled, e.blockKeys)
	for i, key := range b.keys[:b.handled] {
		b.key = appendKey(b.key[:0], key)
		n := int64(b.counts[i])
		k.Count, k.Bytes = k.Count-n, k.Bytes-n*int64(len(b.key))
		s.untrackKey(b.key, b.counts[i])
		t.markHandled(b.key)
	}
	k.Rows += int64(b.handled)
	k.Again = k.Again || k.Sweep != nil
	var rest []byte
	for i := b.handled; i < len(b.keys); i++ {
		for range b.counts[i] {
			rest = appendKey(rest, b.keys[i])
		}
	}
	if rest != nil {
		t.removeBlocks(b.next - 1)
		e.host.SetKeyBlock(t, b.next-1, rest)
		return
	}
	t.removeBlocks(b.next)
	if k.First < k.Next {
		return
	}
	switch {
	case k.Sweep != nil:
	case !s.located:
		t.beginKeySweep()
	default:
		e.endKeys(t)
	}
}

// endKeys removes a keys job that is done.
func (e *Engine) endKeys(t *Table) {
	e.log.Info().Str("table", t.FullName()).Int("job", t.Keys.ID).Int64("keys", t.Keys.Rows).
		Msg("all rows of a keys job were read")
	t.dropKeys()
}
