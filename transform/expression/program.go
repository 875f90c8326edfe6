package expression

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"rowfall/binlog"
	"rowfall/transform/columns"
)

const (
	maxSource = 16 << 10 // longest text of an expression, in bytes
	maxNodes  = 2000     // largest number of nodes in its syntax tree
)

// CompileError is a fault in the text of an expression: in its syntax, its names or its types.
type CompileError struct {
	// Line and Column are the place in the text, both counted from 1, Column in characters.
	Line, Column int
	// Message is one sentence: the fault, then the remedy if there is a usual one.
	Message string
}

// Error returns the message and the place. A place in the first line is given without the line.
func (e *CompileError) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("%s (at line %d, character %d of the expression)",
			e.Message, e.Line, e.Column)
	}
	return fmt.Sprintf("%s (at character %d of the expression)", e.Message, e.Column)
}

// EvalError is returned if an expression has no value for a row: an integer overflows, for example.
type EvalError struct {
	// Column is the index of the column whose value is the fault, -1 if no single column is.
	Column int
	Err    error
}

// Error returns the cause's text.
func (e *EvalError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *EvalError) Unwrap() error { return e.Err }

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	root     node
	columns  []int
	view     *columns.View
	usesOld  bool
	warnings []string
}

// Compile compiles an expression over the columns of a table, as they may leave. An error is a
// *CompileError.
func Compile(source string, v *columns.View, options ...Option) (*Program, error) {
	tree, fault := parse(source, v.Table())
	if fault != nil {
		return nil, fault
	}
	c := checker{
		source: []rune(source), table: v.Table(), view: v,
		allowOld: slices.Contains(options, AllowOld),
	}
	root := c.check(tree.Node)
	if c.err != nil {
		if sql := sqlSpelling(source, v.Table()); sql != nil {
			return nil, sql
		}
		return nil, c.err
	}
	slices.Sort(c.columns)
	return &Program{
		root: root, columns: slices.Compact(c.columns), view: v,
		usesOld: c.usesOld, warnings: c.warnings,
	}, nil
}

// parse parses an expression. The table is used for messages only, and may be nil.
func parse(source string, t *binlog.Table) (*parser.Tree, *CompileError) {
	fail := func(message string) (*parser.Tree, *CompileError) {
		return nil, &CompileError{Line: 1, Column: 1, Message: message}
	}
	if len(source) > maxSource {
		return fail(fmt.Sprintf("the expression is longer than %d bytes", maxSource))
	}
	if !utf8.ValidString(source) {
		return fail("the expression is not UTF-8")
	}
	config := conf.CreateNew()
	config.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		if strings.HasPrefix(strings.TrimSpace(source), "{") {
			return fail("this is a template, and an expression names a column without braces: " +
				`write name, not "{name}"`)
		}
		if sql := sqlSpelling(source, t); sql != nil {
			return nil, sql
		}
		return nil, parseError(err)
	}
	if tree == nil || tree.Node == nil {
		return fail("the expression is empty")
	}
	return tree, nil
}

// parseError turns an error of the parser into a CompileError. The parser counts columns from 0.
func parseError(err error) *CompileError {
	var f *file.Error
	if errors.As(err, &f) {
		return &CompileError{Line: max(f.Line, 1), Column: f.Column + 1, Message: f.Message}
	}
	return &CompileError{Line: 1, Column: 1, Message: err.Error()}
}

// Kind returns the type of the expression's value.
func (p *Program) Kind() Kind { return p.root.kind }

// Nullable reports whether the value may be nil for some row.
func (p *Program) Nullable() bool { return p.root.nullable }

// Columns returns the indexes of the columns that the expression reads, in ascending order, those
// in old included. The caller must not change them.
func (p *Program) Columns() []int { return p.columns }

func (p *Program) eval(s *Scratch, r *binlog.Row) (value, error) {
	s.reset(r, p.view)
	v := p.root.eval(s)
	if s.err != nil {
		return value{}, &EvalError{Column: s.column, Err: s.err}
	}
	return v, nil
}

// Bool returns the value of a condition for a row of the table that the program was compiled for.
// Kind must be Bool, and Nullable false. An error of Bool and of the Append methods is an
// *EvalError.
func (p *Program) Bool(s *Scratch, r *binlog.Row) (bool, error) {
	v, err := p.eval(s, r)
	return v.i != 0, err
}

// AppendText appends the value as the field of a hash holds it: a condition is 1 or 0. For nil it
// appends nothing and returns null.
func (p *Program) AppendText(
	dst []byte, s *Scratch, r *binlog.Row,
) (out []byte, null bool, err error) {
	v, err := p.eval(s, r)
	if err != nil || v.null {
		return dst, v.null, err
	}
	return p.append(dst, v, false)
}

// AppendJSON appends the value as JSON: nil is null, a condition is true or false.
func (p *Program) AppendJSON(dst []byte, s *Scratch, r *binlog.Row) ([]byte, error) {
	v, err := p.eval(s, r)
	if err != nil {
		return dst, err
	}
	if v.null {
		return append(dst, "null"...), nil
	}
	dst, _, err = p.append(dst, v, true)
	return dst, err
}

// ErrNoScore is the cause of the error that AppendScore returns for a date with a zero year, month
// or day, which MySQL allows and which is no point in time.
var ErrNoScore = errNoMoment

// AppendScore appends the value as the score of a sorted set: a number as AppendText does, a date
// as the seconds since 1970 with its fraction. For nil it appends nothing and returns null. Scores
// must be true.
func (p *Program) AppendScore(
	dst []byte, s *Scratch, r *binlog.Row,
) (out []byte, null bool, err error) {
	v, err := p.eval(s, r)
	if err != nil || v.null {
		return dst, v.null, err
	}
	if p.root.kind != Moment {
		return p.append(dst, v, false)
	}
	d, err := unixSeconds(v.t)
	if err != nil {
		return dst, false, &EvalError{Column: -1, Err: err}
	}
	return d.Append(dst), false, nil
}

// Scores reports whether the value can be a score: it is a number or a date.
func (p *Program) Scores() bool { return p.root.kind.numeric() || p.root.kind == Moment }

var errNotFinite = errors.New("the result is not a finite number")

// append appends a value that is not nil.
func (p *Program) append(dst []byte, v value, json bool) ([]byte, bool, error) {
	switch p.root.kind {
	case Bool:
		if json {
			return strconv.AppendBool(dst, v.i != 0), false, nil
		}
		return strconv.AppendInt(dst, v.i, 10), false, nil
	case Integer:
		return strconv.AppendInt(dst, v.i, 10), false, nil
	case Exact:
		return v.d.Append(dst), false, nil
	case Float:
		out, err := binlog.AppendFloat(dst, v.f, 64)
		if err != nil {
			return dst, false, &EvalError{Column: -1, Err: errNotFinite}
		}
		return out, false, nil
	}
	if json {
		return binlog.AppendQuoted(dst, v.t), false, nil
	}
	return append(dst, v.t...), false, nil
}
