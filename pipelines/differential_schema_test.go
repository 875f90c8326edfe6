package pipelines_test

import (
	"fmt"
	"slices"
	"strings"

	"rowfall/internal/servers"
)

// randomTypes are types of columns, with values and defaults.
var randomTypes = []struct {
	text   string
	values []string
}{
	{"INT", []string{"1", "-5", "70000", "NULL"}},
	{"BIGINT UNSIGNED", []string{"1", "18446744073709551615", "NULL"}},
	{"TINYINT", []string{"1", "-128", "NULL"}},
	{"VARCHAR(20)", []string{"'abc'", "'caf\u00e9'", "'1'", "''", "NULL"}},
	{"VARCHAR(20) CHARACTER SET latin1", []string{"'abc'", "'caf\u00e9'", "'2'", "NULL"}},
	{"CHAR(5) CHARACTER SET utf8mb3", []string{"'\u043f\u0440\u0438'", "'z'", "NULL"}},
	{"ENUM('a','b','c')", []string{"'a'", "'b'", "'c'", "NULL"}},
	{"ENUM('z','a','b','c')", []string{"'a'", "'z'", "NULL"}},
	{"SET('a','b','c')", []string{"'a,b'", "'c'", "''", "NULL"}},
	{"DECIMAL(10,2)", []string{"1.25", "-3", "NULL"}},
	{"DECIMAL(8,1)", []string{"1.25", "100000", "NULL"}},
	{"DATETIME(3)", []string{"'2020-01-02 03:04:05.678'", "NULL"}},
	{"DATETIME", []string{"'2021-01-02 03:04:05'", "NULL"}},
	{"DATE", []string{"'2022-02-03'", "NULL"}},
	{"TIME(2)", []string{"'12:34:56.78'", "NULL"}},
	{"DOUBLE", []string{"1.5", "-0.1", "NULL"}},
	{"TEXT", []string{"'text'", "'\u4f60\u597d'", "NULL"}},
	{"BLOB", []string{"x'00ff'", "'b'", "NULL"}},
	{"VARBINARY(10)", []string{"x'01020000'", "'b'", "NULL"}},
	{"BIT(8)", []string{"5", "255", "NULL"}},
	{"YEAR", []string{"2024", "NULL"}},
}

// value returns a value for a column.
func (g *generator) value(c randomColumn) string {
	switch c.name {
	case "code":
		return fmt.Sprint(g.IntN(100))
	case "grp":
		return []string{"1", "2", "3", "4", "NULL"}[g.IntN(5)]
	case "phone":
		if n := g.IntN(100); n > 9 {
			return fmt.Sprintf("'%d'", n)
		}
		return "NULL"
	case "email":
		return fmt.Sprintf("'%d@x'", g.IntN(100))
	}
	for _, m := range mappedColumns {
		if m.name == c.name {
			return m.values[g.IntN(len(m.values))]
		}
	}
	values := randomTypes[c.typ].values
	return values[g.IntN(len(values))]
}

// definition returns the definition of a column, with a default at times.
func (g *generator) definition(c *randomColumn) string {
	typ := &randomTypes[c.typ]
	text := "`" + c.name + "` " + typ.text
	// MariaDB 11.8.9 does not log generated columns in UPDATEs.
	c.isGenerated = g.IntN(12) == 0 && g.kind != servers.MariaDB118
	if c.isGenerated {
		c.typ = 0
		return "`" + c.name + "` INT AS (id + " + fmt.Sprint(g.IntN(9)) + ") " +
			[]string{"STORED", "VIRTUAL"}[g.IntN(2)]
	}
	if g.IntN(4) == 0 {
		text += " NOT NULL"
	}
	if g.IntN(2) == 0 && typ.text != "TEXT" && typ.text != "BLOB" {
		if v := typ.values[g.IntN(len(typ.values)-1)]; !strings.HasPrefix(v, "x'") {
			text += " DEFAULT " + v
		}
	}
	return text
}

// newColumn returns a column with a name that the table does not have.
func (g *generator) newColumn(t *randomTable) randomColumn {
	for {
		name := string(rune('a' + g.IntN(8)))
		if !slices.ContainsFunc(t.columns, func(c randomColumn) bool { return c.name == name }) {
			return randomColumn{name: name, typ: g.IntN(len(randomTypes))}
		}
	}
}

// createTable adds a CREATE TABLE, and rows.
func (g *generator) createTable(name string) {
	t := &randomTable{name: name, key: "id"}
	parts := []string{"id INT NOT NULL", "n BIGINT", "fixed VARCHAR(20)"}
	for range g.IntN(4) {
		c := g.newColumn(t)
		parts = append(parts, g.definition(&c))
		t.columns = append(t.columns, c)
	}
	if name != "p1" && g.IntN(5) == 0 {
		t.key = "id, k"
		parts = append(parts, "k INT NOT NULL DEFAULT 0")
	}
	g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	sql := fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s))", name, strings.Join(parts, ", "),
		t.key)
	if t.isPartitioned = name == "p1"; t.isPartitioned {
		sql += " PARTITION BY RANGE (id) (PARTITION q0 VALUES LESS THAN (10), " +
			"PARTITION q1 VALUES LESS THAN (20), PARTITION q2 VALUES LESS THAN MAXVALUE)"
	}
	g.addTable(t, sql)
}

// createMapped adds a table that the mapping names.
func (g *generator) createMapped(name, columns string) {
	t := &randomTable{name: name, key: "id"}
	for _, c := range []string{"code", "grp", "phone"} {
		if strings.Contains(columns, c) {
			t.fixed = append(t.fixed, randomColumn{name: c})
		}
	}
	g.addTable(t, fmt.Sprintf("CREATE TABLE %s (id INT NOT NULL PRIMARY KEY, %sn BIGINT, "+
		"fixed VARCHAR(20))", name, columns))
}

// addTable adds a new table, and rows.
func (g *generator) addTable(t *randomTable, create string) {
	g.sql(0, create)
	g.tables = append(g.tables, t)
	g.pin(t)
	var ids []int
	for id := 1; id <= 30; id += 1 + g.IntN(3) {
		ids = append(ids, id)
	}
	g.ddl(t, g.insertText("INSERT IGNORE", t, ids))
}

// schemaChange adds a change of a table's definition.
func (g *generator) schemaChange() {
	t := g.table()
	switch n := g.IntN(100); {
	case n < 40:
		g.alterColumns(t)
	case n < 50:
		g.alterOther(t)
	case n < 56:
		g.alterKey(t)
	case n < 62:
		g.empty(t)
	case n < 68:
		g.recreate(t)
	case n < 76:
		g.copyTable(t)
	case n < 84:
		g.rename(t)
	case n < 90:
		g.onlineChange(t)
	case n < 94:
		g.partitions()
	case n < 97:
		g.unlogged(t)
	default:
		g.databases()
	}
}

// place returns where an ALTER puts a column.
func (g *generator) place(t *randomTable, name string) string {
	switch others := slices.DeleteFunc(append(slices.Clone(t.columns), randomColumn{name: "n"},
		randomColumn{name: "id"}), func(c randomColumn) bool { return c.name == name }); g.IntN(3) {
	case 0:
		return " FIRST"
	case 1:
		return " AFTER `" + others[g.IntN(len(others))].name + "`"
	}
	return ""
}

// alteration returns an action of an ALTER, and changes the columns of t accordingly.
func (g *generator) alteration(t *randomTable) string {
	if len(t.columns) == 0 || g.IntN(3) == 0 && len(t.columns) < 6 {
		c := g.newColumn(t)
		text := "ADD COLUMN " + g.definition(&c) + g.place(t, c.name)
		t.columns = append(t.columns, c)
		return text
	}
	i := g.IntN(len(t.columns))
	c := &t.columns[i]
	was := c.name
	switch g.IntN(6) {
	case 0:
		t.columns = slices.Delete(t.columns, i, i+1)
		return "DROP COLUMN `" + was + "`"
	case 1:
		c.name = g.newColumn(t).name
		return "RENAME COLUMN `" + was + "` TO `" + c.name + "`"
	case 2:
		c.name, c.typ = g.newColumn(t).name, g.IntN(len(randomTypes))
		name := c.name
		return "CHANGE `" + was + "` " + g.definition(c) + g.place(t, name)
	case 3:
		return []string{
			"MODIFY n BIGINT AFTER `" + was + "`", "MODIFY fixed VARCHAR(20) FIRST",
			"MODIFY id BIGINT NOT NULL FIRST", "MODIFY n BIGINT FIRST",
		}[g.IntN(4)]
	}
	c.typ = g.IntN(len(randomTypes))
	name := c.name
	return "MODIFY " + g.definition(c) + g.place(t, name)
}

// alterColumns adds an ALTER of columns.
func (g *generator) alterColumns(t *randomTable) {
	sql := "ALTER TABLE " + t.name + " " + g.alteration(t)
	if g.IntN(6) == 0 {
		sql += ", ADD INDEX (n)"
	}
	g.ddl(t, sql)
}

// alterOther adds an ALTER of what is no column.
func (g *generator) alterOther(t *randomTable) {
	charset := []string{"latin1", "utf8mb4", "utf8mb3", "ascii"}[g.IntN(4)]
	if strings.HasPrefix(t.name, "x") { // the keys would become others
		charset = "utf8mb4"
	}
	g.ddl(t, "ALTER TABLE "+t.name+" "+[]string{
		"CONVERT TO CHARACTER SET " + charset, "DEFAULT CHARACTER SET " + charset,
		"ADD INDEX i" + fmt.Sprint(g.IntN(3)) + " (n)", "DROP INDEX i" + fmt.Sprint(g.IntN(3)),
		"ADD UNIQUE u" + fmt.Sprint(g.IntN(2)) + " (id, n)", "DROP INDEX u" + fmt.Sprint(g.IntN(2)),
		"COMMENT 'x'", "ENGINE = InnoDB", "FORCE", "ROW_FORMAT = DYNAMIC",
	}[g.IntN(10)])
}

// alterKey adds an ALTER of the primary key.
func (g *generator) alterKey(t *randomTable) {
	if strings.HasPrefix(t.name, "x") || t.isPartitioned {
		return
	}
	unpin := []string{t.keyTable()}
	before := t.key
	switch {
	case t.key == "":
		t.key = "id"
		if s := g.ddl(t, "ALTER TABLE "+t.name+" ADD PRIMARY KEY (id)"); s != nil {
			s.unpin = unpin
		}
		g.pin(t)
		return
	case g.IntN(2) == 0 && t.key == "id":
		t.key = ""
		g.ddl(t, "ALTER TABLE "+t.name+" DROP PRIMARY KEY").unpin = unpin
		return
	case t.key == "id":
		t.key = "id, k"
		g.ddl(t, "ALTER TABLE "+t.name+" DROP PRIMARY KEY, ADD COLUMN k INT NOT NULL DEFAULT 0, "+
			"ADD PRIMARY KEY (id, k)").unpin = unpin
	default:
		t.key = "id"
		g.ddl(t, "ALTER TABLE "+t.name+" DROP PRIMARY KEY, DROP COLUMN k, "+
			"ADD PRIMARY KEY (id)").unpin = unpin
	}
	if before != t.key {
		g.pin(t)
	}
}

// empty adds a TRUNCATE.
func (g *generator) empty(t *randomTable) {
	g.ddl(t, "TRUNCATE TABLE "+t.name).unpin = []string{t.keyTable()}
	g.pin(t)
}

// recreate adds a DROP and a CREATE of the same name with other columns.
func (g *generator) recreate(t *randomTable) {
	if strings.HasPrefix(t.name, "x") {
		return
	}
	g.commitAll()
	g.tables = slices.DeleteFunc(g.tables, func(o *randomTable) bool { return o == t })
	if g.kind.IsMariaDB() && g.IntN(2) == 0 {
		g.createTable(t.name)
		last := len(g.steps)
		for i := last - 1; i >= 0; i-- {
			if strings.HasPrefix(g.steps[i].sql, "CREATE TABLE "+t.name+" ") {
				s := &g.steps[i]
				s.sql = "CREATE OR REPLACE TABLE" + strings.TrimPrefix(s.sql, "CREATE TABLE")
				s.unpin = []string{t.keyTable()}
				break
			}
		}
		return
	}
	g.ddl(t, "DROP TABLE "+t.name).unpin = []string{t.keyTable()}
	g.createTable(t.name)
}

// names that tables get.
func (g *generator) newName() string {
	g.names++
	return fmt.Sprintf("u%d", g.names%5+1)
}

// copyTable adds a table like another, or from a SELECT.
func (g *generator) copyTable(t *randomTable) {
	if strings.HasPrefix(t.name, "x") || len(g.tables) > 9 || t.key == "" {
		return
	}
	name := g.newName()
	for _, o := range g.tables {
		if o.name == name {
			if g.IntN(2) == 0 {
				g.ddl(o, "DROP TABLE "+name).unpin = []string{name}
				g.tables = slices.DeleteFunc(g.tables, func(x *randomTable) bool { return x == o })
			}
			return
		}
	}
	c := *t
	c.name, c.columns = name, slices.Clone(t.columns)
	if g.IntN(2) == 0 {
		g.ddl(t, "CREATE TABLE "+name+" LIKE "+t.name)
		g.sql(0, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", name, c.list(), c.list(),
			t.name))
	} else {
		c.isPartitioned = false
		g.ddl(t, fmt.Sprintf("CREATE TABLE %s (PRIMARY KEY (%s)) SELECT %s FROM %s", name, c.key,
			c.list(), t.name))
		c.columns = slices.DeleteFunc(c.columns, func(c randomColumn) bool { return c.isGenerated })
	}
	g.tables = append(g.tables, &c)
	g.pin(&c)
}

// list returns the columns that a statement can write.
func (t *randomTable) list() string {
	names := []string{"id", "n", "fixed"}
	if t.key == "id, k" {
		names = append(names, "k")
	}
	for _, c := range append(slices.Clone(t.columns), t.fixed...) {
		if !c.isGenerated {
			names = append(names, "`"+c.name+"`")
		}
	}
	return strings.Join(names, ", ")
}

// rename adds a RENAME: to another name, or an exchange of two tables.
func (g *generator) rename(t *randomTable) {
	if strings.HasPrefix(t.name, "x") {
		return
	}
	if o := g.table(); o != t && !strings.HasPrefix(o.name, "x") && g.IntN(2) == 0 {
		g.commitAll()
		s := g.sql(0, fmt.Sprintf("RENAME TABLE %s TO tmp, %s TO %s, tmp TO %s", t.name, o.name,
			t.name, o.name))
		s.unpin = []string{t.keyTable(), o.keyTable()}
		s.isUnordered = s.unpin
		t.name, o.name = o.name, t.name
		g.pin(t)
		g.pin(o)
		return
	}
	name := g.newName()
	if slices.ContainsFunc(g.tables, func(o *randomTable) bool { return o.name == name }) {
		return
	}
	sql := fmt.Sprintf("RENAME TABLE %s TO %s", t.name, name)
	if g.IntN(3) == 0 {
		sql = fmt.Sprintf("ALTER TABLE %s RENAME TO %s", t.name, name)
	}
	unpin := []string{t.keyTable(), name}
	s := g.ddl(t, sql)
	s.unpin, s.isUnordered = unpin, unpin
	t.name = name
	g.pin(t)
}
