package pipelines

import (
	"encoding/json"
	"strings"

	"rowfall/binlog"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// A row that cannot be applied, and that gets a dead letter, has no keys in a Dataset. The sink
// keeps an older version of the row, so Compare allows keys, fields and members that such a row can
// have had. UseLetters makes this exact for locations that do not follow from the row's key.

// failedRow is a row that cannot be turned into what the sink must hold.
type failedRow struct {
	table *mappedTable
	key   string // the texts of the columns by which the table is read, see keyText
}

// failedRows are the rows of a Dataset that cannot be applied.
type failedRows struct {
	// names has an entry "database.table row" for each row.
	names  []string
	rows   map[failedRow]bool
	tables map[*mappedTable]bool
	// locations are those that the dead letters hold; nil if the letters are not known.
	locations map[string]bool
}

// keyText returns a text for the values of a key. Equal texts mean equal values.
func keyText(key [][]byte) string {
	text, _ := json.Marshal(key) // texts can always be encoded
	return string(text)
}

// add records a failed row.
func (f *failedRows) add(t *mappedTable, row *binlog.Row, fault *transform.RowError) error {
	key, err := jobs.KeyOf(&t.Table, row)
	if err != nil {
		return err
	}
	if f.rows == nil {
		f.rows, f.tables = make(map[failedRow]bool), make(map[*mappedTable]bool)
	}
	f.rows[failedRow{t, keyText(key)}], f.tables[t] = true, true
	f.names = append(f.names, fault.Table+" "+fault.Key)
	return nil
}

// FailedRows returns the rows that cannot be applied, each as "database.table row". The sink must
// hold a dead letter for each of them, and no other ones.
func (d *Dataset) FailedRows() []string { return d.failed.names }

// UseLetters takes the locations of old rows from the dead letters that pieces of state hold. Then
// Compare allows no other keys of rows that have letters.
func (d *Dataset) UseLetters(pieces map[string][]byte) error {
	d.failed.locations = make(map[string]bool)
	for name, text := range pieces {
		if !strings.HasPrefix(name, tablestate.LetterPrefix) {
			continue
		}
		var l tablestate.Letter
		if err := json.Unmarshal(text, &l); err != nil {
			return corrupt("dead letter "+name, err)
		}
		for i := range l.Locations {
			at := jobs.LocationOf(&l.Locations[i])
			at.Row = nil // a member does not show its rows
			d.failed.locations[l.Table+"\x00"+string(jobs.AppendLocation(nil, at))] = true
		}
	}
	return nil
}

// mayHave reports whether a failed row may have written a location before. member is nil for a
// whole key.
func (f *failedRows) mayHave(key, member []byte) bool {
	for t := range f.tables {
		for i := range t.Plan.Outputs() {
			if !t.Plan.HoldsRows(i) || t.Plan.HasMembers(i) != (member != nil) ||
				!t.Plan.OwnsKey(i, key) || member != nil && !t.Plan.OwnsMember(i, member) {
				continue
			}
			if f.mayHaveAt(t, transform.Location{Output: i, Key: key, Member: member}) {
				return true
			}
		}
	}
	return false
}

func (f *failedRows) mayHaveAt(t *mappedTable, at transform.Location) bool {
	columns := jobs.Order(t.Schema, t.Plan)
	if t.Plan.IsShared(at.Output) || !t.Plan.IsLocatedBy(at.Output, columns) {
		return f.locations == nil ||
			f.locations[t.FullName()+"\x00"+string(jobs.AppendLocation(nil, at))]
	}
	values, ok := t.Plan.Values(at)
	if !ok {
		return false
	}
	key := make([][]byte, len(columns))
	for i, k := range columns {
		for _, v := range values {
			if v.Column == k {
				key[i] = v.Text
			}
		}
	}
	return f.rows[failedRow{t, keyText(key)}]
}

// removeOld removes from a value what failed rows may have left there. isGone is set if nothing
// else remains. want is the expected value, without a type if no row makes the key.
func (f *failedRows) removeOld(key string, want, got *sink.RemoteValue) (isGone bool) {
	if len(f.tables) == 0 {
		return false
	}
	if want.Type == "" && f.mayHave([]byte(key), nil) {
		return true
	}
	switch got.Type {
	case "hash":
		for field := range got.Hash {
			if _, ok := want.Hash[field]; !ok && f.mayHave([]byte(key), []byte(field)) {
				delete(got.Hash, field)
			}
		}
		return len(got.Hash) == 0
	case "zset":
		for member := range got.ZSet {
			if _, ok := want.ZSet[member]; !ok && f.mayHave([]byte(key), []byte(member)) {
				delete(got.ZSet, member)
			}
		}
		return len(got.ZSet) == 0
	case "set":
		wanted := make(map[string]bool, len(want.Set))
		for _, member := range want.Set {
			wanted[member] = true
		}
		var rest []string
		for _, member := range got.Set {
			if wanted[member] || !f.mayHave([]byte(key), []byte(member)) {
				rest = append(rest, member)
			}
		}
		got.Set = rest
		return len(rest) == 0
	}
	return false
}
