package transform

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// reservedPrefix begins the keys that hold Rowfall's own state. No key of a row may begin with it.
const reservedPrefix = "rowfall:"

// output is a compiled entry of a table's write list. It is immutable; clones of a plan share it.
type output struct {
	kind     OutputKind
	path     string // YAML path, for messages
	line     int
	whenNull WhenNull
	// fields is the whole row; every output of a plan has the same.
	fields *fields
	// key is the key's template. member is the template of a shared hash's field, or of the member
	// of a set or sorted set; nil means that the row owns its key.
	key, member *template.Template
	// value is the template of a string or of a shared hash's field; nil means the row as JSON.
	value *template.Template
	score *expression.Program // of a sorted set
	// locationColumns are the columns of key and member, contentColumns those of the content.
	locationColumns, contentColumns []int
	// checkReserved is set if a key could begin with reservedPrefix.
	checkReserved bool
}

// location is where an output writes a row. member is nil if the row owns the key.
type location struct {
	key, member []byte
}

func (l location) equal(o location) bool {
	return bytes.Equal(l.key, o.key) && bytes.Equal(l.member, o.member)
}

// image is one side of a change as an output sees it.
type image struct {
	location
	// present is set if the output writes the row at location. It is not set if there is no row, or
	// if the output skips the row (when_null: skip).
	present bool
}

// append appends the commands that a change makes of this output: first those that remove the old
// row, then those that write the new one.
func (o *output) append(u *Commands, s *scratch, ch *rowChange) error {
	var oldImage, newImage image
	if ch.new != nil {
		if err := o.locateNew(s, ch.new, &newImage); err != nil {
			return err
		}
	}
	if ch.old != nil {
		if newImage.present && ch.sameColumns(o.locationColumns) {
			oldImage = newImage
		} else if err := o.locateOld(s, ch.old, &oldImage); err != nil {
			return err
		}
	}
	moved := oldImage.present && newImage.present && !oldImage.equal(newImage.location)
	if oldImage.present && (!newImage.present || moved) {
		o.remove(u, oldImage.location)
	}
	switch {
	case !newImage.present:
		return nil
	case ch.mode == Delta && oldImage.present && !moved:
		return o.update(u, s, ch, newImage.location)
	}
	return o.put(u, s, ch.new, newImage.location, ch.mode == FullRow)
}

// replace appends the commands of a change in mode Replace. r is the row to write; nil if there is
// none, or if `where` rejects it.
func (o *output) replace(u *Commands, s *scratch, c *binlog.Change, r *binlog.Row) error {
	var removed location
	for _, old := range [...]*binlog.Row{c.Before, c.After} {
		var at image
		if old == nil {
			continue
		}
		if err := o.locateOld(s, old, &at); err != nil {
			return err
		}
		if !at.present || removed.key != nil && removed.equal(at.location) {
			continue
		}
		o.remove(u, at.location)
		removed = location{bytes.Clone(at.key), bytes.Clone(at.member)}
	}
	if r == nil {
		return nil
	}
	var at image
	if err := o.locateNew(s, r, &at); err != nil || !at.present {
		return err
	}
	return o.put(u, s, r, at.location, false)
}

var (
	errNullKey = errors.New("is NULL, and a key, field or member needs it; " +
		"set when_null: skip to omit such rows")
	errNullScore = errors.New("the score is NULL or a date with a zero year, month or day; " +
		"set when_null: skip to omit such rows")
)

// locateNew fills in the image of the row after a change. If the output has a score, locateNew
// leaves the score in s.score.
func (o *output) locateNew(s *scratch, r *binlog.Row, i *image) error {
	if c := o.nullColumn(r); c >= 0 {
		if o.whenNull == NullSkip {
			return nil
		}
		return &template.ColumnError{Column: c, Err: errNullKey}
	}
	if err := o.locate(&s.newLocation, r, &i.location); err != nil {
		return err
	}
	if o.isReserved(i.key) {
		return fmt.Errorf("the key %.80q begins with %s, which is reserved for Rowfall; "+
			"choose another prefix", i.key, reservedPrefix)
	}
	if o.score == nil {
		i.present = true
		return nil
	}
	score, null, err := o.score.AppendScore(s.score[:0], &s.expression, r)
	s.score = score
	if errors.Is(err, expression.ErrNoScore) {
		null, err = true, nil
	}
	if null && o.whenNull == NullError {
		return errNullScore
	}
	i.present = !null
	return err
}

// locateOld fills in the image of the row before a change. A row that locateNew would reject was
// never written, so it is not an error here. The score is not computed: a row that was left out
// for its score counts as present, and removing it has no effect.
func (o *output) locateOld(s *scratch, r *binlog.Row, i *image) error {
	if o.nullColumn(r) >= 0 {
		return nil
	}
	err := o.locate(&s.oldLocation, r, &i.location)
	if errors.Is(err, errTooLong) || errors.As(err, new(*template.FilterError)) {
		return nil
	}
	i.present = !o.isReserved(i.key)
	return err
}

// nullColumn returns the first column of the location that is NULL in r, or -1.
func (o *output) nullColumn(r *binlog.Row) int {
	for _, c := range o.locationColumns {
		if r.IsNull(c) {
			return c
		}
	}
	return -1
}

func (o *output) isReserved(key []byte) bool {
	return o.checkReserved && bytes.HasPrefix(key, []byte(reservedPrefix))
}

// locate renders the location of row r into buf. The location is valid until buf's next use.
func (o *output) locate(buf *[]byte, r *binlog.Row, at *location) error {
	b, err := o.key.Append((*buf)[:0], r)
	n := len(b)
	if err == nil && o.member != nil {
		b, err = o.member.Append(b, r)
		at.member = b[n:]
	}
	at.key = b[:n]
	*buf = b
	if len(at.key) > resp.MaxBulk || len(at.member) > resp.MaxBulk {
		return cmp.Or(err, errTooLong)
	}
	return err
}

// remove appends the command that removes the row at a location.
func (o *output) remove(u *Commands, at location) {
	verb := verbDel
	switch {
	case o.kind == Set:
		verb = verbSRem
	case o.kind == SortedSet:
		verb = verbZRem
	case o.member != nil:
		verb = verbHDel
	}
	if o.member == nil {
		u.startCommand(2, verb)
		u.appendBulk(at.key)
		return
	}
	u.startCommand(3, verb)
	u.appendBulk(at.key)
	u.appendBulk(at.member)
}

// update appends the commands of a delta for a row that stays at its location.
func (o *output) update(u *Commands, s *scratch, ch *rowChange, at location) error {
	switch {
	case o.kind == Hash && o.member == nil:
		return o.fields.appendHashDelta(u, s, ch, at.key)
	case ch.sameColumns(o.contentColumns):
		return nil
	}
	return o.put(u, s, ch.new, at, true)
}

// put appends the commands that write row r at a location. mayExist is set if the location may hold
// an older version of the row.
func (o *output) put(u *Commands, s *scratch, r *binlog.Row, at location, mayExist bool) error {
	switch {
	case o.kind == Set:
		u.startCommand(3, verbSAdd)
		u.appendBulk(at.key)
		u.appendBulk(at.member)
		return nil
	case o.kind == SortedSet:
		u.startCommand(4, verbZAdd)
		u.appendBulk(at.key)
		u.appendBulk(s.score)
		u.appendBulk(at.member)
		return nil
	case o.kind == Hash && o.member == nil:
		return o.fields.appendHash(u, s, r, at.key, mayExist)
	}
	if o.value != nil {
		// A value that is one column and nothing else is absent if the column is NULL.
		if c := o.value.SingleColumn(); c >= 0 && r.IsNull(c) {
			if mayExist {
				o.remove(u, at)
			}
			return nil
		}
	}
	if o.member == nil {
		u.startCommand(3, verbSet)
		u.appendBulk(at.key)
	} else {
		u.startCommand(4, verbHSet)
		u.appendBulk(at.key)
		u.appendBulk(at.member)
	}
	return o.appendContent(u, s, r)
}

// appendContent appends the value, or the row as JSON, as a bulk string.
func (o *output) appendContent(u *Commands, s *scratch, r *binlog.Row) (err error) {
	digits := 2
	if o.value == nil {
		digits = 3
	}
	start := u.startBulk(digits)
	if o.value == nil {
		err = o.fields.appendJSON(u, s, r)
	} else {
		u.Bytes, err = o.value.Append(u.Bytes, r)
	}
	if err != nil {
		return err
	}
	return u.finishBulk(start, digits)
}
