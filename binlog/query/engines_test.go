package query_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
)

// testEngines lists tables whose rows in the binlog are not the rows that they hold. All of them
// were once followed.
func testEngines(t *testing.T, s server) {
	c := s.dial(t)
	exec(
		t, c, "CREATE DATABASE engines",
		"CREATE DATABASE `o``n`",
		"USE engines",
		"CREATE TABLE engines.part (id int PRIMARY KEY, v int) ENGINE=MyISAM",
		"CREATE TABLE engines.alone (id int PRIMARY KEY, v int) ENGINE=MyISAM",
		"CREATE TABLE `o``n`.`b``c` (id int PRIMARY KEY, v int) ENGINE=MyISAM",
		"CREATE TABLE engines.whole (id int PRIMARY KEY, v int COMMENT 'UNION=(`alone`)') "+
			"ENGINE=MERGE UNION=(part, `o``n`.`b``c`) INSERT_METHOD=LAST COMMENT='UNION=(`alone`)'",
		"CREATE TABLE engines.empty (id int PRIMARY KEY, v int) ENGINE=MERGE",
		"CREATE TABLE engines.broken (id int PRIMARY KEY, v int) ENGINE=MERGE UNION=(missing)",
		"CREATE TABLE engines.mem (id int PRIMARY KEY) ENGINE=MEMORY",
		"CREATE TABLE engines.good (id int PRIMARY KEY)",
		"CREATE VIEW engines.vi AS SELECT * FROM engines.good",
		"CREATE VIEW engines.gone AS SELECT * FROM engines.empty",
	)
	want := map[string]string{
		"engines.part":  "in the UNION of the MERGE table engines.whole",
		"o`n.b`c":       "in the UNION of the MERGE table engines.whole",
		"engines.alone": "", "engines.good": "", "engines.whole": "MERGE", "engines.empty": "MERGE",
		"engines.broken": "MERGE",
		"engines.mem":    query.LostAtRestart, "engines.vi": "view", "engines.gone": "view",
	}
	if s.kind == servers.MySQL {
		exec(t, c, "CREATE TABLE engines.hole (id int PRIMARY KEY) ENGINE=BLACKHOLE")
		want["engines.hole"] = "BLACKHOLE"
	}
	if s.gtid {
		exec(
			t, c,
			"CREATE TABLE engines.far (id int PRIMARY KEY) ENGINE=FEDERATED "+
				"CONNECTION='mysql://u@127.0.0.1:1/x/y'",
		)
		want["engines.far"] = "FEDERATED"
	}
	tables, err := query.Tables(
		t.Context(), c,
		func(database, _ string) bool { return database == "engines" || database == "o`n" },
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		why, found := want[table.FullName()]
		if !found || (why == "") != (table.NotFollowed == "") ||
			!strings.Contains(table.NotFollowed, why) {
			t.Errorf("%s is not followed: %q, want %q", table.FullName(), table.NotFollowed, why)
		}
		if why == "" && len(table.Columns) == 0 {
			t.Errorf("%s has no columns", table.FullName())
		}
		delete(want, table.FullName())
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	// The UNION of a MERGE table outside of the mapping counts, too.
	tables, err = query.Tables(
		t.Context(), c,
		func(database, _ string) bool { return database == "o`n" },
	)
	if err != nil || len(tables) != 1 || !strings.Contains(tables[0].NotFollowed, "engines.whole") {
		t.Errorf("%+v, %v", tables, err)
	}
}

// testForeignKeys reads foreign keys as a user with few privileges, on a server that omits quotes
// where it can.
func testForeignKeys(t *testing.T, s server) {
	root := s.dial(t)
	exec(
		t, root,
		"CREATE DATABASE `f``k`",
		"USE `f``k`",
		"CREATE USER keyser@'%'",
		"GRANT SELECT ON `f``k`.* TO keyser@'%'",
		"CREATE TABLE `f``k`.p (id int PRIMARY KEY)",
		"CREATE TABLE `f``k`.c (id int PRIMARY KEY, v int, `w``x` int, "+
			"CONSTRAINT `my``fk` FOREIGN KEY (`w``x`) REFERENCES p (id) ON DELETE CASCADE ON "+
			"UPDATE SET NULL, "+
			"CONSTRAINT `x ON DELETE CASCADE` FOREIGN KEY (v) REFERENCES p (id), "+
			"CONSTRAINT plain FOREIGN KEY (id) REFERENCES p (id) ON UPDATE CASCADE)",
		"SET GLOBAL sql_quote_show_create=OFF",
	)
	defer exec(t, root, "SET GLOBAL sql_quote_show_create=ON")
	c := s.dialAs(t, "keyser", "")
	keys, err := query.ForeignKeys(t.Context(), c, "f`k", "c")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, len(keys))
	for _, k := range keys {
		got = append(got, k.Name+": "+k.Cascades())
	}
	slices.Sort(got)
	if want := []string{
		"my`fk: ON DELETE CASCADE ON UPDATE SET NULL", "plain: ON UPDATE CASCADE",
		"x ON DELETE CASCADE: ",
	}; !slices.Equal(
		got, want,
	) {
		t.Errorf("foreign keys are %q, want %q", got, want)
	}
	for _, name := range []string{"p", "missing"} {
		if keys, err := query.ForeignKeys(t.Context(), c, "f`k", name); err != nil ||
			len(keys) > 0 {
			t.Errorf("%s: %+v, %v", name, keys, err)
		}
	}
	// Grants must be readable under the same setting, too.
	problems, err := query.CheckSelect(t.Context(), c, "`f``k`.*")
	if err != nil || len(problems) > 0 {
		t.Errorf("problems are %v, %v", problems, err)
	}
	if problems, err = query.CheckSelect(t.Context(), c, "other.*"); err != nil ||
		len(problems) != 1 {
		t.Errorf("problems are %v, %v", problems, err)
	}
}

// Only "no such table" means that a table is gone.
func TestIsNoTable(t *testing.T) {
	of := func(code uint16) error { return fmt.Errorf("query: %w", &mysql.ServerError{Code: code}) }
	for code, want := range map[uint16]bool{
		1146: true, 1049: true, 1142: false, 1143: false,
		1205: false, 1317: false, 3024: false, 1053: false, 1927: false, 1168: false,
	} {
		if got := query.IsNoTable(of(code)); got != want {
			t.Errorf("error %d: %v", code, got)
		}
	}
	if query.IsNoTable(nil) || query.IsNoTable(errors.New("EOF")) || query.CannotOpen(nil) ||
		query.CannotOpen(of(1317)) ||
		!query.CannotOpen(of(1168)) {
		t.Error("other errors")
	}
}
