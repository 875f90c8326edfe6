package transform

import (
	"fmt"

	"rowfall/binlog"
	"rowfall/replication/resp"
)

// Expectation is what the sink must hold for one output of a row. Its slices are valid until visit
// returns.
type Expectation struct {
	Kind OutputKind
	Key  []byte
	// Pairs is field, value, field, value... of a hash: the whole row, or the row's field of a hash
	// that rows share.
	Pairs [][]byte
	// Value is the content of a string, or of JSON.
	Value []byte
	// Member is the row's member of a set or sorted set, Score the score of the latter as text.
	Member, Score []byte
}

// Expect calls visit for each output that writes the row, with what Append writes for the output.
// visit is not called for a row that `where` rejects, for an output that skips the row, or for
// a hash of which every field is NULL. An error is a *RowError, or that of visit.
func (p *Plan) Expect(r *binlog.Row, visit func(Expectation) error) error {
	if ok, err := p.accepts(r); err != nil || !ok {
		return err
	}
	// The delta of an insert is what the sink must hold, without any command that removes.
	ch := rowChange{new: r, mode: Delta}
	if err := p.compute(&ch); err != nil {
		return err
	}
	u := &p.scratch.commands
	defer func() {
		clear(p.scratch.args)
		u.Reset()
		p.scratch.release()
	}()
	for i := range p.outputs {
		o := &p.outputs[i]
		u.Reset()
		if err := o.append(u, &p.scratch, &ch); err != nil {
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
		if err := visit(o.expectation(args)); err != nil {
			return err
		}
	}
	return nil
}

// expectation returns what the sink holds after the one command that an insert makes of o.
func (o *output) expectation(args [][]byte) Expectation {
	e := Expectation{Kind: o.kind, Key: args[1]}
	switch o.kind {
	case Hash:
		e.Pairs = args[2:]
	case Set:
		e.Member = args[2]
	case SortedSet:
		e.Score, e.Member = args[2], args[3]
	default:
		e.Value = args[2]
	}
	return e
}
