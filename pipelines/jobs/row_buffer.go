package jobs

import (
	"context"
	"maps"

	"rowfall/binlog"
	"rowfall/transform"
)

// rowBuffer holds rows of a table between their SELECT and the sink.
type rowBuffer struct {
	plan *transform.Plan // a clone for the worker: two goroutines cannot share a plan
	// compare means that the sink may hold the rows: what differs is written.
	compare bool
	now     func() int64 // the sink's clock, see Host

	read []readRow
	keys []byte
	// unit holds the commands of all rows, in order; or with compare their expectations, as bytes.
	unit transform.Commands
	// faults holds the rows that could not be turned into commands, by their indexes in read.
	faults map[int]rowFault
	// hasLetters is set if the table had dead letters before the SELECT. Then rowKeys holds the key
	// of each row.
	hasLetters bool
	rowKeys    []Key

	change binlog.Change // used by add; a local variable would be allocated for each row
}

// readRow is a row of a buffer: the ends of its key in keys, and of its commands or expectations in
// unit.
type readRow struct {
	keyEnd int
	end    transform.Mark
}

// reset removes all rows.
func (b *rowBuffer) reset() {
	b.read, b.keys = b.read[:0], b.keys[:0]
	b.faults, b.rowKeys = nil, nil
	b.unit.Reset()
}

// truncate removes all rows but the first n.
func (b *rowBuffer) truncate(n int) {
	if n == 0 {
		b.reset()
		return
	}
	last := b.read[n-1]
	b.read, b.keys = b.read[:n], b.keys[:last.keyEnd]
	if b.hasLetters {
		b.rowKeys = b.rowKeys[:n]
	}
	maps.DeleteFunc(b.faults, func(row int, _ rowFault) bool { return row >= n })
	b.unit.Truncate(last.end)
}

// size returns the memory of the rows.
func (b *rowBuffer) size() int { return b.unit.Size() + len(b.keys) }

// add appends a row.
func (b *rowBuffer) add(row *binlog.Row) error {
	var err error
	if b.keys, err = b.plan.AppendRowKey(b.keys, row); err != nil {
		return err
	}
	if b.hasLetters {
		key, err := keyOfRow(row, Order(b.plan.Table(), b.plan))
		if err != nil {
			return err
		}
		b.rowKeys = append(b.rowKeys, key)
	}
	before := b.unit.Mark()
	if b.compare {
		err = b.plan.Expect(row, func(e transform.Expectation) error {
			b.unit.Bytes = e.AppendTo(b.unit.Bytes)
			return nil
		})
	} else {
		b.change = binlog.Change{Table: b.plan.Table(), Op: binlog.Insert, After: row}
		origin := transform.Origin{Load: true}
		if b.plan.Expires() {
			origin.Now = b.now() * 1000
		}
		err = b.plan.Append(&b.unit, &b.change, transform.FullRow, origin)
		b.change.After = nil
	}
	if err != nil {
		fault, err := rowFaultOf(err, row, Order(b.plan.Table(), b.plan))
		if err != nil {
			return err
		}
		b.unit.Truncate(before)
		if b.faults == nil {
			b.faults = make(map[int]rowFault)
		}
		b.faults[len(b.read)] = fault
	}
	b.read = append(b.read, readRow{len(b.keys), b.unit.Mark()})
	return nil
}

// isOneUnit reports whether the rows must be written in one unit. That is so if they are added to a
// list or a stream: only the last unit of a chunk stores that its rows are written, so after a
// crash between two units rows would be added twice.
func (b *rowBuffer) isOneUnit() bool { return !b.compare && b.plan.ActsOnLoad() }

// eachKey iterates over the keys of the rows.
func (b *rowBuffer) eachKey(yield func(key []byte) bool) {
	from := 0
	for _, row := range b.read {
		if !yield(b.keys[from:row.keyEnd]) {
			return
		}
		from = row.keyEnd
	}
}

// pieceBytes is the most bytes of rows that are put into the unit at once, unless one row is
// larger. A unit may exceed its limit of bytes by this number.
const pieceBytes = 32 << 10

// write writes the rows of table t that are not dirty, in units. The last rows stay in the unit. If
// the rows need too many dead letters, the table is in quarantine afterwards, with t.Fault set.
func (b *rowBuffer) write(ctx context.Context, e *Engine, t *Table, dirty *dirtyKeys) error {
	if err := e.host.Flush(ctx); err != nil {
		return err
	}
	isOneUnit := b.isOneUnit()
	inUnit := 0
	for i := 0; i < len(b.read); {
		n := b.cleanRows(i, dirty, max(1, unitRows-inUnit))
		if n == 0 {
			i++
			continue
		}
		from, to := b.startOf(i).end, b.read[i+n-1].end
		if err := b.writeLetter(e, t, i, from, to); err != nil || t.Fault != nil {
			return err
		}
		i, inUnit = i+n, inUnit+n
		if err := b.writeRows(ctx, e, from, to, i == len(b.read)); err != nil {
			return err
		}
		if isOneUnit {
			continue
		}
		flushed, err := e.host.FlushIfLarge(ctx, inUnit, unitRows)
		if err != nil {
			return err
		}
		if flushed {
			inUnit = 0
		}
	}
	return nil
}

// startOf returns where the key and the commands of a row begin: the ends of the row before.
func (b *rowBuffer) startOf(row int) readRow {
	if row == 0 {
		return readRow{}
	}
	return b.read[row-1]
}

// cleanRows returns how many rows from the given one on are not dirty and are written together, at
// most `most`. The result is 0 if the given row is dirty. Otherwise the result is 1 if each row is
// compared, or may have a letter.
func (b *rowBuffer) cleanRows(row int, dirty *dirtyKeys, most int) int {
	if b.compare || b.hasLetters || len(b.faults) > 0 {
		most = 1
	}
	rows := b.read[row:]
	rows = rows[:min(len(rows), most)]
	start := b.startOf(row)
	key := start.keyEnd
	for i := range rows {
		r := &rows[i]
		isDirty := !dirty.isEmpty() && dirty.contains(b.keys[key:r.keyEnd])
		if isDirty || i > 0 && r.end.Bytes-start.end.Bytes > pieceBytes {
			return i
		}
		key = r.keyEnd
	}
	return len(rows)
}

// writeLetter keeps a letter of a row that could not be turned into commands, or clears the letter
// of a row that is written next.
func (b *rowBuffer) writeLetter(e *Engine, t *Table, row int, from, to transform.Mark) error {
	if fault, ok := b.faults[row]; ok {
		return e.host.KeepLetter(t, fault.key, fault.err)
	}
	if !b.hasLetters {
		return nil
	}
	var expected []byte
	if b.compare {
		expected = b.unit.Bytes[from.Bytes:to.Bytes:to.Bytes]
	}
	e.clearLetter(t, b.rowKeys[row], expected)
	return nil
}

// writeRows puts the rows between two marks of the buffer into the host's unit. With compare there
// must be one row. isLast means that the buffer is not needed afterwards.
func (b *rowBuffer) writeRows(
	ctx context.Context, e *Engine, from, to transform.Mark, isLast bool,
) error {
	u := e.host.Commands()
	const huge = 16 << 20
	switch size := to.Bytes - from.Bytes; {
	case b.compare:
		return repair(ctx, e, b.unit.Bytes[from.Bytes:to.Bytes:to.Bytes])
	case isLast && size > huge:
		u.MoveRange(&b.unit, from, to)
	default:
		u.AppendRange(&b.unit, from, to)
	}
	return nil
}
