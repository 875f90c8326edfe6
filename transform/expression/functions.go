package expression

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"rowfall/transform/decimal"
	"rowfall/transform/suggest"
)

// function is a function of the language.
type function struct {
	minArgs, maxArgs int
	build            builder
}

// builder checks the arguments of a call and compiles the call. The number of arguments is right.
type builder func(c *checker, call ast.Node, name string, args []ast.Node) node

// functions are all functions by name. They are set in init, because a builder refers to the table
// by way of checker.call.
var functions map[string]function

func init() {
	functions = map[string]function{
		"abs":          {1, 1, buildAbs},
		"bitand":       {2, 2, bitwise(func(a, b int64) int64 { return a & b })},
		"bitor":        {2, 2, bitwise(func(a, b int64) int64 { return a | b })},
		"bitxor":       {2, 2, bitwise(func(a, b int64) int64 { return a ^ b })},
		"ceil":         {1, 1, rounder(decimal.Ceil, math.Ceil)},
		"crc32":        {1, 1, hasher(appendCRC32)},
		"decimal":      {1, 1, buildDecimal},
		"float":        {1, 1, buildFloat},
		"floor":        {1, 1, rounder(decimal.Floor, math.Floor)},
		"format":       {2, 2, buildFormat},
		"hasPrefix":    {2, 2, textTest(bytes.HasPrefix)},
		"hasSuffix":    {2, 2, textTest(bytes.HasSuffix)},
		"hex":          {1, 1, buildHex},
		"indexOf":      {2, 2, position(bytes.Index)},
		"int":          {1, 1, buildInt},
		"json":         {2, 2, buildJSON},
		"lastIndexOf":  {2, 2, position(bytes.LastIndex)},
		"len":          {1, 1, buildLen},
		"lower":        {1, 1, mapped(unicode.ToLower)},
		"max":          {2, 16, extreme(1)},
		"md5":          {1, 1, hasher(appendMD5)},
		"min":          {2, 16, extreme(-1)},
		"padLeft":      {2, 3, padder(true)},
		"padRight":     {2, 3, padder(false)},
		"regexFind":    {2, 3, buildRegexFind},
		"regexReplace": {3, 3, buildRegexReplace},
		"replace":      {3, 3, buildReplace},
		"round":        {1, 1, rounder(decimal.HalfAway, math.Round)},
		"sha256":       {1, 1, hasher(appendSHA256)},
		"split":        {2, 2, buildSplit},
		"string":       {1, 1, buildString},
		"toBase64":     {1, 1, buildBase64},
		"trim":         {1, 2, buildTrim},
		"trimPrefix":   {2, 2, cut(bytes.TrimPrefix)},
		"trimSuffix":   {2, 2, cut(bytes.TrimSuffix)},
		"unix":         {1, 1, buildUnix},
		"upper":        {1, 1, mapped(unicode.ToUpper)},
		"uuid":         {1, 1, buildUUID},
	}
}

// FunctionNames returns the names of all functions in order.
func FunctionNames() []string { return slices.Sorted(maps.Keys(functions)) }

// clockFunctions are functions of expr-lang and of SQL, in lower case, that read a clock, or that
// make dates to compare with one.
var clockFunctions = []string{
	"now", "date", "duration", "timezone", "curdate", "current_date", "current_timestamp",
	"localtime", "sysdate", "utc_timestamp",
}

// call compiles the call of a function.
func (c *checker) call(n ast.Node, name string, args []ast.Node) node {
	f, ok := c.function(n, name, args)
	if !ok {
		return failed
	}
	return f.build(c, n, name, args)
}

// function returns the function that a call names. ok is false if no function has the name, or if
// the number of arguments is wrong.
func (c *checker) function(n ast.Node, name string, args []ast.Node) (f function, ok bool) {
	f, ok = functions[name]
	switch {
	case !ok && slices.Contains(clockFunctions, strings.ToLower(name)):
		c.fail(n, "%s() is not available: the same row must always give the same value, "+
			"so expressions have no clock; "+
			"compare a date column with a literal like \"2024-05-01\"", name)
	case !ok:
		c.fail(n, "there is no function %s() in expressions%s",
			name, suggest.DidYouMean(name, FunctionNames()))
	case len(args) < f.minArgs || len(args) > f.maxArgs:
		c.fail(n, "%s() takes %s", name, argumentCount(f.minArgs, f.maxArgs))
		return f, false
	}
	return f, ok
}

// argumentCount prints the number of arguments that a function takes, for messages.
func argumentCount(minArgs, maxArgs int) string {
	switch {
	case minArgs == maxArgs && maxArgs == 1:
		return "1 argument"
	case minArgs == maxArgs:
		return fmt.Sprintf("%d arguments", maxArgs)
	}
	return fmt.Sprintf("%d to %d arguments", minArgs, maxArgs)
}

// number compiles an operand that must be a number and not nil. of is the operator or function, for
// messages.
func (c *checker) number(n ast.Node, of string) node {
	v := c.strict(n, of)
	if c.err == nil && !v.kind.numeric() {
		return c.fail(n, "%s needs a number and %s is %s", of, c.text(n), v.kind)
	}
	return v
}

func buildAbs(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.number(args[0], name+"()")
	e := v.eval
	switch v.kind {
	case Integer:
		v.eval = func(s *Scratch) value {
			x := e(s).i
			if x == math.MinInt64 {
				return s.fail(errOverflow)
			}
			return value{i: max(x, -x)}
		}
	case Exact:
		v.eval = func(s *Scratch) value {
			d := e(s).d
			if d.Sign() < 0 {
				d = d.Neg()
			}
			return value{d: d}
		}
	default:
		v.eval = func(s *Scratch) value { return value{f: math.Abs(e(s).f)} }
	}
	return v
}

func bitwise(op func(a, b int64) int64) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		l, r := c.want(args[0], Integer, name+"()"), c.want(args[1], Integer, name+"()")
		return node{kind: Integer, eval: func(s *Scratch) value {
			return value{i: op(l.eval(s).i, r.eval(s).i)}
		}}
	}
}

// rounder builds a function that rounds exact numbers by r and floats by f. Integers stay the same.
func rounder(r decimal.Rounding, f func(float64) float64) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		v := c.number(args[0], name+"()")
		e := v.eval
		switch v.kind {
		case Exact:
			v.eval = func(s *Scratch) value { return value{d: e(s).d.Round(r)} }
		case Float:
			v.eval = func(s *Scratch) value { return value{f: f(e(s).f)} }
		}
		return v
	}
}

// buildDecimal builds the conversion to an exact number. An exact literal becomes an ordinary exact
// number, which a float no longer converts.
func buildDecimal(c *checker, n ast.Node, name string, args []ast.Node) node {
	v := c.strict(args[0], name+"()")
	e := v.eval
	switch v.kind {
	case Integer:
		return toExact(v)
	case Exact:
		v.literal = false
		return v
	case Text:
		if v.constant {
			if _, err := decimal.Parse([]byte(v.text)); err != nil {
				return c.fail(n, "%q is %v", v.text, err)
			}
		}
		return node{kind: Exact, eval: func(s *Scratch) value {
			t := e(s).t
			d, err := decimal.Parse(t)
			if err != nil {
				return s.fail(fmt.Errorf("%.40q is %w", t, err))
			}
			return value{d: d}
		}}
	}
	if c.err != nil {
		return v
	}
	return c.fail(n, "decimal() takes an integer, an exact number or text, not %s", v.kind)
}

// parseFloat parses a finite number.
func parseFloat(b []byte) (float64, error) {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%.40q is not a number", b)
	}
	return f, nil
}

func buildFloat(c *checker, n ast.Node, name string, args []ast.Node) node {
	v := c.strict(args[0], name+"()")
	e := v.eval
	out := node{kind: Float}
	switch v.kind {
	case Integer:
		out.eval = func(s *Scratch) value { return value{f: float64(e(s).i)} }
	case Exact:
		out.eval = func(s *Scratch) value { return value{f: e(s).d.Float64()} }
	case Float:
		out.eval = e
	case Text:
		out.eval = func(s *Scratch) value {
			f, err := parseFloat(e(s).t)
			if err != nil {
				return s.fail(err)
			}
			return value{f: f}
		}
	default:
		return c.fail(n, "float() takes a number or text, not %s", v.kind)
	}
	return out
}

func buildInt(c *checker, n ast.Node, name string, args []ast.Node) node {
	v := c.strict(args[0], name+"()")
	e := v.eval
	out := node{kind: Integer}
	switch v.kind {
	case Integer, Bool:
		out.eval = e
	case Exact:
		out.eval = func(s *Scratch) value {
			i, ok := e(s).d.Int64()
			if !ok {
				return s.fail(errOverflow)
			}
			return value{i: i}
		}
	case Float:
		out.eval = func(s *Scratch) value {
			f := math.Trunc(e(s).f)
			// The comparison is false for NaN too.
			if !(f >= -1<<63 && f < 1<<63) {
				return s.fail(errOverflow)
			}
			return value{i: int64(f)}
		}
	case Text:
		out.eval = func(s *Scratch) value {
			i, err := parseInteger(e(s).t)
			if err != nil {
				return s.fail(err)
			}
			return value{i: i}
		}
	default:
		return c.fail(n, "int() takes a number or text, not %s", v.kind)
	}
	return out
}

// buildString builds the conversion to text, which is the same as in the field of a hash.
func buildString(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.strict(args[0], name+"()")
	switch v.kind {
	case Text, Moment, Clock: // the value is held as its text
		return node{kind: Text, eval: v.eval}
	}
	p := Program{root: v}
	return node{kind: Text, eval: func(s *Scratch) value {
		x := v.eval(s)
		if s.err != nil {
			return value{}
		}
		start := len(s.buf)
		b, _, err := p.append(s.buf, x, false)
		if err != nil {
			return s.fail(err)
		}
		s.buf = b
		return value{t: b[start:len(b):len(b)]}
	}}
}

func buildLen(c *checker, _ ast.Node, name string, args []ast.Node) node {
	if sp, ok := c.split(args[0]); ok {
		return sp.count()
	}
	v := c.want(args[0], Text, name+"()")
	return node{kind: Integer, eval: func(s *Scratch) value {
		return value{i: int64(utf8.RuneCount(v.eval(s).t))}
	}}
}

func textTest(f func(a, b []byte) bool) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		l, r := c.want(args[0], Text, name+"()"), c.want(args[1], Text, name+"()")
		return node{kind: Bool, eval: func(s *Scratch) value {
			return boolean(f(l.eval(s).t, r.eval(s).t))
		}}
	}
}

// mapped builds a function that replaces each character of a text.
func mapped(f func(rune) rune) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		v := c.want(args[0], Text, name+"()")
		return node{kind: Text, eval: func(s *Scratch) value {
			t := v.eval(s).t
			start := len(s.buf)
			s.buf = AppendMapped(s.buf, t, f)
			return value{t: s.buf[start:len(s.buf):len(s.buf)]}
		}}
	}
}

// AppendMapped appends text to dst with each character replaced by f. Bytes that are not UTF-8 stay
// the same. text may be a part of dst.
func AppendMapped(dst, text []byte, f func(rune) rune) []byte {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, text[i])
		} else {
			dst = utf8.AppendRune(dst, f(r))
		}
		i += n
	}
	return dst
}

// extreme builds max (sign 1) or min (sign -1).
func extreme(sign int) builder {
	return func(c *checker, call ast.Node, name string, args []ast.Node) node {
		out := c.strict(args[0], name+"()")
		for _, a := range args[1:] {
			l, r, k := c.unify(call, out, c.strict(a, name+"()"))
			if c.err == nil && k == Bool {
				return c.fail(call, "%s() does not order conditions", name)
			}
			compare := comparison(k)
			out = node{kind: k, literal: l.literal && r.literal, eval: func(s *Scratch) value {
				a, b := l.eval(s), r.eval(s)
				if compare(s, b, a)*sign > 0 {
					return b
				}
				return a
			}}
		}
		return out
	}
}

func buildReplace(c *checker, _ ast.Node, name string, args []ast.Node) node {
	of := name + "()"
	v, from, to := c.want(args[0], Text, of), c.want(args[1], Text, of), c.want(args[2], Text, of)
	return node{kind: Text, eval: func(s *Scratch) value {
		t, old, with := v.eval(s).t, from.eval(s).t, to.eval(s).t
		if len(old) == 0 {
			return value{t: t}
		}
		start := len(s.buf)
		for {
			i := bytes.Index(t, old)
			if i < 0 || !s.room(i+len(with)) {
				break
			}
			s.buf = append(append(s.buf, t[:i]...), with...)
			t = t[i+len(old):]
		}
		s.buf = append(s.buf, t...)
		return value{t: s.buf[start:len(s.buf):len(s.buf)]}
	}}
}

func buildTrim(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.want(args[0], Text, name+"()")
	if len(args) == 1 {
		return node{kind: Text, eval: func(s *Scratch) value {
			return value{t: bytes.TrimSpace(v.eval(s).t)}
		}}
	}
	set := c.want(args[1], Text, name+"()")
	return node{kind: Text, eval: func(s *Scratch) value {
		t := v.eval(s).t
		return value{t: bytes.Trim(t, string(set.eval(s).t))}
	}}
}

// cut builds a function that removes a part of a text.
func cut(f func(a, b []byte) []byte) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		v, part := c.want(args[0], Text, name+"()"), c.want(args[1], Text, name+"()")
		return node{kind: Text, eval: func(s *Scratch) value {
			t := v.eval(s).t
			return value{t: f(t, part.eval(s).t)}
		}}
	}
}
