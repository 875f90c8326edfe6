package transform

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// reservedPrefix begins the keys that hold Rowfall's own state. No key of a row may begin with it.
const reservedPrefix = "rowfall:"

// writer writes the rows of one output at the locations that the output has found for them. Each
// kind of output has a writer, in a file named after the kind. A writer is immutable; clones of a
// plan share it.
type writer interface {
	// put appends the commands that write the new row of a change at a location. mayExist is set if
	// the location may hold an older version of the row.
	// isWritten is not set if the row has no value, so that put only removes an older version.
	put(
		u *Commands, s *scratch, ch *rowChange, at location, mayExist bool,
	) (isWritten bool, err error)
	// change appends the commands of mode Delta for a row that stays at its location.
	change(u *Commands, s *scratch, ch *rowChange, at location) error
	// remove appends the commands that remove a row from a location. r is the row; it is nil if
	// only the location is known.
	remove(u *Commands, s *scratch, r *binlog.Row, at location)
	// expect fills in what the sink must hold of an inserted row. args are the words of the first
	// command that put appends for the row. The words of a deferred command are a name, its key,
	// its member and its row.
	expect(args [][]byte, e *Expectation)
}

// emitter is the writer of a kind that acts once for each change, such as an entry in a log. What
// it has written belongs to no row: it is never changed, removed or compared.
type emitter interface {
	// emit appends the commands of a change. op is the change as seen through `where`, row is the
	// new row, or the old row of a Delete, and key is the key that row leads to.
	emit(
		u *Commands, s *scratch, ch *rowChange, op binlog.Op, row *binlog.Row, key []byte,
	) error
}

// output is a compiled entry of a table's write list: it finds the location of each row, where its
// writer writes. It is immutable; clones of a plan share it.
type output struct {
	kind     OutputKind
	path     string // YAML path, for messages
	line     int
	whenNull WhenNull
	// Either writer or emitter is set.
	writer  writer
	emitter emitter
	// snapshot is set if the emitter also acts on the rows of an initial load.
	snapshot bool
	// condition accepts the changes on which the emitter acts; nil accepts every change.
	condition *changeCondition
	// key is the key's template. member is the template of a shared hash's field, or of the member
	// of a set or sorted set; nil means that the row owns its key.
	key, member *template.Template
	// row is the template of the text that identifies a row among those that yield one member; nil
	// if the output is not shared.
	row *template.Template
	// keySetting and memberSetting are the names of their settings in the file, for messages.
	keySetting, memberSetting string

	view   *columns.View       // through which the columns of the location are read
	score  *expression.Program // of a sorted set
	expiry *expiry             // nil if keys and fields do not expire
	// locationColumns are the columns of key, member and row.
	locationColumns []int
	// writesContent is set if the commands contain the values of most columns.
	writesContent bool
	// checkReserved is set if a key could begin with reservedPrefix.
	checkReserved bool
}

// location is where an output writes a row. member is nil if the row owns the key. row identifies
// the row among those that yield the member; nil if the output is not shared.
type location struct {
	key, member, row []byte
}

func (l location) equal(o location) bool {
	return bytes.Equal(l.key, o.key) && bytes.Equal(l.member, o.member) &&
		bytes.Equal(l.row, o.row)
}

// image is one side of a change as an output sees it.
type image struct {
	location
	// present is set if the output writes the row at location. It is not set if there is no row, or
	// if the output skips the row (when_null: skip).
	present bool
}

// append appends the commands that a change makes of this output: first those that remove the old
// row, then those that write the new one. In a shared output the new row comes first, so that a
// member which both rows yield stays.
func (o *output) append(u *Commands, s *scratch, ch *rowChange) error {
	switch {
	case o.emitter != nil:
		return o.emit(u, s, ch)
	case ch.mode == Replace && o.row != nil:
		return o.replaceShared(u, s, ch)
	case ch.mode == Replace:
		return o.replace(u, s, ch)
	}
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
	leaves := oldImage.present && (!newImage.present || moved)
	if leaves && o.row != nil {
		return o.moveShared(u, s, ch, &oldImage, &newImage)
	}
	if leaves {
		o.remove(u, s, ch.old, oldImage.location)
	}
	mayExist := ch.mode == FullRow || oldImage.present && !moved
	switch {
	case !newImage.present:
		return nil
	case ch.mode == Delta && mayExist && o.expiry == nil: // an expired row is not there any more
		return o.writer.change(u, s, ch, newImage.location)
	}
	return o.put(u, s, ch, newImage.location, mayExist)
}

// replace appends the commands of a change in mode Replace. It removes what is at the locations of
// both images, whether `where` accepts them or not.
func (o *output) replace(u *Commands, s *scratch, ch *rowChange) error {
	var removed location
	for _, r := range [...]*binlog.Row{ch.Before, ch.After} {
		var at image
		if r == nil {
			continue
		}
		if err := o.locateOld(s, r, &at); err != nil {
			return err
		}
		if !at.present || removed.key != nil && removed.equal(at.location) {
			continue
		}
		o.remove(u, s, r, at.location)
		removed = location{key: bytes.Clone(at.key), member: bytes.Clone(at.member)}
	}
	if ch.new == nil {
		return nil
	}
	var at image
	if err := o.locateNew(s, ch.new, &at); err != nil || !at.present {
		return err
	}
	return o.put(u, s, ch, at.location, false)
}

// emit appends the commands that a change makes of an output that acts once per change. A change
// that the sink may have seen before (ch.Replay) makes none. A row that was read (ch.Load) did not
// change, so it makes none unless the output asks for that.
func (o *output) emit(u *Commands, s *scratch, ch *rowChange) error {
	before := u.Mark()
	err := o.emitOnce(u, s, ch)
	if err == nil || ch.mode != Replace || ch.accepted == nil {
		return err
	}
	// Is the old row the fault? It may be one that could not be applied, so that its change had no
	// entry. Then this change is an insertion, or makes no entry.
	u.Truncate(before)
	old := ch.accepted
	ch.accepted = nil
	err = o.emitOnce(u, s, ch)
	ch.accepted = old
	return err
}

func (o *output) emitOnce(u *Commands, s *scratch, ch *rowChange) error {
	op, ok := ch.visibleOp()
	if !ok || ch.Replay || ch.Load && !o.snapshot {
		return nil
	}
	row := ch.new
	if op == binlog.Delete {
		row = ch.accepted
	}
	if ok, err := o.condition.accepts(s, row, ch.accepted); err != nil || !ok {
		return inSetting("where", err)
	}
	var at image
	if err := o.locateNew(s, row, &at); err != nil || !at.present {
		return err
	}
	return o.emitter.emit(u, s, ch, op, row, at.key)
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
		return inSetting(o.settingOf(c), &template.ColumnError{Column: c, Err: errNullKey})
	}
	if err := o.locate(&s.newLocation, r, &i.location); err != nil {
		return err
	}
	if o.isReserved(i.key) {
		return inSetting(o.keySetting, fmt.Errorf("the key %.80q begins with %s, "+
			"which is reserved for Rowfall; choose another prefix", i.key, reservedPrefix))
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
		err = errNullScore
	}
	i.present = !null
	return inSetting("score", err)
}

// settingOf returns the name of the setting that has a column of the location.
func (o *output) settingOf(column int) string {
	switch {
	case slices.Contains(o.key.Columns(nil), column):
		return o.keySetting
	case o.member != nil && slices.Contains(o.member.Columns(nil), column):
		return o.memberSetting
	}
	return "" // of a shared output's row
}

// locateOld fills in the image of the row before a change. A row that locateNew would reject was
// never written, so it is not an error here. The score is not computed: a row that was left out
// for its score counts as present, and removing it has no effect.
func (o *output) locateOld(s *scratch, r *binlog.Row, i *image) error {
	if o.nullColumn(r) >= 0 {
		return nil
	}
	err := o.locate(&s.oldLocation, r, &i.location)
	if err != nil && (errors.Is(err, errTooLong) || errors.As(err, new(*template.FilterError)) ||
		errors.As(err, new(*columns.TooLongError))) {
		return nil
	}
	i.present = !o.isReserved(i.key)
	return err
}

// nullColumn returns the first column of the location that is NULL in r, or -1.
func (o *output) nullColumn(r *binlog.Row) int {
	for _, c := range o.locationColumns {
		if o.view.IsNull(r, c) {
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
	err = inSetting(o.keySetting, err)
	keyEnd := len(b)
	if err == nil && o.member != nil {
		b, err = o.member.Append(b, r)
		err = inSetting(o.memberSetting, err)
	}
	memberEnd := len(b)
	if err == nil && o.row != nil {
		b, err = o.row.Append(b, r)
		at.row = b[memberEnd:]
	}
	at.key = b[:keyEnd:keyEnd]
	if o.member != nil {
		at.member = b[keyEnd:memberEnd:memberEnd]
	}
	*buf = b
	if len(at.key) > resp.MaxBulk || len(at.member) > resp.MaxBulk ||
		o.row != nil && len(b) > resp.MaxBulk-maxReferenceOverhead {
		return cmp.Or(err, errTooLong)
	}
	return err
}

// appendRemoval appends a command that removes a key, or a member of a key.
func appendRemoval(u *Commands, verb string, at location) {
	n := 2
	if at.member != nil {
		n++
	}
	u.startCommand(n, verb)
	u.appendBulk(at.key)
	if at.member != nil {
		u.appendBulk(at.member)
	}
}
