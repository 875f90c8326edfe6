package transform

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform/expression"
	"rowfall/transform/template"
)

// output is a compiled entry of write.
type output struct {
	kind OutputKind
	path string
	line int
	// key names the key; member is the field of a shared hash or the member of
	// a set, nil for an output that owns its whole key.
	key, member *template.Template
	// value is a string's or field's template; nil is the row as JSON.
	value    *template.Template
	score    *expression.Program
	whenNull WhenNull
	// place are the columns of key and member, reads those of the content.
	place, reads []int
	// reserved is set where a key could begin with Rowfall's own prefix.
	reserved bool
}

// place is where a row's content stands.
type place struct {
	key, member []byte
}

// side is a row's place in one of the two images; live is set where the row
// has content there.
type side struct {
	place
	live bool
}

// append appends the output's commands for a change; before and after say
// whether the images are there and pass `where`.
func (o *output) append(p *Plan, u *Commands, c *binlog.Change, m Mode, before, after bool) error {
	var was, is side
	if c.After != nil && after {
		null, err := o.locate(p, &p.scratch.after, c.After, &is.place)
		if err != nil {
			return err
		}
		is.live = !null
	}
	// In mode FullRow what the image before said is removed even where `where`
	// refused it: it may be left over.
	if c.Before != nil && (before || m == FullRow) {
		if is.live && sameColumns(c, o.place) {
			was = is
		} else {
			// A NULL here was never written, under either policy.
			null, err := o.locateOld(p, c.Before, &was.place)
			if err != nil {
				return err
			}
			was.live = !null
		}
	}
	moved := was.live && is.live && (!bytes.Equal(was.key, is.key) || !bytes.Equal(was.member, is.member))
	if was.live && (!is.live || moved) {
		o.remove(u, was.place)
	}
	if !is.live {
		return nil
	}
	if m == Delta && was.live && !moved {
		return o.change(p, u, c, is.place)
	}
	return o.put(p, u, c.After, is.place, m == FullRow)
}

// sameColumns reports whether the columns are the same in both images.
func sameColumns(c *binlog.Change, columns []int) bool {
	for _, i := range columns {
		if !sameColumn(c, i) {
			return false
		}
	}
	return true
}

func sameColumn(c *binlog.Change, i int) bool {
	was, is := c.Before.Raw(i), c.After.Raw(i)
	// An empty value and NULL (nil) are equal as bytes.
	return bytes.Equal(was, is) && (was == nil) == (is == nil)
}

// locate renders the place of a live row into buf and reports whether a NULL
// leaves the row out.
func (o *output) locate(p *Plan, buf *[]byte, r *binlog.Row, at *place) (null bool, err error) {
	if c := o.nullColumn(r); c >= 0 {
		if o.whenNull == NullSkip {
			return true, nil
		}
		return false, &template.ColumnError{Column: c, Err: errNullKey}
	}
	b, err := o.render((*buf)[:0], r, at)
	*buf = b
	if err != nil {
		return false, err
	}
	if o.reserved && bytes.HasPrefix(at.key, []byte(reservedPrefix)) {
		return false, fmt.Errorf("the key %.80q begins with %s, which is Rowfall's own; put another prefix in front", at.key, reservedPrefix)
	}
	if o.score == nil {
		return false, nil
	}
	// The score is part of what a NULL decides, and of nothing else here.
	p.scratch.score, null, err = o.appendScore(p.scratch.score[:0], p, r)
	if null && o.whenNull == NullError {
		return false, errNullScore
	}
	return null, err
}

var (
	errNullKey   = errors.New("is NULL and stands in a key, field or member; set when_null: skip to leave such rows out")
	errNullScore = errors.New("the score is NULL or a date with a zero year, month or day; set when_null: skip to leave such rows out")
)

func (o *output) appendScore(dst []byte, p *Plan, r *binlog.Row) ([]byte, bool, error) {
	dst, null, err := o.score.AppendScore(dst, &p.scratch.expression, r)
	if errors.Is(err, expression.ErrNoScore) {
		return dst, true, nil
	}
	return dst, null, err
}

func (o *output) locateOld(p *Plan, r *binlog.Row, at *place) (null bool, err error) {
	if o.nullColumn(r) >= 0 {
		return true, nil
	}
	p.scratch.before, err = o.render(p.scratch.before[:0], r, at)
	return o.reserved && bytes.HasPrefix(at.key, []byte(reservedPrefix)), err
}

func (o *output) nullColumn(r *binlog.Row) int {
	for _, c := range o.place {
		if r.IsNull(c) {
			return c
		}
	}
	return -1
}

func (o *output) render(buf []byte, r *binlog.Row, at *place) ([]byte, error) {
	buf, err := o.key.Append(buf, r)
	if err != nil {
		return buf, err
	}
	n := len(buf)
	if o.member != nil {
		if buf, err = o.member.Append(buf, r); err != nil {
			return buf, err
		}
		at.member = buf[n:]
	}
	at.key = buf[:n]
	if len(at.key) > resp.MaxBulk || len(at.member) > resp.MaxBulk {
		return buf, errTooLong
	}
	return buf, nil
}

// remove takes away what the row had at a place.
func (o *output) remove(u *Commands, at place) {
	verb := verbDel
	switch {
	case o.kind == Set:
		verb = verbSRem
	case o.kind == SortedSet:
		verb = verbZRem
	case o.member != nil:
		verb = verbHDel
	}
	if o.member == nil {
		u.begin(2, verb)
		u.bulk(at.key)
		return
	}
	u.begin(3, verb)
	u.bulk(at.key)
	u.bulk(at.member)
}

// change appends the commands of an update that leaves the row in its place.
func (o *output) change(p *Plan, u *Commands, c *binlog.Change, at place) error {
	switch {
	case o.kind == Hash && o.member == nil:
		return p.changeHash(u, c, at.key)
	case sameColumns(c, o.reads):
		return nil
	}
	return o.put(p, u, c.After, at, true)
}

// put writes the row's content at its place. stale is set where something may
// stand there already.
func (o *output) put(p *Plan, u *Commands, r *binlog.Row, at place, stale bool) error {
	switch {
	case o.kind == Set:
		u.begin(3, verbSAdd)
		u.bulk(at.key)
		u.bulk(at.member)
		return nil
	case o.kind == SortedSet:
		u.begin(4, verbZAdd)
		u.bulk(at.key)
		u.bulk(p.scratch.score)
		u.bulk(at.member)
		return nil
	case o.kind == Hash && o.member == nil:
		return p.putHash(u, r, at.key, stale)
	}
	if o.value != nil {
		if c := o.value.Lone(); c >= 0 && r.IsNull(c) {
			if stale {
				o.remove(u, at)
			}
			return nil
		}
	}
	if o.member == nil {
		u.begin(3, verbSet)
		u.bulk(at.key)
	} else {
		u.begin(4, verbHSet)
		u.bulk(at.key)
		u.bulk(at.member)
	}
	return o.content(p, u, r)
}

// content appends the value template, or the row as JSON, as a bulk.
func (o *output) content(p *Plan, u *Commands, r *binlog.Row) (err error) {
	digits := 2
	if o.value == nil {
		digits = 3
	}
	u.open(digits)
	body := len(u.Bytes)
	if o.value == nil {
		err = p.appendJSON(u, r)
	} else {
		u.Bytes, err = o.value.Append(u.Bytes, r)
	}
	if err != nil {
		return err
	}
	return u.close(body, digits)
}

// columns returns all columns that the output reads.
func (o *output) columns() []int { return slices.Concat(o.place, o.reads) }

// reservedPrefix is Rowfall's own; no key of a row may begin with it.
const reservedPrefix = "rowfall:"

// collide reports whether two outputs could write one thing. Outputs of one
// collection kind may share a key as long as what they put there differs.
func collide(a, b *output) bool {
	if !template.Overlap(a.key, b.key) {
		return false
	}
	if a.kind == b.kind && a.member != nil && b.member != nil {
		return template.Overlap(a.member, b.member)
	}
	return true
}

// Conflicts reports the outputs that could write a key of another output, each as a *MappingError;
// several are joined. It compares what the templates can print: {id} of a number is digits, of text
// anything. Several set, sorted_set or field outputs may share keys as long as their members or
// fields cannot be equal. Give it one plan per table.
func Conflicts(plans []*Plan) error {
	type place struct {
		plan *Plan
		out  *output
	}
	var all []place
	var faults []error
	for _, p := range plans {
		for i := range p.outputs {
			b := place{p, &p.outputs[i]}
			for _, a := range all {
				if collide(a.out, b.out) {
					faults = append(faults, &MappingError{
						Path: b.out.path, Line: b.out.line,
						Message: conflictMessage(a.plan, a.out, b.plan, b.out),
					})
					break // one fault for each output
				}
			}
			all = append(all, b)
		}
	}
	return errors.Join(faults...)
}

func conflictMessage(pa *Plan, a *output, pb *Plan, b *output) string {
	ta, tb := pa.table, pb.table
	what := fmt.Sprintf("the key %q of %s could equal the key %q of %s (%s)",
		b.key.Source, tb.FullName(), a.key.Source, ta.FullName(), a.path)
	switch {
	case a.kind == b.kind && a.member != nil && b.member != nil:
		return what + fmt.Sprintf(", and %q could equal %q in it; put different literal text in front of one of them", b.member.Source, a.member.Source)
	case ta != tb && ta.Name == tb.Name && a.key.Source == b.key.Source:
		return what + "; put {database} into the key, as in {database}:{table}:{pk...}"
	}
	return what + "; give one of them its own prefix"
}
