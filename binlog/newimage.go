package binlog

import (
	"errors"
	"fmt"
)

// partialJSON is the bit of an image's value options that is set if JSON columns may be logged as
// changes of their old values.
const partialJSON = 1

// errNoDocument is the cause of an update whose old image has no value to apply changes to.
var errNoDocument = &RereadError{
	Cause: "the update was logged as changes of a JSON value, " +
		"and the old image has no such value",
	Setting: "set binlog_row_image=FULL",
}

var errEndsEarly = errors.New("the row image ends early")

// decodeOnto points r at the new image at images[start:] of an update. The image has the values
// that the update has changed: a column that present lacks has the value of before, whose image is
// at the start of images. decodeOnto returns where the new image ends.
//
// With isPartial, the image begins with its value options. If these allow it, a bit for each JSON
// column of the table follows. The bit is set if the value is a list of changes of the old value
// (jsonpatch.go).
func (r *Row) decodeOnto(
	before *Row, present, images []byte, start int, isPartial bool,
) (end int, err error) {
	l := before.layout
	if len(present) != (len(l.columns)+7)/8 {
		_, err := l.checkPresent(present)
		return 0, err
	}
	if err := r.begin(l, images); err != nil {
		return 0, err
	}
	r.patched, r.patches = r.patched[:0], r.patches[:0]
	pos := start
	var changed []byte
	if isPartial {
		if changed, pos, err = r.readOptions(start); err != nil {
			return 0, fmt.Errorf("decode row of %s: %w", l.table.FullName(), err)
		}
	}
	nulls, pos, err := r.readNulls(present, pos)
	if err != nil {
		return 0, err
	}
	if end, err = r.decodeValues(nulls, pos); err != nil {
		return 0, err
	}
	if end == start {
		return 0, fmt.Errorf("decode row of %s: the row image is empty", l.table.FullName())
	}
	r.size = end - start
	return end, r.complete(before, present, changed)
}

// readOptions reads the value options at pos. If JSON columns may be logged as changes, a bitmap
// follows with a bit for each of them; readOptions returns it as changed. after is the offset after
// options and bitmap.
func (r *Row) readOptions(pos int) (changed []byte, after int, err error) {
	options, rest, ok := lengthEncodedInt(r.image[pos:])
	if !ok {
		return nil, 0, errEndsEarly
	}
	if options&^partialJSON != 0 {
		return nil, 0, fmt.Errorf(
			"binlog_row_value_options has the unknown bits %#x; please report it", options)
	}
	after = len(r.image) - len(rest)
	if options == 0 {
		return nil, after, nil
	}
	columns := 0
	for i := range r.layout.columns {
		if r.layout.columns[i].encoding == encodingJSON {
			columns++
		}
	}
	size := (columns + 7) / 8
	if size > len(rest) {
		return nil, 0, errEndsEarly
	}
	return rest[:size], after + size, nil
}

// complete sets the spans of the columns whose values depend on the old row: those that present
// lacks, and the JSON columns that were logged as changes. changed has a bit for each JSON column,
// or is nil.
func (r *Row) complete(before *Row, present, changed []byte) error {
	l := r.layout
	nextJSON := 0 // index of the next JSON column
	for i := range l.columns {
		isChange := false
		if changed != nil && l.columns[i].encoding == encodingJSON {
			isChange = bitAt(changed, nextJSON)
			nextJSON++
		}
		switch column := &l.table.Columns[i]; {
		case !bitAt(present, i):
			// A generated column changes with other columns, and is not always logged then.
			if column.Generated && !column.Unread {
				return l.isMissing(i)
			}
			r.spans[i] = before.spans[i]
		case isChange && r.spans[i] != nullSpan:
			var err error
			if r.spans[i], err = r.applyChanges(before.spans[i], r.spans[i]); err != nil {
				return fmt.Errorf("decode row of %s: column %s: %w", l.table.FullName(),
					column.Name, err)
			}
		}
	}
	return nil
}

// applyChanges returns the value of a JSON column whose old value is old, after the changes at a
// range of the image.
func (r *Row) applyChanges(old, changes span) (span, error) {
	if changes.start == changes.end {
		return old, nil
	}
	if old == nullSpan {
		return span{}, errNoDocument
	}
	start := len(r.patched)
	patched, err := appendPatchedJSON(r.patched, r.image, old, changes)
	if err != nil {
		return span{}, err
	}
	if uint64(len(patched)) >= outsideImage {
		return span{}, errJSON
	}
	r.patched = patched
	r.patches = append(r.patches, span{uint32(start), uint32(len(patched))})
	return span{outsideImage, uint32(len(r.patches) - 1)}, nil
}

// patch returns the value of a span that lies outside the image.
func (r *Row) patch(s span) []byte {
	if s == nullSpan {
		return nil
	}
	p := r.patches[s.end]
	return r.patched[p.start:p.end:p.end]
}

// lengthEncodedInt reads an integer in the length encoding of the client/server protocol from the
// start of b. ok is false if b is too short.
func lengthEncodedInt(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] == 251 || b[0] == 255 {
		return 0, nil, false
	}
	if b[0] < 251 {
		return uint64(b[0]), b[1:], true
	}
	size := [...]int{2, 3, 8}[b[0]-252]
	if len(b) < 1+size {
		return 0, nil, false
	}
	return littleEndian(b[1 : 1+size]), b[1+size:], true
}
