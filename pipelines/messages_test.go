package pipelines

import (
	"testing"

	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// ROWFALL STATUS JSON has the warnings that INFO has.
func TestStatusHasWarnings(t *testing.T) {
	var p PipelineStatus
	p.addStats(&Stats{
		IgnoredCascades: []string{"a.t"}, Warnings: []TableWarning{{Table: "a.t", Warning: "w"}},
	})
	if len(p.Warnings) != 1 || len(p.IgnoredCascades) != 1 {
		t.Errorf("the status is %+v", p)
	}
}

// A backfill of a whole table that waits for a start of the pipeline searches for nothing.
func TestStoredBackfillState(t *testing.T) {
	for _, test := range []struct {
		search tablestate.Search
		want   string
	}{
		{tablestate.Search{Table: "shop.orders"}, "waiting to start"},
		{tablestate.Search{Table: "shop.orders", Where: "id = 1"}, "searching for rows"},
		{tablestate.Search{}, "searching for rows"}, // a replay
	} {
		if got := searchJob(&test.search).State; got != test.want {
			t.Errorf("%+v: the state is %q, want %q", test.search, got, test.want)
		}
	}
}

// A table without its database gets the names of the tables that could be meant.
func TestTableWithoutDatabase(t *testing.T) {
	s := newTableSet(&transform.Mapping{})
	for _, n := range []ddl.TableName{
		{Database: "shop", Table: "orders"}, {Database: "shop", Table: "users"},
	} {
		s.put(n)
	}
	for table, want := range map[string]string{
		"orders":      `table "orders": want DATABASE.TABLE; did you mean "shop.orders"?`,
		"codes":       `table "codes": want DATABASE.TABLE`,
		"shop.order":  `table "shop.order" is not mapped; did you mean "shop.orders"?`,
		"shop.orders": "",
	} {
		got := ""
		if _, err := s.named(table); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", table, got, want)
		}
	}
}
