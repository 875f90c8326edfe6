package pipelines_test

import (
	"fmt"
	"slices"
	"strings"
)

// onlineChange adds an online schema change, as gh-ost, pt-online-schema-change or Vitess make it:
// the rows are copied to a helper table, which then takes the table's name.
func (g *generator) onlineChange(t *randomTable) {
	if t.key == "" || strings.Contains(t.name, ".") || t.isPartitioned || t.name == entriesTable {
		return // the triggers that record changes would be lost
	}
	tool := g.IntN(3)
	helper := "_" + t.name + []string{"_gho", "_new", ""}[tool]
	old := "_" + t.name + []string{"_del", "_old", ""}[tool]
	if tool == 2 {
		helper, old = "_vt_vrp_0123456789_"+t.name, "_vt_hld_0123456789_"+t.name
	}
	g.ddl(t, "CREATE TABLE "+helper+" LIKE "+t.name)
	after := *t
	after.columns = slices.Clone(t.columns)
	g.sql(0, "ALTER TABLE "+helper+" "+g.alteration(&after))
	common := t.common(&after)
	if tool == 1 {
		g.triggers(t.name, helper, common)
	}
	g.sql(0, fmt.Sprintf("INSERT IGNORE INTO %s (%s) SELECT %s FROM %s", helper, common, common,
		t.name))
	if tool == 1 {
		for range g.IntN(3) {
			a := 1 + g.IntN(30)
			g.counter++
			g.sql(0, fmt.Sprintf("UPDATE %s SET n = %d WHERE id BETWEEN %d AND %d",
				t.name, g.counter, a, a+g.IntN(9)))
		}
	}
	g.sql(0, fmt.Sprintf("RENAME TABLE %s TO %s, %s TO %s", t.name, old, helper, t.name))
	if tool == 1 {
		for _, name := range []string{"ins", "upd", "del"} {
			g.sql(0, "DROP TRIGGER IF EXISTS pt_"+t.name+"_"+name)
		}
	}
	if g.IntN(4) == 0 {
		g.change() // what the tool removes may stay for a while
	}
	g.sql(0, "DROP TABLE "+old)
	t.columns = after.columns
}

// common returns the columns that a statement can copy from t to o.
func (t *randomTable) common(o *randomTable) string {
	a, b := strings.Split(t.list(), ", "), strings.Split(o.list(), ", ")
	return strings.Join(slices.DeleteFunc(a, func(name string) bool {
		return !slices.Contains(b, name)
	}), ", ")
}

// triggers adds the triggers of pt-online-schema-change.
func (g *generator) triggers(table, helper, columns string) {
	row := "NEW." + strings.ReplaceAll(columns, ", ", ", NEW.")
	replace := fmt.Sprintf("REPLACE INTO %s (%s) VALUES (%s)", helper, columns, row)
	for _, trigger := range [][3]string{
		{"ins", "INSERT", replace},
		{"upd", "UPDATE", replace},
		{"del", "DELETE", "DELETE IGNORE FROM " + helper + " WHERE id = OLD.id"},
	} {
		g.sql(0, fmt.Sprintf("CREATE TRIGGER pt_%s_%s AFTER %s ON %s FOR EACH ROW %s", table,
			trigger[0], trigger[1], table, trigger[2]))
	}
}

// partitions adds a change of partitions. Rows with pinned ids stay.
func (g *generator) partitions() {
	i := slices.IndexFunc(g.tables, func(t *randomTable) bool { return t.isPartitioned })
	if i < 0 {
		return
	}
	t := g.tables[i]
	switch g.IntN(4) {
	case 0:
		g.ddl(t, "ALTER TABLE "+t.name+" TRUNCATE PARTITION q"+fmt.Sprint(g.IntN(2)))
	case 1:
		g.ddl(t, "ALTER TABLE "+t.name+" DROP PARTITION q"+fmt.Sprint(g.IntN(2)))
	case 2:
		g.ddl(t, "ALTER TABLE "+t.name+" REORGANIZE PARTITION q2 INTO "+
			"(PARTITION q1 VALUES LESS THAN (20), PARTITION q2 VALUES LESS THAN MAXVALUE)")
	default:
		other := &randomTable{name: "e1", key: t.key, columns: t.columns}
		key := t.keyTable()
		g.ddl(t, "CREATE TABLE e1 LIKE "+t.name)
		g.sql(0, "ALTER TABLE e1 REMOVE PARTITIONING")
		g.sql(0, g.insertText("INSERT IGNORE", other, []int{10, 11, 12 + g.IntN(8)}))
		s := g.sql(0, "ALTER TABLE "+t.name+" EXCHANGE PARTITION q1 WITH TABLE e1")
		s.isUnordered = []string{key, "e1"}
		g.sql(0, "DROP TABLE e1")
	}
}

// unlogged adds a statement that is not in the binlog. Rows show it.
func (g *generator) unlogged(t *randomTable) {
	// The stream of entriesTable lacks entries of rows that cannot be decoded. pin adds no rows to
	// the tables x1 to x3, so that no row may show the statement.
	if t.name == entriesTable || strings.HasPrefix(t.name, "x") {
		return
	}
	g.ddl(t, "SET sql_log_bin = 0")
	switch last := len(t.columns) - 1; g.IntN(3) {
	case 0:
		if last >= 0 {
			g.sql(0, "ALTER TABLE "+t.name+" DROP COLUMN `"+t.columns[last].name+"`")
			t.columns = t.columns[:last]
		}
	case 1:
		name := g.newName()
		if len(g.tables) < 10 &&
			!slices.ContainsFunc(g.tables, func(o *randomTable) bool { return o.name == name }) {
			g.sql(0, "CREATE TABLE "+name+" (id INT NOT NULL PRIMARY KEY, n BIGINT, "+
				"fixed VARCHAR(20))")
			t = &randomTable{name: name, key: "id"}
			g.tables = append(g.tables, t)
		}
	default:
		c := g.newColumn(t)
		g.sql(0, "ALTER TABLE "+t.name+" ADD COLUMN "+g.definition(&c))
		t.columns = append(t.columns, c)
	}
	g.sql(0, "SET sql_log_bin = 1")
	g.pin(t)
}

// databases adds a change of a database's character set.
func (g *generator) databases() {
	charset := []string{"latin1", "utf8mb4", "ascii"}[g.IntN(3)]
	if g.IntN(2) == 0 {
		g.sql(0, "ALTER DATABASE {db}_two CHARACTER SET "+charset)
		return
	}
	g.commitAll()
	s := g.sql(0, "DROP DATABASE {db}_two")
	var names []string
	g.tables = slices.DeleteFunc(g.tables, func(t *randomTable) bool {
		isGone := strings.HasPrefix(t.name, "{db}_two.")
		if isGone {
			names = append(names, t.keyTable())
		}
		return isGone
	})
	s.unpin = names
	g.sql(0, "CREATE DATABASE {db}_two CHARACTER SET "+charset)
	g.createTable("{db}_two.t1")
}
