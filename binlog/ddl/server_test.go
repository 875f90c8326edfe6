package ddl_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/binlog/sqltext"
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

// randomSections is the number of sections with random statements. Servers reject most of these, so
// they do not count.
var randomSections = 40

func testServer(t *testing.T, c *mysql.Conn) {
	info := c.Server()
	mariaDB := info.Flavor == mysql.MariaDB
	version := info.Major*10000 + info.Minor*100 + info.Patch
	accepted, rejected := 0, 0
	exec := func(sql string) error { return c.Exec(t.Context(), sql) }
	sections := readCorpus(t)
	for seed := range uint64(randomSections) {
		sections = append(sections, randomSection(seed, 25))
	}
	for _, section := range sections {
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
			before := readValues(t, c, model, s)
			err := exec(line.sql)
			var answer *mysql.ServerError
			if errors.As(err, &answer) {
				if line.expect != "" {
					rejected++
				}
				if testing.Verbose() {
					t.Logf("%s: rejected: %v: %s", line.place, err, line.sql)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", line.sql, err)
			}
			if line.expect != "" {
				accepted++
			}
			effects, modelErr := model.apply(s)
			names := slices.Clone(s.Tables)
			for _, e := range effects {
				names = append(names, e.Table)
			}
			compare(t, c, model, line, names, modelErr, section.options(mariaDB, version))
			for _, e := range effects {
				compareValues(t, c, line, before, e)
			}
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
			tolerated := slices.Contains([]string{"", "unclear", "unknown"}, line.expect)
			if modelErr == nil || !tolerated {
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
	samePrimary := reflect.DeepEqual(got.Primary, want.Primary)
	if !samePrimary || !reflect.DeepEqual(got.Unique, want.Unique) {
		fmt.Fprintf(&b, "  got keys %v %v, want %v %v\n", got.Primary, got.Unique,
			want.Primary, want.Unique)
	}
	if !reflect.DeepEqual(got.NullableUnique, want.NullableUnique) {
		fmt.Fprintf(&b, "  got nullable unique keys %v, want %v\n", got.NullableUnique,
			want.NullableUnique)
	}
	if got.NotFollowed != want.NotFollowed {
		fmt.Fprintf(&b, "  got not followed %q, want %q\n", got.NotFollowed, want.NotFollowed)
	}
	if b.Len() == 0 {
		return "nil and empty lists differ"
	}
	return b.String()
}

// values holds the values of the columns of a table as a load reads them, sorted.
type values map[string][]string

// readValues fills the table that an ALTER changes, if it is empty, and returns its values.
func readValues(t *testing.T, c *mysql.Conn, model *catalog, s *ddl.Statement) values {
	t.Helper()
	if s.Action != ddl.AlterTable {
		return nil
	}
	schema := model.Table(s.Tables[0])
	if schema == nil || schema.NotFollowed != "" {
		return nil
	}
	table := schema.Table()
	if v := selectValues(t, c, table); v == nil || len(v[table.Columns[0].Name]) > 0 {
		return v
	}
	for n := range 3 {
		var sets []string
		for i := range table.Columns {
			switch col := &table.Columns[i]; {
			case col.Generated:
			case n < 2:
				sets = append(sets, sqltext.QuoteName(col.Name)+"="+sample(col, n))
			case col.Nullable:
				sets = append(sets, sqltext.QuoteName(col.Name)+"=NULL")
			}
		}
		if len(sets) == 0 {
			continue
		}
		// A value that the column rejects leaves the table with fewer rows.
		var answer *mysql.ServerError
		err := c.Exec(t.Context(), "INSERT IGNORE INTO "+
			sqltext.QuoteTable(table.Database, table.Name)+" SET "+strings.Join(sets, ","))
		if err != nil && !errors.As(err, &answer) {
			t.Fatal(err)
		}
	}
	return selectValues(t, c, table)
}

// sample returns a value of a column: n is 0 for a small one and 1 for a large one.
func sample(c *binlog.Column, n int) string {
	switch c.Value() {
	case binlog.ValueMoment:
		return [...]string{"'2001-02-03'", "'2020-12-31 12:13:14.567891'"}[n]
	case binlog.ValueDuration:
		return [...]string{"'01:02:03'", "'-99:00:01.5'"}[n]
	case binlog.ValueText:
		switch {
		case c.Type == binlog.TypeJSON:
			return "'{}'"
		case c.Type == binlog.TypeGeometry:
			return "ST_GeomFromText('POINT(1 2)')"
		case c.HasLabels():
			return [...]string{"1", "2"}[n]
		}
		return [...]string{"'a'", "'Zz \u00e4'"}[n]
	}
	return [...]string{"1", "99999999999999999999"}[n]
}

func selectValues(t *testing.T, c *mysql.Conn, table *binlog.Table) values {
	t.Helper()
	exprs := make([]string, len(table.Columns))
	for i := range table.Columns {
		exprs[i] = binlog.SelectExpr(&table.Columns[i], sqltext.QuoteName(table.Columns[i].Name))
	}
	r, err := c.Query(t.Context(), "SELECT "+strings.Join(exprs, ",")+" FROM "+
		sqltext.QuoteTable(table.Database, table.Name))
	if err != nil {
		return nil // a table whose tablespace is discarded
	}
	v := values{}
	for i := range table.Columns {
		column := []string{}
		for _, row := range r.Rows {
			text := "NULL"
			if row[i] != nil {
				text = "=" + string(row[i])
			}
			if strings.Contains(table.Columns[i].SQLType, "zerofill") {
				text = "=" + strings.TrimLeft(text, "=0")
			}
			column = append(column, text)
		}
		slices.Sort(column)
		v[table.Columns[i].Name] = column
	}
	return v
}

// compareValues requires that a statement whose class says so has kept all values, and that added
// columns are NULL.
func compareValues(
	t *testing.T, c *mysql.Conn, line statement, before values, e ddl.Effect,
) {
	t.Helper()
	if before == nil || e.Schema == nil || e.Class > ddl.ColumnsChanged {
		return
	}
	table := e.Schema.Table()
	after := selectValues(t, c, table)
	if after == nil {
		return // the statement renames the table too
	}
	for i := range table.Columns {
		name := table.Columns[i].Name
		old := name
		if was, renamed := e.Renamed[name]; renamed {
			old = was
		} else if _, taken := before[name]; taken && slices.Contains(
			slices.Collect(maps.Values(e.Renamed)), name) {
			old = "" // an added column has the old name of a renamed one
		}
		want, existed := before[old]
		if existed && !slices.Equal(after[name], want) {
			t.Errorf("%s: %s: class %s, but column %s changes from %q to %q", line.place, line.sql,
				e.Class, name, want, after[name])
		}
		isSet := func(v string) bool { return v != "NULL" }
		if !existed && slices.ContainsFunc(after[name], isSet) {
			t.Errorf("%s: %s: class %s, but the new column %s is %q", line.place, line.sql,
				e.Class, name, after[name])
		}
	}
}
