package jobs

import (
	"errors"
	"maps"
	"slices"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// Letters are the dead letters of a table: rows of which the sink may hold an old version, because
// a change of theirs could not be applied. While a row has a letter, it is written in mode Replace.
// The zero value is empty. Letters in it are never changed, only replaced.
type Letters struct {
	byKey map[string]*tablestate.Letter // by the row's key, see appendKeyOf
	// at holds the letters by the texts of their Locations. No row has these locations but the
	// letter's, until a row is written there.
	at map[string]*tablestate.Letter

	key []byte // buffer of the loop
}

// IsEmpty reports whether the table has no letters.
func (s *Letters) IsEmpty() bool { return len(s.byKey) == 0 }

// All returns the letters in the order of their numbers.
func (s *Letters) All() []*tablestate.Letter {
	return slices.SortedFunc(maps.Values(s.byKey), func(a, b *tablestate.Letter) int {
		return a.ID - b.ID
	})
}

// Of returns the letter of a row, or nil.
func (s *Letters) Of(key Key) *tablestate.Letter {
	if s.IsEmpty() {
		return nil
	}
	s.key = appendKey(s.key[:0], key)
	return s.byKey[string(s.key)]
}

// Set replaces the letter of a row. nil removes it. Set returns the letter that the row had.
func (s *Letters) Set(key Key, l *tablestate.Letter) (old *tablestate.Letter) {
	s.key = appendKey(s.key[:0], key)
	if old = s.byKey[string(s.key)]; old != nil {
		for i := range old.Locations {
			delete(s.at, locationText(&old.Locations[i]))
		}
		delete(s.byKey, string(s.key))
	}
	if l == nil {
		return old
	}
	if s.byKey == nil {
		s.byKey, s.at = map[string]*tablestate.Letter{}, map[string]*tablestate.Letter{}
	}
	s.byKey[string(s.key)] = l
	for i := range l.Locations {
		s.at[locationText(&l.Locations[i])] = l
	}
	return old
}

// HasLocations reports whether a letter has locations.
func (s *Letters) HasLocations() bool { return len(s.at) > 0 }

// At returns the letter to which a location belongs, or nil.
func (s *Letters) At(at transform.Location) *tablestate.Letter {
	if !s.HasLocations() {
		return nil
	}
	s.key = appendLocation(s.key[:0], at)
	return s.at[string(s.key)]
}

func locationText(l *tablestate.LetterLocation) string {
	return string(appendLocation(nil, LocationOf(l)))
}

// LocationOf returns a location of a letter.
func LocationOf(l *tablestate.LetterLocation) transform.Location {
	at := transform.Location{Output: l.Output, Key: l.Key}
	if l.HasMember {
		at.Member = append([]byte{}, l.Member...) // not nil
	}
	if len(l.Row) > 0 {
		at.Row = l.Row
	}
	return at
}

// UnlocatedLocations returns the locations of a row that its key does not determine.
func (t *Table) UnlocatedLocations(row *binlog.Row) (list []tablestate.LetterLocation, err error) {
	columns := t.describeKeys().columns
	err = t.Plan.Locations(row, func(at transform.Location) {
		if !t.Plan.IsLocatedBy(at.Output, columns) {
			list = append(list, tablestate.LetterLocation{
				Output: at.Output, Key: slices.Clone(at.Key), Member: slices.Clone(at.Member),
				HasMember: at.Member != nil, Row: slices.Clone(at.Row),
			})
		}
	})
	return list, err
}

// touchesLetter reports whether a change concerns a row with a letter, or a location of a letter.
func (t *Table) touchesLetter(c *binlog.Change) (touches bool, err error) {
	s := &t.Letters
	if s.IsEmpty() {
		return false, nil
	}
	columns := t.describeKeys().columns
	for _, row := range [...]*binlog.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		if s.key, err = appendKeyOf(s.key[:0], row, columns); err != nil {
			return false, err
		}
		if s.byKey[string(s.key)] != nil {
			return true, nil
		}
	}
	if c.After == nil || !s.HasLocations() {
		return false, nil
	}
	err = t.Plan.Locations(c.After, func(at transform.Location) {
		touches = touches || s.At(at) != nil
	})
	return touches, err
}

// rowFault is a row that a worker could not turn into commands, although the mapping wants a dead
// letter of it.
type rowFault struct {
	key Key
	err *transform.RowError
}

// rowFaultOf returns a row fault for an error that the mapping wants a dead letter for. Otherwise
// it returns the error.
func rowFaultOf(err error, row *binlog.Row, columns []int) (rowFault, error) {
	var f rowFault
	if !errors.As(err, &f.err) || f.err.OnError != transform.DeadLetter {
		return f, err
	}
	key, e := keyOfRow(row, columns)
	if e != nil {
		return f, err
	}
	f.key = key
	return f, nil
}

// clearLetter clears the letter of a row that is written next. expected are the row's expectations.
// If the row is written at a location of another letter, that letter loses the location.
func (e *Engine) clearLetter(t *Table, key Key, expected []byte) {
	if t.Letters.IsEmpty() {
		return
	}
	written := make(map[string]bool)
	own := t.Letters.Of(key)
	var want transform.Expectation
	for len(expected) > 0 {
		expected = transform.ParseExpectation(&want, expected)
		at := want.Location()
		if l := t.Letters.At(at); l != nil && l != own {
			e.host.LoseLocation(t, at)
		}
		written[string(appendLocation(nil, at))] = true
	}
	if own != nil {
		e.host.ClearLetter(t, key, written)
	}
}

// AppendLocation appends the text that stands for a location in LetterStore.ClearLetter.
func AppendLocation(dst []byte, at transform.Location) []byte { return appendLocation(dst, at) }
