package pipelines

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// When a pipeline starts, its log has the warnings of the mapping with their place in the file.
func TestLogOfWarnings(t *testing.T) {
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
		&scriptedSource{tables: []*binlog.Table{intTable()}})
	table := &binlog.Table{
		Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
			{Name: "id", Type: binlog.TypeInt},
			{Name: "status", Type: binlog.TypeEnum, Values: []string{"new", "paid"}},
		},
	}
	plan, err := transform.Compile(&transform.Mapping{Tables: []transform.TableRule{{
		Pattern: "shop.t", Path: "tables.shop.t", Line: 7, Where: `status == "padi"`,
	}}}, table)
	if err != nil {
		t.Fatal(err)
	}
	l.tables.all["shop.t"].Plan = plan
	l.config.Path = "test.yaml"
	var log bytes.Buffer
	l.log = zerolog.New(&log)
	if err := l.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"level":"warn","table":"shop.t"`, `test.yaml:7: tables.shop.t.where: `,
		`is no label of shop.t.status`, `did you mean \"paid\"?`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}

// A column that an ALTER makes nullable can make a key impossible. The warning comes with the
// ALTER, once, and it is in status until another ALTER mends the cause.
func TestWarningsOfAlteredTables(t *testing.T) {
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
		&scriptedSource{tables: []*binlog.Table{intTable()}})
	l.config.Path = "test.yaml"
	l.config.Mapping = transform.Mapping{Tables: []transform.TableRule{{
		Pattern: "shop.t", Path: "tables.shop.t", Line: 7,
		Write: []transform.Output{{Kind: transform.Set, Key: "by:{v}", Member: "{id}"}},
	}}}
	l.tables.mapping = &l.config.Mapping
	var log bytes.Buffer
	l.log = zerolog.New(&log)
	m := l.tables.all["shop.t"]
	alter := func(nullable bool) []TableWarning {
		t.Helper()
		table := intTable()
		table.Columns[1].Nullable = nullable
		if err := l.redefine(m, ddl.FromTable(table), m.Job); err != nil {
			t.Fatal(err)
		}
		l.tablesChanged()
		l.tablesChanged() // logs nothing twice
		var s Stats
		if list := l.stats.warnings.Load(); list != nil {
			s.Warnings = *list
		}
		return s.Warnings
	}
	if got := alter(false); len(got) > 0 {
		t.Fatalf("there are warnings before the ALTER: %v", got)
	}
	for n := 1; n <= 2; n++ {
		got := alter(true)
		if len(got) != 1 || got[0].Table != "shop.t" || !strings.Contains(got[0].Warning,
			"test.yaml:7: tables.shop.t.write[0]: v of shop.t may be NULL") {
			t.Errorf("the warnings are %v", got)
		}
		if logged := strings.Count(log.String(), "v of shop.t may be NULL"); logged != n {
			t.Errorf("%d warnings are logged, want %d:\n%s", logged, n, log.String())
		}
		line := string(appendWarnings(nil, "test", got))
		if !strings.HasPrefix(line, "\r\nrowfall_test_warning0:table=shop.t,warning=") ||
			!strings.Contains(line, "add `when_null: skip` here") {
			t.Errorf("status has %q", line)
		}
		if got := alter(false); len(got) > 0 {
			t.Errorf("warnings stay: %v", got)
		}
	}
}
