package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/sink"
	"rowfall/transform"
)

// Names of the pieces of state that travel with the data.
const (
	mappingState  = "mapping"   // fingerprint of the mapping that built the data
	meaningState  = "meaning"   // the text that the fingerprint is of; older versions wrote none
	headState     = "head"      // while replaying: the position to reach again
	tableState    = "table:"    // + database.table: its schema, as JSON
	backfillState = "backfill:" // + database.table: a backfillProgress, as JSON
	unmappedState = "unmapped:" // + database.table that the mapping names but cannot map: why
)

// mappedTable is what a pipeline knows of one mapped table.
type mappedTable struct {
	schema     *binlog.Table
	storedJSON []byte // schema's form in the data; an older version may have written it
	plan       *transform.Plan
	// backfill is how far the first load is; estimate is about how many rows it
	// will have.
	backfill backfillProgress
	estimate int64
	// chunk is the range being read now, nil when none is. again is to be read
	// next, nil where that is the one after what is loaded; it may have nextRows.
	chunk    *chunk
	repeat   *chunk
	nextRows int
}

// backfillProgress is the state of a table's first load.
type backfillProgress struct {
	// Done means every row up to the position is in the sink.
	Done bool `json:"done"`
	// Skipped means there will be no load: the user started without one.
	Skipped bool `json:"skipped,omitempty"`
	// After is the key of the last row loaded, nil before the first chunk.
	After [][]byte `json:"after,omitempty"`
	// Rows counts the rows read so far.
	Rows int64 `json:"rows"`
}

// order returns the columns by which the table is read: its key, else key_columns.
func (t *mappedTable) order() []int {
	if key := t.schema.Key(); len(key) > 0 {
		return key
	}
	return t.plan.Key()
}

// expected is how many rows the table's first load will have, as far as is known.
func (t *mappedTable) expected() int64 {
	if t.backfill.Done {
		return t.backfill.Rows
	}
	return max(t.backfill.Rows, t.estimate)
}

// tableSet holds the tables of one run of a pipeline; it answers the stream's
// question which tables are wanted.
type tableSet struct {
	mapping    *transform.Mapping
	all        map[string]*mappedTable // by database.table
	byTable    map[*binlog.Table]*mappedTable
	unmapped   map[string]string    // tables left out, and why
	passedOver map[tableName]string // tables that wildcards pass over by their names, and why
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

// add compiles the plan of a table; a table that only a wildcard maps and that
// has no usable key is noted as not mapped.
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

// unmap takes back that a table is mapped.
func (s *tableSet) unmap(t *mappedTable, reason string) {
	delete(s.all, t.schema.FullName())
	delete(s.byTable, t.schema)
	s.unmapped[t.schema.FullName()] = reason
}

// conflicts reports outputs that could write one key.
func (s *tableSet) conflicts() error {
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

// Table answers the stream. A table that the mapping wants but that no schema is
// known of is an error: its CREATE never came by, so its columns cannot be told.
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
	return nil, stop("table %s has rows in the binlog, but no CREATE TABLE of it was seen since the data was built; "+
		"exclude it in the mapping (ignore: true) or build the data again with --from snapshot", full)
}

// load takes the tables as the data knows them.
func (s *tableSet) load(state map[string][]byte) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(state)) {
		text := state[name]
		if full, ok := strings.CutPrefix(name, unmappedState); ok {
			s.unmapped[full] = string(text)
			continue
		}
		full, ok := strings.CutPrefix(name, tableState)
		if !ok {
			continue
		}
		t := new(binlog.Table)
		if err := json.Unmarshal(text, t); err != nil {
			return stop("read schema of %s from the data: %w; start again with --from snapshot", full, err)
		}
		m, err := s.add(t)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if m == nil {
			return stop("table %s was mapped when the data was built and cannot be mapped any more (%s); start again with --from snapshot", full, s.unmapped[full])
		}
		m.storedJSON = text
		progress, ok := state[backfillState+full]
		if !ok {
			return stop("read load progress of %s from the data: it is missing; start again with --from snapshot", full)
		}
		if err := json.Unmarshal(progress, &m.backfill); err != nil {
			return stop("read load progress of %s from the data: %w; start again with --from snapshot", full, err)
		}
	}
	return errors.Join(faults...)
}

// save puts all that is known of the tables into a unit.
func (s *tableSet) save(u *sink.Unit, pipeline string) error {
	for _, name := range s.names() {
		if err := s.all[name].save(u, pipeline); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.unmapped)) {
		u.SetState(pipeline, unmappedState+name, []byte(s.unmapped[name]))
	}
	return nil
}

// save puts a table's schema and load progress into a unit.
func (t *mappedTable) save(u *sink.Unit, pipeline string) error {
	text, err := json.Marshal(t.schema)
	if err != nil {
		return fmt.Errorf("write schema of %s: %w", t.schema.FullName(), err)
	}
	t.storedJSON = text
	u.SetState(pipeline, tableState+t.schema.FullName(), text)
	return t.saveProgress(u, pipeline)
}

func (t *mappedTable) saveProgress(u *sink.Unit, pipeline string) error {
	text, err := json.Marshal(t.backfill)
	if err != nil {
		return fmt.Errorf("write load progress of %s: %w", t.schema.FullName(), err)
	}
	u.SetState(pipeline, backfillState+t.schema.FullName(), text)
	return nil
}

// readSchemas reads the tables that the mapping wants as they are now.
func readSchemas(ctx context.Context, conn *mysql.Conn, m *transform.Mapping) (map[string]*binlog.Table, error) {
	var failed error
	tables, err := query.Tables(ctx, conn, func(database, table string) bool {
		rule, err := m.Rule(database, table)
		if err != nil && failed == nil {
			failed = err
		}
		return rule != nil
	})
	if failed != nil {
		return nil, &StopError{failed}
	}
	if err != nil {
		return nil, fmt.Errorf("read schemas: %w", err)
	}
	byName := make(map[string]*binlog.Table, len(tables))
	for _, t := range tables {
		if other := byName[t.FullName()]; other != nil {
			return nil, stop("tables `%s`.%s and `%s`.%s have one name in the state; "+
				"leave one of them out of the mapping (ignore: true)",
				other.Database, other.Name, t.Database, t.Name)
		}
		byName[t.FullName()] = t
	}
	return byName, nil
}

// unchanged reports whether the table is as the data knows it, as far as that goes: what the
// version that wrote it did not know yet is no change, nor is what this one does
// not know any more.
func (t *mappedTable) matchesStored(now *binlog.Table) bool {
	text, err := json.Marshal(now)
	if err != nil {
		return false
	}
	var was, is any
	if json.Unmarshal(t.storedJSON, &was) != nil || json.Unmarshal(text, &is) != nil {
		return false
	}
	return equalOnCommonFields(was, is)
}

// equalOnCommonFields compares two JSON values by the fields that both have.
func equalOnCommonFields(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		for name, field := range x {
			if other, both := y[name]; both && !equalOnCommonFields(normalizeField(name, field), normalizeField(name, other)) {
				return false
			}
		}
		return ok
	case []any:
		y, ok := b.([]any)
		return (ok || b == nil) && slices.EqualFunc(x, y, equalOnCommonFields)
	case nil: // a list may be none, or empty
		y, ok := b.([]any)
		return b == nil || ok && len(y) == 0
	}
	return a == b
}

// plain returns a field of a schema without what another version of a server prints of the
// same column: the display width of an integer, another name of a character set or a type.
func normalizeField(name string, field any) any {
	text, ok := field.(string)
	if !ok {
		return field
	}
	switch name {
	case "SQLType":
		base, rest, _ := strings.Cut(text, "(")
		switch base {
		case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
			if _, after, found := strings.Cut(rest, ")"); found {
				return base + after
			}
		case "geometrycollection":
			return "geomcollection"
		}
	case "Charset":
		if text == "utf8" {
			return "utf8mb3"
		}
	}
	return text
}

// sameSchema compares two schemas that this process has read.
func sameSchema(a, b *binlog.Table) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func sameSchemas(a, b map[string]*binlog.Table) bool {
	return maps.EqualFunc(a, b, sameSchema)
}
