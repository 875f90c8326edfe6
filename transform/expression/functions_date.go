package expression

import (
	"github.com/expr-lang/expr/ast"

	"rowfall/transform/dateformat"
)

// date compiles an operand that must be a date and not nil. A text literal becomes a date. of is
// the function, for messages.
func (c *checker) date(n ast.Node, of string) node {
	if s, ok := n.(*ast.StringNode); ok {
		return c.moment(n, c.check(s), Moment)
	}
	return c.want(n, Moment, of)
}

// parseDate parses the text of a date, whose month and day may be zero.
func parseDate(t []byte) (d dateformat.Date, err error) {
	if !momentShaped(t) {
		return d, notMoment(t)
	}
	at := func(i, width int) int {
		if i >= len(t) {
			return 0
		}
		n, _, _ := number(t[i:], width)
		return int(n)
	}
	d = dateformat.Date{
		Year: at(0, 4), Month: at(5, 2), Day: at(8, 2),
		Hour: at(11, 2), Minute: at(14, 2), Second: at(17, 2), Microsecond: at(20, 6),
	}
	if d.Month > 12 || d.Day > 31 || d.Hour > 23 || d.Minute > 59 || d.Second > 59 {
		return d, notMoment(t)
	}
	for i := len(t); i > 20 && i < len(midnight); i++ {
		d.Microsecond *= 10
	}
	return d, nil
}

// buildFormat builds the text of a date in a layout. The layout is parsed when the expression is
// compiled. The result may be nil if the layout has a specifier that a date with a zero year, month
// or day has no text for.
func buildFormat(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.date(args[0], name+"()")
	text, ok := c.literalText(args[1], "the layout of format()")
	if !ok {
		return v
	}
	layout, err := dateformat.Parse(text)
	if err != nil {
		return c.fail(args[1], "%v", err)
	}
	return node{kind: Text, nullable: layout.MayFail(), eval: func(s *Scratch) value {
		var err error
		if s.date, err = parseDate(v.eval(s).t); err != nil {
			return s.fail(err)
		}
		start := len(s.buf)
		b, ok := layout.Append(s.buf, &s.date)
		if !ok {
			return value{null: true}
		}
		s.buf = b
		return value{t: b[start:len(b):len(b)]}
	}}
}

// buildUnix builds the number of seconds from 1970 to a date.
func buildUnix(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.date(args[0], name+"()")
	return node{kind: Exact, eval: func(s *Scratch) value {
		d, err := unixSeconds(v.eval(s).t)
		if err != nil {
			return s.fail(err)
		}
		return value{d: d}
	}}
}
