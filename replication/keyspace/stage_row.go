package keyspace

import (
	"encoding/binary"
	"strconv"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// rowStager stages the commands that pipelines send most: HSET of all fields of a row whose shape is
// known, and HSET of some fields of a stored row. It reads the values where they lie in the unit,
// and writes the new record where it is stored. Every other command, and every unusual form of
// these, takes the general path: resp.ParseCommand, and the writer of the command. Both paths have
// the same results.
type rowStager struct {
	// wires holds the field names of the shapes, by the number of the shape; nil: not seen yet.
	wires []*wireNames
	// recent holds the shapes of the last rows with a number of fields, the latest first.
	recent [maxRowFields + 1][recentShapes]*wireNames

	names, values []value.Span // of the command being staged
	staged        int          // number of commands that were staged
	update        value.RowUpdate
}

const (
	maxRowFields = 128 // of an HSET of a row
	maxDelta     = 16  // fields of an HSET of some fields of a row
	recentShapes = 4
)

// wireNames is the field names of a shape as a command contains them.
type wireNames struct {
	shape *value.Shape
	// names holds for each field its name as a bulk string, and the "$" that the value starts with.
	names []string
}

// learn prepares for commands that set all fields of a shape.
func (r *rowStager) learn(shape *value.Shape) {
	n, fields := shape.Number(), len(shape.Names())
	if fields > maxRowFields {
		return
	}
	for len(r.wires) <= n {
		r.wires = append(r.wires, nil)
	}
	w := r.wires[n]
	if w == nil {
		w = &wireNames{shape: shape}
		for _, name := range shape.Names() {
			w.names = append(w.names,
				"$"+strconv.Itoa(len(name))+"\r\n"+string(name)+"\r\n$")
		}
		r.wires[n] = w
	}
	recent := &r.recent[fields]
	for i := range recent {
		if recent[i] == w {
			return
		}
	}
	copy(recent[1:], recent[:])
	recent[0] = w
}

// stageRow stages the command at the start of b if it is one that the rowStager can stage, and
// returns its length. It returns 0 if the general path must stage the command.
func (k *Keyspace) stageRow(b []byte) (n int) {
	fields, at := hsetHead(b)
	if fields == 0 || len(b) > value.MaxSpan {
		return 0
	}
	key, at := bulk(b, at)
	if at == 0 {
		return 0
	}
	r := &k.rows
	if fields <= maxRowFields {
		for i, w := range r.recent[fields] {
			if w == nil {
				break
			}
			if n := r.parseRow(b, at, w); n != 0 {
				if i > 0 {
					r.recent[fields][i], r.recent[fields][i-1] = r.recent[fields][i-1], w
				}
				if !k.stageFullRow(b, key, w.shape) {
					return 0
				}
				r.staged++
				return n
			}
		}
	}
	if fields > maxDelta {
		return 0
	}
	n = r.parseDelta(b, at, fields)
	if n == 0 || !k.stageDelta(b, key) {
		return 0
	}
	r.staged++
	return n
}

// hsetHead parses the start of an HSET up to the name of the command. It returns the number of
// fields, and where the key starts. fields is 0 if the command is another one.
func hsetHead(b []byte) (fields, at int) {
	const name = "\r\n$4\r\nHSET\r\n"
	if len(b) < 4+len(name) || b[0] != '*' {
		return 0, 0
	}
	args, at := 0, 1
	for ; at < 4 && b[at]-'0' <= 9; at++ {
		args = args*10 + int(b[at]-'0')
	}
	if string(b[at:at+len(name)]) != name || args < 4 || args%2 != 0 {
		return 0, 0
	}
	return args/2 - 1, at + len(name)
}

// bulk parses the bulk string at b[pos:], and returns where the string is and the position after
// its CRLF. next is 0 if the bytes are not a complete bulk string with an ordinary header.
func bulk(b []byte, pos int) (s value.Span, next int) {
	if pos >= len(b) || b[pos] != '$' {
		return s, 0
	}
	return bulkSize(b, pos+1)
}

// bulkSize is bulk for the position after the "$".
func bulkSize(b []byte, pos int) (s value.Span, next int) {
	n, i := 0, pos
	for ; i < len(b) && i < pos+8 && b[i]-'0' <= 9; i++ {
		n = n*10 + int(b[i]-'0')
	}
	end := i + 2 + n
	if i == pos || end+2 > len(b) || b[i] != '\r' || b[i+1] != '\n' ||
		b[end] != '\r' || b[end+1] != '\n' {
		return s, 0
	}
	return value.Span{Start: int32(i + 2), End: int32(end)}, end + 2
}

// parseRow parses the fields at b[pos:], which must be those of a shape, into r.values. It returns
// the position after them, or 0.
func (r *rowStager) parseRow(b []byte, pos int, w *wireNames) (next int) {
	r.values = r.values[:0]
	for _, name := range w.names {
		at := pos + len(name)
		if at > len(b) || string(b[pos:at]) != name {
			return 0
		}
		v, next := bulkSize(b, at)
		if next == 0 {
			return 0
		}
		r.values, pos = append(r.values, v), next
	}
	return pos
}

// parseDelta parses the fields at b[pos:] into r.names and r.values. It returns the position after
// them, or 0.
func (r *rowStager) parseDelta(b []byte, pos, fields int) (next int) {
	r.names, r.values = r.names[:0], r.values[:0]
	for range fields {
		name, at := bulk(b, pos)
		if at == 0 {
			return 0
		}
		val, next := bulk(b, at)
		if next == 0 {
			return 0
		}
		r.names, r.values, pos = append(r.names, name), append(r.values, val), next
	}
	return pos
}

// stageFullRow stages r.values as the row of a key that is new or holds a row of the same shape.
func (k *Keyspace) stageFullRow(b []byte, key value.Span, shape *value.Shape) bool {
	size, ok := value.RowSize(k.rows.values)
	if !ok {
		return false
	}
	t := k.target(b[key.Start:key.End])
	if t.rec != "" && t.value().Shape() != shape {
		return false
	}
	rec, at := k.allocRow(&t, size)
	if rec == nil {
		return false
	}
	shape.PutRow(rec[len(rec)-size:], b, k.rows.values)
	k.put(&t, record(stringOf(rec)), at, nil)
	return true
}

// stageDelta stages the fields r.names with r.values of a key that holds a row with these fields.
func (k *Keyspace) stageDelta(b []byte, key value.Span) bool {
	t := k.target(b[key.Start:key.End])
	if t.rec == "" {
		return false
	}
	r := &k.rows
	size, ok := r.update.Measure(t.value(), b, r.names, r.values)
	if !ok {
		return false
	}
	rec, at := k.allocRow(&t, size)
	if rec == nil {
		return false
	}
	r.update.Put(rec[len(rec)-size:], b)
	k.put(&t, record(stringOf(rec)), at, nil)
	return true
}

// allocRow allocates the record of a hash whose packed value has size bytes, and writes all of the
// record but the value. The target keeps its expiry. The result is nil if the arena is full.
func (k *Keyspace) allocRow(t *target, size int) ([]byte, arena.Addr) {
	if t.rec != "" { // the same head as that of the old record
		head := len(t.rec) - len(t.rec.packed())
		at, rec, err := k.arena.Alloc(head + size)
		if err != nil {
			return nil, 0
		}
		copy(rec, t.rec[:head])
		return rec, at
	}
	head := 1 + uvarintSize(len(t.key)) + len(t.key)
	at, rec, err := k.arena.Alloc(head + size)
	if err != nil {
		return nil, 0
	}
	rec[0] = byte(Hash)
	copy(rec[1+binary.PutUvarint(rec[1:], uint64(len(t.key))):], t.key)
	return rec, at
}

// uvarintSize returns the number of bytes of n written as a uvarint.
func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
