package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/mysqlsource"
	"rowfall/sink"
	"rowfall/transform"
)

// Dataset is what a mapping makes of the rows in MySQL: exactly the keys that a replica at that
// position must hold. All of it is in memory.
type Dataset struct {
	// Rows counts the rows read from MySQL.
	Rows int
	keys map[string]sink.RemoteValue
	// tables are all mapped tables.
	tables []*mappedTable
	// anyExpiry holds the keys of rows that may disagree about expire_at: the row that was written
	// last decides whether the key expires.
	anyExpiry map[string]bool
	// fields are the fields that expire, as transform.AppendFieldEntry encodes them.
	fields map[string]bool
	// failed are the rows that cannot be applied and get dead letters.
	failed failedRows
	// row is the memory of addRow.
	row []byte
}

// ReadDataset reads every mapped table with SELECT. The result is consistent only if nothing writes
// to the tables meanwhile. Rows that cannot be applied and get dead letters are left out.
func ReadDataset(ctx context.Context, conn *mysql.Conn, m *transform.Mapping) (*Dataset, error) {
	schemas, err := mysqlsource.ReadSchemas(ctx, conn, m, nil)
	if err != nil {
		return nil, err
	}
	end, err := query.End(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("read the binlog's end: %w", err)
	}
	d := &Dataset{
		keys: make(map[string]sink.RemoteValue), anyExpiry: make(map[string]bool),
		fields: make(map[string]bool),
	}
	tables := newTableSet(m)
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		t, err := tables.add(ddl.FromTable(schemas[name]))
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		d.tables = append(d.tables, t)
		if err := d.readTable(ctx, conn, t, end); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// readTable adds the keys of one table. The rows include everything up to end.
func (d *Dataset) readTable(
	ctx context.Context, conn *mysql.Conn, t *mappedTable, end binlog.Position,
) error {
	request := query.ChunkRequest{
		Table: t.Schema, Key: jobs.Order(t.Schema, t.Plan), Limit: 10000,
	}
	for {
		result, err := query.Read(ctx, conn, request, end, func(row *binlog.Row) error {
			d.Rows++
			return d.addRow(t, row)
		})
		if err != nil {
			return fmt.Errorf("read rows of %s: %w", t.FullName(), err)
		}
		if result.Done {
			return nil
		}
		request.After = result.Last
	}
}

// addRow adds what all outputs make of a row. If one of them fails, none counts.
func (d *Dataset) addRow(t *mappedTable, row *binlog.Row) error {
	d.row = d.row[:0]
	err := t.Plan.Expect(row, func(e transform.Expectation) error {
		d.row = e.AppendTo(d.row)
		return nil
	})
	if fault := letterOf(err); fault != nil {
		return d.failed.add(t, row, fault)
	}
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	var e transform.Expectation
	for rest := d.row; len(rest) > 0; {
		rest = transform.ParseExpectation(&e, rest)
		if !e.Expiry.IsPast(now) {
			d.add(e)
		}
	}
	return nil
}

// add adds what one output makes of a row.
func (d *Dataset) add(e transform.Expectation) {
	key := string(e.Key)
	v := d.keys[key]
	v.Type = sink.TypeOf(e.Kind)
	if isExpiring := e.Expiry.Time(0) > 0; isExpiring && e.HasField() {
		d.fields[string(transform.AppendFieldEntry(nil, e.Key, e.Pairs[0]))] = true
	}
	switch e.Expiry.Rule {
	case transform.ExpiresAfter:
		v.Expires = !e.HasField()
	case transform.ExpiresAt, transform.NeverExpires:
		v.Expires = !e.HasField() && e.Expiry.Rule == transform.ExpiresAt
		d.anyExpiry[key] = e.Member != nil
	}
	switch v.Type {
	case "hash":
		if v.Hash == nil {
			v.Hash = make(map[string]string, len(e.Pairs)/2)
		}
		for i := 0; i+1 < len(e.Pairs); i += 2 {
			v.Hash[string(e.Pairs[i])] = string(e.Pairs[i+1])
		}
	case "string":
		v.String = string(e.Value)
	case "set":
		v.Set = append(v.Set, string(e.Member))
	case "zset":
		if v.ZSet == nil {
			v.ZSet = make(map[string]float64)
		}
		score, _ := strconv.ParseFloat(string(e.Score), 64)
		v.ZSet[string(e.Member)] = score
	}
	d.keys[key] = v
}

// Keys returns the number of keys that a replica must hold, besides keys of Rowfall itself.
func (d *Dataset) Keys() int { return len(d.keys) }

// KeyReader reads all keys of a replica; *sink.Remote implements it.
type KeyReader interface {
	// Addr names the replica, for messages.
	Addr() string
	// Each calls visit once for every key with its value.
	Each(ctx context.Context, visit func(key string, v sink.RemoteValue) error) error
}

// Compare reads all keys of a replica and returns at most limit differences, one sentence each. No
// differences mean that the replica equals MySQL. Keys that begin with "rowfall:" are ignored, and
// so are lists and streams of the mapping, which the rows do not determine, and what rows with dead
// letters have left.
func (d *Dataset) Compare(ctx context.Context, r KeyReader, limit int) ([]string, error) {
	var diffs []string
	report := func(format string, args ...any) {
		if len(diffs) < limit {
			diffs = append(diffs, r.Addr()+": "+fmt.Sprintf(format, args...))
		}
	}
	seen := make(map[string]bool, len(d.keys))
	err := r.Each(ctx, func(key string, got sink.RemoteValue) error {
		if strings.HasPrefix(key, "rowfall:") {
			return nil
		}
		want, ok := d.keys[key]
		if !ok && d.isOfEntries(key, got.Type) || d.failed.removeOld(key, &want, &got) {
			return nil
		}
		if !ok {
			report("%s (%s) exists, and no row makes it", key, got.Type)
			return nil
		}
		seen[key] = true
		if d.anyExpiry[key] {
			want.Expires = got.Expires
		}
		if diff := compareValues(want, got); diff != "" {
			report("%s: %s", key, diff)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(d.keys)) {
		if !seen[key] {
			report("%s is missing", key)
		}
	}
	return diffs, nil
}

// isOfEntries reports whether a key holds what an output has written change by change, in a list or
// a stream. The present rows do not determine it.
func (d *Dataset) isOfEntries(key, held string) bool {
	for _, t := range d.tables {
		p := t.Plan
		for i := range p.Outputs() {
			if !p.HoldsRows(i) && sink.TypeOf(p.OutputKind(i)) == held &&
				p.MayWrite(i, []byte(key)) {
				return true
			}
		}
	}
	return false
}

// compareValues returns the difference as a predicate; empty if the values are equal. The times of
// expiry are not compared, but whether there is one.
func compareValues(want, got sink.RemoteValue) string {
	switch {
	case want.Type != got.Type:
		return fmt.Sprintf("is a %s, not a %s", got.Type, want.Type)
	case want.Expires && !got.Expires:
		return "does not expire"
	case got.Expires && !want.Expires:
		return "expires, although no output of it has ttl or expire_at"
	}
	switch want.Type {
	case "string":
		if want.String != got.String {
			return fmt.Sprintf("holds %q, not %q", got.String, want.String)
		}
	case "hash":
		return compareMaps(want.Hash, got.Hash)
	case "zset":
		return compareMaps(want.ZSet, got.ZSet)
	case "set":
		// want is compared with other replicas, too, so its members stay as they are.
		members := slices.Compact(slices.Sorted(slices.Values(want.Set)))
		slices.Sort(got.Set)
		if !slices.Equal(members, got.Set) {
			return fmt.Sprintf("holds members %q, not %q", got.Set, members)
		}
	}
	return ""
}

// compareMaps returns the first difference as a predicate; empty if the maps are equal.
func compareMaps[V comparable](want, got map[string]V) string {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		v, ok := got[k]
		if !ok {
			return fmt.Sprintf("lacks %q (%v)", k, want[k])
		}
		if v != want[k] {
			return fmt.Sprintf("%q is %v, not %v", k, v, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			return fmt.Sprintf("has %q (%v) too many", k, got[k])
		}
	}
	return ""
}
