package transform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// Plan turns the changes of one table version into commands. A plan is not safe for concurrent use:
// give each goroutine a Clone.
//
// The calls go one way: a plan calls its outputs (output.go), an output its writer (a file for each
// kind), and a writer the fields or the content of the row; all of them append to Commands.
type Plan struct {
	table     *binlog.Table
	key       []int               // columns that identify a row
	where     *expression.Program // nil takes every row
	wherePath string              // YAML path of where, for messages
	// whereIsPrivate is set if where reads a column that is excluded. Then messages do not show
	// what the condition has computed.
	whereIsPrivate bool
	// onError and onTooLong are the reactions to a row that cannot be turned into commands, the
	// latter to one with a value that is too long.
	onError, onTooLong OnError
	// entryPath is the YAML path of the entry: tables."shop.users".
	entryPath string
	fields    *fields
	outputs   []output
	warnings  []*MappingError
	acts      bool // an output acts once per change
	// lacksFieldExpiry is set if fields expire and Mapping.FieldExpiry is empty.
	lacksFieldExpiry bool

	scratch scratch
}

// Clone returns a plan that shares what was compiled. It may be used at the same time as p.
func (p *Plan) Clone() *Plan {
	c := *p
	c.scratch = scratch{}
	return &c
}

// Table returns the table version that the plan was compiled for.
func (p *Plan) Table() *binlog.Table { return p.table }

// IsExcluded reports whether a column is withheld, so that its values never leave.
func (p *Plan) IsExcluded(column int) bool { return p.fields.view.IsExcluded(column) }

// Key returns the indexes of the columns that identify a row: key_columns, else Table.Key.
func (p *Plan) Key() []int { return p.key }

// Append appends the commands of a change to u, output by output: first those that remove the row
// from its old location, then those that write the row. On an error, a *RowError, u is unchanged.
func (p *Plan) Append(u *Commands, c *binlog.Change, m Mode, o Origin) error {
	if p.lacksFieldExpiry {
		return &RowError{
			Table: p.table.FullName(), Output: "write", Reason: errNoFieldExpiry.Error(),
		}
	}
	p.reserve(u, c)
	before := u.Mark()
	err := p.append(u, p.scratch.begin(c, m, o))
	p.scratch.release()
	if err != nil {
		u.Truncate(before)
		return err
	}
	u.Rows++
	return nil
}

// reserve makes room in u for the commands of a huge row at once. A buffer that grows with each
// value is copied many times, and meanwhile takes up to three times its size.
func (p *Plan) reserve(u *Commands, c *binlog.Change) {
	if c.After == nil {
		return
	}
	size := c.After.Size()
	if size < maxKeptScratch {
		return
	}
	outputs := 0
	for i := range p.outputs {
		if p.outputs[i].writesContent {
			outputs++
		}
	}
	const names = 64 << 10 // keys, names of fields, lengths
	if need := outputs * (size + names); cap(u.Bytes)-len(u.Bytes) < need {
		u.Bytes = slices.Grow(u.Bytes, need)
	}
}

func (p *Plan) append(u *Commands, ch *rowChange) error {
	if err := p.filter(ch); err != nil {
		return err
	}
	if err := p.compute(ch); err != nil {
		return err
	}
	row := ch.After
	if row == nil {
		row = ch.Before
	}
	for i := range p.outputs {
		o := &p.outputs[i]
		if err := o.append(u, &p.scratch, ch); err != nil {
			return p.rowError(row, o.path, err)
		}
	}
	return nil
}

// filter removes the rows that `where` rejects from the change. In mode FullRow the old row stays:
// the sink may hold it although `where` rejects it, and then the commands must remove it.
func (p *Plan) filter(ch *rowChange) error {
	if ch.old != nil && (ch.mode == Delta || p.acts && !ch.Replay) {
		ok, err := p.accepts(ch.old)
		switch {
		// In mode Replace the old row may be one that could not be applied.
		case err != nil && ch.mode != Replace:
			return err
		case ok:
			ch.accepted = ch.old
		case ch.mode == Delta:
			ch.old = nil
		}
	}
	if ch.new != nil {
		ok, err := p.accepts(ch.new)
		if err != nil {
			return err
		}
		if !ok {
			ch.new = nil
		}
	}
	return nil
}

// accepts reports whether `where` accepts row r.
func (p *Plan) accepts(r *binlog.Row) (bool, error) {
	if p.where == nil {
		return true, nil
	}
	ok, err := p.where.Bool(&p.scratch.expression, r)
	if err != nil {
		if p.whereIsPrivate {
			err = errPrivateCondition
		}
		return false, p.rowError(r, p.wherePath, err)
	}
	return ok, nil
}

var errPrivateCondition = errors.New("the condition has no value for this row; the cause is not " +
	"shown, because the condition reads an excluded column")

// compute evaluates the computed fields that the commands of the change need.
func (p *Plan) compute(ch *rowChange) error {
	if ch.new == nil || len(p.fields.computed) == 0 {
		return nil
	}
	if err := p.evaluate(&p.scratch.newComputed, ch.new); err != nil {
		return err
	}
	if ch.mode == Delta && ch.old != nil {
		return p.evaluate(&p.scratch.oldComputed, ch.old)
	}
	return nil
}

func (p *Plan) evaluate(v *computedValues, r *binlog.Row) error {
	computed := p.fields.computed
	if i, err := v.evaluate(computed, &p.scratch.expression, r); err != nil {
		return p.rowError(r, computed[i].path, err)
	}
	return nil
}

// rowError returns a *RowError that names the table, the row and, if err holds one, the column.
func (p *Plan) rowError(r *binlog.Row, path string, err error) error {
	e := &RowError{
		Table: p.table.FullName(), Output: settingPath(path, err),
		Reason: err.Error(), OnError: p.onError,
	}
	var ce *template.ColumnError
	var ee *expression.EvalError
	isColumn := errors.As(err, &ce)
	// Is the value of a column longer than max_bytes, or than any value may be?
	if errors.As(err, new(*columns.TooLongError)) || isColumn && errors.Is(err, errTooLong) {
		e.OnError = p.onTooLong
	}
	switch {
	case isColumn:
		e.Column = p.table.Columns[ce.Column].Name
	case errors.As(err, &ee) && ee.Column >= 0:
		e.Column = p.table.Columns[ee.Column].Name
	}
	if errors.As(err, new(*columns.TooLongError)) && e.Column != "" {
		e.Output = p.entryPath + ".columns.max_bytes." + e.Column // whatever read the value
	}
	for i, c := range p.key {
		text, err := p.fields.view.AppendShown(nil, r, c)
		if err != nil {
			text = []byte("?")
		}
		if i > 0 {
			e.Key += ":"
		}
		e.Key += fmt.Sprintf("%.80q", text)
	}
	return e
}

// AppendRowKey appends the values of the columns of Key, encoded so that two rows of the table have
// the same bytes exactly if their keys are equal. A row of the binlog and a row of a SELECT have
// the same encoding. The encoding serves comparison only. An error is a *RowError.
func (p *Plan) AppendRowKey(dst []byte, r *binlog.Row) ([]byte, error) {
	dst, err := appendRowKey(dst, p.key, r)
	if err != nil {
		return dst, p.rowError(r, "key", err)
	}
	return dst, nil
}

// appendRowKey is AppendRowKey for the columns key. An error is a *template.ColumnError; dst is
// returned as it was up to the column.
func appendRowKey(dst []byte, key []int, r *binlog.Row) ([]byte, error) {
	for _, c := range key {
		if r.IsNull(c) {
			dst = append(dst, 0)
			continue
		}
		start := len(dst)
		b, err := r.AppendText(dst, c)
		if err != nil {
			return dst[:start], &template.ColumnError{Column: c, Err: err}
		}
		// The length follows the text, in fixed width: read from the end, the encoding can
		// be split in one way only.
		dst = append(binary.LittleEndian.AppendUint32(b, uint32(len(b)-start)), 1)
	}
	return dst, nil
}
