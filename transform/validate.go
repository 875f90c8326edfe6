package transform

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform/columns"
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
			faults = append(faults, r.validateMasks(m.Salt != "")...)
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

// validateTexts checks the syntax of the entry's expressions and templates.
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
		for _, err := range w.validate() {
			faults = append(faults, &MappingError{
				Path: settingPath(w.Path, err), Line: w.Line, Message: err.Error(),
			})
		}
	}
	return faults
}

// validateMasks checks the texts of the entry's masks, and that masks sha256 have a salt.
func (r *TableRule) validateMasks(hasSalt bool) []*MappingError {
	var faults []*MappingError
	for _, name := range slices.Sorted(maps.Keys(r.Columns.Mask)) {
		mask, err := columns.ParseMask(r.Columns.Mask[name])
		part, message := "columns.mask."+name, needsSalt
		if err != nil {
			message = err.Error()
		} else if hasSalt || !mask.NeedsSalt() {
			continue
		}
		faults = append(faults, &MappingError{
			Path: r.Path + "." + part, Line: r.line(part), Message: message,
		})
	}
	return faults
}

// NeedsSalt reports whether a column has a mask sha256.
func (m *Mapping) NeedsSalt() bool {
	for i := range m.Tables {
		for _, text := range m.Tables[i].Columns.Mask {
			if mask, err := columns.ParseMask(text); err == nil && mask.NeedsSalt() {
				return true
			}
		}
	}
	return false
}

// validate returns the faults of an output that show without a table.
func (w *Output) validate() []error {
	var faults []error
	add := func(err error) { faults = append(faults, splitErrors(err)...) }
	if kind := w.Kind.row(); kind != nil && w.Key != "" {
		add(kind.validateSettings(w))
	}
	add(inSetting(w.keySetting(), checkTemplate(w.Key)))
	for _, s := range allSettings() {
		switch text := s.Get(w); s.Form {
		case Template, ValueTemplate:
			add(inSetting(s.Name, checkTemplate(text)))
		case Expression:
			add(inSetting(s.Name, checkColumnOrExpression(text)))
		}
	}
	return faults
}

// splitErrors returns the errors that errors.Join has joined, or err alone; none for nil.
func splitErrors(err error) []error {
	switch e := err.(type) { //nolint:errorlint // only err itself may be a joined error
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return []error{err}
}

func checkTemplate(source string) error {
	_, err := template.Parse(source)
	return err
}

// checkColumnOrExpression checks the syntax of a setting that is the name of a column or an
// expression. A name need not be an expression, as in "created at", so that a text which does not
// parse is a fault only if it contains a character that hardly any name has.
func checkColumnOrExpression(source string) error {
	err := expression.CheckSyntax(source)
	if source == "" || err == nil || !strings.ContainsAny(source, "()[]{}\"'<>=!&|?*+") {
		return nil
	}
	return fmt.Errorf("in %q: %w; a column of this name is written $env[%[1]q]", source, err)
}

// ReadsMasked reports whether the condition of an entry may read a masked column: it contains the
// name of a column that any entry masks.
func (m *Mapping) ReadsMasked(r *TableRule) bool {
	for _, name := range expression.Names(r.Where) {
		for i := range m.Tables {
			for masked := range m.Tables[i].Columns.Mask {
				if binlog.FoldName(masked) == binlog.FoldName(name) {
					return true
				}
			}
		}
	}
	return false
}
