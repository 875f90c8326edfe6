package transform

import (
	"fmt"

	"rowfall/binlog"
	"rowfall/replication/resp"
)

// Expectation is what one output wants the sink to hold for a row. Its slices
// are valid during the visit only.
type Expectation struct {
	// Output is the index into Outputs.
	Output int
	Kind   OutputKind
	Key    []byte
	// Pairs are field, value, field, value... of a hash.
	Pairs [][]byte
	// OneField marks a hash that rows share: Pairs is this row's field alone.
	OneField bool
	// Value is a string's content.
	Value []byte
	// Member belongs to a set or sorted set, Score (as text) to a sorted set.
	Member, Score []byte
}

// Expect calls visit for what each output wants the sink to hold for the row:
// the bytes that Append writes for it. A row that `where` refuses, an output
// that leaves the row out, and a hash without fields are no visit.
func (p *Plan) Expect(r *binlog.Row, visit func(Expectation) error) error {
	after := true
	if p.where != nil {
		var err error
		if after, err = p.passes(r); err != nil || !after {
			return err
		}
	}
	c := binlog.Change{Table: p.table, Op: binlog.Insert, After: r}
	if err := p.compute(&c, Delta, false, after); err != nil {
		return err
	}
	u := &p.scratch.unit
	defer func() {
		clear(p.scratch.args)
		u.Reset()
		p.scratch.release()
	}()
	for i := range p.outputs {
		o := &p.outputs[i]
		u.Reset()
		// A delta of an insert is exactly what is wanted, without removals.
		if err := o.append(p, u, &c, Delta, false, after); err != nil {
			return p.rowError(r, o.path, err)
		}
		if u.Count == 0 {
			continue
		}
		args, _, err := resp.ParseCommand(u.Bytes, p.scratch.args[:0])
		if err != nil {
			return fmt.Errorf("read back own command: %w", err)
		}
		p.scratch.args = args
		if err := visit(o.expectation(i, p.scratch.args)); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) expectation(i int, args [][]byte) Expectation {
	e := Expectation{Output: i, Kind: o.kind, Key: args[1]}
	switch o.kind {
	case Hash:
		e.Pairs, e.OneField = args[2:], o.member != nil
	case Set:
		e.Member = args[2]
	case SortedSet:
		e.Score, e.Member = args[2], args[3]
	default:
		e.Value = args[2]
	}
	return e
}
