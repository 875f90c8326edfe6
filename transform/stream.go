package transform

import (
	"strconv"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/template"
)

// streamEmitter adds an entry to a stream for each change: the operation, the table, the row's key,
// the row before and after the change as JSON, and the transaction.
type streamEmitter struct {
	fields *fields
	key    *template.Template // the text of the row's key
	// options are MAXLEN and its number as bulk strings; nil keeps every entry.
	options []byte
	// table is the names of the fields and the full name of the table, as bulk strings.
	table []byte
}

// Names of the fields of an entry, encoded as RESP bulk strings.
const (
	entryOp       = "$2\r\nop\r\n"
	entryTable    = "$5\r\ntable\r\n"
	entryKey      = "$3\r\nkey\r\n"
	entryBefore   = "$6\r\nbefore\r\n"
	entryAfter    = "$5\r\nafter\r\n"
	entryPosition = "$8\r\nposition\r\n"
)

// entryOps are the operations as bulk strings.
var entryOps = map[binlog.Op]string{
	binlog.Insert: "$6\r\ninsert\r\n", binlog.Update: "$6\r\nupdate\r\n",
	binlog.Delete: "$6\r\ndelete\r\n",
}

func compileStream(c *compiler, w *Output, o *output) error {
	key, err := c.template("", "{pk...}")
	if err != nil {
		return err
	}
	e := &streamEmitter{fields: c.plan.fields, key: key}
	if w.MaxLen > 0 {
		e.options = resp.AppendBulkString(nil, "MAXLEN")
		e.options = resp.AppendBulkString(e.options, strconv.Itoa(w.MaxLen))
	}
	e.table = resp.AppendBulkString([]byte(entryTable), c.table.FullName())
	e.table = append(e.table, entryKey...)
	o.emitter, o.writesContent = e, true
	return nil
}

func (e *streamEmitter) emit(
	u *Commands, s *scratch, ch *rowChange, op binlog.Op, row *binlog.Row, key []byte,
) error {
	words := 9 // XADD, the stream, the id, and three fields with values
	if e.options != nil {
		words += 2
	}
	for _, present := range [...]bool{ch.accepted != nil, ch.new != nil, ch.Transaction != nil} {
		if present {
			words += 2
		}
	}
	u.startCommand(words, verbXAdd)
	u.appendBulk(key)
	u.Bytes = append(u.Bytes, e.options...)
	u.deferPart(&Deferred{Kind: DeferredStreamID, Key: key, Number: ch.Time / 1000})
	u.Bytes = append(u.Bytes, entryOp...)
	u.Bytes = append(u.Bytes, entryOps[op]...)
	u.Bytes = append(u.Bytes, e.table...)
	start := u.startBulk(1)
	var err error
	if u.Bytes, err = e.key.Append(u.Bytes, row); err != nil {
		return err
	}
	if err = u.finishBulk(start, 1); err != nil {
		return err
	}
	if err = e.appendRow(u, s, entryBefore, ch.accepted); err != nil {
		return err
	}
	if err = e.appendRow(u, s, entryAfter, ch.new); err != nil {
		return err
	}
	if ch.Transaction == nil {
		return nil
	}
	u.Bytes = append(u.Bytes, entryPosition...)
	start = u.startBulk(2)
	u.Bytes = ch.Transaction.AppendText(u.Bytes)
	return u.finishBulk(start, 2)
}

// appendRow appends a field with a row as JSON, unless the row is nil.
func (e *streamEmitter) appendRow(u *Commands, s *scratch, name string, r *binlog.Row) error {
	if r == nil {
		return nil
	}
	u.Bytes = append(u.Bytes, name...)
	start := u.startBulk(3)
	if err := e.fields.appendJSON(u, s, r); err != nil {
		return err
	}
	return u.finishBulk(start, 3)
}
