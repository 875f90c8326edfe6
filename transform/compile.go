package transform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// Compile returns the plan of one table version. It returns nil, nil if the mapping does not name
// the table, and a *NotMappedError if only a wildcard names the table and its rows cannot be
// followed, because it has no usable key for example. If the mapping does not fit the table, the
// error joins a *MappingError for each fault of the entry, without those that follow from another.
func Compile(m *Mapping, t *binlog.Table) (*Plan, error) {
	return CompileAltered(m, t, new(ColumnHistory))
}

// CompileAltered is Compile for a table of which the data know what columns it had before.
func CompileAltered(m *Mapping, t *binlog.Table, history *ColumnHistory) (*Plan, error) {
	rule, err := m.Rule(t.Database, t.Name)
	if rule == nil || err != nil {
		return nil, err
	}
	c := &compiler{
		rule: rule, table: t, view: columns.New(t), fieldExpiry: m.FieldExpiry, history: history,
	}
	c.view.NameFields(rule.Columns.Rename)
	c.plan = &Plan{
		table: t, fields: &fields{view: c.view}, onError: rule.OnError,
		onTooLong: rule.Columns.TooLong.onError(), entryPath: rule.Path,
	}
	switch {
	case t.NotFollowed == "":
	case rule.Wildcard:
		return nil, &NotMappedError{Table: t.FullName(), Reason: t.NotFollowed}
	default:
		return nil, c.fail("", "table %s cannot be followed: %s", t.FullName(), t.NotFollowed)
	}
	return c.compile()
}

// compile runs every step, so that one call reports all faults. A step that needs the result of a
// failed step is omitted.
func (c *compiler) compile() (*Plan, error) {
	keyErr := c.key()
	if errors.As(keyErr, new(*NotMappedError)) {
		return nil, keyErr
	}
	columnErr := errors.Join(c.exclusions(), c.masks(), c.limits(), c.fields())
	addErr := c.additions()
	if columnErr == nil && addErr == nil && c.plan.fields.count() == 0 {
		columnErr = c.fail("columns", "no column of %s is left to write; include one",
			c.table.FullName())
	}
	whereErr := c.where()
	var outputErr error
	if keyErr == nil { // {pk...} in a template refers to the key
		outputErr = c.outputs()
	}
	if err := errors.Join(keyErr, columnErr, addErr, whereErr, outputErr); err != nil {
		return nil, err
	}
	return c.plan, nil
}

// compiler builds one plan, step by step.
type compiler struct {
	rule  *Rule
	table *binlog.Table
	plan  *Plan
	// view is the columns as they may reach the sink.
	view *columns.View
	// fieldExpiry is Mapping.FieldExpiry.
	fieldExpiry string
	history     *ColumnHistory
}

// fail returns a *MappingError at a part of the entry, such as "columns.add.name".
func (c *compiler) fail(part, format string, args ...any) error {
	return c.fault(part, format, args...)
}

func (c *compiler) fault(part, format string, args ...any) *MappingError {
	path := c.rule.Path
	if part != "" {
		path += "." + part
	}
	return &MappingError{Path: path, Line: c.rule.line(part), Message: fmt.Sprintf(format, args...)}
}

// column returns the index of the column that part of the entry names.
func (c *compiler) column(part, name string) (int, error) {
	i := c.table.Column(name)
	if i < 0 {
		return -1, c.fail(part, "%s has no column %q%s",
			c.table.FullName(), name, c.view.Hint(name))
	}
	return i, nil
}

// key decides which columns identify a row: key_columns, else the key of the table.
func (c *compiler) key() error {
	c.plan.key = c.table.Key()
	if names := c.rule.KeyColumns; len(names) > 0 {
		key := make([]int, len(names))
		for i, name := range names {
			k, err := c.column("key_columns", name)
			if err != nil {
				if c.rule.Wildcard {
					return &NotMappedError{
						Table:  c.table.FullName(),
						Reason: fmt.Sprintf("it has no column %q of key_columns", name),
					}
				}
				return err
			}
			if slices.Contains(key[:i], k) {
				return c.fail("key_columns", "the column %s is listed twice; list it once", name)
			}
			key[i] = k
		}
		// Could two rows have equal key_columns? MySQL prevents that only if they contain a key of
		// the table. For a table without any key, the user vouches for them.
		if len(c.plan.key) > 0 && !c.containsKey(key, false) {
			return c.fail("key_columns",
				"(%s) contains no primary or unique NOT NULL key of %s; its keys are %s",
				strings.Join(names, ", "), c.table.FullName(), c.keyNames())
		}
		c.plan.key = key
		return nil
	}
	if len(c.plan.key) > 0 {
		return nil
	}
	if c.rule.Wildcard {
		return &NotMappedError{
			Table: c.table.FullName(),
			Reason: "it has no primary key and no unique NOT NULL key; " +
				"add a key, or an entry for its full name with key_columns",
		}
	}
	return c.fail("key_columns", "%s has no primary key and no unique NOT NULL key; "+
		"name the columns that identify a row in key_columns", c.table.FullName())
}

// containsKey reports whether the columns contain all columns of a primary or unique NOT NULL key
// of the table, or, if declared is set, of the plan's key.
func (c *compiler) containsKey(columns []int, declared bool) bool {
	has := func(key []int) bool { return len(key) > 0 && containsAll(columns, key) }
	return declared && has(c.plan.key) ||
		has(c.table.Primary) || slices.ContainsFunc(c.table.Unique, has)
}

// nullableKey returns the first unique key with a nullable column all of whose columns are in the
// given list; nil if the table has no such key.
func (c *compiler) nullableKey(columns []int) []int {
	for _, key := range c.table.NullableUnique {
		if containsAll(columns, key) {
			return key
		}
	}
	return nil
}

// keyNames lists the keys of the table, for messages.
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
		out = append(out, c.columnNames(k))
	}
	return strings.Join(out, " and ")
}

// columnNames lists columns, for messages.
func (c *compiler) columnNames(columns []int) string {
	names := make([]string, len(columns))
	for i, k := range columns {
		names[i] = c.table.Columns[k].Name
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// exclusions withholds columns from c.view. An entry for one table must name columns that the table
// has. The exclusions of a wildcard apply to the tables that have such a column.
func (c *compiler) exclusions() error {
	var faults []error
	for i, name := range c.rule.Columns.Exclude {
		k := c.table.Column(name)
		if k >= 0 {
			c.view.Exclude(k)
		} else if i < c.rule.own && !c.rule.Wildcard {
			faults = append(faults, c.missing("columns.exclude", name, true))
		}
	}
	return errors.Join(faults...)
}

// masks masks columns in c.view. As with exclusions, only an entry for one table must name columns
// that the table has. It checks that renamed columns are still protected.
func (c *compiler) masks() error {
	var faults []error
	for i, masks := range append([]map[string]string{c.rule.Columns.Mask}, c.rule.masks...) {
		for _, name := range slices.Sorted(maps.Keys(masks)) {
			mask, err := columns.ParseMask(masks[name])
			k := c.table.Column(name)
			switch part := "columns.mask." + name; {
			case err != nil:
				faults = append(faults, c.fail(part, "%v", err))
			case mask.NeedsSalt() && c.rule.salt == "":
				faults = append(faults, c.fail(part, "%s", needsSalt))
			case k >= 0:
				c.view.Mask(k, mask, c.rule.salt)
			case i == 0 && !c.rule.Wildcard:
				faults = append(faults, c.missing(part, name, true))
			}
		}
	}
	faults = append(faults, c.renamedPrivate()...)
	return errors.Join(faults...)
}

const needsSalt = "sha256 needs a secret salt: write salt: ${VARIABLE} at the top of the file"

// limits limits the values of columns in c.view.
func (c *compiler) limits() error {
	reaction := columns.Reject
	switch c.rule.Columns.TooLong {
	case TruncateTooLong:
		reaction = columns.Cut
	case OmitTooLong:
		reaction = columns.Omit
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(c.rule.Columns.MaxBytes)) {
		part := "columns.max_bytes." + name
		k := c.table.Column(name)
		if k < 0 {
			if !c.rule.Wildcard {
				faults = append(faults, c.missing(part, name, false))
			}
			continue
		}
		err := c.view.Limit(k, c.rule.Columns.MaxBytes[name], reaction)
		if err != nil && !c.rule.Wildcard {
			faults = append(faults, c.fail(part, "%v", err))
		}
	}
	return errors.Join(faults...)
}

// fields decides which columns are written, and under which names.
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
			faults = append(faults, c.missing("columns.include", name, false))
		}
	}
	for i := range c.table.Columns {
		col := c.view.Column(i)
		unlisted := len(c.rule.Columns.Include) > 0 || col.Invisible
		if c.view.IsExcluded(i) || unlisted && !include[i] {
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

// encodeName encodes the name of a field as the outputs write it.
func encodeName(name string) fieldName {
	return fieldName{
		bulk: resp.AppendBulkString(nil, name),
		json: append(binlog.AppendQuoted(nil, name), ':'),
	}
}

// renames returns the name of the field of each column.
func (c *compiler) renames() ([]string, error) {
	names := c.table.ColumnNames()
	var faults []error
	for _, from := range slices.Sorted(maps.Keys(c.rule.Columns.Rename)) {
		to, k := c.rule.Columns.Rename[from], c.table.Column(from)
		switch {
		case k < 0 && c.rule.Wildcard:
		case k < 0:
			faults = append(faults, c.missing("columns.rename", from, false))
		case to == "":
			faults = append(faults, c.fail("columns.rename."+from,
				"the new name of %s is empty; use exclude to leave a column out", from))
		default:
			names[k] = to
		}
	}
	return names, errors.Join(faults...)
}

// distinct checks that no two fields have the same name.
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
			faults = append(faults,
				c.fail("columns.add", "an added field has no name; give it one"))
		}
		used[a.Name] = "another added field"
	}
	return errors.Join(faults...)
}

// expression compiles an expression over the columns of a view.
func (c *compiler) expression(
	part, source string, v *columns.View,
) (*expression.Program, error) {
	p, err := expression.Compile(source, v)
	if err != nil {
		return nil, c.fail(part, "in %q: %v", source, err)
	}
	for _, w := range p.Warnings() {
		c.warn(part, "in %q: %s", source, w)
	}
	return p, nil
}

// additions compiles the computed fields (columns.add).
func (c *compiler) additions() error {
	var faults []error
	for _, a := range c.rule.Columns.Add {
		part := "columns.add." + a.Name
		p, err := c.expression(part, a.Expr, c.view)
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

// where compiles the condition that decides which rows are written.
func (c *compiler) where() error {
	if c.rule.Where == "" {
		return nil
	}
	// The condition itself does not leave, so that it may use excluded columns.
	p, err := c.expression("where", c.rule.Where, c.view.ForConditions())
	if err != nil {
		return err
	}
	if p.Kind() != expression.Bool || p.Nullable() {
		return c.fail("where", "in %q: where needs a condition, true or false for every row, "+
			"and this is %s; compare it with something, as in status != \"deleted\"",
			c.rule.Where, p.Kind())
	}
	c.plan.where, c.plan.wherePath = p, c.rule.Path+".where"
	c.plan.whereIsPrivate = slices.ContainsFunc(p.Columns(), c.view.IsExcluded)
	return nil
}
