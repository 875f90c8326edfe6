package transform

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rowfall/transform/template"
)

// defaultKey is the key of a table without a write list: one hash for each row.
const defaultKey = "{table}:{pk...}"

// outputs compiles the write list of the entry.
func (c *compiler) outputs() error {
	write := c.rule.Write
	if len(write) == 0 {
		write = []Output{{
			Kind: Hash, Key: defaultKey, Path: c.rule.Path, Line: c.rule.Line, isDefault: true,
		}}
	}
	var faults []error
	for i := range write {
		w := write[i]
		c.setPath(&w, i)
		o, err := c.output(&w)
		if err != nil {
			for _, fault := range splitErrors(err) {
				faults = append(faults, outputFault(&w, fault))
			}
			continue
		}
		c.warnOfNulls(&w, &o)
		c.plan.outputs = append(c.plan.outputs, o)
		c.plan.acts = c.plan.acts || o.emitter != nil
	}
	return errors.Join(faults...)
}

// warnOfNulls records a warning if a column of an output's key, member or score may be NULL,
// and the file does not decide what happens then. The first such row would come much later.
func (c *compiler) warnOfNulls(w *Output, o *output) {
	if w.WhenNull != NullError || w.hasWhenNull {
		return
	}
	var names []string
	for _, k := range o.locationColumns {
		if c.table.Columns[k].Nullable {
			names = append(names, c.table.Columns[k].Name)
		}
	}
	what := "the key, field or member"
	if len(names) == 0 && o.score != nil && o.score.Nullable() {
		names, what = []string{w.Score}, "the score"
	}
	if len(names) == 0 {
		return
	}
	c.plan.warnings = append(c.plan.warnings, &MappingError{
		Path: w.Path, Line: w.Line,
		Message: fmt.Sprintf("%s of %s may be NULL, and %s needs a value: "+
			"a row without it is an error of the table (on_error); add `when_null: skip` here to "+
			"omit such rows, or `when_null: error` to confirm the default",
			strings.Join(names, ", "), c.table.FullName(), what),
	})
}

// setPath sets the path and the line of the i-th output of the entry, unless they are known.
func (c *compiler) setPath(w *Output, i int) {
	if w.Path == "" {
		w.Path = c.rule.Path + ".write[" + strconv.Itoa(i) + "]"
	}
	if w.Line == 0 {
		w.Line = c.rule.Line
	}
}

// outputFault returns err as a *MappingError at an output of the entry, unless err is a
// *MappingError already.
func outputFault(w *Output, err error) error {
	if errors.As(err, new(*MappingError)) {
		return err
	}
	return &MappingError{Path: settingPath(w.Path, err), Line: w.Line, Message: err.Error()}
}

// output compiles one entry of the write list.
func (c *compiler) output(w *Output) (output, error) {
	o := output{
		kind: w.Kind, path: w.Path, line: w.Line, whenNull: w.WhenNull, view: c.view,
		snapshot: w.Snapshot, keySetting: w.keySetting(), memberSetting: w.memberSetting(),
	}
	kind := w.Kind.row()
	if kind == nil {
		return o, errNoKind()
	}
	if err := kind.validateSettings(w); err != nil {
		return o, err
	}
	var err error
	if o.key, err = c.template(w.keySetting(), w.Key); err != nil {
		return o, err
	}
	if err := kind.compile(c, w, &o); err != nil {
		return o, err
	}
	if err := c.expiry(w, &o); err != nil {
		return o, err
	}
	if o.condition, err = c.changeCondition(w); err != nil {
		return o, inSetting("where", err)
	}
	o.locationColumns = o.key.Columns(nil)
	if o.member != nil {
		o.locationColumns = o.member.Columns(o.locationColumns)
	}
	if w.Shared {
		if err := c.share(&o, c.sharedOutputs()); err != nil {
			return o, err
		}
		o.locationColumns = o.row.Columns(o.locationColumns)
	}
	o.locationColumns = sortColumns(o.locationColumns)
	if o.key.StartsWith(reservedPrefix) {
		o.checkReserved = true
		if strings.HasPrefix(o.key.Prefix(), reservedPrefix) {
			return o, inSetting(o.keySetting, fmt.Errorf("the key %q begins with %s, "+
				"which is reserved for Rowfall; choose another prefix", w.Key, reservedPrefix))
		}
	}
	if o.emitter != nil || o.row != nil {
		return o, nil // what it writes belongs to no row, or to any number of rows
	}
	err = c.unique(&o)
	if o.member == nil {
		err = inSetting(o.keySetting, err)
	}
	return o, err
}

// sharedOutputs returns the number of shared outputs that were compiled.
func (c *compiler) sharedOutputs() int {
	n := 0
	for i := range c.plan.outputs {
		if c.plan.outputs[i].row != nil {
			n++
		}
	}
	return n
}

// template compiles the template of a key, field or member, which is a setting of the file.
func (c *compiler) template(setting, source string) (*template.Template, error) {
	scope := template.Scope{Columns: c.view, Key: c.plan.key}
	t, err := scope.Parse(source)
	return t, inSetting(setting, err)
}

// unique checks that no two rows of the table can have the same location: the texts of key and
// member must determine the values of a key of the table.
func (c *compiler) unique(o *output) error {
	columns, left, right := o.key.Determines()
	if o.member != nil {
		more, l, r := o.member.Determines()
		columns = append(columns, more...)
		if left < 0 {
			left, right = l, r
		}
	}
	// Two rows may have equal values in a unique key with a nullable column if one value is NULL.
	// With when_null: skip, such rows are not written.
	if c.containsKey(columns, true) || o.whenNull == NullSkip && c.nullableKey(columns) != nil {
		return nil
	}
	where, what := "key", strconv.Quote(o.key.Source)
	if o.member != nil {
		where = "key and member"
		if o.kind == Hash {
			where = "key and field"
		}
		what += " with " + strconv.Quote(o.member.Source)
	}
	if c.nullableKey(columns) != nil {
		return fmt.Errorf("the %s %s contains no primary or unique NOT NULL key of %s, and its "+
			"unique key %s allows NULL in several rows; add `when_null: skip` here to omit "+
			"rows with NULL", where, what, c.table.FullName(),
			c.columnNames(c.nullableKey(columns)))
	}
	if c.containsKey(o.locationColumns, true) || c.nullableKey(o.locationColumns) != nil {
		if left >= 0 {
			return fmt.Errorf("in the %s %s the parts {%s} and {%s} have no text between them, "+
				"so that two rows could have the same one; put a : between them",
				where, what, c.table.Columns[left].Name, c.table.Columns[right].Name)
		}
		if k := slices.IndexFunc(o.locationColumns, func(k int) bool {
			return !c.view.IsOneToOne(k)
		}); k >= 0 {
			return fmt.Errorf("in the %s %s the column %s is masked or cut, so that the row of a "+
				"key cannot be found; add the columns of a key that is neither",
				where, what, c.table.Columns[o.locationColumns[k]].Name)
		}
		return fmt.Errorf("in the %s %s a filter makes different keys of %s equal "+
			"(|lower, |upper); use the column without it", where, what, c.table.FullName())
	}
	remedy := "; add it to the key, " +
		"or let the row be a field (hash with field) or a member (set, sorted_set)"
	if o.member != nil {
		remedy = "; add it to one of them"
	}
	if o.kind == Set {
		remedy += ", or set shared: true if several rows may yield one member"
	}
	return fmt.Errorf("the %s %s must contain a primary or unique NOT NULL key of %s, "+
		"so that each row has its own: %s%s",
		where, what, c.table.FullName(), c.keyNames(), remedy)
}
