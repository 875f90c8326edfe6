package transform_test

import (
	"testing"

	"rowfall/binlog"
	"rowfall/transform"
)

// The columns of a row are found in the fields of its hash, under the fields' names, or in the key
// of the hash.
func TestFindStored(t *testing.T) {
	table := &binlog.Table{
		Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
			{Name: "id", SQLType: "int", Type: binlog.TypeInt},
			{Name: "v", SQLType: "int", Type: binlog.TypeInt, Nullable: true},
		},
	}
	for what, test := range map[string]struct {
		rule  transform.TableRule
		field string // of v; "-" if it is not found, "" if it is in the key
	}{
		"a hash": {transform.TableRule{}, "v"},
		"another name": {
			transform.TableRule{Columns: transform.Columns{
				Rename: map[string]string{"v": "x"},
			}}, "x",
		},
		"excluded": {
			transform.TableRule{Columns: transform.Columns{Exclude: []string{"v"}}}, "-",
		},
		"in the key": {transform.TableRule{Write: []transform.Output{
			{Kind: transform.Hash, Key: "t:{id}:{v}"},
		}}, "-"}, // the key of the row does not determine where the row is
		"a hash that expires": {transform.TableRule{Write: []transform.Output{
			{Kind: transform.Hash, Key: "t:{id}", TTL: 1000},
		}}, "-"},
		"a string": {transform.TableRule{Write: []transform.Output{
			{Kind: transform.String, Key: "t:{id}", Value: "{v}"},
		}}, "-"},
	} {
		test.rule.Pattern = "shop.t"
		m := &transform.Mapping{Tables: []transform.TableRule{test.rule}}
		plan, err := transform.Compile(m, table)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		at, ok := plan.FindStored([]int{0}, []int{1})
		if ok != (test.field != "-") || ok && string(at.Fields[0]) != test.field {
			t.Errorf("%s: v is found in %q, %v; want %q", what, at.Fields, ok, test.field)
		}
	}
	table.Primary = []int{1, 0}
	plan, err := transform.Compile(
		&transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.t"}}}, table)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := plan.FindStored(table.Primary, []int{1}); !ok || at.Fields[0] != nil {
		t.Errorf("a column of the key is found in %q, %v", at.Fields, ok)
	}
}
