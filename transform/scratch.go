package transform

import (
	"rowfall/binlog"
	"rowfall/transform/expression"
)

// scratch holds the buffers that a plan needs for one change. Slices of it are valid until the next
// change.
type scratch struct {
	change rowChange // the present change; here because a variable would be allocated for each row

	oldLocation, newLocation, score, message []byte
	expiry, number, entry                    []byte // of expiry.go
	oldComputed, newComputed                 computedValues
	// changed and nulled are the fields that a delta sets and removes.
	changed, nulled []int
	expression      expression.Scratch

	commands Commands      // of Expect
	args     [][]byte      // of Expect
	read     binlog.Change // of Expect
}

// maxKeptScratch is the largest buffer, in bytes, that a plan keeps for the next row, so that one
// huge row does not occupy its memory until the process ends.
const maxKeptScratch = 1 << 20

// begin returns the present change, with both of its images.
func (s *scratch) begin(c *binlog.Change, m Mode, o Origin) *rowChange {
	ch := &s.change
	ch.Change, ch.Origin, ch.mode, ch.old, ch.new = c, o, m, c.Before, c.After
	return ch
}

// release drops the references to the change, and the buffers that a huge row has made large.
func (s *scratch) release() {
	ch := &s.change
	*ch = rowChange{}
	for _, b := range [...]*[]byte{
		&s.oldLocation, &s.newLocation, &s.score, &s.message, &s.entry,
		&s.oldComputed.text, &s.newComputed.text,
	} {
		if cap(*b) > maxKeptScratch {
			*b = nil
		}
	}
	s.expression.Release(maxKeptScratch)
}
