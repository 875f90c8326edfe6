package expression

import (
	"github.com/expr-lang/expr/ast"

	"rowfall/binlog"
)

// Option changes what an expression may contain.
type Option uint8

// AllowOld allows old.column, the column in the row before the change. The caller of the program
// sets that row with Scratch.SetOld.
const AllowOld Option = iota + 1

// SetOld sets the row that old.column refers to in the evaluations that follow. It is nil for an
// insert, and then every old.column is nil. Programs that were compiled without AllowOld ignore it.
func (s *Scratch) SetOld(r *binlog.Row) { s.old = r }

// UsesOld reports whether the expression contains old.column.
func (p *Program) UsesOld() bool { return p.usesOld }

// member compiles x.y and x[y]: a column in $env or in old, or a part of split().
func (c *checker) member(n *ast.MemberNode) node {
	if sp, ok := c.split(n.Node); ok {
		return sp.part(c, n.Property)
	}
	name, isText := n.Property.(*ast.StringNode)
	if of, ok := n.Node.(*ast.IdentifierNode); ok && isText {
		switch of.Value {
		case "$env":
			return c.column(n, name.Value)
		case "old":
			return c.oldColumn(n, name.Value)
		}
	}
	if _, isInteger := literalInteger(n.Property); isInteger {
		return c.fail(n, "columns have no parts: write s[0:1] for the first character of a text, "+
			"and json(s, \"$[0]\") for a value in a JSON document")
	}
	return c.fail(n, "columns have no parts: write json(s, \"$.name\") for a value "+
		"in a JSON document")
}

// oldColumn compiles the reading of a column of the row before the change. It may always be nil,
// because there is no such row for an insert.
func (c *checker) oldColumn(n ast.Node, name string) node {
	if !c.allowOld {
		return c.fail(n, "old.%s is the value before a change, which only the setting where of a "+
			"list, stream or publish output has; write %s for the value of the row", name, name)
	}
	out := c.column(n, name)
	read := out.eval
	out.nullable, c.usesOld = true, true
	out.eval = func(s *Scratch) value {
		if s.old == nil {
			return value{null: true}
		}
		row := s.row
		s.row = s.old
		v := read(s)
		s.row = row
		return v
	}
	return out
}
