package binlog

import (
	"errors"
	"fmt"
)

// partialJSON is the bit of an image's value options that says that JSON columns may be logged as
// changes of their old values.
const partialJSON = 1

// errNoDocument is the cause of an update whose old image has no value to apply changes to.
var errNoDocument = errors.New("the update was logged as changes of a JSON value, " +
	"and the old image has no such value: set binlog_row_image=FULL, and then read the table " +
	"again with rowfall backfill")

// decodeOnto points r at the new image at images[start:] of an update. The image has the values
// that the update has changed: a column that present lacks has the value of before, whose image is
// at the start of images. It returns where the new image ends.
//
// With isPartial, the image begins with its value options and, for each JSON column of the table, a
// bit that says that the value is a list of changes of the old value (jsonpatch.go).
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
	d := imageReader{row: r, before: before, present: present, pos: start}
	if isPartial {
		if err := d.readOptions(); err != nil {
			return 0, fmt.Errorf("decode row of %s: %w", l.table.FullName(), err)
		}
	}
	if err := d.readNulls(); err != nil {
		return 0, err
	}
	for i := range l.columns {
		if err := d.column(i); err != nil {
			return 0, err
		}
	}
	if d.pos == start {
		return 0, fmt.Errorf("decode row of %s: the row image is empty", l.table.FullName())
	}
	r.size = d.pos - start
	return d.pos, nil
}

// patch returns the value of a span that lies outside the image.
func (r *Row) patch(s span) []byte {
	if s == nullSpan {
		return nil
	}
	p := r.patches[s.end]
	return r.patched[p.start:p.end:p.end]
}

// imageReader decodes one new image.
type imageReader struct {
	row, before *Row
	present     []byte
	pos         int
	// nulls has a bit for each column that is present; next is the next such bit. changed has a bit
	// for each JSON column, or is nil; nextJSON is the next such bit.
	nulls, changed []byte
	next, nextJSON int
}

// readOptions reads the value options and the bits of the JSON columns.
func (d *imageReader) readOptions() error {
	image := d.row.image
	options, rest, ok := lengthEncodedInt(image[d.pos:])
	if !ok {
		return errEndsEarly
	}
	d.pos = len(image) - len(rest)
	if options&^partialJSON != 0 {
		return fmt.Errorf("binlog_row_value_options has the unknown bits %#x; please report it",
			options)
	}
	if options == 0 {
		return nil
	}
	columns := 0
	for i := range d.row.layout.columns {
		if d.row.layout.columns[i].encoding == encodingJSON {
			columns++
		}
	}
	size := (columns + 7) / 8
	if size > len(rest) {
		return errEndsEarly
	}
	d.changed = rest[:size]
	d.pos += size
	return nil
}

var errEndsEarly = errors.New("the row image ends early")

// readNulls reads the bits of the columns that are NULL.
func (d *imageReader) readNulls() error {
	n := 0
	for i := range d.row.layout.columns {
		if d.isPresent(i) {
			n++
		}
	}
	size := (n + 7) / 8
	if size > len(d.row.image)-d.pos {
		return d.row.layout.endsEarly(0)
	}
	d.nulls = d.row.image[d.pos : d.pos+size]
	d.pos += size
	return nil
}

func (d *imageReader) isPresent(i int) bool { return bitAt(d.present, i) }

func bitAt(bitmap []byte, i int) bool { return bitmap[i>>3]>>(i&7)&1 != 0 }

// column reads column i.
func (d *imageReader) column(i int) error {
	r, l := d.row, d.row.layout
	c := &l.columns[i]
	isChange := false
	if c.encoding == encodingJSON && d.changed != nil {
		isChange = bitAt(d.changed, d.nextJSON)
		d.nextJSON++
	}
	if !d.isPresent(i) {
		// A generated column changes with other columns, and is not always logged then.
		if column := &l.table.Columns[i]; column.Generated && !column.Unread {
			return l.isMissing(i)
		}
		r.spans[i] = d.before.spans[i]
		return nil
	}
	isNull := bitAt(d.nulls, d.next)
	d.next++
	if isNull {
		r.spans[i] = nullSpan
		return nil
	}
	value, err := d.value(i)
	if err != nil {
		return err
	}
	if !isChange {
		r.spans[i] = value
		return nil
	}
	if r.spans[i], err = d.applyChanges(i, value); err != nil {
		return fmt.Errorf("decode row of %s: column %s: %w", l.table.FullName(),
			l.table.Columns[i].Name, err)
	}
	return nil
}

// value returns the range of column i's value, or of its changes, which have a length prefix as the
// value has.
func (d *imageReader) value(i int) (span, error) {
	l, image := d.row.layout, d.row.image
	c := &l.columns[i]
	size := c.size
	if p := int(c.prefix); p > 0 {
		if p > len(image)-d.pos {
			return span{}, l.endsEarly(i)
		}
		size = int(littleEndian(image[d.pos : d.pos+p]))
		d.pos += p
		if size > c.size {
			return span{}, l.tooLong(i, size)
		}
	}
	if size > len(image)-d.pos {
		return span{}, l.endsEarly(i)
	}
	d.pos += size
	return span{uint32(d.pos - size), uint32(d.pos)}, nil
}

// applyChanges returns the value of column i after the changes at a range of the image.
func (d *imageReader) applyChanges(i int, changes span) (span, error) {
	r, old := d.row, d.before.spans[i]
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
