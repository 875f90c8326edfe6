package pipelines

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// mappedTable is a mapped table in a run. It is in one of these conditions:
//
//   - complete: the sink holds every row of the table, as of the position
//   - rebuilding: a job reads the table's rows. Changes are applied in full, unless the job has to
//     read the table's columns first
//   - in quarantine: changes are not applied, and the keys keep their last state
type mappedTable struct {
	jobs.Table
	// definition is the table's definition at the stream's position. While Job.NeedsSchema is set,
	// it is the last one that was known, nil if no definition was.
	definition *ddl.Schema
	// former are definitions of before, oldest first: the sink may hold keys of theirs that the
	// present plan does not own.
	former []*ddl.Schema
	// since is the position from which on definition is valid; nil if an older version, which did
	// not store it, has written the data. A run that begins before since does not know the table's
	// columns.
	since *binlog.Position
	// storedJSON is the schema as a version without definitions stored it; nil if definition was
	// stored, or has changed since.
	storedJSON []byte
	// columns is what the data know of columns that the table had before; never nil.
	columns *transform.ColumnHistory
	// mismatched is the definition that the last table map did not fit.
	mismatched *ddl.Schema
	// openRows counts the row changes of the open transaction: skippedRows of them were skipped,
	// because the sink held them at the start, and appliedRows are in parts that were applied.
	openRows, skippedRows, appliedRows int
	// cascadeBegan is when the last job after a foreign-key cascade may have begun. restUntil is
	// when the next one may begin.
	cascadeBegan, restUntil time.Time
}

// isFollowed reports whether changes of the table are applied.
func (t *mappedTable) isFollowed() bool {
	return t.Fault == nil && !t.Job.NeedsSchema && t.Plan != nil
}

func (t *mappedTable) name() ddl.TableName {
	return ddl.TableName{Database: t.Database, Table: t.Name}
}

// tableSet holds the tables of one run. It implements events.Tables: the stream looks up in it
// which tables are mapped.
type tableSet struct {
	mapping *transform.Mapping
	all     map[string]*mappedTable // by database.table
	byTable map[*binlog.Table]*mappedTable
	// unmapped holds the tables that match the mapping but cannot be mapped, with the reasons. It
	// is stored with the data. definitions are those of such tables, where they are known.
	unmapped    map[string]string
	definitions map[string]*ddl.Schema
	// columns holds mappedTable.columns, also of tables that are about to be mapped. dropped holds
	// the positions at which tables were dropped that an entry without wildcards names.
	columns map[string]*transform.ColumnHistory
	dropped map[string]string
	// skippedByName holds the tables that wildcards skip because of their names, with the reasons.
	// It is not stored: every start finds these tables again.
	skippedByName map[ddl.TableName]string
	// cascades are the foreign keys of tables with `cascades: reconcile`. ignoredCascades are the
	// tables with `cascades: ignore` and foreign keys whose cascades are not logged.
	cascades        cascades
	ignoredCascades map[string]bool
	// databases are the default character sets of databases.
	databases map[string]ddl.Charset
	// unknown holds tables that have rows in the binlog and match the mapping, although no
	// statement has created them; mismatched those whose table map did not fit, with the reasons.
	// The loop handles both after the transaction.
	unknown    map[ddl.TableName]bool
	mismatched map[*mappedTable]error
	// supplied holds the tables with tentative definitions whose table map was read: with nil if
	// the table map has supplied the columns, else with the error.
	supplied map[*mappedTable]error
	// position returns the stream's position; it is nil until the stream is open.
	position func() *binlog.Position
	// searches are the searches for rows that are not done, by their numbers.
	searches []*tablestate.Search
	// letters counts the dead letters, see loadLetters.
	letters letterSet
	// prepared are the XA transactions that are prepared at the position of the data.
	prepared *preparedSet
	// removeFormerDue is set when a table may have former definitions whose keys can be removed.
	removeFormerDue bool
}

func newTableSet(m *transform.Mapping) *tableSet {
	return &tableSet{
		mapping:         m,
		all:             make(map[string]*mappedTable),
		byTable:         make(map[*binlog.Table]*mappedTable),
		unmapped:        make(map[string]string),
		definitions:     make(map[string]*ddl.Schema),
		columns:         make(map[string]*transform.ColumnHistory),
		dropped:         make(map[string]string),
		skippedByName:   make(map[ddl.TableName]string),
		databases:       make(map[string]ddl.Charset),
		unknown:         make(map[ddl.TableName]bool),
		mismatched:      make(map[*mappedTable]error),
		supplied:        make(map[*mappedTable]error),
		ignoredCascades: make(map[string]bool),
		prepared:        newPreparedSet(),
	}
}

// compile returns the plan for a definition. It returns a *transform.NotMappedError for a table
// that only a wildcard names and that cannot be followed, and nil, nil for one that is not mapped.
func (s *tableSet) compile(t *binlog.Table) (*transform.Plan, error) {
	return s.compileWith(t, s.historyOf(t.FullName()))
}

// compileWith is compile with a column history.
func (s *tableSet) compileWith(
	t *binlog.Table, h *transform.ColumnHistory,
) (*transform.Plan, error) {
	plan, err := transform.CompileAltered(s.mapping, t, h)
	if err == nil && plan != nil {
		markUnread(t, plan)
		err = t.CheckReadable(plan.IsExcluded)
	}
	return plan, err
}

// markUnread sets Column.Unread of the columns of a table. A table that jobs read already has the
// same values and is not written.
func markUnread(t *binlog.Table, plan *transform.Plan) {
	for i := range t.Columns {
		c := &t.Columns[i]
		unread := c.Generated && plan.IsExcluded(i) && !slices.Contains(plan.Key(), i)
		if c.Unread != unread {
			c.Unread = unread
		}
	}
}

// add maps a table. It returns nil if the table is not mapped. A table without a usable key that
// only a wildcard matches is recorded as unmapped.
func (s *tableSet) add(d *ddl.Schema) (*mappedTable, error) {
	schema := d.Table()
	plan, err := s.compile(schema)
	var notMapped *transform.NotMappedError
	if errors.As(err, &notMapped) {
		s.unmapped[schema.FullName()] = notMapped.Reason
		s.definitions[schema.FullName()] = d
		return nil, nil
	}
	if err != nil {
		return nil, &StopError{Err: err}
	}
	if plan == nil {
		return nil, nil
	}
	m := s.put(ddl.NameOf(schema))
	s.define(m, d, schema, plan)
	return m, nil
}

// put adds a table without a definition, unless it is there.
func (s *tableSet) put(n ddl.TableName) *mappedTable {
	if t := s.all[n.String()]; t != nil {
		return t
	}
	t := &mappedTable{Table: jobs.Table{Database: n.Database, Name: n.Table}}
	s.all[n.String()] = t
	s.columns[n.String()] = s.historyOf(n.String())
	t.columns = s.columns[n.String()]
	delete(s.dropped, n.String())
	delete(s.unmapped, n.String())
	delete(s.definitions, n.String())
	return t
}

// define gives a table another definition. plan is nil if the mapping does not fit.
func (s *tableSet) define(
	t *mappedTable, d *ddl.Schema, schema *binlog.Table, plan *transform.Plan,
) {
	s.keepFormer(t, plan)
	if !t.Letters.IsEmpty() && plan != nil && !t.keepsKey(schema, plan) {
		s.letters.forget(t) // a job reads the table again, by another key
	}
	delete(s.byTable, t.Schema)
	if s.position != nil && !t.keepsColumns(schema) {
		at := *s.position()
		t.since = &at
	}
	t.definition, t.Schema, t.Plan, t.storedJSON = d, schema, plan, nil
	t.columns.Known = t.columns.Known || plan != nil
	if schema != nil {
		s.byTable[schema] = t
	}
}

// remove removes a table.
func (s *tableSet) remove(t *mappedTable) {
	s.letters.forget(t)
	delete(s.all, t.FullName())
	delete(s.columns, t.FullName())
	delete(s.byTable, t.Schema)
	t.Restart(tablestate.Job{Skipped: true})
}

// unmap turns a mapped table into an unmapped one.
func (s *tableSet) unmap(t *mappedTable, reason string) {
	s.remove(t)
	s.unmapped[t.FullName()] = reason
	s.definitions[t.FullName()] = t.definition
}

// checkConflicts returns a StopError if two outputs could write one key.
func (s *tableSet) checkConflicts() error {
	if err := transform.Conflicts(s.plans()); err != nil {
		return &StopError{Err: err}
	}
	return nil
}

// plans returns the plans of all tables that have one, in the order of their names.
func (s *tableSet) plans() []*transform.Plan {
	plans := make([]*transform.Plan, 0, len(s.all))
	for _, name := range s.names() {
		if p := s.all[name].Plan; p != nil {
			plans = append(plans, p)
		}
	}
	return plans
}

func (s *tableSet) names() []string { return slices.Sorted(maps.Keys(s.all)) }

// Table returns the schema of a table whose changes are applied, and nil for any other. If the
// mapping matches a table whose CREATE TABLE the stream never showed, its columns are unknown, and
// its rows are skipped until a job has read the table.
func (s *tableSet) Table(database, name string) (*binlog.Table, error) {
	full := database + "." + name
	// `a.b`.c and a.`b.c` have one full name.
	if t, ok := s.all[full]; ok && t.Database == database {
		if !t.isFollowed() {
			return nil, nil
		}
		return t.Schema, nil
	}
	if t := s.cascades.schemaOf(ddl.TableName{Database: database, Table: name}); t != nil {
		return t, nil
	}
	if _, ok := s.unmapped[full]; ok {
		return nil, nil
	}
	rule, err := s.mapping.Rule(database, name)
	if err != nil {
		return nil, &StopError{Err: err}
	}
	if rule != nil {
		s.unknown[ddl.TableName{Database: database, Table: name}] = true
	}
	return nil, nil
}

// Mismatch records that the table map of a table does not fit its definition.
func (s *tableSet) Mismatch(t *binlog.Table, reason error) error {
	if m := s.byTable[t]; m != nil {
		s.mismatched[m] = reason
	}
	return nil
}

// RowsSkipped implements events.Tables. It records changes of parents, see cascades.
func (s *tableSet) RowsSkipped(database, name string, op binlog.Op, foreignKeysOff bool) {
	n := ddl.TableName{Database: database, Table: name}
	if p := s.cascades.watch(n, foreignKeysOff); p != nil {
		s.cascades.skipped(p, op)
	}
}

// hasSchema reports whether a table of the server has the schema that the data know. Details that
// differ between versions of a server are ignored.
func (t *mappedTable) hasSchema(now *binlog.Table) bool {
	text := t.storedJSON
	if text == nil {
		var err error
		if text, err = json.Marshal(t.Schema); err != nil {
			return false
		}
	}
	bare := *now
	bare.NotFollowed = t.Schema.NotFollowed
	bare.Columns = slices.Clone(now.Columns)
	for i := range bare.Columns {
		if i < len(t.Schema.Columns) {
			useKnownLabels(&bare.Columns[i], &t.Schema.Columns[i])
		}
	}
	return tablestate.MatchesStored(text, &bare)
}

// useKnownLabels replaces the ENUM or SET labels of a column as read from the server by the known
// labels, if both may be the same: the server prints a character beyond the first 65,536 as "?".
func useKnownLabels(shown, known *binlog.Column) {
	if shown.Unreadable == "" || known.Unreadable != "" || len(shown.Values) == 0 {
		return
	}
	mayShow := func(known, shown string) bool {
		return strings.Map(func(r rune) rune {
			if r > 0xffff {
				return '?'
			}
			return r
		}, known) == shown
	}
	if slices.EqualFunc(known.Values, shown.Values, mayShow) {
		shown.Values, shown.SQLType, shown.Unreadable = known.Values, known.SQLType, ""
	}
}
