package keyspace

import (
	"encoding/binary"
	"strconv"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
)

// rowStager stages the commands that pipelines send most: HSET of all fields of a row whose shape
// is known, HSET of some fields of a stored row, and DEL of one key. It reads the values where they
// lie in the unit, and writes the new record where it is stored. Every other command, and every
// unusual form of these, takes the general path: resp.ParseCommand, and the writer of the command.
// Both paths have the same results.
//
// It parses some commands ahead and touches the records of their keys, so that the processor loads
// these from memory at the same time and not one after another.
type rowStager struct {
	// wires holds the field names of each shape, by the shape's number; nil: not learned yet.
	wires []*wireNames
	// recent holds, for each number of fields, the shapes of the newest rows with so many fields,
	// the newest first.
	recent [maxRowFields + 1][recentShapes]*wireNames

	commands [maxAhead]rowCommand // the commands that were parsed ahead
	found    [maxAhead]arena.Addr // the records of their keys
	ahead    int                  // how many commands to parse ahead
	parsed   int                  // how many elements of commands the unit has used
	// names and values are those of the commands, one after another.
	names, values []value.Span
	update        value.RowUpdate
	touched       byte // combines what was touched, so that the reads are not optimized away
	staged        int  // number of commands that were staged; only tests read it
}

// rowCommand is a parsed command. Its spans are in the bytes that begin with the first command that
// was parsed with it.
type rowCommand struct {
	key      value.Span
	at       keySlot
	shape    *value.Shape // if all fields of a row are set, else nil
	from, to int          // the command's part of rowStager.values; empty for DEL
	name     int          // where the command's part of rowStager.names begins, if shape is nil
	end      int          // where the command ends
}

const (
	maxRowFields = 128 // of an HSET of a row
	maxDelta     = 16  // fields of an HSET of some fields of a row
	recentShapes = 8   // shapes with the same number of fields to compare a row with
	maxAhead     = 8   // commands to parse ahead
)

// wireNames is the field names of a shape as a command contains them.
type wireNames struct {
	shape *value.Shape
	// names holds for each field the CRLF of the value before it, unless it is the first one, its
	// name as a bulk string, and the "$" that its value starts with.
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
		before := ""
		for _, name := range shape.Names() {
			w.names = append(w.names,
				before+"$"+strconv.Itoa(len(name))+"\r\n"+string(name)+"\r\n$")
			before = "\r\n"
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

// stageRows stages the commands at the start of b as far as the rowStager can, and returns how many
// bytes and how many commands these are. The general path must stage the next command.
func (k *Keyspace) stageRows(b []byte) (size, commands int) {
	r := &k.rows
	for {
		b := b[size:]
		n := r.parseAhead(b)
		r.parsed = max(r.parsed, n)
		k.findSlots(b, r.commands[:n])
		start := 0
		for i := range n {
			c := &r.commands[i]
			if !k.stageRow(b, c) {
				r.ahead = 1 // the next commands may be like this one
				return size + start, commands
			}
			start = c.end
			commands++
			r.staged++
		}
		size += start
		if n < r.ahead {
			return size, commands
		}
		r.ahead = min(2*n, maxAhead)
	}
}

// reset removes the references to shards of the last unit, which would keep their memory in use.
func (r *rowStager) reset() {
	for i := range r.parsed {
		r.commands[i].at.shard = nil
	}
	r.parsed = 0
}

// parseAhead parses up to r.ahead commands at the start of b into r.commands, and returns how many
// it has parsed.
func (r *rowStager) parseAhead(b []byte) (n int) {
	r.names, r.values = r.names[:0], r.values[:0]
	r.ahead = max(r.ahead, 1)
	if len(b) > value.MaxSpan {
		return 0
	}
	for pos := 0; n < r.ahead; n++ {
		c := &r.commands[n]
		if !r.parse(b, pos, c) {
			break
		}
		pos = c.end
	}
	return n
}

// parse parses the command at b[pos:], and returns false if the general path must stage it.
func (r *rowStager) parse(b []byte, pos int, c *rowCommand) bool {
	const del = "*2\r\n$3\r\nDEL\r\n"
	c.shape, c.from, c.name = nil, len(r.values), len(r.names)
	if len(b)-pos >= len(del) && string(b[pos:pos+len(del)]) == del {
		c.key, c.end = bulk(b, pos+len(del))
		c.to = c.from
		return c.end != 0
	}
	fields, at := hsetHead(b, pos)
	if fields == 0 {
		return false
	}
	if c.key, at = bulk(b, at); at == 0 {
		return false
	}
	if fields <= maxRowFields {
		recent := &r.recent[fields]
		for i, w := range recent {
			if w == nil {
				break
			}
			if c.end = r.parseRow(b, at, w); c.end != 0 {
				if i > 0 {
					recent[i], recent[i-1] = recent[i-1], w
				}
				c.shape, c.to = w.shape, len(r.values)
				return true
			}
			r.values = r.values[:c.from]
		}
	}
	if fields > maxDelta {
		return false
	}
	c.end = r.parseDelta(b, at, fields)
	c.to = len(r.values)
	return c.end != 0
}

// findSlots finds the slots of the commands' keys, and touches the records in these slots. Touch is
// a loop of its own, because the processor overlaps only reads that are a few instructions apart.
func (k *Keyspace) findSlots(b []byte, commands []rowCommand) {
	d := k.table.dir.Load()
	n := 0
	for i := range commands {
		c := &commands[i]
		c.at.hash = hashOf(b[c.key.Start:c.key.End])
		c.at.shard = d.shard(c.at.hash)
		c.at.slot, c.at.at = c.at.shard.seekTag(c.at.hash)
		if c.at.at != 0 {
			k.rows.found[n] = c.at.at
			n++
		}
	}
	if n > 1 {
		k.rows.touched ^= k.arena.Touch(k.rows.found[:n])
	}
}

// stageRow stages a parsed command. It returns false, and changes nothing, if the general path must
// stage it.
func (k *Keyspace) stageRow(b []byte, c *rowCommand) bool {
	t := k.targetAt(b[c.key.Start:c.key.End], &c.at)
	switch values := k.rows.values[c.from:c.to]; {
	case c.from == c.to: // DEL
		if t.rec != "" {
			k.remove(&t)
		}
		return true
	case c.shape != nil:
		return k.stageFullRow(&t, b, values, c.shape)
	default:
		names := k.rows.names[c.name : c.name+len(values)]
		return k.stageDelta(&t, b, names, values)
	}
}

// hsetHead parses the start of an HSET at b[pos:] up to the name of the command. It returns the
// number of fields, and where the key starts. fields is 0 if the command is another one.
func hsetHead(b []byte, pos int) (fields, at int) {
	const name = "\r\n$4\r\nHSET\r\n"
	if len(b)-pos < 4+len(name) || b[pos] != '*' {
		return 0, 0
	}
	args, at := 0, pos+1
	for ; at < pos+4 && b[at]-'0' <= 9; at++ {
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
	n, start := bulkHead(b, pos+1)
	end := start + n
	if start == 0 || end+2 > len(b) || b[end] != '\r' || b[end+1] != '\n' {
		return s, 0
	}
	return value.Span{Start: int32(start), End: int32(end)}, end + 2
}

// bulkHead parses the length of a bulk string and the CRLF after it. start is the position after
// both, or 0.
func bulkHead(b []byte, pos int) (n, start int) {
	i := pos
	for ; i < len(b) && i < pos+8 && b[i]-'0' <= 9; i++ {
		n = n*10 + int(b[i]-'0')
	}
	if i == pos || i+2 > len(b) || b[i] != '\r' || b[i+1] != '\n' {
		return 0, 0
	}
	return n, i + 2
}

// parseRow parses the fields at b[pos:], which must be those of a shape, and appends the values to
// r.values. It returns the position after them, or 0.
func (r *rowStager) parseRow(b []byte, pos int, w *wireNames) (next int) {
	for _, name := range w.names {
		at := pos + len(name)
		if at+4 > len(b) || string(b[pos:at]) != name {
			return 0
		}
		// Most values have one or two digits of length. This is not a function, because the
		// compiler would not inline it.
		n := int(b[at] - '0')
		switch {
		case n > 9:
			return 0
		case b[at+1] == '\r' && b[at+2] == '\n':
			at += 3
		case b[at+1]-'0' <= 9 && b[at+2] == '\r' && b[at+3] == '\n':
			n, at = 10*n+int(b[at+1]-'0'), at+4
		default:
			if n, at = bulkHead(b, at); at == 0 {
				return 0
			}
		}
		if pos = at + n; pos+2 > len(b) {
			return 0
		}
		r.values = append(r.values, value.Span{Start: int32(at), End: int32(pos)})
	}
	if b[pos] != '\r' || b[pos+1] != '\n' {
		return 0
	}
	return pos + 2
}

// parseDelta parses the fields at b[pos:], and appends them to r.names and r.values. It returns the
// position after them, or 0.
func (r *rowStager) parseDelta(b []byte, pos, fields int) (next int) {
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

// stageFullRow stages a row whose key is new or holds a row of the same shape.
func (k *Keyspace) stageFullRow(
	t *target, b []byte, values []value.Span, shape *value.Shape,
) bool {
	size, ok := value.RowSize(values)
	if !ok || t.rec != "" && t.value().Shape() != shape {
		return false
	}
	rec, at := k.allocRow(t, size)
	if rec == nil {
		return false
	}
	shape.PutRow(rec[len(rec)-size:], b, values)
	k.put(t, record(stringOf(rec)), at, nil)
	return true
}

// stageDelta stages some fields of a key that holds a row with these fields.
func (k *Keyspace) stageDelta(t *target, b []byte, names, values []value.Span) bool {
	if t.rec == "" {
		return false
	}
	u := &k.rows.update
	size, ok := u.Measure(t.value(), b, names, values)
	if !ok {
		return false
	}
	rec, at := k.allocRow(t, size)
	if rec == nil {
		return false
	}
	u.Put(rec[len(rec)-size:], b)
	k.put(t, record(stringOf(rec)), at, nil)
	return true
}

// allocRow allocates the record of a hash whose packed value has size bytes, and writes all of the
// record except the value. The key keeps its expiry. The record is nil if the arena is full.
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
