package pipelines_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"rowfall/internal/servers"
)

// differentialMapping maps all tables of two databases. A script adds entries for single tables:
// see script.mapping.
const differentialMapping = `pipeline: test
salt: grain
source:
  mysql: {addresses: ["{addr}"], user: root}
  backfill: {chunk_rows: 7, parallel: 2}
tables:
  "{db}.*":
    write:
      - hash: "{table}:{pk...}"
      - set: "x:fixed"
        member: "{fixed}"
        shared: true
        when_null: skip
      - set: "x:numbers"
        member: "{n}"
        shared: true
        when_null: skip
  "{db}_two.*": {write: [{hash: "two:{table}:{pk...}"}]}
sink:
  node: {listen: "127.0.0.1:0", dir: "{dir}", max_atomic_rows: 20}
`

// generator makes a script at random. It knows roughly which tables there are: a statement may
// fail.
type generator struct {
	*rand.Rand
	kind    servers.Kind
	steps   script
	tables  []*randomTable
	counter int
	pins    int
	names   int
	// open are the sessions with a transaction, and the tables that it has changed.
	open      map[int][]*randomTable
	isStopped bool // the pipeline
	// hasRestarts lets the MySQL server be restarted, which takes seconds.
	hasRestarts bool
}

// randomTable is a table as the generator knows it. Every table has the columns id, n and fixed.
type randomTable struct {
	name    string // with {db}_two. in front if it is there
	columns []randomColumn
	key     string // the primary key: "id", "id, k" or ""
	// fixed are columns that the mapping needs.
	fixed         []randomColumn
	isPartitioned bool
}

type randomColumn struct {
	name        string
	typ         int // in randomTypes
	isGenerated bool
}

func newGenerator(seed uint64, kind servers.Kind) *generator {
	return &generator{
		Rand: rand.New(rand.NewPCG(seed, 1)), kind: kind, open: make(map[int][]*randomTable),
	}
}

// keyTable returns the part of the table's keys before the row's key.
func (t *randomTable) keyTable() string {
	if name, ok := strings.CutPrefix(t.name, "{db}_two."); ok {
		return "two:" + name
	}
	return t.name
}

// script makes the script.
func (g *generator) script() script {
	for _, name := range []string{"t1", "t2", "{db}_two.t1", "p1"} {
		g.createTable(name)
	}
	for _, setting := range mappedEntries {
		g.act("map " + setting)
	}
	g.createMapped("x1", "code INT NOT NULL UNIQUE, grp INT, phone VARCHAR(20) UNIQUE, ")
	g.createMapped("x2", "grp INT, ")
	g.createGenerated("x3")
	if g.IntN(2) == 0 {
		g.createGenerated("x4")
	}
	if g.IntN(2) == 0 {
		g.createEntries()
	}
	for len(g.steps) < 160 {
		g.next()
	}
	g.commitAll()
	for _, t := range g.tables {
		if t.key == "" {
			g.ddl(t, "DROP TABLE "+t.name)
		}
	}
	return g.steps
}

// next adds one change, or an action.
func (g *generator) next() {
	switch n := g.IntN(100); {
	case n < 44:
		g.change()
	case n < 50:
		g.busy()
	case n < 85:
		g.schemaChange()
	case n < 87:
		g.noise()
	case n < 91:
		g.compare()
	default:
		g.action()
	}
}

// action adds an action on the pipeline.
func (g *generator) action() {
	switch g.IntN(8) {
	case 0, 1:
		if g.isStopped = !g.isStopped; g.isStopped {
			g.act("kill")
		} else {
			g.act("start")
		}
	case 2:
		g.act("kill")
		g.act("start")
		g.isStopped = false
	case 3, 4:
		when := []string{"before", "after"}[g.IntN(2)]
		g.act(fmt.Sprintf("crash %s %d", when, 1+g.IntN(12)))
	case 5, 6:
		if t := g.table(); !strings.Contains(t.name, ".") {
			g.act("backfill " + t.name)
		}
	default:
		if g.hasRestarts && g.IntN(2) == 0 {
			clear(g.open) // open transactions are lost
			g.act([]string{"restart", "restart killed"}[g.IntN(2)])
			return
		}
		g.compare()
	}
}

// compare adds a comparison, unless a table may be in quarantine.
func (g *generator) compare() {
	if slices.ContainsFunc(g.tables, func(t *randomTable) bool { return t.key == "" }) {
		return
	}
	g.commitAll()
	g.act("compare")
	g.isStopped = false
}

func (g *generator) act(action string) {
	g.steps = append(g.steps, step{action: strings.Fields(action)})
}

func (g *generator) table() *randomTable { return g.tables[g.IntN(len(g.tables))] }

// changedTable returns a table for a change of rows; half of them concern generated entries.
func (g *generator) changedTable() *randomTable {
	if g.IntN(2) > 0 {
		return g.table()
	}
	var list []*randomTable
	for _, t := range g.tables {
		if slices.Contains([]string{"x3", "x4", entriesTable}, t.name) {
			list = append(list, t)
		}
	}
	return list[g.IntN(len(list))]
}

// sql adds a statement of a session.
func (g *generator) sql(session int, sql string) *step {
	g.steps = append(g.steps, step{session: session, sql: sql})
	return &g.steps[len(g.steps)-1]
}

// ddl adds a statement that changes a table, in a session without a transaction. Transactions that
// have changed the table are committed first.
func (g *generator) ddl(t *randomTable, sql string) *step {
	for session := range 4 {
		if slices.Contains(g.open[session], t) {
			g.commit(session)
		}
	}
	return g.sql(0, sql)
}

func (g *generator) commitAll() {
	for session := range 4 {
		if g.open[session] != nil {
			g.commit(session)
		}
	}
}

func (g *generator) commit(session int) {
	delete(g.open, session)
	end := "COMMIT"
	if g.IntN(6) == 0 {
		end = "ROLLBACK"
	}
	g.sql(session, end)
}

// writer returns a session that may change the table: one session at a time has changes of it that
// are not committed.
func (g *generator) writer(t *randomTable) int {
	for session := range 4 {
		if slices.Contains(g.open[session], t) {
			if g.IntN(4) > 0 {
				return session
			}
			g.commit(session)
		}
	}
	session := 1 + g.IntN(3)
	if g.open[session] != nil {
		g.open[session] = append(g.open[session], t)
		return session
	}
	if g.IntN(3) == 0 {
		g.sql(session, "BEGIN")
		g.open[session] = []*randomTable{t}
	}
	return session
}

// pin adds two rows that stay until the table is unpinned.
func (g *generator) pin(t *randomTable) {
	if t.key == "" || strings.HasPrefix(t.name, "x") {
		return
	}
	ids := []int{9001 + g.pins, 9002 + g.pins}
	g.pins += 2
	s := g.ddl(t, g.insertText("INSERT", t, ids))
	for _, id := range ids {
		key := fmt.Sprintf("%s:%d", t.keyTable(), id)
		if t.key != "id" {
			key += ":1"
		}
		s.pin = append(s.pin, key)
	}
}

// change adds a change of rows.
func (g *generator) change() {
	t := g.changedTable()
	session := g.writer(t)
	a, b := 1+g.IntN(40), 1+g.IntN(40)
	g.counter++
	set := fmt.Sprintf("n = %d", g.counter)
	charset, text := "", ""
	if g.IntN(10) == 0 {
		charset, text = g.clientText()
	}
	if all := append(slices.Clone(t.columns), t.fixed...); len(all) > 0 {
		c := all[g.IntN(len(all))]
		if text == "" {
			text = g.value(c)
		}
		if !c.isGenerated {
			set += ", `" + c.name + "` = " + text
		}
	}
	var s *step
	switch n := g.IntN(13); {
	case n < 4 && t.key != "":
		ids := []int{a}
		for range g.IntN(6) {
			ids = append(ids, 1+g.IntN(40))
		}
		s = g.sql(session, g.insertText([]string{"INSERT IGNORE", "REPLACE"}[g.IntN(2)], t, ids))
	case n < 7:
		s = g.sql(session, fmt.Sprintf("UPDATE %s SET %s WHERE id BETWEEN %d AND %d",
			t.name, set, min(a, b), max(a, b)))
	case n < 8:
		s = g.sql(session, fmt.Sprintf("UPDATE %s SET %s", t.name, set))
	case n < 9 && t.key != "":
		s = g.sql(session, fmt.Sprintf("UPDATE %s SET id = %d, fixed = 'f%d', %s WHERE id = %d",
			t.name, b, b, set, a))
	case n < 10 && t.key != "":
		s = g.swap(session, t, a, b)
	case n < 11 && t.key != "":
		s = g.sql(session, fmt.Sprintf("UPDATE %s SET id = id - 1, fixed = CONCAT('f', id), "+
			"n = %d WHERE id < 1000 ORDER BY id", t.name, g.counter))
	default:
		s = g.sql(session, fmt.Sprintf("DELETE FROM %s WHERE id BETWEEN %d AND %d",
			t.name, a, a+g.IntN(5)))
	}
	s.charset = charset
}

// busy changes all rows of a table again and again, while a job reads it.
func (g *generator) busy() {
	t := g.table()
	if !strings.Contains(t.name, ".") {
		g.act("backfill " + t.name)
	}
	s := g.ddl(t, "UPDATE "+t.name+" SET n = n + 1")
	s.repeat = 20 + g.IntN(40)
	g.counter += s.repeat
}

// swap exchanges the keys of two rows.
func (g *generator) swap(session int, t *randomTable, a, b int) *step {
	isOpen := g.open[session] != nil
	if !isOpen {
		g.sql(session, "BEGIN")
	}
	for _, move := range [][2]int{{a, 500}, {b, a}, {500, b}} {
		g.counter++
		g.sql(session, fmt.Sprintf("UPDATE %s SET id = %d, fixed = 'f%d', n = %d WHERE id = %d",
			t.name, move[1], move[1], g.counter, move[0]))
	}
	if !isOpen {
		g.sql(session, "COMMIT")
	}
	return &g.steps[len(g.steps)-1]
}

// insertText returns a statement that inserts rows.
func (g *generator) insertText(verb string, t *randomTable, ids []int) string {
	names := []string{"id", "n", "fixed"}
	all := append(slices.Clone(t.columns), t.fixed...)
	var used []randomColumn
	for _, c := range all {
		if !c.isGenerated && (g.IntN(5) > 0 || slices.Contains(t.fixed, c)) {
			names, used = append(names, "`"+c.name+"`"), append(used, c)
		}
	}
	if strings.HasPrefix(t.key, "id, k") {
		names = append(names, "k")
	}
	var rows []string
	for _, id := range ids {
		g.counter++
		row := []string{fmt.Sprint(id), fmt.Sprint(g.counter), fmt.Sprintf("'f%d'", id)}
		for _, c := range used {
			row = append(row, g.value(c))
		}
		if strings.HasPrefix(t.key, "id, k") {
			row = append(row, "1")
		}
		rows = append(rows, "("+strings.Join(row, ", ")+")")
	}
	return fmt.Sprintf("%s INTO %s (%s) VALUES %s", verb, t.name, strings.Join(names, ", "),
		strings.Join(rows, ", "))
}

// clientText returns a character set of a client, and a text that the client can send.
func (g *generator) clientText() (charset, text string) {
	switch g.IntN(3) {
	case 0:
		return "latin1", "'caf\u00e9 \u00df'"
	case 1:
		return "cp1251", "'\u043f\u0440\u0438\u0432\u0435\u0442'"
	}
	return "gbk", "'\u4f60\u597d'"
}

// noise adds a statement that changes no mapped table.
func (g *generator) noise() {
	charset, text := g.clientText()
	n := g.IntN(5)
	for _, sql := range []string{
		"CREATE OR REPLACE VIEW v%d AS SELECT %s AS c",
		"DROP VIEW IF EXISTS v%d",
		"CREATE PROCEDURE r%d () SELECT %s",
		"DROP PROCEDURE IF EXISTS r%d",
		"CREATE TABLE _vt_noise%d (c VARCHAR(20) COMMENT %s)",
		"DROP TABLE IF EXISTS _vt_noise%d",
		"ANALYZE TABLE t%d",
		"CREATE TABLE nokey%d (c VARCHAR(20) DEFAULT %s)",
	}[g.IntN(8):][:1] {
		if strings.Contains(sql, "%s") {
			g.sql(0, fmt.Sprintf(sql, n, text)).charset = charset
		} else {
			g.sql(0, fmt.Sprintf(sql, n))
		}
	}
}
