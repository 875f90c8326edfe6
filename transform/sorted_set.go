package transform

import (
	"errors"
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
	if o.member, err = c.template(w.Member); err != nil {
		return err
	}
	if o.score, err = c.score(w.Score); err != nil {
		return err
	}
	o.writer = &sortedSetWriter{o.score.Columns()}
	return nil
}

// score compiles the score of a sorted set: the name of a column, even one that is no identifier of
// an expression, or an expression.
func (c *compiler) score(source string) (*expression.Program, error) {
	text := source
	if c.table.Column(source) >= 0 {
		text = "$env[" + strconv.Quote(source) + "]"
	}
	p, err := c.expression("", text, c.view)
	if err != nil {
		var e *MappingError
		errors.As(err, &e)
		return nil, fmt.Errorf("score: %s", e.Message)
	}
	if !p.Scores() {
		return nil, fmt.Errorf("a score needs a number or a date and %q is %s", source, p.Kind())
	}
	return p, nil
}

func (w *sortedSetWriter) put(
	u *Commands, s *scratch, _ *rowChange, at location, _ bool,
) error {
	u.startCommand(4, verbZAdd)
	u.appendBulk(at.key)
	u.appendBulk(s.score)
	u.appendBulk(at.member)
	return nil
}

func (w *sortedSetWriter) change(u *Commands, s *scratch, ch *rowChange, at location) error {
	if ch.sameColumns(w.columns) {
		return nil
	}
	return w.put(u, s, ch, at, true)
}

func (w *sortedSetWriter) remove(u *Commands, _ *scratch, _ *binlog.Row, at location) {
	appendRemoval(u, verbZRem, at)
}

func (w *sortedSetWriter) expect(args [][]byte, e *Expectation) {
	e.Score, e.Member = args[2], args[3]
}
