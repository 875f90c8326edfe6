package transform

import "rowfall/binlog"

// sharedHashWriter writes a row as one field of a hash that rows share.
type sharedHashWriter struct{ content content }

// compileSharedHash compiles a hash output with the setting field.
func compileSharedHash(c *compiler, w *Output, o *output) (err error) {
	if o.member, err = c.template("field", w.Field); err != nil {
		return err
	}
	content, err := c.content("value", w.Value)
	o.writer, o.writesContent = &sharedHashWriter{content}, true
	return err
}

func (w *sharedHashWriter) put(
	u *Commands, s *scratch, ch *rowChange, at location, mayExist bool,
) (isWritten bool, err error) {
	if w.content.isAbsent(ch.new) {
		if mayExist {
			w.remove(u, s, nil, at)
		}
		return false, nil
	}
	u.startCommand(4, verbHSet)
	u.appendBulk(at.key)
	u.appendBulk(at.member)
	return true, w.content.appendBulk(u, s, ch.new)
}

func (w *sharedHashWriter) change(u *Commands, s *scratch, ch *rowChange, at location) error {
	if ch.sameColumns(w.content.columns) {
		return nil
	}
	_, err := w.put(u, s, ch, at, true)
	return err
}

func (w *sharedHashWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	appendRemoval(u, verbHDel, at)
}

func (w *sharedHashWriter) expect(args [][]byte, e *Expectation) {
	e.Pairs, e.hasField = args[2:], true
}
