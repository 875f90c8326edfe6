package pipelines

import (
	"errors"
	"testing"

	"rowfall/binlog"
	"rowfall/sink/sinktest"
)

// A DROP DATABASE after a restart once crashed the process if the mapping matched a view: its state
// has no definition. The view leaves the list of what is not mapped.
func TestDropDatabaseWithView(t *testing.T) {
	source := &scriptedSource{
		tables: []*binlog.Table{intTable()},
		script: []*binlog.Event{{Kind: binlog.Statement, SQL: "DROP DATABASE shop"}},
	}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	for _, name := range []string{"shop.v", "shopping.v"} {
		pieces := map[string][]byte{"unmapped:" + name: []byte("a view")}
		if err := l.tables.load(pieces); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	l.jobs.Close()
	if len(l.tables.all) != 0 || len(l.tables.unmapped) != 1 || l.tables.unmapped["shop.v"] != "" {
		t.Errorf("%d tables are left; not mapped: %v", len(l.tables.all), l.tables.unmapped)
	}
}
