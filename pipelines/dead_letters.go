package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// A row that cannot be applied gets a dead letter, if on_error or too_long is dead_letter. The
// sink keeps the row as it was. The letter is removed in the unit in which the row is written
// again. Until then every change of the row is written in mode Replace, because the stored row is
// stale.
//
// Which keys and members the stored row has cannot always be derived from the row's key. For
// example, {country} may be a part of a key. Therefore a letter holds those locations of the stored
// row that do not follow from its key. A row that is written there takes the location over.

const (
	// maxLetters and maxLetterBytes limit the dead letters of a pipeline. If there are more, the
	// table goes into quarantine. Letters that the user has dropped count as bytes only.
	maxLetters     = 1000
	maxLetterBytes = 16 << 20
)

// lettersReason is the reason of the keys jobs that read the rows of letters.
const lettersReason = "dead letters"

// letterSet counts the dead letters of all tables, and records their changes until these are put
// into a unit. The letters themselves are in jobs.Table.Letters.
type letterSet struct {
	last         int // the largest number of a letter
	count, bytes int
	// open are the changes by the open transaction. They are put into the unit when it commits,
	// since the unit may be applied before with the transactions before it.
	open []letterChange
	// gone are the numbers of removed letters. undo does not restore these letters.
	gone []int
}

// letterChange is a change of the letter of one row. old is nil if the row had no letter, and new
// is nil if the letter is removed.
type letterChange struct {
	table    *mappedTable
	key      jobs.Key
	old, new *tablestate.Letter
}

// set replaces the letter of a row; nil removes it.
func (s *letterSet) set(t *mappedTable, key jobs.Key, l *tablestate.Letter) {
	old := t.Letters.Set(key, l)
	s.add(old, -1)
	s.add(l, 1)
	s.open = append(s.open, letterChange{t, key, old, l})
}

// add counts a letter, which may be nil, n times.
func (s *letterSet) add(l *tablestate.Letter, n int) {
	if l == nil {
		return
	}
	s.bytes += n * l.Size()
	if !l.Dropped {
		s.count += n
	}
}

// save puts the open changes into a unit.
func (s *letterSet) save(u *sink.Unit, pipeline string) {
	for _, id := range s.gone {
		u.DropState(pipeline, tablestate.LetterPiece(id))
	}
	for _, c := range s.open {
		if c.old != nil && (c.new == nil || c.new.ID != c.old.ID) {
			u.DropState(pipeline, tablestate.LetterPiece(c.old.ID))
		}
		if c.new != nil {
			text, _ := json.Marshal(c.new) // a letter can always be encoded
			u.SetState(pipeline, tablestate.LetterPiece(c.new.ID), text)
		}
	}
	s.open, s.gone = s.open[:0], s.gone[:0]
}

// undo takes back the open changes of a table.
func (s *letterSet) undo(t *mappedTable) {
	for i := len(s.open) - 1; i >= 0; i-- {
		if c := &s.open[i]; c.table == t {
			s.add(t.Letters.Set(c.key, c.old), -1)
			s.add(c.old, 1)
		}
	}
	s.open = slices.DeleteFunc(s.open, func(c letterChange) bool { return c.table == t })
}

// loadLetters decodes the dead letters of all tables. Those of tables that are not mapped any more
// are ignored.
func (s *tableSet) loadLetters(pieces map[string][]byte) error {
	for _, piece := range slices.Sorted(maps.Keys(pieces)) {
		if !strings.HasPrefix(piece, tablestate.LetterPrefix) {
			continue
		}
		l := new(tablestate.Letter)
		if err := json.Unmarshal(pieces[piece], l); err != nil {
			return corrupt("dead letter "+piece, err)
		}
		s.letters.last = max(s.letters.last, l.ID)
		if t := s.all[l.Table]; t != nil {
			s.letters.add(t.Letters.Set(l.Key, l), -1)
			s.letters.add(l, 1)
		}
	}
	return nil
}

// forget removes the letters of a table whose rows are gone, or are read again by another key.
func (s *letterSet) forget(t *mappedTable) {
	s.undo(t)
	for _, l := range t.Letters.All() {
		s.add(t.Letters.Set(l.Key, nil), -1)
		s.gone = append(s.gone, l.ID)
	}
}

// newLetter returns a letter for a row. old is the row's letter, or nil.
func (l *loop) newLetter(
	t *mappedTable, key jobs.Key, old *tablestate.Letter, fault *transform.RowError,
) *tablestate.Letter {
	letter := &tablestate.Letter{Table: t.FullName(), Key: key}
	if old != nil {
		*letter = *old
	} else {
		l.tables.letters.last++
		letter.ID = l.tables.letters.last
	}
	letter.Dropped = false
	letter.Row, letter.Reason = fault.Key, fault.Reason
	if fault.Column != "" {
		letter.Reason = "column " + fault.Column + ": " + letter.Reason
	}
	letter.Reason += " (" + fault.Output + ")"
	letter.Position, letter.Time = l.progress.Position.String(), l.progress.Time
	return letter
}

// keepLetter keeps a letter. It returns an error that puts the table into quarantine if there are
// too many letters.
func (l *loop) keepLetter(
	t *mappedTable, letter, old *tablestate.Letter, fault *transform.RowError,
) error {
	s := &l.tables.letters
	if s.bytes+letter.Size() > maxLetterBytes ||
		(old == nil || old.Dropped) && s.count >= maxLetters {
		full := *fault
		full.Reason += fmt.Sprintf("; no dead letter can be kept of it, because there are %d "+
			"dead letters already: correct their rows, or raise their limits in the mapping",
			s.count)
		full.OnError = transform.Quarantine
		return &full
	}
	s.set(t, letter.Key, letter)
	if old == nil {
		l.log.Warn().Str("table", letter.Table).Str("row", letter.Row).Int("letter", letter.ID).
			Str("reason", letter.Reason).Msg("a row cannot be applied and has a dead letter now; " +
			"its keys stay as they were: see rowfall dead-letters FILE")
	}
	return nil
}

// saveLetters puts the changes of letters into the unit. It is called when the unit is complete up
// to these changes: at the end of a transaction, and before a part of one is applied.
func (l *loop) saveLetters() {
	if s := &l.tables.letters; len(s.open)+len(s.gone) > 0 {
		s.save(&l.unit, l.config.Name)
		l.stats.letters.Store(int64(s.count))
	}
}

// KeepLetter implements jobs.LetterStore.
func (l *loop) KeepLetter(table *jobs.Table, key jobs.Key, fault *transform.RowError) error {
	t := l.mapped(table)
	if t == nil {
		return nil
	}
	old := t.Letters.Of(key)
	letter := l.newLetter(t, key, old, fault)
	if old == nil {
		letter.ByJob = true
	}
	if letter.Time == 0 {
		letter.Time = time.Now().UnixMicro()
	}
	if err := l.keepLetter(t, letter, old, fault); err != nil {
		return l.quarantine(t, err)
	}
	l.saveLetters()
	return nil
}

// ClearLetter implements jobs.LetterStore.
func (l *loop) ClearLetter(table *jobs.Table, key jobs.Key, written map[string]bool) {
	t := l.mapped(table)
	if t == nil || t.Letters.Of(key) == nil {
		return
	}
	letter := t.Letters.Of(key)
	for i := range letter.Locations {
		at := jobs.LocationOf(&letter.Locations[i])
		if !written[string(jobs.AppendLocation(nil, at))] {
			t.Plan.Remove(&l.unit.Commands, at)
		}
	}
	l.tables.letters.set(t, key, nil)
	l.saveLetters()
}

// LoseLocation implements jobs.LetterStore.
func (l *loop) LoseLocation(table *jobs.Table, at transform.Location) {
	if t := l.mapped(table); t != nil {
		l.loseLocation(t, at)
	}
	l.saveLetters()
}

// loseLocation takes a location from its letter, because another row is written there.
func (l *loop) loseLocation(t *mappedTable, at transform.Location) {
	old := t.Letters.At(at)
	if old == nil {
		return
	}
	text := string(jobs.AppendLocation(nil, at))
	letter := *old
	letter.Locations = slices.DeleteFunc(slices.Clone(old.Locations),
		func(o tablestate.LetterLocation) bool {
			return string(jobs.AppendLocation(nil, jobs.LocationOf(&o))) == text
		})
	l.tables.letters.set(t, letter.Key, &letter)
}

// readLetters makes a keys job read the rows that have letters, after a job has read the whole
// table once more: a row may be gone without a change that the stream has shown.
func (l *loop) readLetters(t *mappedTable) error {
	if t.Letters.IsEmpty() || t.Fault != nil || !t.Job.Compare {
		return nil
	}
	var keys []jobs.Key
	for _, letter := range t.Letters.All() {
		keys = append(keys, letter.Key)
	}
	return l.jobs.AddKeys(&t.Table, lettersReason, keys)
}

// letterOf returns the row error of a change that the mapping wants a dead letter for, or nil.
func letterOf(err error) *transform.RowError {
	var fault *transform.RowError
	if errors.As(err, &fault) && fault.OnError == transform.DeadLetter {
		return fault
	}
	return nil
}

// keepsKey reports whether the rows of a new definition of a table have the keys that the letters
// hold. If the definition of before is not known, the number of columns decides.
func (t *mappedTable) keepsKey(schema *binlog.Table, plan *transform.Plan) bool {
	now := jobs.Order(schema, plan)
	if t.Schema == nil || t.Plan == nil {
		return !slices.ContainsFunc(t.Letters.All(), func(l *tablestate.Letter) bool {
			return len(l.Key) != len(now)
		})
	}
	return slices.EqualFunc(jobs.Order(t.Schema, t.Plan), now, func(x, y int) bool {
		return t.Schema.Columns[x].Name == schema.Columns[y].Name
	})
}
