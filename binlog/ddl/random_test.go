package ddl_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes random statements about one table.
type generator struct{ *rand.Rand }

// randomSection returns statements with ALTERs of several clauses. Servers reject many of them.
func randomSection(seed uint64, n int) section {
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	s := section{mysql: true, mariaDB: true, mode: []string{"STRICT_TRANS_TABLES"}}
	if seed%2 == 1 {
		s.mode = nil
	}
	add := func(sql string) {
		place := fmt.Sprintf("seed %d, statement %d", seed, len(s.statements))
		s.statements = append(s.statements, statement{place: place, sql: sql})
	}
	add("CREATE TABLE t (a int NOT NULL, b varchar(10), c int," +
		" PRIMARY KEY (a), UNIQUE (b), KEY (c))")
	for range n {
		clauses := make([]string, 1+g.IntN(3))
		for i := range clauses {
			clauses[i] = g.clause()
		}
		add("ALTER TABLE t " + strings.Join(clauses, ", "))
	}
	return s
}

// pick returns one of the words.
func (g generator) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g generator) column() string { return g.pick("a", "b", "c", "d", "e", "f") }

func (g generator) definition() string {
	typ := g.pick("int", "bigint unsigned", "varchar(10)", "varchar(30) CHARACTER SET latin1",
		"char(5)", "decimal(8,3)", "enum('x','y')", "enum('x','y','z')", "datetime(3)", "text",
		"varbinary(7)", "timestamp", "year", "json", "tinyint(1)", "set('p','q')", "bit(3)")
	null := g.pick("", "", " NULL", " NOT NULL")
	key := g.pick("", "", "", "", " UNIQUE", " COMMENT 'x'")
	return typ + null + key
}

func (g generator) place() string {
	return g.pick("", "", " FIRST", " AFTER "+g.column())
}

func (g generator) columns() string {
	if g.IntN(2) == 0 {
		return g.column()
	}
	return g.column() + ", " + g.column()
}

func (g generator) clause() string {
	switch g.IntN(14) {
	case 0, 1, 2:
		return "ADD " + g.column() + " " + g.definition() + g.place()
	case 3:
		return "DROP COLUMN " + g.column()
	case 4, 5:
		return "MODIFY " + g.column() + " " + g.definition() + g.place()
	case 6, 7:
		return "CHANGE " + g.column() + " " + g.column() + " " + g.definition() + g.place()
	case 8:
		return "RENAME COLUMN " + g.column() + " TO " + g.column()
	case 9:
		return g.pick("ADD UNIQUE (", "ADD KEY (", "ADD UNIQUE k (", "ADD KEY b_2 (") +
			g.columns() + ")"
	case 10:
		return g.pick("DROP PRIMARY KEY", "ADD PRIMARY KEY ("+g.columns()+")",
			"DROP KEY "+g.column(), "DROP KEY k", "RENAME KEY k TO "+g.column())
	case 11:
		return g.pick("CHARACTER SET latin1", "CHARACTER SET utf8mb4", "COLLATE utf8mb4_bin",
			"CONVERT TO CHARACTER SET utf8mb4", "CONVERT TO CHARACTER SET latin1")
	case 12:
		return "ALTER " + g.column() + g.pick(" SET DEFAULT NULL", " DROP DEFAULT")
	}
	return "MODIFY " + g.column() + " " + g.definition()
}
