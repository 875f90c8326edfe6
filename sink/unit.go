package sink

import (
	"fmt"
	"strconv"

	"rowfall/binlog"
	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/transform"
)

// Unit is an atomic group of commands with the position they bring the data to.
// Fill Commands by a plan and the state by SetState and DropState, then Apply
// it; Reset makes it ready for the next.
type Unit struct {
	Commands transform.Commands
	// Progress is where the data stands once the unit is applied.
	Progress Progress
	// Flush makes the unit begin by removing every key of the sink.
	Flush bool

	state []byte
}

// maxKeptState is the largest buffer of state that a unit keeps for the next.
const maxKeptState = 1 << 20

// Reset empties the unit. It keeps its progress, and its buffers unless they are far larger than
// usual.
func (u *Unit) Reset() {
	u.Commands.Reset()
	if cap(u.state) > maxKeptState {
		u.state = nil
	}
	u.state = u.state[:0]
	u.Flush = false
}

// Size returns the bytes of commands and state gathered so far.
func (u *Unit) Size() int { return len(u.Commands.Bytes) + len(u.state) }

// IsEmpty reports whether applying the unit would move nothing but the position.
func (u *Unit) IsEmpty() bool { return u.Size() == 0 && !u.Flush }

// SetState makes the unit write a piece of the pipeline's state, with its checksum.
func (u *Unit) SetState(pipeline, name string, value []byte) {
	u.state = appendPiece(u.state, pipeline, name, value)
}

// DropState makes the unit remove a piece of the pipeline's state.
func (u *Unit) DropState(pipeline, name string) {
	u.state = appendDropPiece(u.state, pipeline, name)
}

const (
	multi    = "*1\r\n$5\r\nMULTI\r\n"
	exec     = "*1\r\n$4\r\nEXEC\r\n"
	flushAll = "*1\r\n$8\r\nFLUSHALL\r\n"
)

// Encoder reads what a sink holds of a pipeline, and makes the bytes of units. The position
// hash is most of a small unit, so only the fields that changed since the last unit are written; one encoder
// must therefore see every unit of its pipeline.
type Encoder struct {
	key      string
	name     string
	last     Progress
	writeAll bool // the next unit writes every field
	// plain holds the pieces that an older version wrote without checksums. The next unit
	// writes them anew; nil where there are none.
	unchecked map[string][]byte
	gtid      []byte
	text      []byte
}

// Load reads what a keyspace holds of the pipeline. It must be called again after a unit
// could not be applied. A position or a piece of state that cannot be read is an error, along
// with a State that is Foreign.
func (e *Encoder) Load(ks *keyspace.Keyspace) (State, error) {
	e.writeAll, e.unchecked = true, nil
	var s State
	if fields, ok := ks.HashFields(e.key); ok {
		p, err := ParseProgress(fields)
		if err != nil {
			return State{Foreign: true}, fmt.Errorf("read %s: %w; this key is Rowfall's own: start again with --from snapshot", e.key, err)
		}
		s.Progress = p
	}
	pieces, plain, err := readPieces(ks, e.name)
	if err != nil {
		return State{Foreign: true}, err
	}
	if s.Pieces = pieces; plain {
		e.unchecked = pieces
	}
	if s.Phase == Empty {
		keys, _, _ := ks.Counts()
		s.Foreign = keys > 0
	}
	return s, nil
}

// NewEncoder returns an encoder for a pipeline, whose first unit writes every
// field of the position.
func NewEncoder(pipeline string) *Encoder {
	return &Encoder{key: PositionKey(pipeline), name: pipeline, writeAll: true}
}

// Encode appends the unit's bytes, MULTI to EXEC, to dst.
func (e *Encoder) Encode(dst []byte, u *Unit) []byte {
	dst = e.appendHead(dst, u)
	dst = append(dst, u.Commands.Bytes...)
	return e.appendTail(dst, u)
}

// EncodeInPlace returns the unit's bytes in the buffer of its commands, which are lost by it. So a
// huge unit is not held twice.
func (e *Encoder) EncodeInPlace(u *Unit) []byte {
	var small [len(multi) + len(flushAll)]byte
	head := e.appendHead(small[:0], u)
	tail := e.appendTail(nil, u)
	n := len(u.Commands.Bytes)
	b := u.Commands.Bytes
	u.Commands.Bytes = nil
	if need := len(head) + n + len(tail); need > cap(b) {
		grown := make([]byte, need)
		copy(grown[len(head):], b)
		b = grown
	} else {
		b = b[:need]
		copy(b[len(head):], b[:n])
	}
	copy(b, head)
	copy(b[len(head)+n:], tail)
	return b
}

// head appends what stands before the unit's commands.
func (e *Encoder) appendHead(dst []byte, u *Unit) []byte {
	dst = append(dst, multi...)
	if u.Flush {
		dst = append(dst, flushAll...)
		e.writeAll = true
	}
	return dst
}

// tail appends what stands behind the unit's commands.
func (e *Encoder) appendTail(dst []byte, u *Unit) []byte {
	if e.unchecked != nil && !u.Flush {
		// Before the unit's own pieces, which are newer.
		dst = appendUpgrade(dst, e.name, e.unchecked)
	}
	e.unchecked = nil
	dst = append(dst, u.state...)
	dst = e.appendPosition(dst, &u.Progress)
	return append(dst, exec...)
}

// Forget makes the next unit write every field: the sink may hold others.
func (e *Encoder) Reset() { e.writeAll = true }

func (e *Encoder) appendPosition(dst []byte, p *Progress) []byte {
	var (
		fields [8]field
		stale  []string
	)
	gtid := p.Position.GTID.AppendText(e.text[:0])
	e.text = gtid
	sameGTID := string(gtid) == string(e.gtid)
	l := &e.last
	out := fields[:0]
	if p.Partial == 0 && (e.writeAll || l.Partial > 0) {
		stale = []string{"partial", "row"}
	}
	if e.writeAll {
		dst = resp.AppendCommand(dst, "HSET", registryKey, e.name, formatChecked)
		out = p.fields(out)
	} else {
		out = e.changedFields(out, p)
	}
	n := len(out)
	withGTID := !e.writeAll && !sameGTID
	if withGTID {
		n++
	}
	if n > 0 {
		dst = resp.AppendArray(dst, 2+2*n)
		dst = resp.AppendBulkString(dst, "HSET")
		dst = resp.AppendBulkString(dst, e.key)
		if withGTID {
			dst = resp.AppendBulkString(dst, "gtid")
			dst = resp.AppendBulk(dst, gtid)
		}
		for _, f := range out {
			dst = resp.AppendBulkString(dst, f.name)
			dst = resp.AppendBulkString(dst, f.value)
		}
	}
	if len(stale) > 0 {
		dst = resp.AppendCommand(dst, append([]string{"HDEL", e.key}, stale...)...)
	}
	e.gtid = append(e.gtid[:0], gtid...)
	e.writeAll = false
	// The set is compared by its text; the rest is plain values.
	*l = *p
	l.Position.GTID = binlog.GTIDSet{}
	return dst
}

func (e *Encoder) changedFields(out []field, p *Progress) []field {
	l := &e.last
	if p.Position.File != l.Position.File {
		out = append(out, field{"file", p.Position.File})
	}
	if p.Position.Offset != l.Position.Offset {
		out = append(out, field{"offset", strconv.FormatUint(p.Position.Offset, 10)})
	}
	if p.Server != l.Server {
		out = append(out, field{"server", p.Server})
	}
	if p.Time != l.Time {
		out = append(out, field{"time", strconv.FormatInt(p.Time, 10)})
	}
	if p.Phase != l.Phase {
		out = append(out, field{"state", p.Phase.String()})
	}
	if p.Partial > 0 {
		out = append(out, field{"partial", strconv.Itoa(p.Partial)}, field{"row", strconv.Itoa(p.Row)})
	}
	return out
}
