package expression

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"strings"

	"github.com/expr-lang/expr/ast"

	"rowfall/transform/decimal"
)

// binary compiles an operator with two operands.
func (c *checker) binary(n *ast.BinaryNode) node {
	switch n.Operator {
	case "==", "!=":
		return c.equality(n)
	case "<", "<=", ">", ">=":
		return c.order(n)
	case "and", "&&", "or", "||":
		return c.logic(n)
	case "+", "-", "*":
		return c.arithmetic(n)
	case "/", "**":
		return c.floats(n)
	case "%":
		return c.modulo(n)
	case "contains", "startsWith", "endsWith", "matches":
		return c.search(n)
	case "in":
		return c.in(n)
	case "??":
		return c.coalesce(n)
	}
	return c.fail(n, "the operator %s is not available in expressions", n.Operator)
}

// comparison returns the function that compares two values of a kind, neither of which is nil. Its
// result is negative, 0 or positive.
func comparison(k Kind) func(s *Scratch, a, b value) int {
	switch k {
	case Bool, Integer:
		return func(_ *Scratch, a, b value) int { return cmp.Compare(a.i, b.i) }
	case Exact:
		return func(_ *Scratch, a, b value) int { return a.d.Compare(b.d) }
	case Float:
		return func(_ *Scratch, a, b value) int { return cmp.Compare(a.f, b.f) }
	case Moment:
		return func(_ *Scratch, a, b value) int { return compareMoments(a.t, b.t) }
	case Clock:
		return func(s *Scratch, a, b value) int {
			x, err := clockMicros(a.t)
			if err != nil {
				s.fail(err)
			}
			y, err := clockMicros(b.t)
			if err != nil {
				s.fail(err)
			}
			return cmp.Compare(x, y)
		}
	}
	return func(_ *Scratch, a, b value) int { return bytes.Compare(a.t, b.t) }
}

// equality compiles == and !=. nil equals nil only.
func (c *checker) equality(n *ast.BinaryNode) node {
	l, r, k := c.unify(n, c.check(n.Left), c.check(n.Right))
	if c.err != nil {
		return l
	}
	compare, negate := comparison(k), n.Operator == "!="
	c.checkLabels(n, l, r, negate)
	return node{kind: Bool, eval: func(s *Scratch) value {
		a, b := l.eval(s), r.eval(s)
		equal := a.null && b.null
		if !a.null && !b.null {
			equal = compare(s, a, b) == 0
		}
		return boolean(equal != negate)
	}}
}

// order compiles <, <=, > and >=.
func (c *checker) order(n *ast.BinaryNode) node {
	l, r, k := c.unify(n, c.strict(n.Left, n.Operator), c.strict(n.Right, n.Operator))
	if c.err == nil && k == Bool {
		return c.fail(n, "%s does not order conditions", n.Operator)
	}
	compare := comparison(k)
	var holds func(int) bool
	switch n.Operator {
	case "<":
		holds = func(x int) bool { return x < 0 }
	case "<=":
		holds = func(x int) bool { return x <= 0 }
	case ">":
		holds = func(x int) bool { return x > 0 }
	default:
		holds = func(x int) bool { return x >= 0 }
	}
	return node{kind: Bool, eval: func(s *Scratch) value {
		return boolean(holds(compare(s, l.eval(s), r.eval(s))))
	}}
}

// logic compiles and and or. The right side is evaluated only if the left side does not decide.
func (c *checker) logic(n *ast.BinaryNode) node {
	l, r := c.want(n.Left, Bool, n.Operator), c.want(n.Right, Bool, n.Operator)
	stop := int64(0) // the left side that decides: false for and, true for or
	if n.Operator == "or" || n.Operator == "||" {
		stop = 1
	}
	return node{kind: Bool, eval: func(s *Scratch) value {
		if v := l.eval(s); v.i == stop || s.err != nil {
			return v
		}
		return r.eval(s)
	}}
}

// arithmetic compiles +, - and * of numbers, and + of texts.
func (c *checker) arithmetic(n *ast.BinaryNode) node {
	l, r, k := c.unify(n, c.strict(n.Left, n.Operator), c.strict(n.Right, n.Operator))
	if c.err != nil {
		return l
	}
	op := n.Operator
	out := node{kind: k, literal: l.literal && r.literal}
	le, re := l.eval, r.eval
	switch {
	case k == Text && op == "+":
		out.eval = func(s *Scratch) value { return s.concat(le(s).t, re(s).t) }
	case k == Integer:
		out.eval = func(s *Scratch) value {
			v, ok := integerOp(op, le(s).i, re(s).i)
			if !ok {
				return s.fail(errOverflow)
			}
			return value{i: v}
		}
	case k == Exact:
		f := map[string]func(a, b decimal.Number) decimal.Number{
			"+": decimal.Number.Add, "-": decimal.Number.Sub, "*": decimal.Number.Mul,
		}[op]
		out.eval = func(s *Scratch) value { return value{d: f(le(s).d, re(s).d)} }
	case k == Float:
		f := map[string]func(a, b float64) float64{
			"+": func(a, b float64) float64 { return a + b },
			"-": func(a, b float64) float64 { return a - b },
			"*": func(a, b float64) float64 { return a * b },
		}[op]
		out.eval = func(s *Scratch) value { return value{f: f(le(s).f, re(s).f)} }
	default:
		return c.fail(n, "%s does not work on %s", op, k)
	}
	return out
}

// integerOp computes a op b. ok is false if the result does not fit 64 bits.
func integerOp(op string, a, b int64) (result int64, ok bool) {
	switch op {
	case "+":
		r := a + b
		return r, (r > a) == (b > 0)
	case "-":
		r := a - b
		return r, (r < a) == (b > 0)
	}
	r := a * b
	return r, a == 0 || r/a == b && (a != -1 || b != math.MinInt64)
}

// concat joins texts in the scratch buffer.
func (s *Scratch) concat(parts ...[]byte) value {
	start := len(s.buf)
	for _, p := range parts {
		s.buf = append(s.buf, p...)
	}
	return value{t: s.buf[start:len(s.buf):len(s.buf)]}
}

// floats compiles / and **, whose result is a float.
func (c *checker) floats(n *ast.BinaryNode) node {
	l, r := c.strict(n.Left, n.Operator), c.strict(n.Right, n.Operator)
	fl, ok := toFloat(l)
	fr, ok2 := toFloat(r)
	if c.err == nil && (!ok || !ok2) {
		return c.fail(n, "%s gives a float and takes integers and floats, not %s and %s: "+
			"write float(x) around an exact number", n.Operator, l.kind, r.kind)
	}
	if n.Operator == "/" {
		return node{kind: Float, eval: func(s *Scratch) value {
			a, b := fl.eval(s).f, fr.eval(s).f
			if b == 0 {
				return s.fail(errDivision)
			}
			return value{f: a / b}
		}}
	}
	return node{kind: Float, eval: func(s *Scratch) value {
		return value{f: math.Pow(fl.eval(s).f, fr.eval(s).f)}
	}}
}

var errDivision = errors.New("division by zero")

// modulo compiles % of integers. The result has the sign of the left side, as in MySQL.
func (c *checker) modulo(n *ast.BinaryNode) node {
	l, r := c.want(n.Left, Integer, "%"), c.want(n.Right, Integer, "%")
	return node{kind: Integer, eval: func(s *Scratch) value {
		a, b := l.eval(s).i, r.eval(s).i
		switch b {
		case 0:
			return s.fail(errDivision)
		case -1: // the lowest integer divided by -1 would overflow
			return value{}
		}
		return value{i: a % b}
	}}
}

// search compiles contains, startsWith, endsWith and matches.
func (c *checker) search(n *ast.BinaryNode) node {
	l := c.want(n.Left, Text, n.Operator)
	if n.Operator == "matches" {
		re := c.pattern(n.Right, n.Operator)
		return node{kind: Bool, eval: func(s *Scratch) value {
			return boolean(re.Match(l.eval(s).t))
		}}
	}
	r := c.want(n.Right, Text, n.Operator)
	f := map[string]func(a, b []byte) bool{
		"contains": bytes.Contains, "startsWith": bytes.HasPrefix, "endsWith": bytes.HasSuffix,
	}[n.Operator]
	return node{kind: Bool, eval: func(s *Scratch) value {
		return boolean(f(l.eval(s).t, r.eval(s).t))
	}}
}

// coalesce compiles ??.
func (c *checker) coalesce(n *ast.BinaryNode) node {
	l, r, k := c.unify(n, c.check(n.Left), c.check(n.Right))
	out := node{kind: k, nullable: l.nullable && r.nullable, labels: withDefault(l, r)}
	out.eval = func(s *Scratch) value {
		if v := l.eval(s); !v.null || s.err != nil {
			return v
		}
		return r.eval(s)
	}
	return out
}

// in compiles in, whose right side is a list, a range of integers or a SET column.
func (c *checker) in(n *ast.BinaryNode) node {
	switch right := n.Right.(type) {
	case *ast.ArrayNode:
		return c.inList(n, right)
	case *ast.BuiltinNode:
		if sp, ok := c.split(right); ok {
			return sp.contains(c, n.Left)
		}
	case *ast.BinaryNode:
		if right.Operator == ".." {
			x := c.want(n.Left, Integer, "in")
			from, to := c.want(right.Left, Integer, ".."), c.want(right.Right, Integer, "..")
			return node{kind: Bool, eval: func(s *Scratch) value {
				v := x.eval(s).i
				return boolean(v >= from.eval(s).i && v <= to.eval(s).i)
			}}
		}
	}
	if set := c.check(n.Right); set.isSet() {
		x := c.want(n.Left, Text, "in")
		set = c.notNull(n.Right, set, "in")
		c.checkMember(n.Left, x, set)
		return node{kind: Bool, eval: func(s *Scratch) value {
			return boolean(memberOf(x.eval(s).t, set.eval(s).t))
		}}
	}
	return c.fail(n.Right, "in needs a list like [1, 2], a range like 1..5, a SET column "+
		"or split() on its right")
}

// memberOf reports whether x is a member in the text of a SET, such as "a,b".
func memberOf(x, set []byte) bool {
	if bytes.IndexByte(x, ',') >= 0 {
		return false
	}
	for len(set) > 0 {
		member, rest, _ := bytes.Cut(set, []byte{','})
		if bytes.Equal(member, x) {
			return true
		}
		set = rest
	}
	return false
}

// inList compiles in with a list. A list of text literals becomes a map.
func (c *checker) inList(n *ast.BinaryNode, list *ast.ArrayNode) node {
	left := c.strict(n.Left, "in")
	type member struct {
		eval    func(*Scratch) value
		kind    Kind // of the comparison
		compare func(*Scratch, value, value) int
	}
	members := make([]member, 0, len(list.Nodes))
	texts := make(map[string]struct{}, len(list.Nodes))
	for _, m := range list.Nodes {
		l, r, k := c.unify(m, left, c.strict(m, "in"))
		if c.err != nil {
			return left
		}
		c.checkLabels(m, l, r, false)
		members = append(members, member{r.eval, k, comparison(k)})
		if s, ok := m.(*ast.StringNode); ok && k == Text {
			texts[strings.Clone(s.Value)] = struct{}{}
		}
	}
	if len(texts) > 0 && len(texts) == len(members) {
		return node{kind: Bool, eval: func(s *Scratch) value {
			_, found := texts[string(left.eval(s).t)]
			return boolean(found)
		}}
	}
	return node{kind: Bool, eval: func(s *Scratch) value {
		x := left.eval(s)
		for _, m := range members {
			if m.compare(s, convert(x, left.kind, m.kind), m.eval(s)) == 0 {
				return value{i: 1}
			}
		}
		return value{}
	}}
}

// convert converts a value as unify converts the operand that has it.
func convert(v value, from, to Kind) value {
	switch {
	case from == Integer && to == Exact:
		return value{null: v.null, d: decimal.New(v.i, 0)}
	case from == Integer && to == Float:
		return value{null: v.null, f: float64(v.i)}
	case from == Exact && to == Float:
		return value{null: v.null, f: v.d.Float64()}
	}
	return v // the text of a date or a time is the text of the literal
}
