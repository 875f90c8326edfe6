package pipelines

import "time"

// ReplacementProgress is the progress of a replacement: new data that are built while the sink
// serves the old data.
type ReplacementProgress struct {
	Since time.Time // when this process began or continued the replacement
	// Tables is the number of mapped tables, Complete is the number of complete ones.
	Tables, Complete int64
	// Rows counts the rows read so far, Expected estimates them at the end.
	Rows, Expected int64
	// State is "starting", "building", "installing", or "waiting for tables in quarantine".
	State string
}

// Percent returns how many percent of the rows were read; -1 if the number of rows is not known.
func (r *ReplacementProgress) Percent() int64 {
	switch {
	case r.Tables > 0 && r.Complete == r.Tables:
		return 100
	case r.Expected <= 0:
		return -1
	}
	return min(100*r.Rows/r.Expected, 99)
}

// beginReplacement records that a replacement is being built.
func (m *stats) beginReplacement() {
	now := time.Now()
	if m.replacing.CompareAndSwap(nil, &now) {
		m.loaded.Store(0)
		m.expected.Store(0)
	}
}

// endReplacement records that no replacement is being built any more.
func (m *stats) endReplacement() { m.replacing.Store(nil) }

// replacementOf returns the progress of the replacement, with the counters of s; nil if no
// replacement is being built.
func (m *stats) replacementOf(s *Stats) *ReplacementProgress {
	since := m.replacing.Load()
	if since == nil {
		return nil
	}
	r := &ReplacementProgress{
		Since: *since, Tables: s.Tables, Rows: s.Loaded, Expected: s.Expected, State: "building",
		Complete: m.complete.Load(),
	}
	switch {
	case m.installing.Load():
		r.State = "installing"
	case s.Tables == 0:
		r.State = "starting"
	case r.Complete < r.Tables && r.Complete+int64(len(s.Quarantined)) == r.Tables:
		r.State = "waiting for tables in quarantine"
	}
	return r
}
