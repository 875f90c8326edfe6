package expression

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"rowfall/binlog"
	"rowfall/transform/suggest"
)

// Warnings returns one sentence for each part of the expression that compiles but is most likely a
// mistake. The caller must not change them.
func (p *Program) Warnings() []string { return p.warnings }

// labelled is what is known of a text that an ENUM or SET column holds: it is one of the column's
// labels, or one of the texts that stand for NULL.
type labelled struct {
	column *binlog.Column
	// defaults are the texts on the right of ?? that are written out.
	defaults []string
}

// labelsOf returns the labels of a column, nil if it is no ENUM or SET.
func labelsOf(col *binlog.Column) *labelled {
	if col.Type != binlog.TypeEnum && col.Type != binlog.TypeSet {
		return nil
	}
	return &labelled{column: col}
}

// isSet reports whether the node is a SET column, with or without a default for NULL.
func (n node) isSet() bool { return n.labels != nil && n.labels.column.Type == binlog.TypeSet }

// withDefault returns the labels of l ?? r.
func withDefault(l, r node) *labelled {
	if l.labels == nil || !r.constant || r.kind != Text {
		return nil
	}
	defaults := append(slices.Clone(l.labels.defaults), r.text)
	return &labelled{column: l.labels.column, defaults: defaults}
}

// checkLabels warns if one operand of a comparison is an ENUM or SET column, and the other is a
// text that the column never holds. holds is how the comparison ends for every row.
func (c *checker) checkLabels(n ast.Node, l, r node, holds bool) {
	if l.labels == nil {
		l, r = r, l
	}
	if l.labels == nil || !r.constant || r.kind != Text || r.text == "" ||
		slices.Contains(l.labels.defaults, r.text) {
		return
	}
	col := l.labels.column
	if len(col.Values) == 0 {
		return // the labels are not known
	}
	members := []string{r.text}
	if col.Type == binlog.TypeSet {
		members = strings.Split(r.text, ",")
	}
	last := -1
	for _, m := range members {
		i := slices.Index(col.Values, m)
		switch {
		case i < 0:
			c.warnLabel(n, col, m, fmt.Sprintf("the comparison is always %t", holds))
			return
		case i < last:
			c.warn(n, "%s prints its labels in the order of its definition, so it is never %q: "+
				"the comparison is always %t; write \"label\" in %s for each label",
				col.Name, r.text, holds, col.Name)
			return
		}
		last = i
	}
}

// checkMember warns if the left side of x in column, where column is a SET, is no label.
func (c *checker) checkMember(n ast.Node, x, set node) {
	if c.err != nil || !x.constant || len(set.labels.column.Values) == 0 {
		return
	}
	for _, d := range set.labels.defaults {
		if memberOf([]byte(x.text), []byte(d)) {
			return
		}
	}
	if col := set.labels.column; !slices.Contains(col.Values, x.text) {
		c.warnLabel(n, col, x.text, "the condition is always false")
	}
}

// warnLabel warns of a text that is no label of a column, and names the nearest label.
func (c *checker) warnLabel(n ast.Node, col *binlog.Column, text, effect string) {
	remedy := suggest.DidYouMean(text, col.Values)
	if remedy == "" {
		remedy = "; its labels are " + strings.Join(quoted(col.Values), ", ")
	}
	c.warn(n, "%q is no label of %s.%s, so %s%s",
		text, c.table.FullName(), col.Name, effect, remedy)
}

// quoted returns at most ten of the labels in quotes.
func quoted(labels []string) []string {
	const most = 10
	out := make([]string, 0, most+1)
	for i, l := range labels {
		if i == most {
			return append(out, "...")
		}
		out = append(out, fmt.Sprintf("%.40q", l))
	}
	return out
}

// warn records a warning at a node of the tree.
func (c *checker) warn(n ast.Node, format string, args ...any) {
	c.warnings = append(c.warnings, c.fault(n, format, args...).Error())
}
