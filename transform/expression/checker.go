package expression

import (
	"errors"
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/decimal"
)

// node is a compiled part of an expression.
type node struct {
	kind     Kind
	nullable bool
	// literal is set for an exact number that is written in the text. As an operand beside a float,
	// such as in 0.5 * ratio, it becomes a float.
	literal bool
	// constant is set for a node that reads no column.
	constant bool
	text     string // of a text literal
	labels   *labelled
	eval     func(*Scratch) value
}

// checker checks the types in a syntax tree and compiles the tree into closures. It keeps the first
// error.
type checker struct {
	source   []rune
	table    *binlog.Table
	view     *columns.View // of the table
	allowOld bool
	usesOld  bool
	columns  []int // indexes of the columns that were read so far
	warnings []string
	checks   int // calls of check so far
	err      *CompileError
}

// maxChecks is the largest number of nodes that are compiled. The parser puts one node into the
// tree twice for 1 < x < 5, and nested in each other these double with each level.
const maxChecks = 2 * maxNodes

// fail records a fault at a node of the tree, unless there is a fault already.
func (c *checker) fail(n ast.Node, format string, args ...any) node {
	if c.err == nil {
		c.err = c.fault(n, format, args...)
	}
	return failed
}

// failed is the node of a part with a fault. Its kind fits everywhere, so it causes no second
// fault.
var failed = node{eval: func(*Scratch) value { return value{null: true} }}

// fault returns a message with the place of a node of the tree.
func (c *checker) fault(n ast.Node, format string, args ...any) *CompileError {
	e := &CompileError{Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	for _, r := range c.source[:min(n.Location().From, len(c.source))] {
		e.Column++
		if r == '\n' {
			e.Line, e.Column = e.Line+1, 1
		}
	}
	return e
}

func literal(k Kind, v value) node {
	return node{kind: k, constant: true, eval: func(*Scratch) value { return v }}
}

// check compiles a node of the tree.
func (c *checker) check(n ast.Node) node {
	if c.err != nil {
		return failed
	}
	if c.checks++; c.checks > maxChecks {
		return c.fail(n, "the expression is too large: it has more than %d parts, "+
			"where x counts twice in a < x < b", maxChecks)
	}
	switch n := n.(type) {
	case *ast.NilNode:
		null := func(*Scratch) value { return value{null: true} }
		return node{nullable: true, constant: true, eval: null}
	case *ast.BoolNode:
		return literal(Bool, boolean(n.Value))
	case *ast.IntegerNode:
		return literal(Integer, value{i: int64(n.Value)})
	case *ast.FloatNode:
		return c.fraction(n)
	case *ast.StringNode:
		return c.textLiteral(n)
	case *ast.IdentifierNode:
		return c.column(n, n.Value)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.SliceNode:
		return c.slice(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.BuiltinNode:
		return c.call(n, n.Name, n.Arguments)
	case *ast.CallNode:
		if f, ok := n.Callee.(*ast.IdentifierNode); ok {
			return c.call(n, f.Value, n.Arguments)
		}
	case *ast.ArrayNode:
		return c.fail(n, "a list is allowed only on the right of in")
	case *ast.VariableDeclaratorNode:
		return c.fail(n, "let is not available in expressions")
	}
	return c.fail(n, "this form is not available in expressions")
}

// textLiteral compiles a text. A text in backquotes that is the name of a column is rejected,
// because in SQL it would be the column.
func (c *checker) textLiteral(n *ast.StringNode) node {
	at := n.Location().From
	if at < len(c.source) && c.source[at] == '`' && c.table.Column(n.Value) >= 0 {
		return c.fail(n, "backquotes enclose a text in expressions and %[1]s is a column: "+
			"write %[1]s or $env[%[1]q] for the column, \"%[1]s\" for the text", n.Value)
	}
	l := literal(Text, value{t: []byte(n.Value)})
	l.text = n.Value
	return l
}

// fraction compiles a literal like 9.99 from its text, so that the number is exact. The parser has
// rounded it to a float.
func (c *checker) fraction(n *ast.FloatNode) node {
	at := n.Location()
	if at.From >= 0 && at.From < at.To && at.To <= len(c.source) {
		if d, err := decimal.Parse([]byte(string(c.source[at.From:at.To]))); err == nil {
			l := literal(Exact, value{d: d})
			l.literal = true
			return l
		}
	}
	return literal(Float, value{f: n.Value})
}

// column compiles the reading of a column.
func (c *checker) column(n ast.Node, name string) node {
	i := c.table.Column(name)
	if i < 0 {
		return c.fail(n, "%s has no column %q%s",
			c.table.FullName(), name, c.view.Hint(name))
	}
	if err := c.view.Check(i); err != nil {
		return c.fail(n, "%v", err)
	}
	c.columns = append(c.columns, i)
	col := c.view.Column(i)
	out := node{kind: columnKind(col), nullable: col.Nullable, labels: c.labelsOf(i)}
	read := columnReader(i, out.kind)
	out.eval = read
	if col.Nullable {
		out.eval = func(s *Scratch) value {
			if s.view.IsNull(s.row, i) {
				return value{null: true}
			}
			return read(s)
		}
	}
	return out
}

// kindOfValue maps the values of a column to the kind with which expressions compute.
var kindOfValue = map[binlog.ValueKind]Kind{
	binlog.ValueInteger:  Integer,
	binlog.ValueExact:    Exact,
	binlog.ValueFloat:    Float,
	binlog.ValueMoment:   Moment,
	binlog.ValueDuration: Clock,
	binlog.ValueText:     Text,
}

func columnKind(col *binlog.Column) Kind { return kindOfValue[col.Value()] }

// columnReader returns a function that reads column i, which is not NULL, as a value of kind k.
func columnReader(i int, k Kind) func(*Scratch) value {
	switch k {
	case Integer:
		return func(s *Scratch) value {
			v, ok := s.view.Int64(s.row, i)
			if !ok {
				return s.failColumn(i, errNotInteger)
			}
			return value{i: v}
		}
	case Exact:
		return func(s *Scratch) value {
			d, err := decimal.Parse(s.text(i))
			if err != nil {
				return s.failColumn(i, err)
			}
			return value{d: d}
		}
	case Float:
		return func(s *Scratch) value {
			f, err := parseFloat(s.text(i))
			if err != nil {
				return s.failColumn(i, err)
			}
			return value{f: f}
		}
	}
	return func(s *Scratch) value { return value{t: s.text(i)} }
}

// fallbacks are the values that messages propose in place of NULL. For other kinds that is 0.
var fallbacks = map[Kind]string{
	Text: `""`, Bool: "false", Moment: `"1970-01-01"`, Clock: `"00:00:00"`,
}

// strict compiles an operand that must not be nil. of is the operator or function, for messages.
func (c *checker) strict(n ast.Node, of string) node { return c.notNull(n, c.check(n), of) }

// notNull rejects an operand that may be nil.
func (c *checker) notNull(n ast.Node, v node, of string) node {
	if v.nullable && c.err == nil {
		fallback, ok := fallbacks[v.kind]
		if !ok {
			fallback = "0"
		}
		return c.fail(n, "%s may be NULL and %s needs a value: only ==, != and ?? take a NULL, "+
			"so give it a default, as in (%s ?? %s)", c.text(n), of, c.text(n), fallback)
	}
	return v
}

// text returns the text of an operand, for messages.
func (c *checker) text(n ast.Node) string {
	if id, ok := n.(*ast.IdentifierNode); ok {
		return id.Value
	}
	return n.String()
}

// want compiles an operand that must be of kind k and not nil. of is the operator or function, for
// messages.
func (c *checker) want(n ast.Node, k Kind, of string) node {
	v := c.check(n)
	if c.err == nil && of == "||" && v.kind == Text {
		return c.fail(n, "|| needs conditions and %s is text; to join texts write + (not ||)",
			c.text(n))
	}
	v = c.notNull(n, v, of)
	if c.err == nil && v.kind != k {
		return c.fail(n, "%s needs %s and %s is %s%s", of, k, c.text(n), v.kind, remedy(k, v.kind))
	}
	return v
}

// remedy returns the end of a message: how to turn an operand of kind got into one of kind want.
func remedy(want, got Kind) string {
	switch {
	case want == Bool && got == Integer:
		return ": compare it, as in x != 0"
	case want == Text && got != Bool:
		return ": write string(x)"
	case want == Float && got == Exact:
		return ": write float(x)"
	}
	return ""
}

func (c *checker) unary(n *ast.UnaryNode) node {
	if n.Operator == "!" || n.Operator == "not" {
		v := c.want(n.Node, Bool, n.Operator)
		v.eval = func(e func(*Scratch) value) func(*Scratch) value {
			return func(s *Scratch) value { return boolean(e(s).i == 0) }
		}(v.eval)
		return v
	}
	v := c.strict(n.Node, n.Operator)
	if c.err == nil && !v.kind.numeric() {
		return c.fail(n, "%s needs a number and %s is %s", n.Operator, c.text(n.Node), v.kind)
	}
	if n.Operator == "+" {
		return v
	}
	e := v.eval
	switch v.kind {
	case Integer:
		v.eval = func(s *Scratch) value {
			x := e(s).i
			if x == math.MinInt64 {
				return s.fail(errOverflow)
			}
			return value{i: -x}
		}
	case Exact:
		v.eval = func(s *Scratch) value { return value{d: e(s).d.Neg()} }
	default:
		v.eval = func(s *Scratch) value { return value{f: -e(s).f} }
	}
	return v
}

func (c *checker) conditional(n *ast.ConditionalNode) node {
	cond := c.want(n.Cond, Bool, "a condition")
	l, r, k := c.unify(n, c.check(n.Exp1), c.check(n.Exp2))
	return node{kind: k, nullable: l.nullable || r.nullable, eval: func(s *Scratch) value {
		if cond.eval(s).i != 0 {
			return l.eval(s)
		}
		return r.eval(s)
	}}
}

// unify converts two operands to the same kind and returns that kind. nil fits every kind, integers
// become exact numbers or floats, and text literals become dates or times.
func (c *checker) unify(n ast.Node, l, r node) (node, node, Kind) {
	switch {
	case c.err != nil:
		return l, r, Null
	case l.kind == Null:
		return l, r, r.kind
	case r.kind == Null || l.kind == r.kind:
		return l, r, l.kind
	case l.kind.numeric() && r.kind.numeric():
		if l.kind == Float || r.kind == Float {
			if fl, ok := toFloat(l); ok {
				if fr, ok := toFloat(r); ok {
					return fl, fr, Float
				}
			}
			c.fail(n, "an exact number and a float have no exact result: "+
				"write float(x) around the exact one")
			return l, r, Null
		}
		return toExact(l), toExact(r), Exact
	case l.kind == Text && l.text != "" && (r.kind == Moment || r.kind == Clock):
		return c.moment(n, l, r.kind), r, r.kind
	case r.kind == Text && r.text != "" && (l.kind == Moment || l.kind == Clock):
		return l, c.moment(n, r, l.kind), l.kind
	}
	hint := ""
	switch {
	case l.isMasked() || r.isMasked():
		hint = ": a masked column is text (columns.mask); write string(x) around the other"
	case l.kind == Text || r.kind == Text:
		hint = ": write string(x) around the other"
	case l.kind == Bool && r.kind == Integer || l.kind == Integer && r.kind == Bool:
		hint = ": MySQL's true and false are 1 and 0"
	}
	c.fail(n, "%s and %s do not fit together%s", l.kind, r.kind, hint)
	return l, r, Null
}

// moment converts a text literal to a date or a time (kind k).
func (c *checker) moment(n ast.Node, l node, k Kind) node {
	if k == Clock {
		if _, err := clockMicros([]byte(l.text)); err != nil {
			return c.fail(n, "%v", err)
		}
	} else if _, err := unixSeconds([]byte(l.text)); err != nil && !errors.Is(err, errNoMoment) {
		return c.fail(n, "%v", err)
	}
	l.kind = k
	return l
}

// toExact converts an integer to an exact number.
func toExact(n node) node {
	if n.kind == Integer {
		e := n.eval
		n.kind, n.eval = Exact, func(s *Scratch) value {
			v := e(s)
			return value{null: v.null, d: decimal.New(v.i, 0)}
		}
	}
	return n
}

// toFloat converts an operand to a float where that needs no float(x): integers and exact literals.
// ok is false for any other kind.
func toFloat(n node) (node, bool) {
	e := n.eval
	switch {
	case n.kind == Integer:
		n.eval = func(s *Scratch) value {
			v := e(s)
			return value{null: v.null, f: float64(v.i)}
		}
	case n.kind == Exact && n.literal:
		n.eval = func(s *Scratch) value { return value{f: e(s).d.Float64()} }
	case n.kind != Float:
		return n, false
	}
	n.kind = Float
	return n, true
}
