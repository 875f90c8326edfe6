package pipelines

import (
	"errors"
	"slices"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// rowsOfT returns a loop whose sink holds the keys of two rows of shop.t. key is the template of
// their keys; empty for t:{id}.
func rowsOfT(t *testing.T, key string) (*loop, *scriptedSource) {
	t.Helper()
	to := sinktest.NewMemory("test")
	table := intTable()
	source := &scriptedSource{}
	p, l := scriptedPipeline(t, to, source)
	t.Cleanup(func() { l.jobs.Close() })
	if key != "" {
		p.config.Mapping.Tables[0].Write = []transform.Output{{Kind: transform.Hash, Key: key}}
	}
	source.tables = []*binlog.Table{table}
	m, err := l.tables.add(ddl.FromTable(table))
	if err != nil {
		t.Fatal(err)
	}
	l.tables.define(m, m.definition, table, m.Plan)
	m.Job = tablestate.Job{Done: true}
	play(t, l, source,
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 20}),
		&binlog.Event{Kind: binlog.Commit, Time: 1000})
	return l, source
}

// applySQL applies a statement.
func applySQL(t *testing.T, l *loop, sql string) {
	t.Helper()
	ev := &binlog.Event{Kind: binlog.Statement, SQL: sql, Database: "shop"}
	if _, err := l.applyStatement(t.Context(), ddl.Parse(sql, l.ddlOptions(ev)), ev); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// keysOf returns the keys of the sink with a prefix.
func keysOf(l *loop, prefix string) (found []string) {
	l.sink.(*sinktest.Memory).Keys.Each(prefix, func(key string) { found = append(found, key) })
	slices.Sort(found)
	return found
}

// A table is renamed while its columns are not known. Its keys serve until the job of the new name
// is done; then those are removed that only the old name writes.
func TestRenameOfUnknown(t *testing.T) {
	for key, prefix := range map[string]string{"": "t:", "row:{id}": "row:"} {
		l, _ := rowsOfT(t, key)
		n := ddl.TableName{Database: "shop", Table: "t"}
		if err := l.rebuildUnknown(n, "test"); err != nil {
			t.Fatal(err)
		}
		applySQL(t, l, "RENAME TABLE t TO u")
		u := l.tables.all["shop.u"]
		if l.tables.all["shop.t"] != nil || u == nil || !u.Job.NeedsSchema || u.Fault != nil {
			t.Fatalf("the tables are %v", l.tables.names())
		}
		want := []string{prefix + "1", prefix + "2"}
		if got := keysOf(l, prefix); !slices.Equal(got, want) {
			t.Errorf("before the job the keys are %q", got)
		}
		renamed := intTable()
		renamed.Name = "u"
		if err := l.AdoptSchema(t.Context(), &u.Table, ddl.FromTable(renamed)); err != nil {
			t.Fatal(err)
		}
		u.Job.Done = true
		if err := l.SaveJob(&u.Table); err != nil {
			t.Fatal(err)
		}
		if err := l.removeAllFormer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if key == "" {
			want = nil
		}
		if got := keysOf(l, prefix); !slices.Equal(got, want) || len(u.former) > 0 {
			t.Errorf("after the job the keys are %q", got)
		}
	}
}

// Two tables whose columns are not known exchange their names. The keys of both serve until both
// are read.
func TestExchangeOfUnknown(t *testing.T) {
	l, _ := rowsOfT(t, "")
	for _, name := range []string{"t", "u"} {
		n := ddl.TableName{Database: "shop", Table: name}
		if err := l.rebuildUnknown(n, "test"); err != nil {
			t.Fatal(err)
		}
	}
	applySQL(t, l, "RENAME TABLE t TO x, u TO t, x TO u")
	if got := l.tables.names(); !slices.Equal(got, []string{"shop.t", "shop.u"}) {
		t.Fatalf("the tables are %q", got)
	}
	want := []string{"t:1", "t:2"}
	for _, name := range []string{"u", "t"} {
		m, schema := l.tables.all["shop."+name], intTable()
		schema.Name = name
		if err := l.AdoptSchema(t.Context(), &m.Table, ddl.FromTable(schema)); err != nil {
			t.Fatal(err)
		}
		m.Job.Done = true
		if err := l.SaveJob(&m.Table); err != nil {
			t.Fatal(err)
		}
		if err := l.removeAllFormer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := keysOf(l, "t:"); !slices.Equal(got, want) {
			t.Errorf("after the job of %s the keys are %q", name, got)
		}
	}
	if l.progress.Rebuilding != "" {
		t.Errorf("in the end rebuilding is %s", l.progress.Rebuilding)
	}
}

// A table is renamed with sql_log_bin=0 to a name that writes the same keys: the keys stay, and a
// job reads the table with the new name.
func TestUnloggedRename(t *testing.T) {
	for _, isUnknown := range []bool{false, true} {
		l, source := rowsOfT(t, "row:{id}")
		m := l.tables.all["shop.t"]
		renamed := intTable()
		renamed.Name = "u"
		source.tables = []*binlog.Table{renamed}
		var err error
		if isUnknown {
			err = l.AdoptSchema(t.Context(), &m.Table, nil)
		} else {
			err = l.handleDifference(t.Context(), m, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := keysOf(l, "row:"); !slices.Equal(got, []string{"row:1", "row:2"}) {
			t.Errorf("the keys are %q", got)
		}
		u := l.tables.all["shop.u"]
		if l.tables.all["shop.t"] != nil || u == nil || u.Job.Done || u.Job.Sweep == nil {
			t.Errorf("the tables are %v", l.tables.names())
		}
	}
}

// CREATE OR REPLACE TABLE of a table whose definition is tentative may have dropped a table whose
// keys are in the sink. A job removes those without a row.
func TestReplaceOfTentative(t *testing.T) {
	for sql, hasJob := range map[string]bool{
		"CREATE TABLE t (id INT PRIMARY KEY, v INT)":            false,
		"CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v INT)": true,
	} {
		l, _ := rowsOfT(t, "")
		m := l.tables.all["shop.t"]
		l.tables.setTentative(m, true)
		applySQL(t, l, sql)
		if m.isTentative() || (m.Job.Sweep != nil && !m.Job.Done) != hasJob {
			t.Errorf("%s: tentative %v, the job is %+v", sql, m.isTentative(), m.Job)
		}
		if got := keysOf(l, "t:"); len(got) != 2 {
			t.Errorf("%s: the keys are %q", sql, got)
		}
	}
}

// A table that has lost its key cannot be read. --from snapshot does not leave it out and remove
// its keys: it goes into quarantine.
func TestRebuildWithoutKey(t *testing.T) {
	l, source := rowsOfT(t, "")
	to := l.sink.(*sinktest.Memory)
	if err := saveMapping(&l.unit, "test", &l.config.Mapping); err != nil {
		t.Fatal(err)
	}
	l.progress.Server = "scripted"
	m := l.tables.all["shop.t"]
	if err := m.save(&l.unit, "test"); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := intTable()
	table.Primary = nil
	other := intTable()
	other.Name = "other"
	source.tables, source.position.Offset = []*binlog.Table{table, other}, 0
	p := New(*l.config, to, fromSnapshot, l.log)
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := parseProgress("test", &state.Progress)
	if err != nil {
		t.Fatal(err)
	}
	source.script = []*binlog.Event{{Kind: binlog.Progress}, {Kind: binlog.Progress}}
	err = p.runSource(t.Context(), source, state, stored)
	if !errors.Is(err, errEndOfScript) {
		t.Fatalf("the run has ended with %v", err)
	}
	faults := p.Stats().Quarantined
	if len(faults) != 1 || faults[0].Table != "shop.t" || len(keysOf(l, "t:")) != 2 {
		t.Errorf("in quarantine are %+v, not mapped %+v, the keys are %q", faults,
			p.Stats().Unmapped, keysOf(l, "t:"))
	}
	state, err = to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := newTableSet(&p.config.Mapping)
	if err := set.load(state.Pieces); err != nil {
		t.Fatal(err)
	}
	if o := set.all["shop.t"]; o == nil || o.Fault == nil || len(o.former) != 1 {
		t.Errorf("the stored table is %+v", o)
	}
}
