package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// mappedTable is a mapped table in a run.
type mappedTable struct {
	schema *binlog.Table
	// storedJSON is schema in the form that the data hold. An older version may have written it.
	storedJSON []byte
	plan       *transform.Plan
	// backfill is the progress of the initial load.
	backfill tablestate.Backfill
	// estimate is the server's estimate of the table's rows.
	estimate int64

	// The rest belongs to the reconciler. chunk is the chunk that is being read or that waits for
	// its fence; nil if there is none. repeat is a chunk that must be read again; nil continues
	// after the last loaded row, with nextRows as the chunk's limit unless that is 0.
	chunk    *chunk
	repeat   *chunk
	nextRows int
}

// order returns the columns by which the table is read: its key, else the mapping's key_columns.
func (t *mappedTable) order() []int {
	if key := t.schema.Key(); len(key) > 0 {
		return key
	}
	return t.plan.Key()
}

// expected estimates how many rows the table's initial load will have in the end.
func (t *mappedTable) expected() int64 {
	if t.backfill.Done {
		return t.backfill.Rows
	}
	return max(t.backfill.Rows, t.estimate)
}

// tableSet holds the tables of one run. It implements events.Tables: the stream looks up in it
// which tables are mapped.
type tableSet struct {
	mapping *transform.Mapping
	all     map[string]*mappedTable // by database.table
	byTable map[*binlog.Table]*mappedTable
	// unmapped holds the tables that match the mapping but cannot be mapped, with the reasons. It
	// is stored with the data.
	unmapped map[string]string
	// passedOver holds the tables that wildcards pass over by name, with the reasons. It is not
	// stored: every start finds these tables again.
	passedOver map[tableName]string
}

func newTableSet(m *transform.Mapping) *tableSet {
	return &tableSet{
		mapping:    m,
		all:        make(map[string]*mappedTable),
		byTable:    make(map[*binlog.Table]*mappedTable),
		unmapped:   make(map[string]string),
		passedOver: make(map[tableName]string),
	}
}

// add compiles the plan of a table. It returns nil if the table is not mapped. A table without a
// usable key that only a wildcard matches is recorded as unmapped.
func (s *tableSet) add(t *binlog.Table) (*mappedTable, error) {
	plan, err := transform.Compile(s.mapping, t)
	var notMapped *transform.NotMappedError
	if errors.As(err, &notMapped) {
		s.unmapped[t.FullName()] = notMapped.Reason
		return nil, nil
	}
	if err != nil {
		return nil, &StopError{err}
	}
	if plan == nil {
		return nil, nil
	}
	if err := t.CheckReadable(); err != nil {
		return nil, &StopError{err}
	}
	m := &mappedTable{schema: t, plan: plan}
	s.all[t.FullName()] = m
	s.byTable[t] = m
	return m, nil
}

// unmap turns a mapped table into an unmapped one.
func (s *tableSet) unmap(t *mappedTable, reason string) {
	delete(s.all, t.schema.FullName())
	delete(s.byTable, t.schema)
	s.unmapped[t.schema.FullName()] = reason
}

// checkConflicts returns a StopError if two outputs could write one key.
func (s *tableSet) checkConflicts() error {
	plans := make([]*transform.Plan, 0, len(s.all))
	for _, name := range s.names() {
		plans = append(plans, s.all[name].plan)
	}
	if err := transform.Conflicts(plans); err != nil {
		return &StopError{err}
	}
	return nil
}

func (s *tableSet) names() []string { return slices.Sorted(maps.Keys(s.all)) }

// Table returns the schema of a mapped table, and nil for a table that is not mapped. If the
// mapping matches a table whose CREATE TABLE the stream never showed, its columns are unknown,
// and Table returns a StopError.
func (s *tableSet) Table(database, name string) (*binlog.Table, error) {
	full := database + "." + name
	// `a.b`.c and a.`b.c` have one full name.
	if t, ok := s.all[full]; ok && t.schema.Database == database {
		return t.schema, nil
	}
	if _, ok := s.unmapped[full]; ok {
		return nil, nil
	}
	rule, err := s.mapping.Rule(database, name)
	if err != nil {
		return nil, &StopError{err}
	}
	if rule == nil {
		return nil, nil
	}
	return nil, stop("table %s has rows in the binlog, but no CREATE TABLE of it was seen since "+
		"the data was built; exclude it in the mapping (ignore: true) "+
		"or build the data again with --from snapshot", full)
}

// load adds the tables that the pieces of state describe.
func (s *tableSet) load(pieces map[string][]byte) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(pieces)) {
		if full, ok := strings.CutPrefix(name, tablestate.UnmappedPrefix); ok {
			s.unmapped[full] = string(pieces[name])
			continue
		}
		full, ok := strings.CutPrefix(name, tablestate.SchemaPrefix)
		if !ok {
			continue
		}
		t := new(binlog.Table)
		if err := json.Unmarshal(pieces[name], t); err != nil {
			return stop("read schema of %s from the data: %w; start again with --from snapshot",
				full, err)
		}
		m, err := s.add(t)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if m == nil {
			return stop("table %s was mapped when the data was built and cannot be mapped "+
				"any more (%s); start again with --from snapshot", full, s.unmapped[full])
		}
		m.storedJSON = pieces[name]
		progress, ok := pieces[tablestate.BackfillPrefix+full]
		if !ok {
			return stop("read load progress of %s from the data: it is missing; "+
				"start again with --from snapshot", full)
		}
		if err := json.Unmarshal(progress, &m.backfill); err != nil {
			return stop("read load progress of %s from the data: %w; "+
				"start again with --from snapshot", full, err)
		}
	}
	return errors.Join(faults...)
}

// save puts the state of all tables into a unit.
func (s *tableSet) save(u *sink.Unit, pipeline string) error {
	for _, name := range s.names() {
		if err := s.all[name].save(u, pipeline); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.unmapped)) {
		u.SetState(pipeline, tablestate.UnmappedPrefix+name, []byte(s.unmapped[name]))
	}
	return nil
}

// save puts a table's schema and load progress into a unit.
func (t *mappedTable) save(u *sink.Unit, pipeline string) error {
	text, err := tablestate.EncodeSchema(t.schema)
	if err != nil {
		return err
	}
	t.storedJSON = text
	u.SetState(pipeline, tablestate.SchemaPrefix+t.schema.FullName(), text)
	return t.saveBackfill(u, pipeline)
}

// saveBackfill puts a table's load progress into a unit.
func (t *mappedTable) saveBackfill(u *sink.Unit, pipeline string) error {
	text, err := json.Marshal(t.backfill)
	if err != nil {
		return fmt.Errorf("encode load progress of %s: %w", t.schema.FullName(), err)
	}
	u.SetState(pipeline, tablestate.BackfillPrefix+t.schema.FullName(), text)
	return nil
}

// matchesStored reports whether a table of the server still has the schema that the data hold.
func (t *mappedTable) matchesStored(now *binlog.Table) bool {
	return tablestate.MatchesStored(t.storedJSON, now)
}
