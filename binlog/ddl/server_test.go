package ddl_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestServers executes the corpus on real servers. After each statement the schemas must be those
// that the server's information_schema shows, and those of the text of SHOW CREATE TABLE.
func TestServers(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			args := []string{
				"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
				"--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
				"--innodb-flush-method=nosync", "--innodb-doublewrite=0",
			}
			db := servertest.Database(t, kind, servers.DatabaseOptions{Args: args})
			c, err := mysql.Dial(t.Context(),
				mysql.Config{Addresses: []string{db.Addr()}, User: "root"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			testServer(t, c)
		})
	}
}

func testServer(t *testing.T, c *mysql.Conn) {
	info := c.Server()
	mariaDB := info.Flavor == mysql.MariaDB
	version := info.Major*10000 + info.Minor*100 + info.Patch
	accepted, rejected := 0, 0
	exec := func(sql string) error { return c.Exec(t.Context(), sql) }
	for _, section := range readCorpus(t) {
		if section.offline || mariaDB && !section.mariaDB || !mariaDB && !section.mysql {
			continue
		}
		for _, sql := range []string{
			"SET SESSION sql_mode=''",
			"CREATE DATABASE corpus CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "USE corpus",
			"SET SESSION sql_mode='" + strings.Join(section.mode, ",") + "'",
			"SET SESSION foreign_key_checks=0",
		} {
			if err := exec(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		model := newCatalog()
		for _, line := range section.statements {
			s := ddl.Parse(line.sql, section.options(mariaDB, version))
			switch s.Action {
			case ddl.Other, ddl.DropDatabase, ddl.CreateDatabase, ddl.AlterDatabase:
				continue // these could disturb other sections
			}
			if s.Temporary {
				continue // SHOW CREATE TABLE would show it in place of a table
			}
			err := exec(line.sql)
			var answer *mysql.ServerError
			if errors.As(err, &answer) {
				rejected++
				if testing.Verbose() {
					t.Logf("%s: rejected: %v: %s", line.place, err, line.sql)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", line.sql, err)
			}
			accepted++
			effects, modelErr := model.apply(s)
			names := slices.Clone(s.Tables)
			for _, e := range effects {
				names = append(names, e.Table)
			}
			compare(t, c, model, line, names, modelErr, section.options(mariaDB, version))
		}
		for _, sql := range []string{"USE mysql", "DROP DATABASE corpus"} {
			if err := exec(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	t.Logf("%d statements accepted, %d rejected", accepted, rejected)
	if accepted*10 < (accepted+rejected)*6 {
		t.Errorf("%d statements accepted, %d rejected: too few are compared", accepted, rejected)
	}
}

// compare compares the model's schemas of the named tables with the server's, and corrects the
// model where it differs or where the statement could not be applied.
func compare(
	t *testing.T, c *mysql.Conn, model *catalog, line statement, names []ddl.TableName,
	modelErr error, o ddl.Options,
) {
	t.Helper()
	tables, err := query.Tables(t.Context(), c, func(d, n string) bool {
		return slices.Contains(names, ddl.TableName{Database: d, Table: n})
	})
	if err != nil {
		t.Errorf("%s: %s: %v", line.place, line.sql, err)
		for _, name := range names {
			delete(model.tables, name)
		}
		return
	}
	o.SQLMode = 0
	found := map[ddl.TableName]*ddl.Schema{}
	for _, want := range tables {
		name := ddl.TableName{Database: want.Database, Table: want.Name}
		shown := fromServer(t, c, model, name, o)
		got := model.Table(name)
		found[name] = got
		if want.NotFollowed != "" && len(want.Columns) == 0 {
			if got != nil && got.NotFollowed != want.NotFollowed && got.Engine == "" {
				t.Errorf("%s: %s: not followed: %q, want %q", line.place, line.sql,
					got.NotFollowed, want.NotFollowed)
			}
			continue
		}
		if strings.HasPrefix(want.NotFollowed, "its engine") {
			want.NotFollowed = "" // of which the caller decides
		}
		if modelErr != nil || got == nil {
			if modelErr == nil || line.expect != "unclear" && line.expect != "unknown" {
				t.Errorf("%s: no schema of %s: %v: %s", line.place, name, modelErr, line.sql)
			}
			found[name] = shown
			continue
		}
		if diff := difference(got.Table(), want); diff != "" {
			t.Errorf("%s: %s\n%s", line.place, line.sql, diff)
			found[name] = shown
		}
		if shown == nil {
			continue
		}
		if diff := difference(shown.Table(), want); diff != "" {
			t.Errorf("%s: SHOW CREATE TABLE after %s\n%s", line.place, line.sql, diff)
		}
	}
	for _, name := range names {
		switch now, exists := found[name]; {
		case !exists && model.Table(name) != nil:
			t.Errorf("%s: %s does not exist: %s", line.place, name, line.sql)
			delete(model.tables, name)
		case now == nil:
			delete(model.tables, name)
		default:
			model.tables[name] = now
		}
	}
}

// fromServer returns the schema of a table by the text of SHOW CREATE TABLE.
func fromServer(
	t *testing.T, c *mysql.Conn, model *catalog, name ddl.TableName, o ddl.Options,
) *ddl.Schema {
	t.Helper()
	if err := c.Exec(t.Context(), "SET @old=@@sql_mode, sql_mode=''"); err != nil {
		t.Fatal(err)
	}
	r, err := c.Query(t.Context(), "SHOW CREATE TABLE `"+name.Table+"`")
	if err := c.Exec(t.Context(), "SET sql_mode=@old"); err != nil {
		t.Fatal(err)
	}
	if query.CannotOpen(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	text := r.Text(0, "Create Table")
	s := ddl.Parse(text, o)
	effects, err := s.Apply(&catalog{databases: model.databases})
	if err != nil || len(effects) != 1 {
		t.Errorf("SHOW CREATE TABLE is not understood: %v, %v:\n%s", effects, err, text)
		return nil
	}
	return effects[0].Schema
}

// difference returns how two tables differ.
func difference(got, want *binlog.Table) string {
	if reflect.DeepEqual(got, want) {
		return ""
	}
	var b strings.Builder
	for i := range max(len(got.Columns), len(want.Columns)) {
		var g, w string
		if i < len(got.Columns) {
			g = fmt.Sprintf("%+v", got.Columns[i])
		}
		if i < len(want.Columns) {
			w = fmt.Sprintf("%+v", want.Columns[i])
		}
		if g != w {
			fmt.Fprintf(&b, "  got  %s\n  want %s\n", g, w)
		}
	}
	if !reflect.DeepEqual(got.Primary, want.Primary) || !reflect.DeepEqual(got.Unique, want.Unique) {
		fmt.Fprintf(&b, "  got keys %v %v, want %v %v\n", got.Primary, got.Unique,
			want.Primary, want.Unique)
	}
	if got.NotFollowed != want.NotFollowed {
		fmt.Fprintf(&b, "  got not followed %q, want %q\n", got.NotFollowed, want.NotFollowed)
	}
	if b.Len() == 0 {
		return "nil and empty lists differ"
	}
	return b.String()
}
