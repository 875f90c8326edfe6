package ddl_test

import (
	"testing"

	"rowfall/binlog/ddl"
)

// FuzzParse requires that no text makes Parse or Apply panic, and that a schema which comes out can
// be stored.
func FuzzParse(f *testing.F) {
	for _, section := range readCorpus(f) {
		for _, line := range section.statements {
			f.Add(line.sql, section.mariaDB, uint64(0))
		}
	}
	f.Fuzz(func(t *testing.T, sql string, mariaDB bool, mode uint64) {
		o := ddl.Options{MariaDB: mariaDB, SQLMode: ddl.SQLMode(mode), Database: database}
		c := newCatalog()
		for _, base := range []string{
			"CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(10) NOT NULL UNIQUE, c text)",
			"CREATE TABLE a (id int NOT NULL, b int, KEY k (b))",
		} {
			if _, err := c.apply(ddl.Parse(base, ddl.Options{Database: database})); err != nil {
				t.Fatal(err)
			}
		}
		c.tables[ddl.TableName{Database: database, Table: "p"}] = ddl.FromTable(
			c.tables[ddl.TableName{Database: database, Table: "t"}].Table())
		s := ddl.Parse(sql, o)
		effects, err := c.apply(s)
		if s.Action == ddl.Unknown && (s.Reason == "" || err == nil) {
			t.Errorf("%q: unknown for reason %q, %v", sql, s.Reason, err)
		}
		for _, e := range effects {
			if e.Schema != nil {
				checkJSON(t, e.Schema)
			}
		}
		s.Mentions(func(n ddl.TableName) bool { return n.Table == "t" })
	})
}
