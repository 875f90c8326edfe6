package query_test

import (
	"testing"

	"go.uber.org/goleak"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// setups are the three kinds of servers that Read handles differently, and a newer MariaDB.
var setups = []struct {
	name string
	kind servers.Kind
	gtid bool
	args []string
}{
	// The delay lies between the write to the binlog, which every reader sees, and the engine
	// commit: the gap that Read must handle. With sync_binlog=0 the binlog's end does not wait.
	{
		"mysql-gtid", servers.MySQL, true,
		[]string{"--sync-binlog=0", "--binlog-group-commit-sync-delay=20000", "--federated"},
	},
	{
		"mysql", servers.MySQL, false,
		[]string{"--sync-binlog=0", "--binlog-group-commit-sync-delay=20000"},
	},
	{"mariadb", servers.MariaDB, false, nil},
	{"mariadb-11.8", servers.MariaDB118, false, nil},
}

type server struct {
	addr string
	kind servers.Kind
	gtid bool
}

func each(t *testing.T, f func(t *testing.T, s server)) {
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) {
			db := servertest.Database(t, s.kind,
				servers.DatabaseOptions{GTID: s.gtid, Args: s.args})
			f(t, server{db.Addr(), s.kind, s.gtid})
		})
	}
}

func (s server) dial(t *testing.T) *mysql.Conn { return s.dialAs(t, "root", "") }

func (s server) dialAs(t *testing.T, user, password string) *mysql.Conn {
	t.Helper()
	c, err := mysql.Dial(t.Context(),
		mysql.Config{Addresses: []string{s.addr}, User: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exec(t *testing.T, c *mysql.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.300s: %v", sql, err)
		}
	}
}

func rows(t *testing.T, c *mysql.Conn, sql string) [][]mysql.Cell {
	t.Helper()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%.300s: %v", sql, err)
	}
	return r.Rows
}

// readTable returns one table as it is now.
func readTable(t *testing.T, c *mysql.Conn, database, name string) (*binlog.Table, error) {
	t.Helper()
	tables, err := query.Tables(t.Context(), c,
		func(d, n string) bool { return d == database && n == name })
	if err != nil {
		return nil, err
	}
	if len(tables) != 1 {
		t.Fatalf("%d tables are named %s.%s, want 1", len(tables), database, name)
	}
	return tables[0], nil
}

func TestServers(t *testing.T) {
	each(t, func(t *testing.T, s server) {
		exec(t, s.dial(t), "CREATE DATABASE shop CHARACTER SET utf8mb4")
		t.Run("tables", func(t *testing.T) { testTables(t, s) })
		t.Run("definitions", func(t *testing.T) { testDefinitions(t, s) })
		t.Run("engines", func(t *testing.T) { testEngines(t, s) })
		t.Run("foreign keys", func(t *testing.T) { testForeignKeys(t, s) })
		t.Run("chunks", func(t *testing.T) { testChunks(t, s) })
		t.Run("prefix", func(t *testing.T) { testPrefix(t, s) })
		t.Run("no such value", func(t *testing.T) { testNoSuchValue(t, s) })
		t.Run("index", func(t *testing.T) { testIndex(t, s) })
		t.Run("bracket", func(t *testing.T) { testBracket(t, s) })
		t.Run("cancel", func(t *testing.T) { testCancel(t, s) })
		t.Run("wrong server", func(t *testing.T) { testWrongServer(t, s) })
		t.Run("end", func(t *testing.T) { testEnd(t, s) })
		t.Run("check", func(t *testing.T) { testCheck(t, s) })
		t.Run("locked", func(t *testing.T) { testLocked(t, s) })
		t.Run("now", func(t *testing.T) { testNow(t, s) })
		t.Run("beside DDL", func(t *testing.T) { testTablesBesideDDL(t, s) })
	})
}
