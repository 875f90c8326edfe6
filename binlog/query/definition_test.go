package query_test

import (
	"testing"

	"rowfall/binlog/query"
)

// The definitions of all tables that the test for Tables makes are read completely.
func testDefinitions(t *testing.T, s server) {
	c := s.dial(t)
	tables, err := query.Tables(t.Context(), c, func(d, n string) bool {
		return d == "tables" && n != "emoji" // a label that the server does not show
	})
	if err != nil {
		t.Fatal(err)
	}
	partial := 0
	for _, table := range tables {
		if table.NotFollowed != "" {
			continue
		}
		schema, err := query.Definition(t.Context(), c, table)
		if err != nil {
			t.Fatal(err)
		}
		if !schema.Table().Equal(table) {
			t.Errorf("%s is %+v, want %+v", table.FullName(), schema.Table(), table)
		}
		if schema.Partial {
			partial++
			t.Errorf("%s is not understood: %s", table.FullName(),
				rows(t, c, "SHOW CREATE TABLE `tables`.`"+table.Name+"`")[0][1])
		}
		now, fence, err := query.PresentDefinition(t.Context(), c, table.Database, table.Name)
		if err != nil || !now.Table().Equal(table) || fence.File == "" {
			t.Errorf("%s now: %v, %v, %v", table.FullName(), now, fence, err)
		}
	}
	if len(tables) == 0 {
		t.Error("there are no tables")
	}
	gone, _, err := query.PresentDefinition(t.Context(), c, "tables", "nowhere")
	if gone != nil || err != nil {
		t.Errorf("a table that does not exist: %v, %v", gone, err)
	}
	// A table was once dropped while the definitions of many tables were read, and a load failed.
	exec(t, c, "CREATE TABLE tables.dropped (id INT PRIMARY KEY)")
	dropped, err := readTable(t, c, "tables", "dropped")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, c, "DROP TABLE tables.dropped")
	schema, err := query.Definition(t.Context(), c, dropped)
	if err != nil || !schema.Partial || !schema.Table().Equal(dropped) {
		t.Errorf("a table that was dropped: %v, %v", schema, err)
	}
	databases, err := query.Databases(t.Context(), c)
	if err != nil || databases["tables"].Name != "utf8mb4" {
		t.Errorf("databases %v, %v", databases, err)
	}
}
