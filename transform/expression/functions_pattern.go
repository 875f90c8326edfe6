package expression

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// pattern compiles a regular expression in Go's syntax, which must be written out. of is the
// operator or function, for messages.
func (c *checker) pattern(n ast.Node, of string) *regexp.Regexp {
	text, ok := c.literalText(n, "the pattern of "+of)
	if !ok {
		return nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		c.fail(n, "%v", err)
		return nil
	}
	return re
}

// buildRegexFind builds the text of the first match of a pattern, or of a group in it. Without a
// number of the group, that is the pattern's first group, and the whole match if the pattern has no
// group. The result is nil if there is no match.
func buildRegexFind(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.want(args[0], Text, name+"()")
	re := c.pattern(args[1], name+"()")
	if re == nil {
		return v
	}
	group := min(re.NumSubexp(), 1)
	if len(args) == 3 {
		n, ok := literalInteger(args[2])
		if !ok || n < 0 || n > re.NumSubexp() {
			return c.fail(args[2], "regexFind() needs the number of the group written out, "+
				"0 to %d for this pattern", re.NumSubexp())
		}
		group = n
	}
	out := node{kind: Text, nullable: true}
	if group == 0 {
		out.eval = func(s *Scratch) value { // Find does not allocate
			t := re.Find(v.eval(s).t)
			return value{t: t, null: t == nil}
		}
		return out
	}
	out.eval = func(s *Scratch) value {
		t := v.eval(s).t
		m := re.FindSubmatchIndex(t)
		if m == nil || m[2*group] < 0 {
			return value{null: true}
		}
		return value{t: t[m[2*group]:m[2*group+1]]}
	}
	return out
}

// buildRegexReplace builds the replacement of every match of a pattern. $1 or ${1} in the
// replacement is the text of a group.
func buildRegexReplace(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.want(args[0], Text, name+"()")
	re := c.pattern(args[1], name+"()")
	text, ok := c.literalText(args[2], "the replacement of regexReplace()")
	if re == nil || !ok {
		return v
	}
	if err := checkReplacement(re, text); err != nil {
		return c.fail(args[2], "%v", err)
	}
	with := []byte(text)
	return node{kind: Text, eval: func(s *Scratch) value {
		t := v.eval(s).t
		matches := re.FindAllSubmatchIndex(t, -1)
		if len(matches) == 0 {
			return value{t: t}
		}
		start, end := len(s.buf), 0
		for _, m := range matches {
			if !s.room(len(t)) {
				return value{}
			}
			s.buf = append(s.buf, t[end:m[0]]...)
			s.buf = re.Expand(s.buf, with, t, m)
			end = m[1]
		}
		s.buf = append(s.buf, t[end:]...)
		return value{t: s.buf[start:len(s.buf):len(s.buf)]}
	}}
}

// checkReplacement returns an error if a replacement names a group that the pattern does not have.
// Package regexp would replace it by nothing: $1x is the group named 1x.
func checkReplacement(re *regexp.Regexp, with string) error {
	for {
		_, after, found := strings.Cut(with, "$")
		if !found {
			return nil
		}
		if after, found = strings.CutPrefix(after, "$"); found { // $$ is a dollar sign
			with = after
			continue
		}
		var name string
		if strings.HasPrefix(after, "{") {
			inside, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return fmt.Errorf("the replacement has ${ without }; write $$ for a dollar sign")
			}
			name, with = inside, rest
		} else {
			end := strings.IndexFunc(after, func(r rune) bool { return !isWord(r) || r == '$' })
			if end < 0 {
				end = len(after)
			}
			name, with = after[:end], after[end:]
		}
		n, err := strconv.Atoi(name)
		if isGroup := err == nil && n >= 0 && n <= re.NumSubexp(); isGroup ||
			name != "" && re.SubexpIndex(name) >= 0 {
			continue
		}
		if letters := strings.TrimLeft(name, "0123456789"); letters != "" && letters != name {
			return fmt.Errorf("the pattern has no group %q; write ${%s}%s",
				name, strings.TrimSuffix(name, letters), letters)
		}
		return fmt.Errorf("the pattern has no group %q, it has %d; write $$ for a dollar sign",
			name, re.NumSubexp())
	}
}
