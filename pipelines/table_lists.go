package pipelines

import (
	"encoding/json"
	"slices"
	"time"

	"rowfall/sink"
)

// The position hash lists the tables that are being read again, and those in quarantine. A unit
// contains a list only if it has changed. While thousands of tables are read again, the end of each
// would still write a list of many kilobytes. So tables that are complete leave a long list
// together, at most once per positionInterval. A table that is not complete is added at once.

// longList is the size in bytes from which a list is long.
const longList = 4096

// rebuildingList is the list of tables that are being read again, as the position hash shows it.
type rebuildingList struct {
	names []string
	// changed is when the list was last changed. isStale is set if it contains complete tables.
	changed time.Time
	isStale bool
}

// tablesChanged updates what status and the position hash show of the tables.
func (l *loop) tablesChanged() {
	l.removeUnmappedFromGaps()
	l.stats.recordTables(l.tables)
	l.recordWarnings()
	var rebuilding, quarantined []string
	for _, name := range l.tables.names() {
		switch t := l.tables.all[name]; {
		case t.Fault != nil:
			quarantined = append(quarantined, name)
		case l.isRebuilding(t):
			rebuilding = append(rebuilding, name)
		}
	}
	l.setRebuilding(rebuilding)
	l.progress.Quarantined = jsonList(quarantined)
	l.showGaps()
}

// isRebuilding reports whether the position hash lists a table as being read again.
func (l *loop) isRebuilding(t *mappedTable) bool {
	return l.progress.Phase != sink.Snapshot && t.Fault == nil && (t.Job.Cancelled ||
		t.Job.Again != "" || !t.Job.Skipped && (!t.Job.Done || len(t.former) > 0))
}

// setRebuilding sets the list of tables that are being read again, in the order of their names. A
// long list from which tables are only to be removed may stay as it is for positionInterval.
func (l *loop) setRebuilding(names []string) {
	r, text := &l.rebuilding, jsonList(names)
	r.isStale = len(text) > longList && len(names) < len(r.names) &&
		time.Since(r.changed) < positionInterval && isSubset(names, r.names)
	switch {
	case r.isStale:
		l.positionDirty = true
	case text != l.progress.Rebuilding:
		l.progress.Rebuilding, r.names, r.changed = text, names, time.Now()
	}
}

// updateRebuilding removes the complete tables from the list if that is due.
func (l *loop) updateRebuilding() {
	r := &l.rebuilding
	if !r.isStale || time.Since(r.changed) < positionInterval {
		return
	}
	l.setRebuilding(slices.DeleteFunc(slices.Clone(r.names), func(name string) bool {
		t := l.tables.all[name]
		return t == nil || !l.isRebuilding(t)
	}))
}

// isSubset reports whether the sorted list b contains every element of the sorted list a.
func isSubset(a, b []string) bool {
	for _, name := range a {
		i, found := slices.BinarySearch(b, name)
		if !found {
			return false
		}
		b = b[i+1:]
	}
	return true
}

// jsonList returns names as a JSON array, or an empty string without names.
func jsonList(names []string) string {
	if len(names) == 0 {
		return ""
	}
	text, _ := json.Marshal(names) // strings can always be encoded
	return string(text)
}
