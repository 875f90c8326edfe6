package expression

import (
	"fmt"

	"github.com/expr-lang/expr/ast"

	"rowfall/transform/jsonpath"
)

// buildJSON builds the text of one value in a JSON document. The path is parsed when the expression
// is compiled. The result is nil if the document is nil, or if the value is absent or the JSON
// null. So the document may be nil: the result has to be checked for nil anyway.
func buildJSON(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.check(args[0])
	if c.err == nil && v.kind != Text {
		return c.fail(args[0], "json() needs a JSON column or text and %s is %s",
			c.text(args[0]), v.kind)
	}
	text, ok := c.literalText(args[1], "the path of json()")
	if !ok {
		return v
	}
	path, err := jsonpath.Parse(text)
	if err != nil {
		return c.fail(args[1], "%v", err)
	}
	return node{kind: Text, nullable: true, eval: func(s *Scratch) value {
		document := v.eval(s)
		if document.null || s.err != nil {
			return value{null: true}
		}
		start := len(s.buf)
		b, found, err := path.AppendText(s.buf, document.t)
		switch {
		case err != nil:
			return s.fail(fmt.Errorf("%.40q %w", document.t, err))
		case !found:
			return value{null: true}
		}
		s.buf = b
		return value{t: b[start:len(b):len(b)]}
	}}
}
