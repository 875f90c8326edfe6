package pipelines

import (
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// storedTable is a schema as the first version stored it.
const storedTable = `{"Database":"shop","Name":"t","Columns":[` +
	`{"Name":"id","SQLType":"int","Type":4,"Unsigned":false,"Nullable":false,` +
	`"Invisible":false,"Generated":false,"Charset":"","Values":null,"Length":0,"Decimals":0},` +
	`{"Name":"e","SQLType":"enum('a')","Type":21,"Unsigned":false,"Nullable":true,` +
	`"Invisible":false,"Generated":false,"Charset":"utf8mb4",` +
	`"Values":["a"],"Length":0,"Decimals":0}],` +
	`"Primary":[0],"Unique":null,"NotFollowed":""}`

// Another version knows more fields of a column, or fewer. Its schema must not look changed.
func TestStoredTable(t *testing.T) {
	now := func() *binlog.Table {
		return &binlog.Table{
			Database: "shop", Name: "t", Primary: []int{0}, Unique: [][]int{},
			NullableUnique: [][]int{{1}},
			Columns: []binlog.Column{
				{Name: "id", SQLType: "int", Type: binlog.TypeInt},
				{
					Name: "e", SQLType: "enum('a')", Type: binlog.TypeEnum, Nullable: true,
					Charset: "utf8mb4", Values: []string{"a"},
				},
			},
		}
	}
	for name, edit := range map[string]*strings.Replacer{
		"this version's": strings.NewReplacer(),
		"an older one's": strings.NewReplacer(`,"Decimals":0`, ``, `"Charset":"utf8mb4",`, ``,
			`,"NotFollowed":""`, ``),
		"a newer one's": strings.NewReplacer(`{"Name"`, `{"Collation":"utf8mb4_bin","Name"`,
			`"Primary"`, `"Engine":"InnoDB","NullableUnique":[[1]],"Primary"`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newTableSet(&transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.*"}}})
			state := map[string][]byte{
				tablestate.SchemaPrefix + "shop.t": []byte(edit.Replace(storedTable)),
				tablestate.JobPrefix + "shop.t":    []byte(`{"done":true,"rows":3,"more":1}`),
			}
			if err := s.load(state); err != nil {
				t.Fatal(err)
			}
			m := s.all["shop.t"]
			if !m.hasSchema(now()) || !m.Job.Done || m.Job.Rows != 3 {
				t.Errorf("it looks changed: %s; %+v", m.storedJSON, m.Job)
			}
			for what, change := range map[string]func(*binlog.Table){
				"type":     func(t *binlog.Table) { t.Columns[0].SQLType = "bigint" },
				"nullable": func(t *binlog.Table) { t.Columns[1].Nullable = false },
				"members":  func(t *binlog.Table) { t.Columns[1].Values = []string{"a", "b"} },
				"column":   func(t *binlog.Table) { t.Columns = append(t.Columns, t.Columns[1]) },
				"key":      func(t *binlog.Table) { t.Primary = []int{1} },
				"no key":   func(t *binlog.Table) { t.Primary = nil },
				"unique":   func(t *binlog.Table) { t.Unique = [][]int{{0}} },
				"optional": func(t *binlog.Table) { t.NullableUnique = nil },
			} {
				if name != "a newer one's" && what == "optional" {
					continue // it does not have the field
				}
				changed := now()
				change(changed)
				if m.hasSchema(changed) {
					t.Errorf("a change is not seen: %s", what)
				}
			}
		})
	}
}

// `bb.dot`.t and bb.`dot.t` have one full name. Rows of one must not be read as the other's.
func TestOneFullName(t *testing.T) {
	s := newTableSet(&transform.Mapping{Tables: []transform.TableRule{{Pattern: "`bb.dot`.*"}}})
	table := &binlog.Table{
		Database: "bb.dot", Name: "t", Primary: []int{0},
		Columns: []binlog.Column{{Name: "id", SQLType: "int", Type: binlog.TypeInt}},
	}
	if _, err := s.add(ddl.FromTable(table)); err != nil {
		t.Fatal(err)
	}
	want := s.all["bb.dot.t"].Schema
	if got, err := s.Table("bb.dot", "t"); got == nil || got != want || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Table("bb", "dot.t"); got != nil || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if s.exact("`bb.dot`.t") == nil || s.exact("bb.dot.t") != nil || s.exact("`bb.dot`.*") != nil {
		t.Error("an entry is taken for another table's")
	}
}
