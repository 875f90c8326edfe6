package transform

import (
	"strconv"

	"rowfall/binlog"
	"rowfall/replication/resp"
)

// listEmitter adds a value to a list for each change.
type listEmitter struct {
	content content
	push    string // encoded verb
	// trim is the end of the LTRIM after each push, behind its key; nil keeps every entry.
	trim []byte
}

func compileList(c *compiler, w *Output, o *output) error {
	content, err := c.content("value", w.Value)
	if err != nil {
		return err
	}
	e := &listEmitter{content: content, push: verbRPush}
	first, last := -w.MaxLen, -1
	if w.Push == PushLeft {
		e.push, first, last = verbLPush, 0, w.MaxLen-1
	}
	if w.MaxLen > 0 {
		e.trim = resp.AppendBulkString(nil, strconv.Itoa(first))
		e.trim = resp.AppendBulkString(e.trim, strconv.Itoa(last))
	}
	o.emitter = e
	return nil
}

func (e *listEmitter) emit(
	u *Commands, s *scratch, _ *rowChange, _ binlog.Op, row *binlog.Row, key []byte,
) error {
	if e.content.isAbsent(row) {
		return nil
	}
	u.startCommand(3, e.push)
	u.appendBulk(key)
	if err := e.content.appendBulk(u, s, row); err != nil {
		return err
	}
	if e.trim != nil {
		u.startCommand(4, verbLTrim)
		u.appendBulk(key)
		u.Bytes = append(u.Bytes, e.trim...)
	}
	return nil
}
