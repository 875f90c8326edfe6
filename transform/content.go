package transform

import (
	"slices"

	"rowfall/binlog"
	"rowfall/transform/template"
)

// content is a value that an output writes as one bulk string: the text of a template, or the row
// as JSON.
type content struct {
	fields *fields
	value  *template.Template // nil means the row as JSON
	// setting is the name of the setting that has the template.
	setting string
	// columns are the columns that the content depends on, ascending.
	columns []int
}

// content compiles the content of an output, which is a setting of the file. The source "" is the
// row as JSON.
func (c *compiler) content(setting, source string) (content, error) {
	out := content{fields: c.plan.fields, setting: setting}
	if source == "" {
		out.columns = sortColumns(c.plan.fields.sources())
		return out, nil
	}
	scope := template.Scope{Columns: c.view, Key: c.plan.key, Value: true}
	var err error
	if out.value, err = scope.Parse(source); err != nil {
		return out, inSetting(setting, err)
	}
	out.columns = sortColumns(out.value.Columns(nil))
	return out, nil
}

// sortColumns sorts columns and removes those that are there twice.
func sortColumns(columns []int) []int {
	slices.Sort(columns)
	return slices.Compact(columns)
}

// isAbsent reports whether there is no value for row r: a template that is one column and nothing
// else has none if the column is NULL.
func (c *content) isAbsent(r *binlog.Row) bool {
	if c.value == nil {
		return false
	}
	column := c.value.SingleColumn()
	return column >= 0 && c.fields.view.IsNull(r, column)
}

// appendBulk appends the value for row r as a bulk string.
func (c *content) appendBulk(u *Commands, s *scratch, r *binlog.Row) (err error) {
	digits := 2
	if c.value == nil {
		digits = 3
	}
	start := u.startBulk(digits)
	if c.value == nil {
		err = c.fields.appendJSON(u, s, r)
	} else {
		u.Bytes, err = c.value.Append(u.Bytes, r)
	}
	if err == nil {
		err = u.finishBulk(start, digits)
	}
	return inSetting(c.setting, err)
}

// contentWriter writes a row as one content: as a string, or, if isField is set, as a field of a
// hash that rows share.
type contentWriter struct {
	content content
	isField bool
}

func (w *contentWriter) put(
	u *Commands, s *scratch, ch *rowChange, at location, mayExist bool,
) (isWritten bool, err error) {
	if w.content.isAbsent(ch.new) {
		if mayExist {
			w.remove(u, s, nil, at)
		}
		return false, nil
	}
	if w.isField {
		u.startCommand(4, verbHSet)
		u.appendBulk(at.key)
		u.appendBulk(at.member)
	} else {
		u.startCommand(3, verbSet)
		u.appendBulk(at.key)
	}
	return true, w.content.appendBulk(u, s, ch.new)
}

func (w *contentWriter) change(u *Commands, s *scratch, ch *rowChange, at location) error {
	if ch.sameColumns(w.content.columns) {
		return nil
	}
	_, err := w.put(u, s, ch, at, true)
	return err
}

func (w *contentWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	if w.isField {
		appendRemoval(u, verbHDel, at)
	} else {
		appendRemoval(u, verbDel, at)
	}
}

func (w *contentWriter) expect(args [][]byte, e *Expectation) {
	if w.isField {
		e.Pairs, e.hasField = args[2:], true
	} else {
		e.Value = args[2]
	}
}
