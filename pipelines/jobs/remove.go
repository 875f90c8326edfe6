package jobs

import (
	"context"
	"fmt"

	"rowfall/sink"
	"rowfall/transform"
)

// keysOf returns the filter of a scan for the keys of an output.
func keysOf(p *transform.Plan, output int) sink.KeyFilter {
	return sink.KeyFilter{Prefix: p.KeyPrefix(output), Kind: p.OutputKind(output)}
}

// Removal removes everything that a plan has written.
type Removal struct {
	Plan *transform.Plan
	// Present holds plans whose keys and members are not removed.
	Present []*transform.Plan
	// Heirs holds the plans of the tables to whose names the table may have been renamed. In shared
	// sets, their rows take the place of the removed ones.
	Heirs []*transform.Plan
	// Limit is the approximate number of keys and members that one unit removes.
	Limit int
	// Report is called with the number of keys and members removed so far; nil is not called.
	Report func(removed int)
}

// Run removes the keys and members, and returns their number. Members that other outputs wrote
// stay. The sink's position does not move, so an interrupted removal is repeated by the next run of
// the pipeline.
func (o Removal) Run(ctx context.Context, w Writer) (int, error) {
	r := removal{
		w: w, plan: o.Plan, limit: o.Limit, present: o.Present, heirs: o.Heirs,
		report: o.Report,
	}
	return r.run(ctx)
}

// run removes what all outputs have written.
func (r *removal) run(ctx context.Context) (int, error) {
	for r.output = range r.plan.Outputs() {
		if !r.plan.HoldsRows(r.output) {
			continue
		}
		if err := r.removeOutput(ctx); err != nil {
			return r.removed, fmt.Errorf("remove keys of %s: %w", r.plan.Table().FullName(), err)
		}
	}
	return r.removed, r.w.Flush(ctx)
}

// removal is one call of Removal.Run.
type removal struct {
	report  func(removed int)
	w       Writer
	plan    *transform.Plan
	present []*transform.Plan // their keys and members stay
	heirs   []*transform.Plan
	limit   int
	output  int
	removed int
}

// removeOutput removes what one output has written.
func (r *removal) removeOutput(ctx context.Context) error {
	for cursor := "0"; ; {
		var keys [][]byte
		var err error
		cursor, err = sink.ScanKeys(ctx, r.w.Sink(), cursor, keysOf(r.plan, r.output), r.limit,
			func(key []byte) {
				if r.plan.OwnsKey(r.output, key) {
					keys = append(keys, append([]byte(nil), key...))
				}
			})
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := r.removeKey(ctx, key); err != nil {
				return err
			}
		}
		if cursor == "0" {
			return nil
		}
	}
}

// removeKey removes a key, or those of its members that the output writes. The key is removed as a
// whole only if the output writes every member. Other members may belong to a table in quarantine,
// or to a dropped table whose keys are kept, although no plan of that table is known.
func (r *removal) removeKey(ctx context.Context, key []byte) error {
	ownsAll := true
	switch {
	case r.plan.IsShared(r.output):
		return r.removeReferences(ctx, key)
	case !r.plan.HasMembers(r.output):
		if r.isPresent(key, nil) {
			return nil
		}
	case len(r.present) > 0, r.plan.ExpiresFieldsOf(r.output):
		ownsAll = false // the times of expiry of its fields are removed, too
	default:
		err := r.scanMembers(ctx, key, func(members [][]byte, foreign bool) (bool, error) {
			ownsAll = ownsAll && !foreign
			return ownsAll, nil
		})
		if err != nil {
			return err
		}
	}
	if !ownsAll {
		return r.scanMembers(ctx, key, func(members [][]byte, _ bool) (bool, error) {
			n := 0
			for _, m := range members {
				if r.isPresent(key, m) {
					continue
				}
				at := transform.Location{Output: r.output, Key: key, Member: m}
				r.plan.Remove(r.w.Commands(), at)
				n++
			}
			return true, r.flushIfLarge(ctx, n)
		})
	}
	r.w.Commands().Append([]byte("DEL"), key)
	return r.flushIfLarge(ctx, 1)
}

// isPresent reports whether a plan of r.present may have written a key, or a member of the key.
// member is nil if the output's keys have no members.
func (r *removal) isPresent(key, member []byte) bool {
	for _, p := range r.present {
		for i := range p.Outputs() {
			if p.OwnsKey(i, key) &&
				(member == nil || !p.HasMembers(i) || p.OwnsMember(i, member)) {
				return true
			}
		}
	}
	return false
}

// flushIfLarge counts n commands, and applies the unit if it is large.
func (r *removal) flushIfLarge(ctx context.Context, n int) error {
	r.removed += n
	if r.report != nil {
		r.report(r.removed)
	}
	_, err := r.w.FlushIfLarge(ctx, r.w.Commands().Count, r.limit)
	return err
}

// scanMembers reads a key's members in parts, and calls visit for each part, until visit returns
// false. members are the members that the output writes; foreign is set if the part has others.
func (r *removal) scanMembers(
	ctx context.Context, key []byte, visit func(members [][]byte, foreign bool) (bool, error),
) error {
	for cursor := "0"; ; {
		var members [][]byte
		var foreign bool
		var err error
		cursor, err = sink.ScanMembers(ctx, r.w.Sink(), r.plan.OutputKind(r.output), key, cursor,
			r.limit, func(member []byte) {
				if r.plan.OwnsMember(r.output, member) {
					members = append(members, append([]byte{}, member...))
				} else {
					foreign = true
				}
			})
		if err != nil {
			return err
		}
		if more, err := visit(members, foreign); err != nil || !more || cursor == "0" {
			return err
		}
	}
}
