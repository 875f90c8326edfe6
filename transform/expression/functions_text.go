package expression

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
)

// literalText returns the text of an argument that must be written out as text. what is the
// argument, for messages.
func (c *checker) literalText(n ast.Node, what string) (string, bool) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		c.fail(n, "%s must be written out as text", what)
		return "", false
	}
	// The expression keeps no reference to its source, which may be a whole file.
	return strings.Clone(s.Value), c.err == nil
}

// literalInteger returns the value of an integer that is written out, with or without a sign.
func literalInteger(n ast.Node) (int, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.UnaryNode:
		if i, ok := n.Node.(*ast.IntegerNode); ok && n.Operator == "-" {
			return -i.Value, true
		}
	}
	return 0, false
}

// slice compiles s[from:to], the characters of a text from one position up to another. Positions
// begin at 0, and a negative one counts from the end.
func (c *checker) slice(n *ast.SliceNode) node {
	v := c.want(n.Node, Text, "[from:to]")
	at := func(bound ast.Node) func(*Scratch) value {
		if bound == nil {
			return nil
		}
		return c.want(bound, Integer, "[from:to]").eval
	}
	from, to := at(n.From), at(n.To)
	return node{kind: Text, eval: func(s *Scratch) value {
		t := v.eval(s).t
		start, end := 0, len(t)
		if from != nil {
			start = characterOffset(t, from(s).i)
		}
		if to != nil {
			end = characterOffset(t, to(s).i)
		}
		return value{t: t[start:max(start, end)]}
	}}
}

// characterOffset returns the offset in bytes of a character. A negative position counts from the
// end. A position outside of the text is moved to its beginning or end.
func characterOffset(t []byte, position int64) int {
	if position < 0 {
		if position += int64(utf8.RuneCount(t)); position <= 0 {
			return 0
		}
	}
	offset := 0
	for ; position > 0 && offset < len(t); position-- {
		if t[offset] < utf8.RuneSelf {
			offset++
			continue
		}
		_, n := utf8.DecodeRune(t[offset:])
		offset += n
	}
	return offset
}

// position builds a function that returns the position of a part in a text, counted in characters
// from 0, or -1.
func position(find func(s, part []byte) int) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		v, part := c.want(args[0], Text, name+"()"), c.want(args[1], Text, name+"()")
		return node{kind: Integer, eval: func(s *Scratch) value {
			t := v.eval(s).t
			i := find(t, part.eval(s).t)
			if i < 0 {
				return value{i: -1}
			}
			return value{i: int64(utf8.RuneCount(t[:i]))}
		}}
	}
}

// maxPadding is the largest number of characters that a text is padded to.
const maxPadding = 1024

// padder builds a function that pads a text with a character up to a number of characters.
func padder(left bool) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		v := c.want(args[0], Text, name+"()")
		width, ok := literalInteger(args[1])
		if !ok || width < 1 || width > maxPadding {
			return c.fail(args[1], "%s() needs the number of characters written out, 1 to %d",
				name, maxPadding)
		}
		fill := []byte{' '}
		if len(args) == 3 {
			text, ok := c.literalText(args[2], "the character of "+name+"()")
			if !ok {
				return v
			}
			if utf8.RuneCountInString(text) != 1 {
				return c.fail(args[2], "%s() pads with one character and %q is not one", name, text)
			}
			fill = []byte(text)
		}
		return node{kind: Text, eval: func(s *Scratch) value {
			t := v.eval(s).t
			missing := width - utf8.RuneCount(t)
			if missing <= 0 {
				return value{t: t}
			}
			start := len(s.buf)
			if !left {
				s.buf = append(s.buf, t...)
			}
			for range missing {
				s.buf = append(s.buf, fill...)
			}
			if left {
				s.buf = append(s.buf, t...)
			}
			return value{t: s.buf[start:len(s.buf):len(s.buf)]}
		}}
	}
}

// splitting is a compiled call of split(), whose result is several texts.
type splitting struct{ text, separator node }

// split compiles a call of split(). ok is false if n is no such call.
func (c *checker) split(n ast.Node) (sp splitting, ok bool) {
	call, ok := n.(*ast.BuiltinNode)
	if !ok || call.Name != "split" {
		return sp, false
	}
	if len(call.Arguments) != 2 {
		c.fail(n, "split() takes 2 arguments")
		return sp, true
	}
	sp.text = c.want(call.Arguments[0], Text, "split()")
	sp.separator = c.want(call.Arguments[1], Text, "split()")
	if s, isText := call.Arguments[1].(*ast.StringNode); isText && s.Value == "" {
		c.fail(call.Arguments[1], "the separator of split() is empty")
	}
	return sp, true
}

// buildSplit rejects split() where a single value is needed.
func buildSplit(c *checker, n ast.Node, _ string, _ []ast.Node) node {
	return c.fail(n, "split() gives several texts: take one of them, as in split(s, \",\")[0], "+
		"or write it on the right of in, or inside len()")
}

// part compiles split(s, separator)[index], where a negative index counts from the last part. It is
// nil if there is no such part. The first and the last part always exist.
func (sp splitting) part(c *checker, index ast.Node) node {
	i := c.want(index, Integer, "[index]")
	n, isLiteral := literalInteger(index)
	alwaysThere := isLiteral && (n == 0 || n == -1)
	return node{kind: Text, nullable: !alwaysThere, eval: func(s *Scratch) value {
		t, separator := sp.text.eval(s).t, sp.separator.eval(s).t
		p, ok := splitPart(t, separator, i.eval(s).i)
		return value{t: p, null: !ok}
	}}
}

// splitPart returns a part of a text. With an empty separator the whole text is the only part.
func splitPart(t, separator []byte, index int64) ([]byte, bool) {
	fromEnd := index < 0
	if fromEnd {
		index = -(index + 1)
	}
	for ; ; index-- {
		i := -1
		switch {
		case len(separator) == 0:
		case fromEnd:
			i = bytes.LastIndex(t, separator)
		default:
			i = bytes.Index(t, separator)
		}
		switch {
		case i < 0:
			return t, index == 0
		case index == 0 && fromEnd:
			return t[i+len(separator):], true
		case index == 0:
			return t[:i], true
		case fromEnd:
			t = t[:i]
		default:
			t = t[i+len(separator):]
		}
	}
}

// contains compiles x in split(s, separator).
func (sp splitting) contains(c *checker, x ast.Node) node {
	v := c.want(x, Text, "in")
	return node{kind: Bool, eval: func(s *Scratch) value {
		want, t, separator := v.eval(s).t, sp.text.eval(s).t, sp.separator.eval(s).t
		for {
			i := -1
			if len(separator) > 0 {
				i = bytes.Index(t, separator)
			}
			if i < 0 {
				return boolean(bytes.Equal(t, want))
			}
			if bytes.Equal(t[:i], want) {
				return value{i: 1}
			}
			t = t[i+len(separator):]
		}
	}}
}

// count compiles len(split(s, separator)).
func (sp splitting) count() node {
	return node{kind: Integer, eval: func(s *Scratch) value {
		t, separator := sp.text.eval(s).t, sp.separator.eval(s).t
		if len(separator) == 0 {
			return value{i: 1}
		}
		return value{i: int64(bytes.Count(t, separator)) + 1}
	}}
}
