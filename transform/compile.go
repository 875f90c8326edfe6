package transform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/expression"
	"rowfall/transform/suggest"
	"rowfall/transform/template"
)

// Compile makes the plan of one table version. It returns nil, nil for a table
// that is not mapped, *NotMappedError for one that only a wildcard maps and that has
// no usable key. For a mapping that does not fit the table it returns a *MappingError, or several joined:
// every fault of the entry that does not follow from another.
func Compile(m *Mapping, t *binlog.Table) (*Plan, error) {
	rule, err := m.Rule(t.Database, t.Name)
	if rule == nil || err != nil {
		return nil, err
	}
	c := &compiler{rule: rule, table: t, plan: &Plan{table: t, fields: new(fields)}}
	switch {
	case t.NotFollowed == "":
	case rule.Wildcard:
		return nil, &NotMappedError{Table: t.FullName(), Reason: t.NotFollowed}
	default:
		return nil, c.fail("", "table %s cannot be followed: %s", t.FullName(), t.NotFollowed)
	}
	if err := c.compile(); err != nil {
		return nil, err
	}
	return c.plan, nil
}

// compile fills the plan. The steps go on after a fault, except for those that would only report
// what follows from it.
func (c *compiler) compile() error {
	keyErr := c.key()
	if errors.As(keyErr, new(*NotMappedError)) {
		return keyErr
	}
	columnErr := errors.Join(c.exclusions(), c.fields())
	addErr := c.additions()
	if columnErr == nil && addErr == nil && len(c.plan.fields.columns)+len(c.plan.fields.computed) == 0 {
		columnErr = c.fail("columns", "no column of %s is left to write; include one",
			c.table.FullName())
	}
	whereErr := c.where()
	var outputErr error
	if keyErr == nil { // {pk...} stands for it
		outputErr = c.outputs()
	}
	return errors.Join(keyErr, columnErr, addErr, whereErr, outputErr)
}

// compiler makes one plan, step by step.
type compiler struct {
	rule  *Rule
	table *binlog.Table
	plan  *Plan
	// excluded marks the columns that must not leave.
	excluded []bool
}

func (c *compiler) fail(part, format string, args ...any) error {
	path := c.rule.Path
	if part != "" {
		path += "." + part
	}
	return &MappingError{Path: path, Line: c.rule.line(part), Message: fmt.Sprintf(format, args...)}
}

// column resolves a name that the file gives under part.
func (c *compiler) column(part, name string) (int, error) {
	i := c.table.Column(name)
	if i < 0 {
		return -1, c.fail(part, "%s has no column %q%s", c.table.FullName(), name, suggest.DidYouMean(name, c.table.ColumnNames()))
	}
	return i, nil
}

func (c *compiler) key() error {
	c.plan.key = c.table.Key()
	if names := c.rule.KeyColumns; len(names) > 0 {
		key := make([]int, len(names))
		for i, name := range names {
			k, err := c.column("key_columns", name)
			if err != nil {
				if c.rule.Wildcard {
					return &NotMappedError{Table: c.table.FullName(), Reason: fmt.Sprintf("it has no column %q of key_columns", name)}
				}
				return err
			}
			if slices.Contains(key[:i], k) {
				return c.fail("key_columns", "the column %s stands twice", name)
			}
			key[i] = k
		}
		// Where MySQL knows a key, it alone can promise that rows differ in it.
		if len(c.plan.key) > 0 && !c.containsKey(key, false) {
			return c.fail("key_columns", "(%s) contains no primary or unique NOT NULL key of %s; its keys are %s",
				strings.Join(names, ", "), c.table.FullName(), c.keyNames())
		}
		c.plan.key = key
		return nil
	}
	if len(c.plan.key) > 0 {
		return nil
	}
	if c.rule.Wildcard {
		return &NotMappedError{Table: c.table.FullName(), Reason: "it has no primary key and no unique NOT NULL key; give it one, or an entry of its own with key_columns"}
	}
	return c.fail("key_columns", "%s has no primary key and no unique NOT NULL key; name the columns that identify a row in key_columns", c.table.FullName())
}

// containsKey reports whether the columns contain a key of the table; declared
// says that the plan's own key counts too.
func (c *compiler) containsKey(columns []int, declared bool) bool {
	has := func(key []int) bool {
		for _, k := range key {
			if !slices.Contains(columns, k) {
				return false
			}
		}
		return len(key) > 0
	}
	return declared && has(c.plan.key) || has(c.table.Primary) || slices.ContainsFunc(c.table.Unique, has)
}

func (c *compiler) keyNames() string {
	keys := c.table.Unique
	if len(c.table.Primary) > 0 {
		keys = append([][]int{c.table.Primary}, keys...)
	}
	if len(keys) == 0 {
		keys = [][]int{c.plan.key}
	}
	var out []string
	for _, k := range keys {
		var names []string
		for _, i := range k {
			names = append(names, c.table.Columns[i].Name)
		}
		out = append(out, "("+strings.Join(names, ", ")+")")
	}
	return strings.Join(out, " and ")
}

// exclusions marks what must not leave. An entry of its own must name columns;
// a pattern serves many tables, not all of which have them.
func (c *compiler) exclusions() error {
	c.excluded = make([]bool, len(c.table.Columns))
	var faults []error
	for i, name := range c.rule.Columns.Exclude {
		k := c.table.Column(name)
		if k >= 0 {
			c.excluded[k] = true
		} else if i < c.rule.own && !c.rule.Wildcard {
			_, err := c.column("columns.exclude", name)
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (c *compiler) fields() error {
	names, err := c.renames()
	faults := []error{err}
	include := make([]bool, len(c.table.Columns))
	for _, name := range c.rule.Columns.Include {
		k := c.table.Column(name)
		switch {
		case k >= 0:
			include[k] = true
		case !c.rule.Wildcard:
			_, err := c.column("columns.include", name)
			faults = append(faults, err)
		}
	}
	for i := range c.table.Columns {
		col := &c.table.Columns[i]
		if len(c.rule.Columns.Include) > 0 && !include[i] || c.excluded[i] || col.Invisible && !include[i] {
			continue
		}
		f := c.plan.fields
		if col.Nullable {
			f.nullable = append(f.nullable, len(f.columns))
		}
		f.columns = append(f.columns, columnField{
			fieldName: encodeName(names[i]),
			column:    i, nullable: col.Nullable, digits: lengthDigitsHint(col),
		})
	}
	return errors.Join(append(faults, c.distinct(names))...)
}

func encodeName(name string) fieldName {
	return fieldName{
		bulk: resp.AppendBulkString(nil, name),
		json: append(binlog.AppendQuoted(nil, name), ':'),
	}
}

// renames returns the field name of every column.
func (c *compiler) renames() ([]string, error) {
	names := c.table.ColumnNames()
	var faults []error
	for _, from := range slices.Sorted(maps.Keys(c.rule.Columns.Rename)) {
		to, k := c.rule.Columns.Rename[from], c.table.Column(from)
		switch {
		case k < 0 && c.rule.Wildcard:
		case k < 0:
			_, err := c.column("columns.rename", from)
			faults = append(faults, err)
		case to == "":
			faults = append(faults, c.fail("columns.rename."+from,
				"the new name of %s is empty; use exclude to leave a column out", from))
		default:
			names[k] = to
		}
	}
	return names, errors.Join(faults...)
}

// distinct checks that no two fields have one name.
func (c *compiler) distinct(names []string) error {
	used := make(map[string]string)
	var faults []error
	for i := range c.plan.fields.columns {
		k := c.plan.fields.columns[i].column
		if other, ok := used[names[k]]; ok {
			faults = append(faults, c.fail("columns.rename",
				"the columns %s and %s of %s would both be the field %q; "+
					"rename one of them to something else",
				other, c.table.Columns[k].Name, c.table.FullName(), names[k]))
		}
		used[names[k]] = c.table.Columns[k].Name
	}
	for _, a := range c.rule.Columns.Add {
		if other, ok := used[a.Name]; ok {
			faults = append(faults, c.fail("columns.add."+a.Name,
				"%s already has a field %q (%s); choose another name, or exclude the column",
				c.table.FullName(), a.Name, other))
		}
		if a.Name == "" {
			faults = append(faults, c.fail("columns.add", "an added field has no name; give it one"))
		}
		used[a.Name] = "another added field"
	}
	return errors.Join(faults...)
}

// expression compiles an expression of the file.
func (c *compiler) expression(part, source string, leaves bool) (*expression.Program, error) {
	p, err := expression.Compile(source, c.table)
	if err != nil {
		return nil, c.fail(part, "in %q: %v", source, err)
	}
	if leaves {
		for _, k := range p.Columns() {
			if c.excluded[k] {
				return nil, c.fail(part, "in %q: the column %s is excluded and must not leave; take it out of exclude, or list the fields with include",
					source, c.table.Columns[k].Name)
			}
		}
	}
	return p, nil
}

func (c *compiler) additions() error {
	var faults []error
	for _, a := range c.rule.Columns.Add {
		part := "columns.add." + a.Name
		p, err := c.expression(part, a.Expr, true)
		if err == nil && p.Kind() == expression.Null {
			err = c.fail(part, "in %q: the value is always nil; "+
				"write an expression over columns, or remove the field", a.Expr)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		c.plan.fields.computed = append(c.plan.fields.computed, computedField{
			fieldName: encodeName(a.Name), program: p, path: c.rule.Path + "." + part,
		})
	}
	return errors.Join(faults...)
}

func (c *compiler) where() error {
	if c.rule.Where == "" {
		return nil
	}
	p, err := c.expression("where", c.rule.Where, false)
	if err != nil {
		return err
	}
	if p.Kind() != expression.Bool || p.Nullable() {
		return c.fail("where", "in %q: where needs a condition, true or false for every row, and this is %s; compare it with something, as in status != \"deleted\"", c.rule.Where, p.Kind())
	}
	c.plan.where, c.plan.wherePath = p, c.rule.Path+".where"
	return nil
}

// defaultKey is where a row goes that no output names a key for.
const defaultKey = "{table}:{pk...}"

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

// outputFault names the output, the i-th of its table, in an error that does not name its place.
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

// shape checks which settings an output of a kind has.
func shape(w *Output) error {
	name := w.Kind.String()
	given := []struct {
		name, value    string
		needed, wanted bool
	}{
		{name, w.Key, true, true},
		{"field", w.Field, false, w.Kind == Hash},
		{"value", w.Value, w.Kind == String, w.Kind == String || w.Kind == Hash && w.Field != ""},
		{"member", w.Member, w.Kind == Set || w.Kind == SortedSet, w.Kind == Set || w.Kind == SortedSet},
		{"score", w.Score, w.Kind == SortedSet, w.Kind == SortedSet},
	}
	for _, g := range given {
		switch {
		case g.needed && g.value == "":
			return fmt.Errorf("a %s output needs %s", name, g.name)
		case !g.wanted && g.value != "" && g.name == "value" && w.Kind == Hash:
			return errors.New("value belongs to a hash with a field; without a field the columns are the fields")
		case !g.wanted && g.value != "":
			return fmt.Errorf("a %s output has no %s", name, g.name)
		}
	}
	return nil
}

func (c *compiler) output(w *Output) (output, error) {
	o := output{kind: w.Kind, path: w.Path, line: w.Line, whenNull: w.WhenNull, fields: c.plan.fields}
	if w.Kind < Hash || w.Kind > SortedSet {
		return o, errors.New("the output names no kind; write hash, json, string, set or sorted_set")
	}
	if err := shape(w); err != nil {
		return o, err
	}
	scope := template.Scope{Table: c.table, Key: c.plan.key, Excluded: c.excluded}
	var err error
	if o.key, err = scope.Parse(w.Key); err != nil {
		return o, err
	}
	if member := w.Field + w.Member; member != "" {
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
	c.dependencies(&o)
	if o.key.StartsWith(reservedPrefix) {
		o.checkReserved = true
		if strings.HasPrefix(o.key.Prefix(), reservedPrefix) {
			return o, fmt.Errorf("the key %q begins with %s, which is Rowfall's own; choose another prefix", w.Key, reservedPrefix)
		}
	}
	return o, c.unique(&o)
}

// score takes a column by its plain name, or an expression.
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

// dependencies lists what the output's place and content are made of.
func (c *compiler) dependencies(o *output) {
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
			o.contentColumns = append(o.contentColumns, c.plan.fields.computed[i].program.Columns()...)
		}
	}
	for _, list := range []*[]int{&o.locationColumns, &o.contentColumns} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// unique checks that no two rows share what the output writes.
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
			l, r := c.table.Columns[left].Name, c.table.Columns[right].Name
			return fmt.Errorf("in the %s %s the parts {%s} and {%s} could run into each other, so that two rows share one; put a : between them", where, what, l, r)
		}
		return fmt.Errorf("in the %s %s a filter makes different keys of %s equal (|lower, |upper); use the column without it", where, what, c.table.FullName())
	}
	remedy := "; add it to the key, or let the row be a field (hash with field) or a member (set, sorted_set)"
	if o.member != nil {
		remedy = "; add it to one of them"
	}
	return fmt.Errorf("the %s %s must contain a primary or unique NOT NULL key of %s, so that no two rows share one: %s%s (shared: outputs of several rows are not available in this version)",
		where, what, c.table.FullName(), c.keyNames(), remedy)
}
