package jobs

import (
	"context"
	"fmt"
	"slices"

	"rowfall/sink"
	"rowfall/transform"
)

// keysOf returns what a scan for the keys of an output looks for.
func keysOf(p *transform.Plan, output int) sink.KeyFilter {
	return sink.KeyFilter{Prefix: p.KeyPrefix(output), Kind: p.OutputKind(output)}
}

// RemoveRows removes everything that a plan has written, in units of at most limit keys and
// members. The sink's position does not move, so that a run that is interrupted begins again. It
// returns the number of commands.
func RemoveRows(ctx context.Context, h Host, p *transform.Plan, limit int) (int, error) {
	return removeAll(ctx, h, p, limit, func([]byte, []byte) bool { return false })
}

// RemoveFormer removes what a plan has written that a table had before, as RemoveRows does. What a
// present plan of any table may have written stays.
func RemoveFormer(ctx context.Context, h Host, p *transform.Plan, limit int) (int, error) {
	plans := h.Plans()
	return removeAll(ctx, h, p, limit, func(key, member []byte) bool {
		for _, o := range plans {
			for i := range o.Outputs() {
				if o.OwnsKey(i, key) &&
					(member == nil || !o.HasMembers(i) || o.OwnsMember(i, member)) {
					return true
				}
			}
		}
		return false
	})
}

// removeAll removes everything that a plan has written except what keep selects. keep is called
// with a member of nil for a key of one row.
func removeAll(
	ctx context.Context, h Host, p *transform.Plan, limit int, keep func(key, member []byte) bool,
) (int, error) {
	removed := 0
	for output := range p.Outputs() {
		n, err := removeOutput(ctx, h, p, output, limit, keep)
		if removed += n; err != nil {
			return removed, fmt.Errorf("remove keys of %s: %w", p.Table().FullName(), err)
		}
	}
	return removed, h.Flush(ctx)
}

// removeOutput removes what one output has written.
func removeOutput(
	ctx context.Context, h Host, p *transform.Plan, output, limit int,
	keep func(key, member []byte) bool,
) (removed int, err error) {
	remove := func(at transform.Location) {
		if keep(at.Key, at.Member) {
			return
		}
		p.Remove(h.Commands(), at)
		removed++
	}
	shared := p.HasMembers(output) && (sharesKeys(h, p, output) || !isPresent(h, p))
	for cursor := "0"; ; {
		var keys [][]byte
		cursor, err = sink.ScanKeys(ctx, h.Sink(), cursor, keysOf(p, output), limit,
			func(key []byte) {
				if p.OwnsKey(output, key) {
					keys = append(keys, append([]byte(nil), key...))
				}
			})
		if err != nil {
			return removed, err
		}
		for _, key := range keys {
			if !shared && keep(key, nil) {
				continue
			}
			if !shared {
				h.Commands().Append([]byte("DEL"), key)
				removed++
			} else if err = eachMember(ctx, h, p, output, key, limit, remove); err != nil {
				return removed, err
			}
			if _, err = h.FlushIfLarge(ctx, h.Commands().Count, limit); err != nil {
				return removed, err
			}
		}
		if cursor == "0" {
			return removed, nil
		}
	}
}

// isPresent reports whether a plan is a table's present plan.
func isPresent(h Host, p *transform.Plan) bool { return slices.Contains(h.Plans(), p) }

// sharesKeys reports whether members of another output may lie in the keys of an output.
func sharesKeys(h Host, p *transform.Plan, output int) bool {
	if !p.HasMembers(output) {
		return false
	}
	for _, other := range h.Plans() {
		for i := range other.Outputs() {
			isSame := other.Table().FullName() == p.Table().FullName() && i == output
			if !isSame && p.SharesKeys(output, other, i) {
				return true
			}
		}
	}
	return false
}

// eachMember calls visit for each member of a key that the output writes, in units.
func eachMember(
	ctx context.Context, h Host, p *transform.Plan, output int, key []byte, limit int,
	visit func(transform.Location),
) error {
	for cursor := "0"; ; {
		var err error
		cursor, err = sink.ScanMembers(ctx, h.Sink(), p.OutputKind(output), key, cursor, limit,
			func(member []byte) {
				if p.OwnsMember(output, member) {
					visit(transform.Location{Output: output, Key: key, Member: member})
				}
			})
		if err != nil || cursor == "0" {
			return err
		}
		if _, err = h.FlushIfLarge(ctx, h.Commands().Count, limit); err != nil {
			return err
		}
	}
}
