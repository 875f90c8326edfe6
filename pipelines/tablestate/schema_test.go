package tablestate_test

import (
	"encoding/json"
	"testing"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
)

// A stored schema matches the present one if they differ only in how the server spells a type.
func TestMatchesStored(t *testing.T) {
	for _, test := range []struct {
		stored, now string
		want        bool
	}{
		{"int(11)", "int", true},
		{"timestamp /* mariadb-5.3 */", "timestamp", true},
		{"time(3)", "time(3) /* mariadb-5.3 */", true},
		{"time(3)", "time(2)", false},
		{"geometrycollection", "geomcollection", true},
		{"varchar(3)", "varchar(4)", false},
	} {
		table := func(sqlType string) *binlog.Table {
			return &binlog.Table{
				Database: "d", Name: "t", Columns: []binlog.Column{{Name: "c", SQLType: sqlType}},
			}
		}
		stored, err := json.Marshal(table(test.stored))
		if err != nil {
			t.Fatal(err)
		}
		if got := tablestate.MatchesStored(stored, table(test.now)); got != test.want {
			t.Errorf("%s and %s: %v", test.stored, test.now, got)
		}
	}
}
