package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/file"
	"rowfall/pipelines/jobs"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// alteredSource is a source with the tables shop.t, shop.u and shop.v. Each time that Schemas is
// called, u has been altered, and v has been created or dropped.
type alteredSource struct {
	*scriptedSource
	reads int
}

func (s *alteredSource) Schemas(
	_ context.Context, only map[string]bool,
) (map[string]*binlog.Table, error) {
	s.reads++
	tables := make(map[string]*binlog.Table)
	for _, name := range []string{"t", "u", "v"} {
		t := intTable()
		t.Name = name
		if name == "u" {
			t.Columns[1].Name = fmt.Sprint("v", s.reads)
		}
		isWanted := only == nil || only[t.FullName()]
		if isWanted && (name != "v" || s.reads%2 == 0) {
			tables[t.FullName()] = t
		}
	}
	return tables, nil
}

func (s *alteredSource) OpenRows() jobs.RowReader { return alteredRows{scriptedRows(s.images)} }

// alteredRows finds the tables t and u.
type alteredRows struct{ scriptedRows }

func (alteredRows) ReadSchema(
	_ context.Context, _, name string,
) (*ddl.Schema, binlog.Position, error) {
	t := intTable()
	t.Name = name
	if name == "v" {
		return nil, binlog.Position{File: "log"}, nil
	}
	return ddl.FromTable(t), binlog.Position{File: "log"}, nil
}

// Tables that other sessions create, alter and drop all the time do not keep a load from starting.
// Their definitions are read by jobs. The same holds for --from snapshot.
func TestLoadWhileTablesAreAltered(t *testing.T) {
	config := file.Defaults()
	config.Path, config.Name = "test.yaml", "test"
	config.Mapping = transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.*"}}}
	to := sinktest.NewMemory("test")
	for _, from := range []string{"", fromSnapshot} {
		source := &alteredSource{scriptedSource: &scriptedSource{
			images: [][2]uint32{{1, 10}, {2, 20}}, woken: make(chan struct{}, 1),
		}}
		source.position.File = "log"
		source.woken <- struct{}{}
		p := New(config, to, from, zerolog.New(zerolog.NewTestWriter(t)))
		state, err := to.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := parseProgress("test", &state.Progress)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		to.After = func(u *sink.Unit) error {
			if u.Progress.Phase == sink.Streaming && u.Progress.Rebuilding == "" {
				cancel()
			}
			return nil
		}
		err = p.runSource(ctx, source, state, stored)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("from %q: the run ended with %v", from, err)
		}
		for _, key := range []string{"t:1", "t:2", "u:1", "u:2"} {
			if row, _ := to.Keys.HashFields(key); len(row) != 2 {
				t.Errorf("from %q: %s is %v", from, key, row)
			}
		}
		if list := p.Stats(); len(list.Quarantined)+len(list.Unmapped) > 0 || list.Tables != 2 {
			t.Errorf("from %q: %d tables, in quarantine %v, not mapped %v", from, list.Tables,
				list.Quarantined, list.Unmapped)
		}
		to.After = nil
	}
}

// recheckedSource shows another definition of shop.u when all tables are read, as if the table was
// altered meanwhile.
type recheckedSource struct {
	*scriptedSource
	reads []map[string]bool
}

func (s *recheckedSource) Schemas(
	ctx context.Context, only map[string]bool,
) (map[string]*binlog.Table, error) {
	s.reads = append(s.reads, only)
	tables, err := s.scriptedSource.Schemas(ctx, only)
	if only == nil {
		altered := *tables["shop.u"]
		altered.Columns = altered.Columns[:1]
		tables["shop.u"] = &altered
	}
	return tables, err
}

// Only a table that differs is compared again. Reading all tables again kept the pipeline from
// following the binlog for as long as some of thousands of tables were altered.
func TestSchemaCheckComparesAgain(t *testing.T) {
	u := intTable()
	u.Name = "u"
	source := &scriptedSource{tables: []*binlog.Table{intTable(), u}}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	rechecked := &recheckedSource{scriptedSource: source}
	l.schemas = rechecked
	if err := l.scheduleSchemaCheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.checkSchemas(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reads := rechecked.reads
	if !l.check.done || len(reads) != 2 || reads[0] != nil || !maps.Equal(reads[1],
		map[string]bool{"shop.u": true}) {
		t.Errorf("the check is done: %v; it has read %v", l.check.done, reads)
	}
	if job := l.tables.all["shop.u"].Job; !job.Done {
		t.Errorf("the table is read again: %+v", job)
	}
}
