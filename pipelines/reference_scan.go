package pipelines

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// A reference scan finds the rows of a table that referred to deleted rows of a parent, by their
// values in the sink (Job.References), and requests a keys job for these rows. It runs in the loop,
// in short steps between transactions. Until the keys job is done, Job.Again stays set, so that
// rows of the table are written in mode Replace, and a restart begins the scan again.
//
// A table of the next level waits for the scan: its Job.References name the table (Of). If the scan
// cannot end, for example because the table was altered, the waiting table is read as a whole.

const (
	// scanStep is about how long a step takes. scanCount is the number of keys of a scan command.
	scanStep  = 2 * time.Millisecond
	scanCount = 100
	// maxStored limits the product of the numbers of values and of transactions that added them,
	// because each addition stores all values of the table again.
	maxStored = 250_000
)

// referenceScan is the running scan of a table.
type referenceScan struct {
	table *mappedTable
	plan  *transform.Plan
	// passes are the passes over the sink, one for each list of columns. taken is the number of
	// Job.References that they are about.
	passes []referencePass
	taken  int
	// cursor is where the present pass continues; empty at its beginning.
	cursor string
	// deleted are the keys of rows that were deleted, if other tables refer to them. hasMany is set
	// if there are too many.
	deleted []jobs.Key
	hasMany bool
	rows    int
}

// referencePass finds the rows with some values of some columns.
type referencePass struct {
	columns   []int
	at        transform.StoredColumns
	values    map[string]bool // texts of the columns, joined
	isDeleted bool
	text      []byte // buffer
}

// addReferences requests a reference scan of a table. It returns false if a job that reads every
// row was requested, or is to read the rows, instead.
func (l *loop) addReferences(
	t *mappedTable, reason string, added tablestate.References,
) (bool, error) {
	n, additions := len(added.Values), len(t.Job.References)+1
	for i := range t.Job.References {
		n += len(t.Job.References[i].Values)
	}
	isPending := t.Job.Again != ""
	canScan := t.isFollowed() && t.Job.Done && !l.isLoading() && n <= maxReferences &&
		n*additions <= maxStored && (!isPending || t.isNarrow())
	if !canScan {
		_, err := l.readAgain(t, reason)
		return false, err
	}
	if !isPending {
		t.Job.Again = reason
		t.scheduleCascade()
		if t.Job.MissedFrom == "" {
			t.Job.MissedFrom = l.missedFrom(t)
		}
		l.tablesChanged()
	}
	t.Job.KeysOnly = false
	t.Job.References = append(slices.Clone(t.Job.References), added)
	l.narrow.add(t)
	return true, nil
}

// saveReferences puts the references that transactions have added into the unit: all those of a
// table once, however many transactions the unit contains.
func (l *loop) saveReferences() error {
	for _, full := range slices.Sorted(maps.Keys(l.narrow.unsaved)) {
		t := l.narrow.unsaved[full]
		if l.tables.all[full] != t {
			continue // it was dropped
		}
		if err := t.saveJob(&l.unit, l.config.Name); err != nil {
			return err
		}
	}
	clear(l.narrow.unsaved)
	return nil
}

// isNarrow reports whether Job.Again is about some rows only.
func (t *mappedTable) isNarrow() bool { return len(t.Job.References) > 0 || t.Job.KeysOnly }

// wakeAfter makes the stream return to the loop after a time.
func (l *loop) wakeAfter(d time.Duration) {
	if l.scanTimer == nil {
		l.scanTimer = time.AfterFunc(d, l.stream.Wake)
		return
	}
	l.scanTimer.Reset(d)
}

// stopScan releases what reference scans use.
func (l *loop) stopScan() {
	if l.scanTimer != nil {
		l.scanTimer.Stop() // a wake under way meets a closed stream at worst
	}
}

// narrowTables are the tables that wait for a reference scan, or for the keys job after one.
type narrowTables struct {
	// names are their full names. stepReferences removes the names of tables that no longer wait.
	names map[string]bool
	// unsaved are the tables whose Job.References were added since the last unit.
	unsaved map[string]*mappedTable
	// next is when stepReferences visits the tables again. With many tables, a visit at each
	// transaction would take too long. The zero time means at once.
	next time.Time
}

// narrowInterval is the time between two visits of the tables that wait.
const narrowInterval = 10 * time.Millisecond

// add adds a table. A new table is visited before the next transaction.
func (n *narrowTables) add(t *mappedTable) {
	if n.names == nil {
		n.names, n.unsaved = make(map[string]bool), make(map[string]*mappedTable)
	}
	full := t.FullName()
	if n.unsaved[full] = t; !n.names[full] {
		n.names[full], n.next = true, time.Time{}
	}
}

// stepReferences continues the reference scans of tables, one table at a time.
func (l *loop) stepReferences(ctx context.Context) error {
	n := &l.narrow
	if len(n.names) == 0 || l.isLoading() {
		return nil
	}
	if s := l.scan; s != nil && (l.tables.all[s.table.FullName()] != s.table || !s.isValid()) {
		l.scan, n.next = nil, time.Time{}
	}
	if l.scan != nil {
		if err := l.continueScan(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	if now.Before(n.next) {
		return nil
	}
	n.next = now.Add(narrowInterval)
	var begins time.Time // when the first of the tables that pause may begin
	for _, full := range slices.Sorted(maps.Keys(n.names)) {
		t := l.tables.all[full]
		if t == nil || !t.isNarrow() || t.Fault != nil {
			delete(n.names, full)
			continue
		}
		var err error
		switch {
		case t.Job.KeysOnly && t.Keys == nil:
			err = l.endNarrow(ctx, t)
		case t.Job.KeysOnly, l.scan != nil:
		case t.cascadeBegan.After(now):
			if begins.IsZero() || t.cascadeBegan.Before(begins) {
				begins = t.cascadeBegan
			}
		default:
			err = l.beginScan(ctx, t)
		}
		if err != nil {
			return err
		}
	}
	if !begins.IsZero() {
		l.wakeAfter(begins.Sub(now))
		if begins.Before(n.next) {
			n.next = begins
		}
	}
	return nil
}

// endNarrow is called when the keys job after the scan of a table is done.
func (l *loop) endNarrow(ctx context.Context, t *mappedTable) error {
	t.Job.Again, t.Job.KeysOnly, t.Job.MissedFrom = "", false, ""
	l.tablesChanged()
	if err := t.saveJob(&l.unit, l.config.Name); err != nil {
		return err
	}
	return l.Flush(ctx)
}

// isValid reports whether the scan can continue. A scan of a table in quarantine cannot, and must
// not make the scans of other tables wait.
func (s *referenceScan) isValid() bool {
	return s.table.Fault == nil && s.table.Plan == s.plan &&
		len(s.table.Job.References) >= s.taken
}

// beginScan begins the reference scan of a table, unless the table waits for another one.
func (l *loop) beginScan(ctx context.Context, t *mappedTable) error {
	s, isLost := l.newReferenceScan(t)
	if isLost {
		l.narrow.next = time.Time{}
		l.stream.Wake() // for the job
		_, err := l.readAgain(t, t.Job.Again)
		return err
	}
	if s == nil {
		return nil
	}
	if err := l.Flush(ctx); err != nil { // so that the sink holds all rows
		return err
	}
	l.scan = s
	return l.continueScan(ctx)
}

// continueScan performs a step of the scan.
func (l *loop) continueScan(ctx context.Context) error {
	l.stream.Wake() // for the next step, or for the keys job
	s := l.scan
	ended, err := l.scanReferences(ctx, s)
	if err == nil && ended {
		l.scan, l.narrow.next = nil, time.Time{}
		err = l.endScan(s)
	}
	if err != nil {
		return err
	}
	return l.Flush(ctx)
}

// newReferenceScan returns the scan for the references of a table that wait for no other table; nil
// without any. isLost is set if the rows cannot be found any more.
func (l *loop) newReferenceScan(t *mappedTable) (s *referenceScan, isLost bool) {
	for i := range t.Job.References {
		r := &t.Job.References[i]
		if r.Of == "" {
			continue
		}
		return nil, !l.willScan(r.Of) || l.waitsFor(r.Of, t.FullName(), nil)
	}
	s = &referenceScan{table: t, plan: t.Plan, taken: len(t.Job.References)}
	for i := range t.Job.References {
		r := &t.Job.References[i]
		key := jobs.Order(t.Schema, t.Plan)
		columns, ok := referringColumns(t, r.Columns)
		if !ok {
			return nil, true
		}
		at, ok := t.Plan.FindStored(key, columns)
		if !ok {
			return nil, true
		}
		k := slices.IndexFunc(s.passes, func(p referencePass) bool {
			return slices.Equal(p.columns, columns) && p.isDeleted == r.Deleted
		})
		if k < 0 {
			k = len(s.passes)
			s.passes = append(s.passes, referencePass{
				columns: columns, at: at, values: make(map[string]bool), isDeleted: r.Deleted,
			})
		}
		for _, values := range r.Values {
			s.passes[k].values[strings.Join(values, "\x00")] = true
		}
	}
	return s, false
}

// willScan reports whether the scan that is requested for a table can take place.
func (l *loop) willScan(full string) bool {
	t := l.tables.all[full]
	return t != nil && t.Fault == nil && len(t.Job.References) > 0
}

// waitsFor reports whether the scan of a table waits, perhaps indirectly, for that of another one.
// seen are the tables that were visited. Two tables that refer to each other can wait for each
// other.
func (l *loop) waitsFor(full, other string, seen map[string]bool) bool {
	if full == other {
		return true
	}
	t := l.tables.all[full]
	if t == nil || seen[full] {
		return false
	}
	if seen == nil {
		seen = make(map[string]bool)
	}
	seen[full] = true
	return slices.ContainsFunc(t.Job.References, func(r tablestate.References) bool {
		return r.Of != "" && l.waitsFor(r.Of, other, seen)
	})
}

// scanReferences continues a scan for about scanStep, and adds the rows that it finds to the keys
// job of the table. It reports whether the scan has ended.
func (l *loop) scanReferences(ctx context.Context, s *referenceScan) (ended bool, err error) {
	begun := time.Now()
	for len(s.passes) > 0 && time.Since(begun) < scanStep {
		found, err := l.scanPart(ctx, s)
		if err != nil {
			return false, err
		}
		if err := l.jobs.AddKeys(&s.table.Table, s.table.Job.Again, found); err != nil {
			return false, err
		}
		s.rows += len(found)
		if s.passes[0].isDeleted {
			s.addDeleted(l, found)
		}
		if s.cursor == "0" {
			s.passes, s.cursor = s.passes[1:], ""
		}
	}
	return len(s.passes) == 0, nil
}

// addDeleted records keys of deleted rows, if other tables refer to them.
func (s *referenceScan) addDeleted(l *loop, keys []jobs.Key) {
	if s.hasMany || len(keys) == 0 || len(l.tables.cascades.deleteKeysOf(s.table.name())) == 0 {
		return
	}
	if len(s.deleted)+len(keys) > maxReferences {
		s.deleted, s.hasMany = nil, true
		return
	}
	s.deleted = append(s.deleted, keys...)
}

// scanPart scans some keys of the present pass, and returns the keys of the rows that it finds.
func (l *loop) scanPart(ctx context.Context, s *referenceScan) (found []jobs.Key, err error) {
	p := &s.passes[0]
	if s.cursor == "" {
		s.cursor = "0"
	}
	filter := sink.KeyFilter{Prefix: s.plan.KeyPrefix(p.at.Output), Kind: transform.Hash}
	var keys [][]byte
	s.cursor, err = sink.ScanKeys(ctx, l.sink, s.cursor, filter, scanCount, func(key []byte) {
		if s.plan.OwnsKey(p.at.Output, key) {
			keys = append(keys, slices.Clone(key))
		}
	})
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		isMatch, err := l.refersTo(ctx, s.plan, p, key)
		if err != nil {
			return nil, err
		}
		if !isMatch {
			continue
		}
		if row, ok := rowKey(s, p, key); ok {
			found = append(found, row)
		}
	}
	return found, nil
}

// refersTo reports whether the row with a key of the pass's output has values of the pass.
func (l *loop) refersTo(
	ctx context.Context, plan *transform.Plan, p *referencePass, key []byte,
) (bool, error) {
	p.text = p.text[:0]
	for i, column := range p.columns {
		if i > 0 {
			p.text = append(p.text, 0)
		}
		if name := p.at.Fields[i]; name != nil {
			reply, err := l.sink.Read(ctx, hget, key, name)
			if err != nil {
				return false, err
			}
			p.text = append(p.text, reply.Text...)
			continue
		}
		determined, ok := plan.Values(transform.Location{Output: p.at.Output, Key: key})
		if !ok {
			return false, nil
		}
		for _, v := range determined {
			if v.Column == column {
				p.text = append(p.text, v.Text...)
			}
		}
	}
	return p.values[string(p.text)], nil
}

var hget = []byte("HGET")

// rowKey returns the key of the row that a key of the pass's output belongs to.
func rowKey(s *referenceScan, p *referencePass, key []byte) (jobs.Key, bool) {
	determined, ok := s.plan.Values(transform.Location{Output: p.at.Output, Key: key})
	if !ok {
		return nil, false
	}
	order := jobs.Order(s.table.Schema, s.plan)
	row := make(jobs.Key, len(order))
	for i, column := range order {
		for _, v := range determined {
			if v.Column == column {
				row[i] = slices.Clone(v.Text)
			}
		}
	}
	return row, true
}

// endScan is called when a scan has visited every key. The tables that refer to rows of the table
// get the keys that it has found.
func (l *loop) endScan(s *referenceScan) error {
	t, graph := s.table, &l.tables.cascades
	l.log.Info().Str("table", t.FullName()).Str("reason", t.Job.Again).Int("rows", s.rows).
		Msg("rows are read again that foreign keys have changed")
	deletes := l.deletedKeys(t, s.deleted)
	for _, d := range deletes {
		d.isWhole = d.isWhole || s.hasMany
	}
	if err := l.findAllReferring(deletes); err != nil {
		return err
	}
	for _, full := range l.tables.names() {
		o := l.tables.all[full]
		n := len(o.Job.References)
		o.Job.References = slices.DeleteFunc(slices.Clone(o.Job.References),
			func(r tablestate.References) bool { return r.Of == t.FullName() })
		if len(o.Job.References) < n && o != t {
			if err := l.finishReferences(o); err != nil {
				return err
			}
		}
	}
	t.Job.References = slices.Clone(t.Job.References[s.taken:])
	if err := l.finishReferences(t); err != nil {
		return err
	}
	t.endCascadeJob(time.Now())
	if len(t.Job.References) > 0 {
		t.scheduleCascade()
	}
	if len(graph.due) > 0 {
		return l.reconcileCascades()
	}
	return nil
}

// finishReferences is called when references of a table were removed. Without further ones, the
// table waits for its keys job.
func (l *loop) finishReferences(t *mappedTable) error {
	if len(t.Job.References) == 0 {
		t.Job.References, t.Job.KeysOnly = nil, true
	}
	return t.saveJob(&l.unit, l.config.Name)
}
