package pipelines_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog/ddl"
	"rowfall/internal/servers"
	"rowfall/pipelines/file/filetest"
	"rowfall/transform"
)

// A script begins with steps that add entries to differentialMapping, one line for each setting, so
// that a script is shrunk by setting:
//
//	-- map x3 where: grp != 3
//	-- map x3 on_error: dead_letter
//	-- map x3 columns mask: {note: redact}
//	-- map x3 write hash: "x:3:h:{id}", ttl: 30d
//
// A setting follows the table: of the entry, of columns, or an output. The pipeline does not start
// without a table that the mapping names, so a table that the script does not create has no entry.

// mappedEntries are the entries that every script has.
var mappedEntries = []string{
	`x1 write hash: "x:code:{code}"`,
	`x1 write set: "x:group:{grp}", member: "{id}", when_null: skip`,
	`x1 write string: "x:phone:{phone}", value: "{id}", when_null: skip`,
	`x1 write sorted_set: "x:scores", member: "{id}", score: n`,
	`x1 write set: "x:numbers", member: "{grp}", shared: true, when_null: skip`,
	`x2 where: grp != 3`,
	`x2 write hash: "x:two:{id}"`,
	`x2 write set: "x:fixed", member: "{fixed}", shared: true, when_null: skip`,
	`x2 write set: "x:numbers", member: "{grp}", shared: true, when_null: skip`,
}

// mapping returns the text of the pipeline file with the entries of a script.
func (s script) mapping() string {
	type entry struct{ settings, columns, write []string }
	entries := make(map[string]*entry)
	var names []string
	for i := range s {
		if len(s[i].action) < 3 || s[i].action[0] != "map" {
			continue
		}
		name, words := s[i].action[1], s[i].action[2:]
		if !s.creates(name) {
			continue
		}
		e := entries[name]
		if e == nil {
			e = new(entry)
			entries[name], names = e, append(names, name)
		}
		switch rest := strings.Join(words[1:], " "); words[0] {
		case "columns":
			e.columns = append(e.columns, rest)
		case "write":
			e.write = append(e.write, rest)
		default:
			e.settings = append(e.settings, strings.Join(words, " "))
		}
	}
	var text strings.Builder
	for _, name := range names {
		e := entries[name]
		fmt.Fprintf(&text, "  \"{db}.%s\":\n", name)
		for _, setting := range e.settings {
			fmt.Fprintf(&text, "    %s\n", setting)
		}
		if len(e.columns) > 0 {
			fmt.Fprintf(&text, "    columns: {%s}\n", strings.Join(e.columns, ", "))
		}
		if len(e.settings)+len(e.columns)+len(e.write) > 0 {
			text.WriteString("    write:\n")
		}
		for _, output := range e.write {
			fmt.Fprintf(&text, "      - {%s}\n", output)
		}
		if len(e.write) == 0 {
			fmt.Fprintf(&text, "      - {hash: \"x:%s:{id}\"}\n", name)
		}
	}
	return strings.Replace(differentialMapping, "sink:\n", text.String()+"sink:\n", 1)
}

// creates reports whether a script creates a table.
func (s script) creates(table string) bool {
	return slices.ContainsFunc(s, func(st step) bool {
		return strings.HasPrefix(st.sql, "CREATE TABLE "+table+" ")
	})
}

// mappedColumns are the columns of tables whose entries are generated, besides id, n and fixed.
// ALTERs leave them.
var mappedColumns = []struct {
	name, definition string
	values           []string
}{
	{"code", "INT NOT NULL UNIQUE", nil},
	{"phone", "VARCHAR(20) UNIQUE", nil},
	{"grp", "INT", []string{"1", "2", "3", "4", "NULL"}},
	{"email", "VARCHAR(40) NOT NULL UNIQUE", nil},
	{"note", "VARCHAR(60)", []string{
		"'12'", "'7'", "'-3'", "'0'", "'no number'", "'a rather long text \u4f60\u597d'", "''",
		"NULL", "'gone'",
	}},
	{"due", "DATETIME(3)", []string{
		"'2020-01-02 03:04:05.678'", "'2100-01-02 03:04:05'", "'2111-01-01 00:00:00'", "NULL",
		"'2101-05-00 00:00:00'",
	}},
	{"amount", "DECIMAL(10,2)", []string{"0", "1.25", "-3", "99999999.99", "NULL"}},
	{"doc", "JSON", []string{
		`'{"a": 5, "b": [1, {"c": "x"}]}'`, `'{"a": "text"}'`, `'[1, 2]'`, "'null'", "NULL",
	}},
	{"spare", "VARCHAR(20)", []string{"'secret'", "'5'", "NULL"}},
}

// entry is an entry of the mapping that is generated.
type entry struct {
	*generator
	table, prefix string
	// mayFail is set if a row may be impossible to apply, so that the table needs dead letters.
	mayFail bool
	// isSpare is set if templates may have the column spare.
	isSpare bool
}

func (e *entry) add(format string, args ...any) {
	e.act("map " + e.table + " " + fmt.Sprintf(format, args...))
}

// pick returns one of some texts. A text that begins with "!" may fail for a row.
func (e *entry) pick(texts ...string) string {
	text := texts[e.IntN(len(texts))]
	rest, mayFail := strings.CutPrefix(text, "!")
	e.mayFail = e.mayFail || mayFail
	return rest
}

// expression returns one of some expressions, in quotes of YAML.
func (e *entry) expression(texts ...string) string { return `"` + e.pick(texts...) + `"` }

// output adds an output, whose first key begins with the entry's prefix.
func (e *entry) output(kind, key string, settings ...string) {
	text := fmt.Sprintf("%s: \"%s%s\"", kind, e.prefix, key)
	for _, s := range settings {
		if s != "" {
			text += ", " + s
		}
	}
	e.add("write %s", text)
}

// expiry returns the settings of an expiry, or none. It never ends while a script is executed.
func (e *entry) expiry() string {
	return e.pick("", "ttl: 30d", "ttl: 100d, ttl_jitter: 20%", "expire_at: due",
		`!expire_at: "unix(due ?? '2100-01-01') + 86400"`)
}

// keyExpiry is the same for keys that rows share.
func (e *entry) keyExpiry() string {
	return e.pick("", "", "", "ttl: 40d", "ttl: 9d, ttl_jitter: 5%", "expire_at: due")
}

// whenNull returns what a NULL in a key does.
func (e *entry) whenNull() string { return e.pick("when_null: skip", "when_null: skip", "!") }

// outputs are the outputs that an entry may have.
var outputs = []func(e *entry){
	func(e *entry) { e.output("hash", "h:{id}", e.expiry()) },
	func(e *entry) { e.output("hash", "c:{code}", e.expiry()) },
	func(e *entry) { e.output("json", "j:{id}", e.expiry()) },
	func(e *entry) {
		e.output("string", "p:{phone}", "value: "+e.pick(`"{id}"`, `"{note}"`, `"{grp}:{note}"`),
			"when_null: skip", e.expiry())
	},
	func(e *entry) {
		e.output("string", "e:{email}", `value: "{id}"`, e.expiry())
	},
	func(e *entry) { e.output("set", "g:{grp}", `member: "{id}"`, e.whenNull(), e.keyExpiry()) },
	func(e *entry) {
		e.output("set", "codes", "member: "+e.pick(`"{code}"`, `"{code}:{phone}"`), e.whenNull(),
			e.keyExpiry())
	},
	func(e *entry) {
		e.output("sorted_set", "s", `member: "{id}"`, "score: "+e.expression("n", "amount", "due",
			"(amount ?? 0) * 100 + id", "!int(note ?? '5')", "!100 / ((grp ?? 1) - 1)",
			"!unix(due ?? '2100-01-01')"), "when_null: skip", e.keyExpiry())
	},
	func(e *entry) {
		e.output("sorted_set", "sg:{grp}", `member: "{code}"`, "score: n", e.whenNull(),
			e.keyExpiry())
	},
	func(e *entry) {
		e.output("hash", "f", `field: "{id}"`, e.pick("", `value: "{note}"`, `value: "{n}:{note}"`),
			e.expiry())
	},
	func(e *entry) {
		e.output("hash", "fg:{grp}", `field: "{id}"`, e.whenNull(), e.expiry())
	},
	func(e *entry) {
		e.output("set", "shared", `member: "{grp}"`, "shared: true", e.whenNull())
	},
	func(e *entry) {
		member := `member: "{note|lower}"`
		if e.isSpare {
			member = `member: "{spare}"`
		}
		e.output("set", "shared:{grp}", member, "shared: true", e.whenNull())
	},
	func(e *entry) {
		e.add(`write set: "x:numbers", member: "{%s}", shared: true, when_null: skip`,
			e.pick("grp", "code", "n"))
	},
}

// mapTable adds an entry for a table that is named, of the kind xN.
func (g *generator) mapTable(table string) {
	e := &entry{generator: g, table: table, prefix: "x:" + table[1:] + ":"}
	if g.IntN(2) == 0 {
		e.add("where: %s", e.pick("grp != 3",
			`(note ?? "") != "gone"`, "(amount ?? 0) >= 0", `json(doc, "$.a") != "text"`,
			`!int(note ?? "0") < 10`, "not (id in 5..9)",
			`(due ?? "2100-01-01") > "2050-01-01"`))
	}
	e.columns()
	all := slices.Clone(outputs)
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, output := range all[:3+g.IntN(6)] {
		output(e)
	}
	if e.mayFail {
		e.add("on_error: dead_letter")
	}
}

// columns adds settings of columns.
func (e *entry) columns() {
	switch e.isSpare = true; e.IntN(5) {
	case 0:
		e.add("columns include: [id, n, fixed, note, amount, doc]")
	case 1:
		e.isSpare = false
		e.add("columns exclude: [spare]")
	}
	if e.IntN(3) == 0 {
		e.add("columns rename: {grp: class, amount: price}")
	}
	if e.IntN(3) == 0 {
		e.add("columns mask: {doc: %s}", e.pick("redact", "sha256", `"truncate:4"`))
	}
	if e.IntN(3) == 0 {
		too := e.pick("truncate", "omit", "!dead_letter")
		e.add("columns max_bytes: {note: 8}, too_long: %s", too)
	}
	if e.IntN(3) == 0 {
		e.add("columns add: {%s: %s}", e.pick("extra", "zz"), e.expression(
			"(amount ?? 0) * 2", "!int(note ?? '3') + 1", "string(id) + (note ?? '')",
			"grp == nil ? 'none' : string(id)", "!10 % (grp ?? 0)"))
	}
}

// createGenerated adds a table whose entry is generated.
func (g *generator) createGenerated(name string) {
	g.mapTable(name)
	t := &randomTable{name: name, key: "id"}
	parts := []string{"id INT NOT NULL PRIMARY KEY", "n BIGINT", "fixed VARCHAR(20)"}
	for _, c := range mappedColumns {
		t.fixed = append(t.fixed, randomColumn{name: c.name})
		parts = append(parts, c.name+" "+c.definition)
	}
	g.addTable(t, fmt.Sprintf("CREATE TABLE %s (%s)", name, strings.Join(parts, ", ")))
}

// The mappings of all seeds are valid, and their tables can be mapped.
func TestGeneratedMappings(t *testing.T) {
	for seed := range uint64(100) {
		s := newGenerator(seed, servers.MySQL).script()
		c := filetest.Parse(t, "test.yaml", strings.NewReplacer("{addr}", "127.0.0.1:1", "{db}",
			"d", "{dir}", "d").Replace(s.mapping()))
		dump := "CREATE DATABASE d CHARACTER SET utf8mb4; USE d;\n"
		for i := range s {
			if strings.HasPrefix(s[i].sql, "CREATE TABLE x") {
				dump += s[i].sql + ";\n"
			}
		}
		tables, err := ddl.ReadDump(dump, ddl.Options{}, nil, func(ddl.TableName) bool {
			return true
		})
		must(t, err)
		if len(tables) < 3 {
			t.Fatalf("seed %d: %d tables", seed, len(tables))
		}
		for _, table := range tables {
			_, err := transform.Compile(&c.Mapping, table.Table())
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
}
