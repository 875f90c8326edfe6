package expression

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"rowfall/binlog"
)

// Limits of an expression's text: bytes and nodes.
const (
	maxSource = 16 << 10
	maxNodes  = 2000
)

// CompileError is a fault in an expression's text.
type CompileError struct {
	// Line and Column count from 1, Column in characters.
	Line, Column int
	Message      string
}

// Error returns the message with the place, without the line for the first.
func (e *CompileError) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("%s (at line %d, character %d of the expression)", e.Message, e.Line, e.Column)
	}
	return fmt.Sprintf("%s (at character %d of the expression)", e.Message, e.Column)
}

// EvalError is an expression that has no value for a row. Column is the index
// of the column at fault, or -1.
type EvalError struct {
	Column int
	Err    error
}

// Error returns the cause's text.
func (e *EvalError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *EvalError) Unwrap() error { return e.Err }

// Program is a compiled expression.
type Program struct {
	root    node
	columns []int
}

// Compile checks the expression against the table's columns. It fails with an
// *CompileError.
func Compile(source string, t *binlog.Table) (*Program, error) {
	tree, fault := parse(source, t)
	if fault != nil {
		return nil, fault
	}
	c := checker{source: []rune(source), table: t}
	root := c.check(tree.Node)
	if c.err != nil {
		if sql := sqlSpelling(source, t); sql != nil {
			return nil, sql
		}
		return nil, c.err
	}
	slices.Sort(c.columns)
	return &Program{root: root, columns: slices.Compact(c.columns)}, nil
}

// parse reads an expression; t may be nil, and serves messages alone.
func parse(source string, t *binlog.Table) (*parser.Tree, *CompileError) {
	if len(source) > maxSource {
		return nil, &CompileError{Line: 1, Column: 1, Message: fmt.Sprintf("the expression is longer than %d bytes", maxSource)}
	}
	if !utf8.ValidString(source) {
		return nil, &CompileError{Line: 1, Column: 1, Message: "the expression is not UTF-8"}
	}
	config := conf.CreateNew()
	config.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		if sql := sqlSpelling(source, t); sql != nil {
			return nil, sql
		}
		return nil, parseError(err)
	}
	if tree == nil || tree.Node == nil {
		return nil, &CompileError{Line: 1, Column: 1, Message: "the expression is empty"}
	}
	return tree, nil
}

func parseError(err error) *CompileError {
	var f *file.Error
	if errors.As(err, &f) {
		return &CompileError{Line: max(f.Line, 1), Column: f.Column + 1, Message: f.Message}
	}
	return &CompileError{Line: 1, Column: 1, Message: err.Error()}
}

// Kind returns the expression's type.
func (p *Program) Kind() Kind { return p.root.kind }

// Nullable reports whether the expression may be nil.
func (p *Program) Nullable() bool { return p.root.nullable }

// Columns returns the indexes of the columns that are read, ascending.
func (p *Program) Columns() []int { return p.columns }

func (p *Program) eval(s *Scratch, r *binlog.Row) (value, error) {
	s.begin(r)
	v := p.root.eval(s)
	if s.err != nil {
		return value{}, &EvalError{Column: s.column, Err: s.err}
	}
	return v, nil
}

// Bool evaluates a condition (Kind Bool, not Nullable) for a row of the table it
// was compiled for. It fails, as the Append methods do, with an *EvalError.
func (p *Program) Bool(s *Scratch, r *binlog.Row) (bool, error) {
	v, err := p.eval(s, r)
	return v.i != 0, err
}

// AppendText appends the value as a hash field holds it. A nil appends nothing
// and reports null.
func (p *Program) AppendText(dst []byte, s *Scratch, r *binlog.Row) (out []byte, null bool, err error) {
	v, err := p.eval(s, r)
	if err != nil || v.null {
		return dst, v.null, err
	}
	return p.append(dst, v, false)
}

// AppendJSON appends the value as JSON: nil is null, a Bool true or false.
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

// ErrNoScore is returned when a date stands at no place in time.
var ErrNoScore = errNoMoment

// AppendScore appends a number as it is and a Moment as its seconds since 1970;
// see Scores.
func (p *Program) AppendScore(dst []byte, s *Scratch, r *binlog.Row) (out []byte, null bool, err error) {
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

// Scores reports whether the expression's kind can be a score.
func (p *Program) Scores() bool { return p.root.kind.numeric() || p.root.kind == Moment }

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
			return dst, false, &EvalError{Column: -1, Err: errors.New("the result is no finite number (a division by zero?)")}
		}
		return out, false, nil
	}
	if json {
		return binlog.AppendQuoted(dst, v.t), false, nil
	}
	return append(dst, v.t...), false, nil
}
