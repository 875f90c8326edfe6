package transform

import "rowfall/binlog"

// stringWriter writes a row as the string that a template prints, or that holds the row as JSON.
type stringWriter struct{ content content }

func compileString(c *compiler, w *Output, o *output) error {
	content, err := c.content("value", w.Value)
	o.writer, o.writesContent = &stringWriter{content}, true
	return err
}

func (w *stringWriter) put(
	u *Commands, s *scratch, ch *rowChange, at location, mayExist bool,
) (isWritten bool, err error) {
	if w.content.isAbsent(ch.new) {
		if mayExist {
			w.remove(u, s, nil, at)
		}
		return false, nil
	}
	u.startCommand(3, verbSet)
	u.appendBulk(at.key)
	return true, w.content.appendBulk(u, s, ch.new)
}

func (w *stringWriter) change(u *Commands, s *scratch, ch *rowChange, at location) error {
	if ch.sameColumns(w.content.columns) {
		return nil
	}
	_, err := w.put(u, s, ch, at, true)
	return err
}

func (w *stringWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	appendRemoval(u, verbDel, at)
}

func (w *stringWriter) expect(args [][]byte, e *Expectation) { e.Value = args[2] }
