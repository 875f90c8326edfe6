package binlog

import (
	"fmt"
	"math"
	"math/bits"
)

// span is the range of a value in its image, without the length prefix. If start is outsideImage,
// the value is not in the image: end is its index in Row.patches, or outsideImage for a NULL.
type span struct{ start, end uint32 }

const outsideImage = math.MaxUint32

// nullSpan marks a NULL.
var nullSpan = span{start: outsideImage, end: outsideImage}

// DecodeImage points r at the row image at the start of image; present is the event's
// columns-present bitmap. It returns the image's length in bytes. A column that is not present is
// an error, unless it is a generated column whose values are not read: such a column is then NULL.
// With binlog_row_image=FULL, MySQL logs every column, virtual generated columns included. MariaDB
// 11.8.9 leaves generated columns out of the images of most statements.
func (r *Row) DecodeImage(l *Layout, present, image []byte) (int, error) {
	isWhole, err := l.checkPresent(present)
	if err != nil {
		return 0, err
	}
	if err := r.begin(l, image); err != nil {
		return 0, err
	}
	if !isWhole {
		nulls, pos, err := r.readNulls(present, 0)
		if err != nil {
			return 0, err
		}
		return r.decodeValues(nulls, pos)
	}
	pos := (len(l.columns) + 7) / 8
	if pos > len(image) {
		return 0, l.endsEarly(0)
	}
	return r.decodeValues(image[:pos], pos)
}

// begin prepares r for the spans of an image.
func (r *Row) begin(l *Layout, image []byte) error {
	if uint64(len(image)) >= outsideImage {
		return fmt.Errorf("decode row of %s: the image of %d bytes is too long",
			l.table.FullName(), len(image))
	}
	n := len(l.columns)
	if cap(r.spans) < n {
		r.spans = make([]span, n)
	}
	r.layout, r.image, r.cells, r.spans = l, image, nil, r.spans[:n]
	return nil
}

// readNulls reads the NULL bits at pos, of which there is one for each column that is present. It
// returns a bitmap with a bit for each column, in which columns that are not present are NULL, and
// the offset of the first value.
func (r *Row) readNulls(present []byte, pos int) (nulls []byte, values int, err error) {
	n, count := len(r.layout.columns), 0
	for i := range n {
		if bitAt(present, i) {
			count++
		}
	}
	values = pos + (count+7)/8
	if values > len(r.image) {
		return nil, 0, r.layout.endsEarly(0)
	}
	logged, next := r.image[pos:values], 0 // next is the index of the next column that is present
	r.nulls = append(r.nulls[:0], present...)
	for i := range n {
		isNull := true
		if bitAt(present, i) {
			isNull = bitAt(logged, next)
			next++
		}
		if isNull {
			r.nulls[i>>3] |= 1 << (i & 7)
		} else {
			r.nulls[i>>3] &^= 1 << (i & 7)
		}
	}
	return r.nulls, values, nil
}

func bitAt(bitmap []byte, i int) bool { return bitmap[i>>3]>>(i&7)&1 != 0 }

// decodeValues finds the values that begin at pos; nulls has a bit for each column. It returns
// where the values end.
func (r *Row) decodeValues(nulls []byte, pos int) (int, error) {
	l, image, spans := r.layout, r.image, r.spans
	for i := range spans {
		c := &l.columns[i]
		if nulls[i>>3]>>(i&7)&1 != 0 {
			spans[i] = nullSpan
			continue
		}
		size := c.size
		if p := int(c.prefix); p > 0 {
			if p > len(image)-pos {
				return 0, l.endsEarly(i)
			}
			size = int(littleEndian(image[pos : pos+p]))
			pos += p
			if size > c.size {
				return 0, l.tooLong(i, size)
			}
		}
		if size > len(image)-pos {
			return 0, l.endsEarly(i)
		}
		spans[i] = span{uint32(pos), uint32(pos + size)}
		pos += size
	}
	r.size = pos
	return pos, nil
}

// checkPresent validates a columns-present bitmap, and reports whether every column is present.
// Bits after the last column have no meaning; MySQL sets them.
func (l *Layout) checkPresent(present []byte) (isWhole bool, err error) {
	n := len(l.columns)
	if len(present) != (n+7)/8 {
		return false, fmt.Errorf(
			"decode row of %s: the event has a bitmap of %d bytes for %d columns",
			l.table.FullName(), len(present), n)
	}
	isWhole = true
	for i, b := range present {
		if left := n - 8*i; left < 8 {
			b |= 0xff << left
		}
		for missing := ^b; missing != 0; missing &= missing - 1 {
			column := 8*i + bits.TrailingZeros8(missing)
			if !l.table.Columns[column].Unread {
				return false, l.isMissing(column)
			}
			isWhole = false
		}
	}
	return isWhole, nil
}

// isMissing returns the error of column i, which an image does not hold.
func (l *Layout) isMissing(i int) error {
	name := l.table.Columns[i].Name
	if l.table.Columns[i].Generated {
		return fmt.Errorf("decode row of %s: the generated column %s is not in the row image: "+
			"some versions of MariaDB, such as 11.8.9, do not log generated columns; "+
			"exclude the column (columns: {exclude: [%s]}), or replace it by an expression "+
			"below columns.add",
			l.table.FullName(), name, name)
	}
	return &RereadError{
		Cause: fmt.Sprintf("decode row of %s: column %s is not in the row image",
			l.table.FullName(), name),
		Setting: "set binlog_row_image=FULL on the server, and in sessions that set it otherwise",
	}
}

// tooLong returns the error of column i, whose value has size bytes.
func (l *Layout) tooLong(i, size int) error {
	return fmt.Errorf("decode row of %s: column %s has %d bytes, at most %d fit its type: %s",
		l.table.FullName(), l.table.Columns[i].Name, size, l.columns[i].size, remedySchema)
}

// endsEarly returns the error of an image that ends before the value of column i.
func (l *Layout) endsEarly(i int) error {
	return fmt.Errorf("decode row of %s: the row image ends before column %s: %s",
		l.table.FullName(), l.table.Columns[i].Name, remedySchema)
}
