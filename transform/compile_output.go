package transform

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// defaultKey is the key of a table without a write list: one hash for each row.
const defaultKey = "{table}:{pk...}"

// outputs compiles the write list of the entry.
func (c *compiler) outputs() error {
	write := c.rule.Write
	if len(write) == 0 {
		write = []Output{{Kind: Hash, Key: defaultKey, Path: c.rule.Path, Line: c.rule.Line}}
	}
	var faults []error
	for i := range write {
		o, err := c.output(&write[i])
		if err != nil {
			faults = append(faults, c.outputFault(&write[i], i, err))
			continue
		}
		c.plan.outputs = append(c.plan.outputs, o)
	}
	return errors.Join(faults...)
}

// outputFault returns err as a *MappingError at the i-th output of the entry, unless err is a
// *MappingError already.
func (c *compiler) outputFault(w *Output, i int, err error) error {
	if errors.As(err, new(*MappingError)) {
		return err
	}
	path, line := w.Path, w.Line
	if path == "" {
		path = c.rule.Path + ".write[" + strconv.Itoa(i) + "]"
	}
	if line == 0 {
		line = c.rule.Line
	}
	return &MappingError{Path: path, Line: line, Message: err.Error()}
}

// checkSettings checks that an output has the settings that its kind requires, and no setting that
// its kind does not have.
func checkSettings(w *Output) error {
	name := w.Kind.String()
	member := w.Kind == Set || w.Kind == SortedSet
	settings := []struct {
		name, value       string
		required, allowed bool
	}{
		{name, w.Key, true, true},
		{"field", w.Field, false, w.Kind == Hash},
		{"value", w.Value, w.Kind == String, w.Kind == String || w.Kind == Hash && w.Field != ""},
		{"member", w.Member, member, member},
		{"score", w.Score, w.Kind == SortedSet, w.Kind == SortedSet},
	}
	for _, s := range settings {
		switch {
		case s.required && s.value == "":
			return fmt.Errorf("a %s output needs %s", name, s.name)
		case !s.allowed && s.value != "" && s.name == "value" && w.Kind == Hash:
			return errors.New("value belongs to a hash with a field; " +
				"without a field the columns are the fields")
		case !s.allowed && s.value != "":
			return fmt.Errorf("a %s output has no %s", name, s.name)
		}
	}
	return nil
}

// output compiles one entry of the write list.
func (c *compiler) output(w *Output) (output, error) {
	o := output{
		kind: w.Kind, path: w.Path, line: w.Line, whenNull: w.WhenNull, fields: c.plan.fields,
	}
	if w.Kind < Hash || w.Kind > SortedSet {
		return o, errors.New("the output names no kind; " +
			"write hash, json, string, set or sorted_set")
	}
	if err := checkSettings(w); err != nil {
		return o, err
	}
	scope := template.Scope{Table: c.table, Key: c.plan.key, Excluded: c.excluded}
	var err error
	if o.key, err = scope.Parse(w.Key); err != nil {
		return o, err
	}
	member := w.Member
	if w.Kind == Hash {
		member = w.Field
	}
	if member != "" {
		if o.member, err = scope.Parse(member); err != nil {
			return o, err
		}
	}
	if w.Value != "" {
		scope.Value = true
		if o.value, err = scope.Parse(w.Value); err != nil {
			return o, err
		}
	}
	if w.Score != "" {
		if o.score, err = c.score(w.Score); err != nil {
			return o, err
		}
	}
	c.findColumns(&o)
	if o.key.StartsWith(reservedPrefix) {
		o.checkReserved = true
		if strings.HasPrefix(o.key.Prefix(), reservedPrefix) {
			return o, fmt.Errorf("the key %q begins with %s, which is reserved for Rowfall; "+
				"choose another prefix", w.Key, reservedPrefix)
		}
	}
	return o, c.unique(&o)
}

// score compiles the score of a sorted set: the name of a column, even one that is no identifier of
// an expression, or an expression.
func (c *compiler) score(source string) (*expression.Program, error) {
	text := source
	if c.table.Column(source) >= 0 {
		text = "$env[" + strconv.Quote(source) + "]"
	}
	p, err := c.expression("", text, true)
	if err != nil {
		var e *MappingError
		errors.As(err, &e)
		return nil, fmt.Errorf("score: %s", e.Message)
	}
	if !p.Scores() {
		return nil, fmt.Errorf("a score needs a number or a date and %q is %s", source, p.Kind())
	}
	return p, nil
}

// findColumns lists the columns that the output's location and content depend on.
func (c *compiler) findColumns(o *output) {
	o.locationColumns = o.key.Columns(nil)
	if o.member != nil {
		o.locationColumns = o.member.Columns(o.locationColumns)
	}
	switch {
	case o.value != nil:
		o.contentColumns = o.value.Columns(nil)
	case o.score != nil:
		o.contentColumns = o.score.Columns()
	case o.kind != Set:
		for i := range c.plan.fields.columns {
			o.contentColumns = append(o.contentColumns, c.plan.fields.columns[i].column)
		}
		for i := range c.plan.fields.computed {
			program := c.plan.fields.computed[i].program
			o.contentColumns = append(o.contentColumns, program.Columns()...)
		}
	}
	for _, list := range []*[]int{&o.locationColumns, &o.contentColumns} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
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
	if c.containsKey(columns, true) {
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
	if c.containsKey(o.locationColumns, true) {
		if left >= 0 {
			return fmt.Errorf("in the %s %s the parts {%s} and {%s} have no text between them, "+
				"so that two rows could have the same one; put a : between them",
				where, what, c.table.Columns[left].Name, c.table.Columns[right].Name)
		}
		return fmt.Errorf("in the %s %s a filter makes different keys of %s equal "+
			"(|lower, |upper); use the column without it", where, what, c.table.FullName())
	}
	remedy := "; add it to the key, " +
		"or let the row be a field (hash with field) or a member (set, sorted_set)"
	if o.member != nil {
		remedy = "; add it to one of them"
	}
	return fmt.Errorf("the %s %s must contain a primary or unique NOT NULL key of %s, "+
		"so that each row has its own: %s%s "+
		"(shared: outputs of several rows are not available in this version)",
		where, what, c.table.FullName(), c.keyNames(), remedy)
}
