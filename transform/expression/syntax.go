package expression

import (
	"regexp"

	"github.com/expr-lang/expr/ast"

	"rowfall/transform/dateformat"
	"rowfall/transform/jsonpath"
)

// CheckSyntax returns the fault in an expression that shows without a table, or nil: in its syntax,
// in the name of a function or the number of its arguments, in a layout, a pattern or a path. An
// error is a *CompileError.
func CheckSyntax(source string) error {
	tree, fault := parse(source, nil)
	if fault != nil {
		return fault
	}
	c := checker{source: []rune(source)}
	c.checkSyntax(tree.Node, make(map[ast.Node]bool))
	if c.err == nil {
		return nil // c.err itself would be a non-nil error
	}
	if sql := sqlSpelling(source, nil); sql != nil {
		return sql
	}
	return c.err
}

// checkSyntax checks a node and those below it. done holds the nodes that are checked: the parser
// puts x into the tree twice for a < x < b.
func (c *checker) checkSyntax(n ast.Node, done map[ast.Node]bool) {
	if n == nil || done[n] {
		return
	}
	done[n] = true
	switch n := n.(type) {
	case *ast.BuiltinNode:
		c.checkCall(n, n.Name, n.Arguments)
	case *ast.CallNode:
		if f, ok := n.Callee.(*ast.IdentifierNode); ok {
			c.checkCall(n, f.Value, n.Arguments)
		}
	case *ast.BinaryNode:
		if n.Operator == "matches" {
			c.checkLiteral(n.Right, checkPattern)
		}
	}
	for _, child := range children(n) {
		c.checkSyntax(child, done)
	}
}

// children returns the nodes below a node. Forms that are not available in expressions have none.
func children(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.UnaryNode:
		return []ast.Node{n.Node}
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.MemberNode:
		return []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		return []ast.Node{n.Node, n.From, n.To}
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.BuiltinNode:
		return n.Arguments
	case *ast.CallNode:
		return n.Arguments
	}
	return nil
}

// checkCall checks the name of a function, the number of its arguments, and those that are written
// out.
func (c *checker) checkCall(n ast.Node, name string, args []ast.Node) {
	if _, ok := c.function(n, name, args); !ok {
		return
	}
	switch name {
	case "format":
		c.checkLiteral(args[1], func(s string) error { _, err := dateformat.Parse(s); return err })
	case "json":
		c.checkLiteral(args[1], func(s string) error { _, err := jsonpath.Parse(s); return err })
	case "regexFind", "regexReplace":
		c.checkLiteral(args[1], checkPattern)
	}
}

func checkPattern(s string) error { _, err := regexp.Compile(s); return err }

// checkLiteral checks a text that is written out.
func (c *checker) checkLiteral(n ast.Node, check func(string) error) {
	if s, ok := n.(*ast.StringNode); ok {
		if err := check(s.Value); err != nil {
			c.fail(n, "%v", err)
		}
	}
}

// Names returns the names in an expression that could be columns, with repetitions. It returns none
// for a text that is no expression.
func Names(source string) []string {
	if source == "" {
		return nil
	}
	tree, fault := parse(source, nil)
	if fault != nil {
		return nil
	}
	var names []string
	done := make(map[ast.Node]bool)
	var visit func(ast.Node)
	visit = func(n ast.Node) {
		if n == nil || done[n] {
			return
		}
		done[n] = true
		switch n := n.(type) {
		case *ast.IdentifierNode:
			names = append(names, n.Value)
		case *ast.MemberNode:
			if name, ok := n.Property.(*ast.StringNode); ok {
				names = append(names, name.Value)
			}
		}
		for _, child := range children(n) {
			visit(child)
		}
	}
	visit(tree.Node)
	return names
}
