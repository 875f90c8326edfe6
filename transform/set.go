package transform

import "rowfall/binlog"

// setWriter writes a row as a member of a set.
type setWriter struct{}

func compileSet(c *compiler, w *Output, o *output) (err error) {
	o.writer = setWriter{}
	if w.Shared {
		o.writer = sharedSetWriter{}
	}
	o.member, err = c.template("member", w.Member)
	return err
}

func (setWriter) put(
	u *Commands, _ *scratch, _ *rowChange, at location, _ bool,
) (bool, error) {
	u.startCommand(3, verbSAdd)
	u.appendBulk(at.key)
	u.appendBulk(at.member)
	return true, nil
}

// change appends nothing: the member is the whole content, and it stays.
func (setWriter) change(*Commands, *scratch, *rowChange, location) error { return nil }

func (setWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	appendRemoval(u, verbSRem, at)
}

func (setWriter) expect(args [][]byte, e *Expectation) { e.Member = args[2] }
