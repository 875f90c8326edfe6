package ddl_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// Unique keys with nullable columns come and go with statements, and with the nullability of their
// columns. What was stored has them, too.
func TestNullableUnique(t *testing.T) {
	c := newCatalog()
	for _, step := range []struct {
		sql              string
		unique, nullable [][]int
	}{
		{
			"CREATE TABLE u (id int PRIMARY KEY, phone varchar(20) UNIQUE, area int, " +
				"local int NOT NULL, UNIQUE line (area, local), UNIQUE p (phone(3)))",
			nil,
			[][]int{{1}, {2, 3}},
		},
		{"ALTER TABLE u MODIFY phone varchar(20) NOT NULL", [][]int{{1}}, [][]int{{2, 3}}},
		{"ALTER TABLE u MODIFY phone varchar(20)", nil, [][]int{{1}, {2, 3}}},
		{"CREATE UNIQUE INDEX again ON u (phone)", nil, [][]int{{1}, {2, 3}}},
		{"DROP INDEX phone ON u", nil, [][]int{{1}, {2, 3}}},
		{"DROP INDEX again ON u", nil, [][]int{{2, 3}}},
		{"ALTER TABLE u ADD COLUMN first int FIRST", nil, [][]int{{3, 4}}},
		{"ALTER TABLE u DROP COLUMN local", nil, [][]int{{3}}},
		{"ALTER TABLE u DROP INDEX line, ADD UNIQUE (first, area)", nil, [][]int{{0, 3}}},
	} {
		if _, err := c.apply(ddl.Parse(step.sql, ddl.Options{Database: database})); err != nil {
			t.Fatalf("%s: %v", step.sql, err)
		}
		got := c.Table(ddl.TableName{Database: database, Table: "u"})
		table := got.Table()
		if !reflect.DeepEqual(table.Unique, step.unique) ||
			!reflect.DeepEqual(table.NullableUnique, step.nullable) {
			t.Errorf("after %s the unique keys are %v and %v, want %v and %v", step.sql,
				table.Unique, table.NullableUnique, step.unique, step.nullable)
		}
		checkJSON(t, got)
		partial := ddl.FromTable(table)
		if !partial.Table().Equal(table) {
			t.Errorf("after %s a partial schema is of %+v", step.sql, partial.Table())
		}
		var stored binlog.Table
		if text, err := json.Marshal(table); err != nil || json.Unmarshal(text, &stored) != nil ||
			!stored.Equal(table) {
			t.Errorf("after %s the stored table is %+v, %v", step.sql, stored, err)
		}
	}
}

// A table whose keys have no names may lose a unique key by DROP CONSTRAINT.
func TestNullableUniqueWithoutNames(t *testing.T) {
	table := create(t, "CREATE TABLE t (id int PRIMARY KEY, phone varchar(20), UNIQUE u (phone))",
		ddl.Options{}).Table()
	c := newCatalog()
	c.tables[ddl.TableName{Database: database, Table: "t"}] = ddl.FromTable(table)
	s := ddl.Parse("ALTER TABLE t DROP CONSTRAINT u", ddl.Options{Database: database})
	if effects, err := c.apply(s); err == nil {
		t.Errorf("the statement is followed: %+v", effects[0].Schema.Table())
	}
}
