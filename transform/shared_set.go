package transform

import (
	"fmt"

	"rowfall/binlog"
	"rowfall/transform/template"
)

// maxReferenceOverhead is more than the sink adds to the key and the member in the name of the key
// that holds the references to the member.
const maxReferenceOverhead = 1 << 10

// sharedSetWriter writes a row as a reference to a member of a set. Other rows may refer to the
// same member, so only the sink knows whether the member comes or goes.
type sharedSetWriter struct{}

func (sharedSetWriter) put(
	u *Commands, _ *scratch, _ *rowChange, at location, _ bool,
) (bool, error) {
	refer(u, at, true)
	return true, nil
}

// change appends nothing: the reference is the whole content, and it stays.
func (sharedSetWriter) change(*Commands, *scratch, *rowChange, location) error { return nil }

func (sharedSetWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	refer(u, at, false)
}

func (sharedSetWriter) expect(args [][]byte, e *Expectation) { e.Member, e.Row = args[2], args[3] }

func refer(u *Commands, at location, begins bool) {
	u.Defer(&Deferred{
		Kind: DeferredReference, Begins: begins, Key: at.key, Member: at.member, Row: at.row,
	})
}

// moveShared appends the commands of a shared output for a row that leaves its old location.
func (o *output) moveShared(u *Commands, s *scratch, ch *rowChange, from, to *image) error {
	if to.present {
		if _, err := o.writer.put(u, s, ch, to.location, false); err != nil {
			return err
		}
	}
	o.writer.remove(u, s, ch.old, from.location)
	return nil
}

// replaceShared is replace for a shared output. A reference has no content that could be stale, so
// that the reference of the new row stays if the sink holds it.
func (o *output) replaceShared(u *Commands, s *scratch, ch *rowChange) error {
	var newImage image
	if ch.new != nil {
		if err := o.locateNew(s, ch.new, &newImage); err != nil {
			return err
		}
		if newImage.present {
			if _, err := o.writer.put(u, s, ch, newImage.location, false); err != nil {
				return err
			}
		}
	}
	for _, r := range [...]*binlog.Row{ch.Before, ch.After} {
		var at image
		if r == nil {
			continue
		}
		if err := o.locateOld(s, r, &at); err != nil {
			return err
		}
		if at.present && (!newImage.present || !newImage.equal(at.location)) {
			o.writer.remove(u, s, r, at.location)
		}
	}
	return nil
}

// share makes an output shared. number is the number of shared outputs of the table before this
// one: one row may yield a member through several outputs.
//
// The text of a row contains the table's name, since rows of several tables may yield one member.
// The templates of two outputs never print the same text: names of databases and tables contain no
// byte 0xff, because MySQL stores them as UTF-8.
func (c *compiler) share(o *output, number int) error {
	scope := template.Scope{Columns: c.view, Key: c.plan.key}
	row, err := scope.Parse(fmt.Sprintf("{database}\xff{table}\xff%d:{pk...}", number))
	if err != nil {
		return fmt.Errorf("a shared output stores the key of each row beside the data: %w", err)
	}
	columns, _, _ := row.Determines()
	if !c.containsKey(columns, true) {
		return fmt.Errorf("a shared output stores the key of each row beside the data, and the "+
			"texts of key columns of %s cannot be told apart; set key_columns to columns that are "+
			"written unchanged", c.table.FullName())
	}
	o.row = row
	return nil
}
