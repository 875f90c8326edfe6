package jobs

import (
	"context"

	"rowfall/sink"
	"rowfall/transform"
)

// The sink stores for each member of a shared set which rows yield the member. A location of such
// an output is one of these rows. Jobs and removals find them by the members of the set.

// scanReferences scans some rows of the members of a shared set that were found. The rows of other
// tables are left out.
func (s *sweep) scanReferences(ctx context.Context, w Writer, t *Table) error {
	c, size := s.cursor, 0
	for seen := 0; seen < c.count && size < sweepBytes && len(c.foundMembers) > 0; seen++ {
		isFirst := c.rows == ""
		if isFirst {
			c.rows = "0"
		}
		at := transform.Location{Output: s.output, Key: c.found[0], Member: c.foundMembers[0]}
		rows := 0
		next, err := sink.ScanReferences(ctx, w.Sink(), w.Pipeline(), at.Key, at.Member, c.rows,
			c.count, func(row []byte) {
				rows, size = rows+1, size+len(row)
				if t.Plan.OwnsRow(s.output, row) {
					at.Row = append([]byte{}, row...)
					s.add(t, at)
				}
			})
		if err != nil {
			return err
		}
		seen += rows
		if c.rows = next; next != "0" {
			continue
		}
		if isFirst && rows == 0 { // no row yields the member
			at.Row = []byte{}
			s.add(t, at)
		}
		c.foundMembers, c.rows = c.foundMembers[1:], ""
	}
	c.endKey()
	c.adjustCount(size)
	return nil
}

// removeReferences removes the rows of the table from the members of a shared set, and with its
// last row a member. The rows of other tables stay.
func (r *removal) removeReferences(ctx context.Context, key []byte) error {
	return r.scanMembers(ctx, key, func(members [][]byte, _ bool) (bool, error) {
		for _, member := range members {
			if err := r.removeReferencesOf(ctx, key, member); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

func (r *removal) removeReferencesOf(ctx context.Context, key, member []byte) error {
	at := transform.Location{Output: r.output, Key: key, Member: member}
	for cursor, found := "0", 0; ; {
		var own [][]byte
		var err error
		cursor, err = sink.ScanReferences(ctx, r.w.Sink(), r.w.Pipeline(), key, member, cursor,
			r.limit, func(row []byte) {
				found++
				if r.plan.OwnsRow(r.output, row) && !r.isPresentRow(key, member, row) {
					own = append(own, append([]byte{}, row...))
				}
			})
		if err != nil {
			return err
		}
		if cursor == "0" && found == 0 { // no row yields the member
			own = append(own, []byte{})
		}
		for _, at.Row = range own {
			for _, p := range r.heirs {
				p.Inherit(r.w.Commands(), r.plan, at)
			}
			r.plan.Remove(r.w.Commands(), at)
		}
		if err := r.flushIfLarge(ctx, len(own)); err != nil || cursor == "0" {
			return err
		}
	}
}

// isPresentRow reports whether a plan of r.present may have stored a row for a member.
func (r *removal) isPresentRow(key, member, row []byte) bool {
	for _, p := range r.present {
		for i := range p.Outputs() {
			if p.IsShared(i) && p.OwnsKey(i, key) && p.OwnsMember(i, member) && p.OwnsRow(i, row) {
				return true
			}
		}
	}
	return false
}
