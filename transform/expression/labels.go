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

// labelled describes the texts of a masked, ENUM or SET column: results of the mask, or labels of
// the column, and the texts that stand for NULL.
type labelled struct {
	column *binlog.Column
	// isMasked is set for a masked column, which has no labels. index is the column's index.
	isMasked bool
	index    int
	// defaults are the texts on the right of ?? that are written out.
	defaults []string
}

// labelsOf describes the texts of a masked, ENUM or SET column. It returns nil for other columns.
func (c *checker) labelsOf(i int) *labelled {
	col := c.view.Column(i)
	if isMasked := c.view.IsMasked(i); isMasked || col.HasLabels() {
		return &labelled{column: col, index: i, isMasked: isMasked}
	}
	return nil
}

// isSet reports whether the node is a SET column, with or without a default for NULL.
func (n node) isSet() bool { return n.labels != nil && n.labels.column.Type == binlog.TypeSet }

// isMasked reports whether the node is a masked column, with or without a default for NULL.
func (n node) isMasked() bool { return n.labels != nil && n.labels.isMasked }

// withDefault returns the labels of l ?? r.
func withDefault(l, r node) *labelled {
	if l.labels == nil || !r.constant || r.kind != Text {
		return nil
	}
	defaults := append(slices.Clone(l.labels.defaults), r.text)
	labels := *l.labels
	labels.defaults = defaults
	return &labels
}

// checkLabels warns if one operand of a comparison is a masked, ENUM or SET column, and the other
// is a text that the column never holds. holds is how the comparison ends for every row.
func (c *checker) checkLabels(n ast.Node, l, r node, holds bool) {
	if l.labels == nil {
		l, r = r, l
	}
	if l.labels == nil || !r.constant || r.kind != Text ||
		slices.Contains(l.labels.defaults, r.text) {
		return
	}
	if l.labels.isMasked {
		c.checkMasked(n, l.labels.index, r.text, holds)
		return
	}
	if r.text == "" {
		return // MySQL stores an empty text for a value that is not a label
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

// checkMasked warns if a masked column is compared with a text that no masked value can be.
func (c *checker) checkMasked(n ast.Node, column int, text string, holds bool) {
	if reason := c.view.CheckMasked(column, text); reason != "" {
		c.warn(n, "%.40q is no value of %s.%s: %s, so the comparison is always %t; "+
			"compare with a masked value, or with a column without a mask",
			text, c.table.FullName(), c.table.Columns[column].Name, reason, holds)
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
