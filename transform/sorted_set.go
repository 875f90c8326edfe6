package transform

import (
	"fmt"
	"strconv"

	"rowfall/binlog"
	"rowfall/transform/expression"
)

// sortedSetWriter writes a row as a member of a sorted set. The score is computed with the
// location, because a row without a score is skipped; it is in scratch.score.
type sortedSetWriter struct {
	columns []int // of the score
}

func compileSortedSet(c *compiler, w *Output, o *output) (err error) {
	if o.member, err = c.template("member", w.Member); err != nil {
		return err
	}
	if o.score, err = c.score(w); err != nil {
		return err
	}
	o.writer = &sortedSetWriter{o.score.Columns()}
	return nil
}

// score compiles the score of a sorted set.
func (c *compiler) score(w *Output) (*expression.Program, error) {
	p, err := c.columnOrExpression(w, "score", w.Score)
	if err == nil && !p.Scores() {
		err = inSetting("score",
			fmt.Errorf("a score needs a number or a date and %q is %s", w.Score, p.Kind()))
	}
	return p, err
}

// columnOrExpression compiles a setting of an output that is the name of a column, even one that is
// no identifier of an expression, or an expression.
func (c *compiler) columnOrExpression(
	w *Output, setting, source string,
) (*expression.Program, error) {
	text := source
	if c.table.Column(source) >= 0 {
		text = "$env[" + strconv.Quote(source) + "]"
	}
	p, err := expression.Compile(text, c.view)
	if err != nil {
		return nil, inSetting(setting, fmt.Errorf("in %q: %w", text, err))
	}
	c.warnInOutput(w, setting, text, p)
	return p, nil
}

func (w *sortedSetWriter) put(
	u *Commands, s *scratch, _ *rowChange, at location, _ bool,
) (bool, error) {
	u.startCommand(4, verbZAdd)
	u.appendBulk(at.key)
	u.appendBulk(s.score)
	u.appendBulk(at.member)
	return true, nil
}

func (w *sortedSetWriter) change(u *Commands, s *scratch, ch *rowChange, at location) error {
	if ch.sameColumns(w.columns) {
		return nil
	}
	_, err := w.put(u, s, ch, at, true)
	return err
}

func (w *sortedSetWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	appendRemoval(u, verbZRem, at)
}

func (w *sortedSetWriter) expect(args [][]byte, e *Expectation) {
	e.Score, e.Member = args[2], args[3]
}
