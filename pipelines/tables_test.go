package pipelines

import (
	"os"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/pipelines/file"
	"rowfall/transform"
)

// storedTable is what the first version wrote.
const storedTable = `{"Database":"shop","Name":"t","Columns":[` +
	`{"Name":"id","SQLType":"int","Type":4,"Unsigned":false,"Nullable":false,"Invisible":false,"Generated":false,"Charset":"","Values":null,"Length":0,"Decimals":0},` +
	`{"Name":"e","SQLType":"enum('a')","Type":21,"Unsigned":false,"Nullable":true,"Invisible":false,"Generated":false,"Charset":"utf8mb4","Values":["a"],"Length":0,"Decimals":0}],` +
	`"Primary":[0],"Unique":null,"NotFollowed":""}`

// Another version knows more of a column, or less. Compared byte for byte, each
// table looked changed by the next statement that came by, and the pipeline stopped.
func TestStoredTable(t *testing.T) {
	now := func() *binlog.Table {
		return &binlog.Table{
			Database: "shop", Name: "t", Primary: []int{0}, Unique: [][]int{},
			Columns: []binlog.Column{
				{Name: "id", SQLType: "int", Type: binlog.TypeInt},
				{Name: "e", SQLType: "enum('a')", Type: binlog.TypeEnum, Nullable: true, Charset: "utf8mb4", Values: []string{"a"}},
			},
		}
	}
	for name, edit := range map[string]*strings.Replacer{
		"this version's": strings.NewReplacer(),
		"an older one's": strings.NewReplacer(`,"Decimals":0`, ``, `"Charset":"utf8mb4",`, ``, `,"NotFollowed":""`, ``),
		"a newer one's":  strings.NewReplacer(`{"Name"`, `{"Collation":"utf8mb4_bin","Name"`, `"Primary"`, `"Engine":"InnoDB","Primary"`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newTableSet(&transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.*"}}})
			state := map[string][]byte{tableState + "shop.t": []byte(edit.Replace(storedTable)), backfillState + "shop.t": []byte(`{"done":true,"rows":3,"more":1}`)}
			if err := s.load(state); err != nil {
				t.Fatal(err)
			}
			m := s.all["shop.t"]
			if !m.unchanged(now()) || !m.backfill.Done || m.backfill.Rows != 3 {
				t.Errorf("it looks changed: %s; %+v", m.stored, m.backfill)
			}
			for what, change := range map[string]func(*binlog.Table){
				"type":     func(t *binlog.Table) { t.Columns[0].SQLType = "bigint" },
				"nullable": func(t *binlog.Table) { t.Columns[1].Nullable = false },
				"members":  func(t *binlog.Table) { t.Columns[1].Values = []string{"a", "b"} },
				"column":   func(t *binlog.Table) { t.Columns = append(t.Columns, t.Columns[1]) },
				"key":      func(t *binlog.Table) { t.Primary = []int{1} },
				"no key":   func(t *binlog.Table) { t.Primary = nil },
				"unique":   func(t *binlog.Table) { t.Unique = [][]int{{0}} },
			} {
				changed := now()
				change(changed)
				if m.unchanged(changed) {
					t.Errorf("a change is not seen: %s", what)
				}
			}
		})
	}
}

// What builds the same data is the same mapping: else a comment costs a rebuild. What
// does not must not pass for it: the data would be of two mappings.
func TestFingerprint(t *testing.T) {
	const text = `pipeline: shop
source:
  mysql: {addresses: [127.0.0.1:3306], user: rowfall}
tables:
  "shop.*": {}
  shop.users:
    where: status != "deleted"
    columns: {exclude: [secret], rename: {a: b, c: d}, add: {name: first + last}}
    write:
      - hash: user:{id}
      - set: by:{country}
        member: "{id}"
sink:
  node: {listen: 127.0.0.1:6400, dir: data/shop}
`
	of := func(text string) string {
		t.Helper()
		c, err := file.Parse("x.yaml", []byte(text), os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		f, err := fingerprint(&c.Mapping)
		if err != nil {
			t.Fatal(err)
		}
		return string(f)
	}
	want := of(text)
	// What this version's data know the mapping by: another one must come to it too.
	if want != "v1:703645d26bd10c87f075e211c736c5ae53127f9ae9b6e5e45b2c26d4cb559235" {
		t.Errorf("the mapping is %s", want)
	}
	for _, test := range []struct {
		what, old, replacement string
		same                   bool
	}{
		{"a comment and empty lines", "tables:\n", "\n# All of the shop.\ntables:   # these\n\n", true},
		{"order of entries", "  \"shop.*\": {}\n  shop.users:", "  shop.users:", true}, // and back below
		{"order of keys", "{exclude: [secret], rename: {a: b, c: d}", "{rename: {c: d, a: b}, exclude: [secret]", true},
		{"style", "columns: {exclude: [secret]", "columns: {\"exclude\": ['secret']", true},
		{"order of an output", "set: by:{country}\n        member: \"{id}\"", "member: '{id}'\n        set: by:{country}", true},
		{"a default that is said", "member: \"{id}\"", "member: \"{id}\"\n        when_null: error", true},
		{"the source", "user: rowfall", "user: other", true},
		{"the sink", "6400", "6401", true},
		{"the name", "pipeline: shop", "pipeline: other", true}, // its data are under other keys
		{"cascades", "where:", "cascades: ignore\n    where:", true},
		{"a condition", "deleted", "gone", false},
		{"an excluded column", "[secret]", "[secret, other]", false},
		{"a new name", "c: d", "c: e", false},
		{"an expression", "first + last", "last + first", false},
		{"a key", "user:{id}", "users:{id}", false},
		{"a kind", "hash: user", "json: user", false},
		{"a NULL's policy", "member: \"{id}\"", "member: \"{id}\"\n        when_null: skip", false},
		{"the key columns", "where:", "key_columns: [id]\n    where:", false},
		{"order of outputs", "- hash: user:{id}\n      - set: by:{country}\n        member: \"{id}\"", "- set: by:{country}\n        member: \"{id}\"\n      - hash: user:{id}", false},
		{"an entry more", "tables:\n", "tables:\n  shop.log: {ignore: true}\n", false},
		{"an entry less", "  \"shop.*\": {}\n", "", false},
	} {
		edited := strings.Replace(text, test.old, test.replacement, 1)
		if test.what == "order of entries" {
			edited = strings.Replace(edited, "sink:", "  \"shop.*\": {}\nsink:", 1)
		}
		if edited == text {
			t.Fatalf("%s: the test changes nothing", test.what)
		}
		if got := of(edited); (got == want) != test.same {
			t.Errorf("%s: another mapping: %v, want %v", test.what, got != want, !test.same)
		}
	}
}
