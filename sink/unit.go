package sink

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"rowfall/replication/resp"
	"rowfall/transform"
)

// Unit is a group of commands that are applied together, with the position of the data after them.
// Fill Commands with a plan and the state with SetState and DropState, set Progress, then call a
// sink's Apply and Reset.
type Unit struct {
	// Commands are the row changes.
	Commands transform.Commands
	// Progress is the position of the data after the unit. A sink that feeds replicas derives from
	// Progress.Phase whether the data are complete. A sink does not keep Progress.Position after
	// Apply, since the next unit may reuse its memory.
	Progress Progress

	state []byte // commands that write pieces of state
}

// maxKeptState is the largest buffer of state that Reset keeps.
const maxKeptState = 1 << 20

// Reset empties the unit. It keeps Progress, and buffers of a usual size.
func (u *Unit) Reset() {
	u.Commands.Reset()
	if cap(u.state) > maxKeptState {
		u.state = nil
	}
	u.state = u.state[:0]
}

// Size returns the number of bytes of commands and state.
func (u *Unit) Size() int { return u.Commands.Size() + len(u.state) }

// IsEmpty reports whether the unit changes nothing but the position.
func (u *Unit) IsEmpty() bool { return u.Size() == 0 }

// SetState makes the unit write a piece of the pipeline's state, with its checksum.
func (u *Unit) SetState(pipeline, name string, value []byte) {
	u.state = appendPiece(u.state, StateKey(pipeline), name, value)
}

// DropState makes the unit remove a piece of the pipeline's state.
func (u *Unit) DropState(pipeline, name string) {
	u.state = appendDropPiece(u.state, StateKey(pipeline), name)
}

const (
	multi = "*1\r\n$5\r\nMULTI\r\n"
	exec  = "*1\r\n$4\r\nEXEC\r\n"
)

// Encoder encodes the units of a pipeline as RESP, and loads the pipeline's state. The position is
// most of a small unit, so only its fields that changed since the last unit are written. Therefore
// one encoder must encode every unit of its pipeline.
type Encoder struct {
	key  string // of the position hash
	name string // of the pipeline

	last     Progress // of the last unit; its Position is the encoder's own copy
	writeAll bool     // the next unit writes every field
	// unchecked holds the pieces that an older version wrote without checksums; nil if there are
	// none. The next unit writes them again, with checksums.
	unchecked map[string][]byte
	// volatile holds the pieces that an older version wrote to a hash of their own; nil if there
	// are none. The next unit moves them to the hash of all pieces.
	volatile map[string][]byte
}

// Load returns what a sink holds of the pipeline. Call it again after a unit could not be applied.
// If a position or a piece of state cannot be read, it returns an error and a Foreign State.
func (e *Encoder) Load(ctx context.Context, r Reader) (State, error) {
	e.writeAll, e.unchecked, e.volatile = true, nil, nil
	var s State
	fields, err := readHash(ctx, r, e.key)
	if err != nil {
		return State{Foreign: true}, err
	}
	if len(fields) > 0 {
		if s.Progress, err = ParseProgress(fields); err != nil {
			return State{Foreign: true}, fmt.Errorf("read %s: %w; this key is Rowfall's own: "+
				"start again with --from snapshot --replace", e.key, err)
		}
	}
	pieces, plain, err := readPieces(ctx, r, e.name)
	if err == nil {
		e.volatile, err = readVolatile(ctx, r, e.name)
	}
	if err == nil && s.Phase == Empty {
		s.Foreign, err = holdsKeys(ctx, r)
	}
	if err != nil {
		return State{Foreign: true}, err
	}
	if plain {
		e.unchecked = maps.Clone(pieces)
	}
	s.Pieces = pieces
	maps.Copy(s.Pieces, e.volatile) // an older version may have left the piece in both hashes
	return s, nil
}

// NewEncoder returns an encoder for a pipeline. Its first unit writes every field of the position.
func NewEncoder(pipeline string) *Encoder {
	return &Encoder{key: PositionKey(pipeline), name: pipeline, writeAll: true}
}

// Encode appends the unit as RESP to dst, from MULTI to EXEC. Call Resolve before.
func (e *Encoder) Encode(dst []byte, u *Unit) []byte {
	u.checkResolved()
	dst = append(append(dst, multi...), u.Commands.Bytes...)
	return e.appendTail(dst, u)
}

// checkResolved panics if the unit has deferred commands. Encoded without them, the unit would
// silently miss changes.
func (u *Unit) checkResolved() {
	if u.Commands.HasDeferred() {
		panic("encode unit: it has deferred commands; call Encoder.Resolve before")
	}
}

// EncodeInPlace returns the unit as RESP in the buffer of its commands, so that a huge unit is not
// held twice. It takes the commands out of the unit. Call Resolve before.
func (e *Encoder) EncodeInPlace(u *Unit) []byte {
	u.checkResolved()
	tail := e.appendTail(nil, u)
	n := len(u.Commands.Bytes)
	b := u.Commands.Bytes
	u.Commands.Bytes = nil
	if need := len(multi) + n + len(tail); need > cap(b) {
		grown := make([]byte, need)
		copy(grown[len(multi):], b)
		b = grown
	} else {
		b = b[:need]
		copy(b[len(multi):], b[:n])
	}
	copy(b, multi)
	copy(b[len(multi)+n:], tail)
	return b
}

// appendTail appends what follows the unit's commands.
func (e *Encoder) appendTail(dst []byte, u *Unit) []byte {
	if e.unchecked != nil {
		// These precede the unit's own pieces, which are newer.
		dst = appendUpgrade(dst, e.name, e.unchecked)
	}
	if e.volatile != nil {
		dst = appendMoveVolatile(dst, e.name, e.volatile)
	}
	e.unchecked, e.volatile = nil, nil
	dst = append(dst, u.state...)
	dst = e.appendPosition(dst, &u.Progress)
	return append(dst, exec...)
}

// Reset makes the next unit write every field of the position, because the sink may hold another
// position than the last encoded one.
func (e *Encoder) Reset() { e.writeAll = true }

// appendPosition appends the commands that write the position.
func (e *Encoder) appendPosition(dst []byte, p *Progress) []byte {
	var (
		fields [8]field
		stale  []string
	)
	if p.Partial == 0 && (e.writeAll || e.last.Partial > 0) {
		stale = []string{"partial", "row"}
	}
	old, now := e.last.lists(), p.lists()
	for i, f := range now {
		if f.value == "" && (e.writeAll || old[i].value != "") {
			stale = append(stale, f.name)
		}
	}
	if e.writeAll {
		dst = resp.AppendCommand(dst, "HSET", registryKey, e.name, formatDefinitions)
	}
	out := e.changedFields(fields[:0], p)
	n := len(out)
	for i := range p.Position {
		if e.writeAll || p.Position.changed(i, e.last.Position) {
			n++
		}
	}
	if n > 0 {
		dst = resp.AppendArray(dst, 2+2*n)
		dst = resp.AppendBulkString(dst, "HSET")
		dst = resp.AppendBulkString(dst, e.key)
		for i := range p.Position {
			if e.writeAll || p.Position.changed(i, e.last.Position) {
				dst = resp.AppendBulkString(dst, p.Position[i].Name)
				dst = resp.AppendBulk(dst, p.Position[i].Value)
			}
		}
		for _, f := range out {
			dst = resp.AppendBulkString(dst, f.name)
			dst = resp.AppendBulkString(dst, f.value)
		}
	}
	if len(stale) > 0 {
		dst = resp.AppendCommand(dst, append([]string{"HDEL", e.key}, stale...)...)
	}
	e.writeAll = false
	position := p.Position.CopyTo(e.last.Position)
	e.last = *p
	e.last.Position = position
	return dst
}

type field struct{ name, value string }

// changedFields appends the fields of p besides its Position that differ from the last unit's, in
// their fixed order. It appends all of them if writeAll is set.
func (e *Encoder) changedFields(out []field, p *Progress) []field {
	l := &e.last
	if e.writeAll || p.Server != l.Server {
		out = append(out, field{"server", p.Server})
	}
	if e.writeAll || p.Time != l.Time {
		out = append(out, field{"time", strconv.FormatInt(p.Time, 10)})
	}
	if e.writeAll || p.Phase != l.Phase {
		out = append(out, field{"state", p.Phase.String()})
	}
	if p.Partial > 0 {
		out = append(out,
			field{"partial", strconv.Itoa(p.Partial)}, field{"row", strconv.Itoa(p.Row)})
	}
	old := l.lists()
	for i, f := range p.lists() {
		if f.value != "" && (e.writeAll || f.value != old[i].value) {
			out = append(out, f)
		}
	}
	return out
}
