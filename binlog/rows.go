package binlog

import "fmt"

// Rows iterates over the row images of one rows event:
//
//	for rows.Next() { c := rows.Change(); ... }
//	if err := rows.Err(); err != nil { ... }
type Rows struct {
	layout *Layout
	change Change
	err    error

	before, after               Row
	presentBefore, presentAfter []byte
	// isPartial is set if new images may hold changes of JSON values instead of the values.
	isPartial bool
	rest      []byte
}

// Reset points the iterator at the row images of an event. before and after are the
// columns-present bitmaps of the old and the new image; an insert uses after alone, a
// delete before alone. All three slices are borrowed. binlog/events calls Reset.
func (r *Rows) Reset(l *Layout, op Op, before, after, images []byte) {
	r.layout, r.err, r.rest, r.isPartial = l, nil, images, false
	r.presentBefore, r.presentAfter = before, after
	r.change = Change{Table: l.table, Op: op}
}

// ResetPartial is Reset for a PARTIAL_UPDATE_ROWS_EVENT, an update whose new images may hold
// changes of JSON values.
func (r *Rows) ResetPartial(l *Layout, before, after, images []byte) {
	r.Reset(l, Update, before, after, images)
	r.isPartial = true
}

// Release drops the references to the event's bytes, and the memory of values that were put
// together from several parts of the event.
func (r *Rows) Release() {
	r.rest, r.presentBefore, r.presentAfter = nil, nil, nil
	r.before.image, r.after.image = nil, nil
	r.after.patched = nil
}

// Table returns the table the rows belong to.
func (r *Rows) Table() *Table { return r.layout.table }

// Op returns what happened to the rows.
func (r *Rows) Op() Op { return r.change.Op }

// Next advances to the next row and reports whether there is one.
func (r *Rows) Next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	images := r.rest // of this row and the rows after it
	if r.change.Op != Insert {
		r.change.Before = &r.before
		if !r.decode(&r.before, r.presentBefore) {
			return false
		}
	}
	if r.change.Op == Delete {
		return true
	}
	r.change.After = &r.after
	if r.change.Op == Update {
		_, missing := r.layout.checkPresent(r.presentAfter)
		if r.isPartial || missing != nil {
			return r.decodeOnto(images)
		}
	}
	return r.decode(&r.after, r.presentAfter)
}

func (r *Rows) decode(row *Row, present []byte) bool {
	n, err := row.DecodeImage(r.layout, present, r.rest)
	if err == nil && n == 0 {
		err = fmt.Errorf("decode row of %s: the row image is empty", r.layout.table.FullName())
	}
	if err != nil {
		return r.fail(err)
	}
	r.rest = r.rest[n:]
	return true
}

// decodeOnto decodes a new image that needs the old one before it. images begins with the old
// image.
func (r *Rows) decodeOnto(images []byte) bool {
	start := len(images) - len(r.rest)
	end, err := r.after.decodeOnto(&r.before, r.presentAfter, images, start, r.isPartial)
	if err != nil {
		return r.fail(err)
	}
	r.rest = images[end:]
	return true
}

// fail ends the iteration. The event's checksum was right, so a retry would read the same bytes.
func (r *Rows) fail(err error) bool {
	r.err = &RefusedError{Table: r.layout.table.FullName(), Err: err}
	return false
}

// Change returns the current row; it is valid until the next call of Next.
func (r *Rows) Change() *Change { return &r.change }

// Err returns the error that ended the iteration, if any.
func (r *Rows) Err() error { return r.err }
