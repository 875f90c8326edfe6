package transform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// Plan turns the changes of one table version into commands. It is not safe for
// concurrent use: Clone one per goroutine.
type Plan struct {
	table *binlog.Table
	key   []int
	where *expression.Program
	// wherePath is where the condition stands, for messages.
	wherePath string
	fields    []field
	adds      []addition
	outputs   []output
	columns   []int
	// nullable are the fields that may be absent.
	nullable []int

	scratch scratch
}

// field is a column that leaves.
type field struct {
	column int
	// wire is the name as a bulk, json as the start of a member.
	wire, json []byte
	nullable   bool
	digits     int
}

// addition is a computed field.
type addition struct {
	wire, json []byte
	program    *expression.Program
	path       string
}

// scratch is what one Append needs.
type scratch struct {
	before, after, score []byte
	oldAdds, newAdds     rendered
	// set and gone are the fields that an update changes and makes NULL.
	set, gone  []int
	expression expression.Scratch
	unit       Commands
	args       [][]byte
}

// rendered holds the computed fields of a row.
type rendered struct {
	bytes []byte
	// ends[i] is where field i ends in bytes; absent[i] marks a nil.
	ends   []int
	absent []bool
}

func (r *rendered) at(i int) []byte {
	if i == 0 {
		return r.bytes[:r.ends[0]]
	}
	return r.bytes[r.ends[i-1]:r.ends[i]]
}

// Mode says what a plan may assume about the row as it is stored.
type Mode uint8

const (
	// FullRow assumes nothing: commands make the row right whatever is there.
	// The one thing it does not write is the absence of an inserted row that
	// `where` refuses or that an output leaves out: a snapshot would write it
	// for every such row.
	FullRow Mode = iota
	// Delta assumes that the row before the change is stored completely.
	Delta
)

// String returns "full row" or "delta".
func (m Mode) String() string {
	if m == Delta {
		return "delta"
	}
	return "full row"
}

// Commands collects commands.
type Commands struct {
	// Bytes holds RESP commands, without MULTI and EXEC.
	Bytes []byte
	// Count counts the commands in Bytes, Rows the changes appended.
	Count, Rows int
}

// keptBytes is the largest buffer that a unit keeps for the next commands, keptScratch the
// largest that a plan keeps for the next row. One huge row must not hold its memory for ever.
const (
	keptBytes   = 8 << 20
	keptScratch = 1 << 20
)

// Reset empties the unit and keeps its memory, unless that is far more than usual.
func (u *Commands) Reset() {
	if cap(u.Bytes) > keptBytes {
		u.Bytes = nil
	}
	u.Bytes, u.Count, u.Rows = u.Bytes[:0], 0, 0
}

// Clone returns a plan that shares what is compiled and may be used at the same
// time as p.
func (p *Plan) Clone() *Plan {
	c := *p
	c.scratch = scratch{}
	return &c
}

// Append appends the commands of a change: first what leaves its old place,
// then what is written, output by output. On an error (a *RowError) the unit is
// as it was.
func (p *Plan) Append(u *Commands, c *binlog.Change, m Mode) error {
	p.reserve(u, c)
	bytes, commands := len(u.Bytes), u.Count
	err := p.append(u, c, m)
	p.scratch.release()
	if err != nil {
		u.Bytes, u.Count = u.Bytes[:bytes], commands
		return err
	}
	u.Rows++
	return nil
}

// reserve makes room for the commands of a huge row at once: a buffer that grows with each value
// is copied again and again, and takes up to three times its size meanwhile.
func (p *Plan) reserve(u *Commands, c *binlog.Change) {
	if c.After == nil {
		return
	}
	size := c.After.Size()
	if size < keptScratch {
		return
	}
	outputs := 0
	for i := range p.outputs {
		if o := &p.outputs[i]; o.kind == Hash || o.kind == JSON || o.kind == String {
			outputs++
		}
	}
	const names = 64 << 10 // keys, names of fields, lengths
	if need := outputs * (size + names); cap(u.Bytes)-len(u.Bytes) < need {
		u.Bytes = slices.Grow(u.Bytes, need)
	}
}

// release lets go of the buffers that a huge row has made large.
func (s *scratch) release() {
	for _, b := range [...]*[]byte{&s.before, &s.after, &s.score, &s.oldAdds.bytes, &s.newAdds.bytes} {
		if cap(*b) > keptScratch {
			*b = nil
		}
	}
	s.expression.Release(keptScratch)
}

func (p *Plan) append(u *Commands, c *binlog.Change, m Mode) error {
	before, after := c.Before != nil, c.After != nil
	if p.where != nil {
		var err error
		// What the image before says matters only to a delta.
		if before && m == Delta {
			if before, err = p.passes(c.Before); err != nil {
				return err
			}
		}
		if after {
			if after, err = p.passes(c.After); err != nil {
				return err
			}
		}
	}
	row := c.After
	if row == nil {
		row = c.Before
	}
	if err := p.compute(c, m, before, after); err != nil {
		return err
	}
	for i := range p.outputs {
		o := &p.outputs[i]
		if err := o.append(p, u, c, m, before, after); err != nil {
			return p.rowError(row, o.path, err)
		}
	}
	return nil
}

func (p *Plan) passes(r *binlog.Row) (bool, error) {
	ok, err := p.where.Bool(&p.scratch.expression, r)
	if err != nil {
		return false, p.rowError(r, p.wherePath, err)
	}
	return ok, nil
}

// compute renders the computed fields that the change needs.
func (p *Plan) compute(c *binlog.Change, m Mode, before, after bool) error {
	if len(p.adds) == 0 || !after {
		return nil
	}
	if err := p.scratch.newAdds.fill(p, c.After); err != nil {
		return err
	}
	if m == Delta && before {
		return p.scratch.oldAdds.fill(p, c.Before)
	}
	return nil
}

func (r *rendered) fill(p *Plan, row *binlog.Row) error {
	r.bytes, r.ends, r.absent = r.bytes[:0], r.ends[:0], r.absent[:0]
	for i := range p.adds {
		a := &p.adds[i]
		b, null, err := a.program.AppendText(r.bytes, &p.scratch.expression, row)
		if err != nil {
			return p.rowError(row, a.path, err)
		}
		r.bytes = b
		r.ends, r.absent = append(r.ends, len(b)), append(r.absent, null)
	}
	return nil
}

// rowError names the row and the column of an error.
func (p *Plan) rowError(r *binlog.Row, path string, err error) error {
	e := &RowError{Table: p.table.FullName(), Output: path, Reason: err.Error()}
	var ce *template.ColumnError
	var ee *expression.EvalError
	switch {
	case errors.As(err, &ce):
		e.Column = p.table.Columns[ce.Column].Name
	case errors.As(err, &ee) && ee.Column >= 0:
		e.Column = p.table.Columns[ee.Column].Name
	}
	for i, c := range p.key {
		text, err := r.AppendText(nil, c)
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

// putHash writes a whole row. stale is set where fields may stand there that
// are NULL now.
func (p *Plan) putHash(u *Commands, r *binlog.Row, key []byte, stale bool) error {
	nulls := 0
	for _, i := range p.nullable {
		if r.IsNull(p.fields[i].column) {
			nulls++
		}
	}
	adds := &p.scratch.newAdds
	for i := range p.adds {
		if adds.absent[i] {
			nulls++
		}
	}
	total := len(p.fields) + len(p.adds)
	if nulls == total {
		// A hash with no field is no key.
		if stale {
			u.begin(2, verbDel)
			u.bulk(key)
		}
		return nil
	}
	u.begin(2+2*(total-nulls), verbHSet)
	u.bulk(key)
	for i := range p.fields {
		f := &p.fields[i]
		if nulls > 0 && f.nullable && r.IsNull(f.column) {
			continue
		}
		u.Bytes = append(u.Bytes, f.wire...)
		if err := u.column(r, f.column, f.digits); err != nil {
			return err
		}
	}
	for i := range p.adds {
		if !adds.absent[i] {
			u.Bytes = append(u.Bytes, p.adds[i].wire...)
			u.bulk(adds.at(i))
		}
	}
	if nulls == 0 || !stale {
		return nil
	}
	u.begin(2+nulls, verbHDel)
	u.bulk(key)
	for _, i := range p.nullable {
		if f := &p.fields[i]; r.IsNull(f.column) {
			u.Bytes = append(u.Bytes, f.wire...)
		}
	}
	for i := range p.adds {
		if adds.absent[i] {
			u.Bytes = append(u.Bytes, p.adds[i].wire...)
		}
	}
	return nil
}

// changeHash writes what differs between the two images of a row that stays in
// its place.
func (p *Plan) changeHash(u *Commands, c *binlog.Change, key []byte) error {
	// Additions are numbered after the fields.
	set, gone := p.scratch.set[:0], p.scratch.gone[:0]
	for i := range p.fields {
		switch f := &p.fields[i]; {
		case sameColumn(c, f.column):
		case c.After.IsNull(f.column):
			gone = append(gone, i)
		default:
			set = append(set, i)
		}
	}
	for i := range p.adds {
		switch {
		case p.sameAdd(i):
		case p.scratch.newAdds.absent[i]:
			gone = append(gone, len(p.fields)+i)
		default:
			set = append(set, len(p.fields)+i)
		}
	}
	p.scratch.set, p.scratch.gone = set, gone
	if len(set) > 0 {
		u.begin(2+2*len(set), verbHSet)
		u.bulk(key)
		for _, i := range set {
			if err := p.putField(u, c.After, i); err != nil {
				return err
			}
		}
	}
	if len(gone) > 0 {
		u.begin(2+len(gone), verbHDel)
		u.bulk(key)
		for _, i := range gone {
			if i < len(p.fields) {
				u.Bytes = append(u.Bytes, p.fields[i].wire...)
			} else {
				u.Bytes = append(u.Bytes, p.adds[i-len(p.fields)].wire...)
			}
		}
	}
	return nil
}

// putField appends the name and value of a field, or of an addition, which are
// numbered after the fields.
func (p *Plan) putField(u *Commands, r *binlog.Row, i int) error {
	if n := i - len(p.fields); n >= 0 {
		u.Bytes = append(u.Bytes, p.adds[n].wire...)
		u.bulk(p.scratch.newAdds.at(n))
		return nil
	}
	f := &p.fields[i]
	u.Bytes = append(u.Bytes, f.wire...)
	return u.column(r, f.column, f.digits)
}

// sameAdd reports whether a computed field prints the same in both images.
func (p *Plan) sameAdd(i int) bool {
	was, is := &p.scratch.oldAdds, &p.scratch.newAdds
	return was.absent[i] == is.absent[i] && bytes.Equal(was.at(i), is.at(i))
}

// appendJSON appends the row as one JSON object.
func (p *Plan) appendJSON(u *Commands, r *binlog.Row) error {
	b := append(u.Bytes, '{')
	var err error
	for i := range p.fields {
		f := &p.fields[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.json...)
		if b, err = r.AppendJSON(b, f.column); err != nil {
			return &template.ColumnError{Column: f.column, Err: err}
		}
	}
	for i := range p.adds {
		if i > 0 || len(p.fields) > 0 {
			b = append(b, ',')
		}
		b = append(b, p.adds[i].json...)
		if b, err = p.adds[i].program.AppendJSON(b, &p.scratch.expression, r); err != nil {
			return err
		}
	}
	u.Bytes = append(b, '}')
	return nil
}

// AppendRowKey appends the row's key (see Key) as bytes that no other row of
// the table yields, the same for a row of the binlog and of a SELECT. It is
// meant for comparing, not for reading.
func (p *Plan) AppendRowKey(dst []byte, r *binlog.Row) ([]byte, error) {
	for _, c := range p.key {
		if r.IsNull(c) {
			dst = append(dst, 0)
			continue
		}
		start := len(dst)
		b, err := r.AppendText(dst, c)
		if err != nil {
			return dst[:start], p.rowError(r, "key", &template.ColumnError{Column: c, Err: err})
		}
		// The length stands behind the text, in fixed width: read from the
		// end, the parts cannot run into each other.
		dst = append(binary.LittleEndian.AppendUint32(b, uint32(len(b)-start)), 1)
	}
	return dst, nil
}

// Table returns the table version the plan was compiled for.
func (p *Plan) Table() *binlog.Table { return p.table }

// Key returns the columns that identify a row: key_columns, else Table.Key.
func (p *Plan) Key() []int { return p.key }

// Columns returns the indexes of the columns that the plan reads, ascending.
func (p *Plan) Columns() []int { return p.columns }

// OutputInfo describes an output for status.
type OutputInfo struct {
	Kind OutputKind
	// Key is the key's template, Path the place in the file.
	Key, Path string
}

// Outputs describes the plan's outputs in the order they write.
func (p *Plan) Outputs() []OutputInfo {
	out := make([]OutputInfo, len(p.outputs))
	for i := range p.outputs {
		out[i] = OutputInfo{Kind: p.outputs[i].kind, Key: p.outputs[i].key.Source, Path: p.outputs[i].path}
	}
	return out
}

func (p *Plan) allColumns() []int {
	all := slices.Clone(p.key)
	for i := range p.fields {
		all = append(all, p.fields[i].column)
	}
	if p.where != nil {
		all = append(all, p.where.Columns()...)
	}
	for i := range p.adds {
		all = append(all, p.adds[i].program.Columns()...)
	}
	for i := range p.outputs {
		all = append(all, p.outputs[i].columns()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
