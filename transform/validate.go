package transform

import (
	"fmt"

	"rowfall/binlog"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// Validate returns every fault that shows without the schemas of tables: in patterns, in the
// settings of outputs, and in the syntax of templates and expressions.
func (m *Mapping) Validate() []*MappingError {
	var faults []*MappingError
	for i := range m.Tables {
		r := &m.Tables[i]
		if fault := r.validatePattern(m.Tables[:i]); fault != nil {
			faults = append(faults, fault)
		}
		if !r.Ignore {
			faults = append(faults, r.validateTexts()...)
		}
	}
	return faults
}

// validatePattern checks the pattern of an entry, and that no entry before it has the same pattern.
func (r *TableRule) validatePattern(before []TableRule) *MappingError {
	fail := func(format string, args ...any) *MappingError {
		return &MappingError{Path: r.Path, Line: r.Line, Message: fmt.Sprintf(format, args...)}
	}
	p, err := binlog.ParseTablePattern(r.Pattern)
	if err != nil {
		return fail("the entry %q %v", r.Pattern, err)
	}
	if database := p.Database.Plain(); isSystemSchema(database) {
		return fail("%s is a system schema and is never mapped; remove the entry",
			database)
	}
	for i := range before {
		if o := &before[i]; o.tables() == p {
			return fail("the entry %q names the same tables as %q on line %d; merge the two",
				r.Pattern, o.Pattern, o.Line)
		}
	}
	return nil
}

// validateTexts checks the syntax of the entry's expressions and templates. A score is not checked:
// it may be the name of a column, which is not always an expression.
func (r *TableRule) validateTexts() []*MappingError {
	var faults []*MappingError
	expr := func(part, source string) {
		if err := expression.CheckSyntax(source); err != nil {
			faults = append(faults, &MappingError{
				Path: r.Path + "." + part, Line: r.line(part),
				Message: fmt.Sprintf("in %q: %v", source, err),
			})
		}
	}
	if r.Where != "" {
		expr("where", r.Where)
	}
	for _, a := range r.Columns.Add {
		if a.Expr != "" {
			expr("columns.add."+a.Name, a.Expr)
		}
	}
	for i := range r.Write {
		w := &r.Write[i]
		fail := func(err error) {
			faults = append(faults, &MappingError{Path: w.Path, Line: w.Line, Message: err.Error()})
		}
		if w.Kind >= Hash && w.Kind <= SortedSet && w.Key != "" {
			if err := checkSettings(w); err != nil {
				fail(err)
			}
		}
		for _, source := range []string{w.Key, w.Field, w.Member, w.Value} {
			if err := template.CheckSyntax(source); err != nil {
				fail(err)
			}
		}
	}
	return faults
}
