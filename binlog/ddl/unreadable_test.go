package ddl_test

import (
	"encoding/json"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// A stored definition with a column of a type that is not supported can be read back.
func TestUnreadableColumn(t *testing.T) {
	table := &binlog.Table{
		Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
			{Name: "id", SQLType: "int", Type: binlog.TypeInt},
			{Name: "x", SQLType: "xmltype", Unreadable: "type xmltype is not supported"},
		},
	}
	text, err := json.Marshal(ddl.FromTable(table))
	if err != nil {
		t.Fatal(err)
	}
	var got ddl.Schema
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !got.Table().Equal(table) || got.Table().CheckReadable(nil) == nil {
		t.Errorf("read back as %+v", got.Table())
	}
}

// A column of a type that is not supported can become one of another type.
func TestAlterUnreadableColumn(t *testing.T) {
	c := newCatalog()
	schema := ddl.FromTable(&binlog.Table{
		Database: database, Name: "t", Columns: []binlog.Column{
			{Name: "x", SQLType: "xmltype", Unreadable: "type xmltype is not supported"},
		},
	})
	c.tables[ddl.TableName{Database: database, Table: "t"}] = schema
	effects, err := c.apply(
		ddl.Parse("ALTER TABLE t MODIFY x INT", ddl.Options{Database: database}))
	if err != nil {
		t.Fatal(err)
	}
	if x := effects[0].Schema.Table().Columns[0]; x.Type != binlog.TypeInt || x.Unreadable != "" {
		t.Errorf("the column is %+v", x)
	}
}
