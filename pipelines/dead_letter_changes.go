package pipelines

import (
	"slices"

	"rowfall/binlog"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// appendChange appends the commands of a change to the unit. If the row cannot be turned into
// commands, and the mapping wants a dead letter of it, the row keeps its keys and has a letter
// afterwards. A change that is written clears the letters of its row.
func (l *loop) appendChange(
	t *mappedTable, c *binlog.Change, m transform.Mode, o transform.Origin,
) error {
	u := &l.unit.Commands
	before := u.Mark()
	if err := l.removeLetterLocations(t, c); err != nil {
		return err
	}
	err := t.Plan.Append(u, c, m, o)
	if err == nil {
		return l.clearLetters(t, c)
	}
	u.Truncate(before)
	fault := letterOf(err)
	if fault == nil {
		return err
	}
	// Was the old image the fault? In mode Replace only the new image is evaluated.
	if m != transform.Replace && c.Before != nil {
		if t.Plan.Append(u, c, transform.Replace, o) == nil {
			return l.clearLetters(t, c)
		}
	}
	if c.After == nil {
		return err
	}
	return l.keepFailedChange(t, c, o, fault)
}

// keepFailedChange keeps a letter of the new row of a change. A change of the primary key is a
// removal of the old row, which is applied, and an insertion, which is not.
func (l *loop) keepFailedChange(
	t *mappedTable, c *binlog.Change, o transform.Origin, fault *transform.RowError,
) error {
	key, err := jobs.KeyOf(&t.Table, c.After)
	if err != nil {
		return err
	}
	old := t.Letters.Of(key)
	letter := l.newLetter(t, key, old, fault)
	if o.Time > 0 {
		letter.Time = o.Time
	}
	if c.Before != nil {
		keyBefore, err := jobs.KeyOf(&t.Table, c.Before)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(key, keyBefore, slices.Equal) {
			removal := *c
			removal.Op, removal.After = binlog.Delete, nil
			if err := l.appendChange(t, &removal, transform.Replace, o); err != nil {
				return err
			}
		} else if old == nil || old.ByJob {
			if err := addOldLocations(t, letter, c.Before); err != nil {
				return err
			}
		}
	}
	letter.ByJob = false
	return l.keepLetter(t, letter, old, fault)
}

// addOldLocations adds the locations of the stored row to a letter, as far as they do not follow
// from the row's key. row is the stored row.
func addOldLocations(t *mappedTable, letter *tablestate.Letter, row *binlog.Row) error {
	list, err := t.UnlocatedLocations(row)
	if err != nil {
		return err
	}
	letter.Locations = slices.Clone(letter.Locations)
	for i := range list {
		// A location of another letter is where that row was stored, and not this one.
		if t.Letters.At(jobs.LocationOf(&list[i])) == nil {
			letter.Locations = append(letter.Locations, list[i])
		}
	}
	return nil
}

// lettersOf returns the letters of the rows of a change.
func (t *mappedTable) lettersOf(c *binlog.Change) (list []*tablestate.Letter, err error) {
	if t.Letters.IsEmpty() {
		return nil, nil
	}
	for _, row := range [...]*binlog.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		key, err := jobs.KeyOf(&t.Table, row)
		if err != nil {
			return nil, err
		}
		if l := t.Letters.Of(key); l != nil && !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return list, nil
}

// removeLetterLocations removes what the letters of a change's rows have left in the sink.
func (l *loop) removeLetterLocations(t *mappedTable, c *binlog.Change) error {
	list, err := t.lettersOf(c)
	for _, letter := range list {
		for i := range letter.Locations {
			t.Plan.Remove(&l.unit.Commands, jobs.LocationOf(&letter.Locations[i]))
		}
	}
	return err
}

// clearLetters removes the letters of a change's rows, after the change was appended to the unit.
// If the new row is at a location of another letter, that letter loses the location.
func (l *loop) clearLetters(t *mappedTable, c *binlog.Change) error {
	list, err := t.lettersOf(c)
	if err != nil {
		return err
	}
	for _, letter := range list {
		l.tables.letters.set(t, letter.Key, nil)
	}
	if c.After == nil || !t.Letters.HasLocations() {
		return nil
	}
	var taken []transform.Location
	err = t.Plan.Locations(c.After, func(at transform.Location) {
		if t.Letters.At(at) != nil {
			at.Key, at.Member = slices.Clone(at.Key), slices.Clone(at.Member)
			at.Row = slices.Clone(at.Row)
			taken = append(taken, at)
		}
	})
	for _, at := range taken {
		l.loseLocation(t, at)
	}
	return err
}
