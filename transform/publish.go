package transform

import (
	"rowfall/binlog"
	"rowfall/replication/resp"
)

// publishEmitter sends a message to a channel for each change. The command is deferred, so that the
// sink sends only the last message about each row of a unit.
type publishEmitter struct {
	plan    *Plan // for the table's name and the row's key; shared by all clones
	content content
}

func compilePublish(c *compiler, w *Output, o *output) error {
	content, err := c.content("message", w.Message)
	o.emitter = &publishEmitter{c.plan, content}
	return err
}

func (e *publishEmitter) emit(
	u *Commands, s *scratch, _ *rowChange, _ binlog.Op, row *binlog.Row, key []byte,
) error {
	if e.content.isAbsent(row) {
		return nil
	}
	message, err := e.content.value.Append(s.message[:0], row)
	n := len(message)
	if err == nil {
		message = append(message, e.plan.table.FullName()...)
		message, err = e.plan.AppendRowKey(append(message, 0), row)
	}
	s.message = message
	switch {
	case err != nil:
		return inSetting(e.content.setting, err)
	case n > resp.MaxBulk:
		return inSetting(e.content.setting, errTooLong)
	}
	u.Defer(&Deferred{
		Kind: DeferredPublish, Key: key, Member: message[:n:n], Row: message[n:],
	})
	return nil
}
