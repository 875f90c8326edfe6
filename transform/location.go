package transform

import (
	"bytes"
	"slices"

	"rowfall/binlog"
	"rowfall/transform/template"
)

// Which keys belong to an output is decided by its templates alone: Conflicts rejects two outputs
// that could write one key or one member. So a key that an output's templates can print was written
// by this output, and may be removed with it.

// Location is a place in the sink where an output writes a row.
type Location struct {
	// Output is the index of the output, less than Plan.Outputs.
	Output int
	// Key is the key. Member is the row's field or member in a key that rows share; nil if the
	// row owns the key.
	Key, Member []byte
	// Row identifies the row among those that yield Member; nil if the output is not shared. An
	// empty text stands for a member without rows.
	Row []byte
}

// Outputs returns the number of outputs.
func (p *Plan) Outputs() int { return len(p.outputs) }

// HoldsRows reports whether an output keeps a value for each row, which can be compared and
// removed. Other outputs write once for each change; no key belongs to them.
func (p *Plan) HoldsRows(output int) bool { return p.outputs[output].emitter == nil }

// ActsOnLoad reports whether an output acts once on each row that the initial load reads. Then no
// row may be appended twice by a load.
func (p *Plan) ActsOnLoad() bool {
	return slices.ContainsFunc(p.outputs, func(o output) bool { return o.snapshot })
}

// KeepsEntries reports whether an output keeps an entry for each change, in a list or a stream.
// Such an entry is missing for ever if the change is not applied.
func (p *Plan) KeepsEntries() bool {
	return slices.ContainsFunc(p.outputs, func(o output) bool {
		return o.kind == List || o.kind == Stream
	})
}

// OutputKind returns the type of value that an output writes.
func (p *Plan) OutputKind(output int) OutputKind { return p.outputs[output].kind }

// KeyPrefix returns the literal text with which every key of an output begins; it may be empty.
func (p *Plan) KeyPrefix(output int) string { return p.outputs[output].key.Prefix() }

// HasMembers reports whether the rows of an output are fields or members of keys that rows share.
func (p *Plan) HasMembers(output int) bool { return p.outputs[output].member != nil }

// OwnsKey reports whether an output writes to a key. Keys of Rowfall's own belong to no output.
func (p *Plan) OwnsKey(output int, key []byte) bool {
	o := &p.outputs[output]
	return o.emitter == nil && o.key.Match(key) && !bytes.HasPrefix(key, []byte(reservedPrefix))
}

// MayWrite reports whether an output may write to a key, whether or not the key belongs to it.
func (p *Plan) MayWrite(output int, key []byte) bool {
	o := &p.outputs[output]
	return o.kind.RedisType() != "" && o.key.Match(key)
}

// OwnsMember reports whether an output, whose rows are fields or members, writes a member of a key
// that OwnsKey found to be the output's. Conflicts rejects two outputs that could write one member.
func (p *Plan) OwnsMember(output int, member []byte) bool {
	return p.outputs[output].member.Match(member)
}

// IsShared reports whether several rows may yield one member of an output.
func (p *Plan) IsShared(output int) bool { return p.outputs[output].row != nil }

// OwnsRow reports whether a text identifies a row of a shared output: one of its table.
func (p *Plan) OwnsRow(output int, row []byte) bool { return p.outputs[output].row.Match(row) }

// LocationColumns returns for each output the columns that its locations determine.
func (p *Plan) LocationColumns() [][]int {
	all := make([][]int, len(p.outputs))
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.emitter != nil {
			continue
		}
		if o.row != nil {
			all[i], _, _ = o.row.Determines()
			continue
		}
		all[i], _, _ = o.key.Determines()
		if o.member != nil {
			more, _, _ := o.member.Determines()
			all[i] = append(all[i], more...)
		}
	}
	return all
}

// IsLocatedBy reports whether the locations of an output follow from the values of some columns. An
// output that holds no rows has no locations, so the answer is yes.
func (p *Plan) IsLocatedBy(output int, columns []int) bool {
	for _, k := range p.outputs[output].locationColumns {
		if p.HoldsRows(output) && !slices.Contains(columns, k) {
			return false
		}
	}
	return true
}

// Values returns the columns of a row that a location determines, with their texts: they contain a
// key of the table. ok is false if no row of the table can be written there.
func (p *Plan) Values(at Location) (columns []template.ColumnText, ok bool) {
	o := &p.outputs[at.Output]
	if o.row != nil {
		return o.row.Parse(at.Row)
	}
	columns, ok = o.key.Parse(at.Key)
	if !ok || o.member == nil {
		return columns, ok
	}
	more, ok := o.member.Parse(at.Member)
	return append(columns, more...), ok
}

// Locations calls visit for each place where the plan could write row r, whether `where` accepts
// the row or not. The location is valid until visit returns. An error is a *RowError.
func (p *Plan) Locations(r *binlog.Row, visit func(Location)) error {
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.emitter != nil {
			continue
		}
		var at image
		if err := o.locateOld(&p.scratch, r, &at); err != nil {
			return p.rowError(r, o.path, err)
		}
		if at.present {
			visit(Location{Output: i, Key: at.key, Member: at.member, Row: at.row})
		}
	}
	return nil
}

// Inherit appends the commands that let the rows of p's table have what a shared output of another
// plan has at a location. It is for a table that was renamed to that of p. The key columns of p may
// be others; then some references are of no row, which the table's next job removes.
func (p *Plan) Inherit(u *Commands, from *Plan, at Location) {
	prefix := len(from.outputs[at.Output].row.Prefix())
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.row == nil || !p.OwnsKey(i, at.Key) || !p.OwnsMember(i, at.Member) {
			continue
		}
		row := append([]byte(o.row.Prefix()), at.Row[prefix:]...)
		if o.row.Match(row) {
			refer(u, location{at.Key, at.Member, row}, true)
		}
	}
}

// Remove appends the command that removes what is at a location.
func (p *Plan) Remove(u *Commands, at Location) {
	p.outputs[at.Output].remove(u, &p.scratch, nil, location{at.Key, at.Member, at.Row})
}
