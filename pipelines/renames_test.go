package pipelines

import (
	"fmt"
	"testing"

	"rowfall/binlog/ddl"
)

// A RENAME of several tables has an effect on the names that the tables have in the end. A job of a
// name that a table has for a moment would never end.
func TestEffectsOfRenames(t *testing.T) {
	for text, want := range map[string]string{
		"RENAME TABLE a TO b":                                 "a gone, b new",
		"RENAME TABLE a TO x, b TO a, x TO b":                 "a new, b new",
		"RENAME TABLE a TO x, x TO y":                         "a gone, y new",
		"RENAME TABLE a TO x, x TO a":                         "a new",
		"RENAME TABLE a TO _a_old, _a_new TO a":               "_a_old new, _a_new gone, a new",
		"RENAME TABLE a TO x, b TO a, x TO c, c TO b, b TO d": "b gone, a new, d new",
	} {
		s := ddl.Parse(text, ddl.Options{Database: "shop"})
		effects, err := s.Apply(renamedTables{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, e := range withoutReplaced(effects) {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprintf("%s %s", e.Table.Table, map[ddl.Class]string{
				ddl.TableNew: "new", ddl.TableGone: "gone",
			}[e.Class])
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// renamedTables is a ddl.Catalog with the tables a, b and _a_new.
type renamedTables struct{}

func (renamedTables) Table(n ddl.TableName) *ddl.Schema {
	switch n.Table {
	case "a", "b", "_a_new":
		return &ddl.Schema{Database: n.Database, Name: n.Table}
	}
	return nil
}

func (renamedTables) Tables(string) []ddl.TableName       { return nil }
func (renamedTables) Database(string) (ddl.Charset, bool) { return ddl.Charset{}, false }
