package transform

import (
	"encoding/binary"
	"fmt"

	"rowfall/binlog"
	"rowfall/replication/resp"
)

// Expectation is what the sink must hold for one output of a row. Its slices are valid until visit
// returns.
type Expectation struct {
	// Output is the index of the output, less than Plan.Outputs.
	Output int
	Kind   OutputKind
	Key    []byte
	// Pairs is field, value, field, value... of a hash: the whole row, or the row's field of a hash
	// that rows share.
	Pairs [][]byte
	// Value is the content of a string, or of JSON.
	Value []byte
	// Member is the row's member of a set or sorted set, Score the score of the latter as text.
	Member, Score []byte
	// Expiry is when the value expires. If the output has members, it is the expiry of the key that
	// rows share; if the output has a field, it is the expiry of the field.
	Expiry Expiry
	// Row identifies the row among those that yield Member; nil if the output is not shared.
	Row []byte
	// hasField is set if Pairs is a field of a hash that rows share.
	hasField bool
}

// HasField reports whether Pairs is one field of a hash that rows share, and not a whole hash.
func (e *Expectation) HasField() bool { return e.hasField }

// Location returns the place of the expected value.
func (e *Expectation) Location() Location {
	at := Location{Output: e.Output, Key: e.Key, Member: e.Member, Row: e.Row}
	if e.hasField {
		at.Member = e.Pairs[0]
	}
	return at
}

// Expect calls visit for each output that writes the row, with what Append writes for the output.
// visit is not called for a row that `where` rejects, for an output that skips the row, or for
// a hash of which every field is NULL. An error is a *RowError, or that of visit.
func (p *Plan) Expect(r *binlog.Row, visit func(Expectation) error) error {
	if ok, err := p.accepts(r); err != nil || !ok {
		return err
	}
	// The delta of an insert is what the sink must hold, without any command that removes.
	p.scratch.read = binlog.Change{Table: p.table, Op: binlog.Insert, After: r}
	ch := p.scratch.begin(&p.scratch.read, Delta, Origin{Load: true})
	defer func() {
		clear(p.scratch.args)
		p.scratch.commands.Reset()
		p.scratch.read = binlog.Change{}
		p.scratch.release()
	}()
	if err := p.compute(ch); err != nil {
		return err
	}
	u := &p.scratch.commands
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.emitter != nil {
			continue
		}
		u.Reset()
		if err := o.append(u, &p.scratch, ch); err != nil {
			return p.rowError(r, o.path, err)
		}
		if err := u.Resolve(expectReference); err != nil {
			return err
		}
		if u.Count == 0 {
			continue
		}
		args, _, err := resp.ParseCommand(u.Bytes, p.scratch.args[:0])
		if err != nil {
			return fmt.Errorf("read back own command: %w", err)
		}
		p.scratch.args = args
		e := Expectation{Output: i, Kind: o.kind, Key: args[1]}
		o.writer.expect(args, &e)
		if o.expiry != nil {
			at := e.Location()
			e.Expiry, err = o.expiry.of(&p.scratch, r, location{key: at.Key, member: at.Member})
			if err != nil {
				return p.rowError(r, o.path, err)
			}
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// expectReference makes a deferred command what it becomes in the end if the row exists: a command
// whose words are a name, the key, the member and the row.
func expectReference(d *Deferred, out *Commands) error {
	if d.Begins {
		out.Append([]byte("REFER"), d.Key, d.Member, d.Row)
	}
	return nil
}

// AppendTo appends the expectation in a form that ParseExpectation reads, so that a chunk of rows
// can be kept as bytes until it is compared.
func (e *Expectation) AppendTo(dst []byte) []byte {
	dst = append(dst, byte(e.Kind), 0)
	if e.hasField {
		dst[len(dst)-1] = 1
	}
	dst = append(dst, byte(e.Expiry.Rule))
	dst = binary.AppendUvarint(dst, uint64(e.Expiry.Milliseconds))
	dst = binary.AppendUvarint(dst, uint64(e.Output))
	dst = appendBytes(dst, e.Key)
	dst = binary.AppendUvarint(dst, uint64(len(e.Pairs)))
	for _, b := range e.Pairs {
		dst = appendBytes(dst, b)
	}
	for _, b := range [...][]byte{e.Value, e.Member, e.Score, e.Row} {
		dst = appendBytes(dst, b)
	}
	return dst
}

// appendBytes appends b with its length. nil remains nil.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(b))+1), b...)
}

// ParseExpectation reads what AppendTo appended in this process, from the start of b, into e. It
// returns the bytes behind. The slices of e are parts of b; Pairs is reused.
func ParseExpectation(e *Expectation, b []byte) (rest []byte) {
	*e = Expectation{Kind: OutputKind(b[0]), hasField: b[1] == 1, Pairs: e.Pairs[:0]}
	e.Expiry.Rule = ExpiryRule(b[2])
	b = b[3:]
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return v
	}
	text := func() []byte {
		n := number()
		if n == 0 {
			return nil
		}
		n--
		t := b[:n:n]
		b = b[n:]
		return t
	}
	e.Expiry.Milliseconds = int64(number())
	e.Output = int(number())
	e.Key = text()
	for range number() {
		e.Pairs = append(e.Pairs, text())
	}
	e.Value, e.Member, e.Score, e.Row = text(), text(), text(), text()
	return b
}
