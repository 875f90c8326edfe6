package pipelines_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/internal/typetest"
)

// TestTypeMatrix writes values of every column type, and of every character set, to real servers:
// before the initial load, and by INSERT, UPDATE and DELETE. What a Redis or Valkey replica serves
// is compared with what a SELECT prints. With ROWFALL_LONG, most values are random.
//
// The servers' time zone has daylight saving time.
func TestTypeMatrix(t *testing.T) {
	full := []string{"--binlog-row-metadata=FULL"}
	tests := []struct {
		name          string
		kind, replica servers.Kind
		args          []string
	}{
		{"mysql", servers.MySQL, servers.Redis, nil},
		{"mariadb", servers.MariaDB, servers.Valkey, full},
		{"mariadb118", servers.MariaDB118, servers.Redis, nil},
	}
	if os.Getenv("ROWFALL_LONG") != "" {
		tests = append(tests, tests...)
		for i := range tests[:3] {
			tests[i].name += "-other-metadata"
			if tests[i].args = full; tests[i].kind == servers.MariaDB {
				tests[i].args = nil
			}
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := servertest.Database(t, test.kind, servers.DatabaseOptions{
				GTID: true, Args: test.args, Env: []string{"TZ=EST5EDT,M3.2.0,M11.1.0"},
			})
			m := newTypeMatrix(t, newDatabase(t, db))
			m.run(test.replica)
		})
	}
}

// columnsPerTable keeps tables within the servers' limits of a row's size.
const columnsPerTable = 40

// setSize is the distance of the ids of rows with the same values: those of the initial load come
// first, then those of INSERT, and those that an UPDATE sets from NULL.
const setSize = 10000

// bitKeys are the lengths of BIT for which there is a table with such a key.
var bitKeys = []string{"BIT(1)", "BIT(8)", "BIT(9)", "BIT(63)", "BIT(64)"}

// typeMatrix is a schema with a column of each type.
type typeMatrix struct {
	t         *testing.T
	d         *database
	isMariaDB bool
	tables    []*typeTable
	examples  []pageExample
	random    *rand.Rand
}

// typeTable is a table with columns c0, c1, ... or, if isKey is set, a table whose primary key is
// the only column.
type typeTable struct {
	name    string
	columns []typetest.Column
	isKey   bool
	rows    int // of each set
	schema  *binlog.Table
	// insertSQL inserts a row with an id and a number in the column a. It is set for a table whose
	// other columns the server fills in; columns is empty then.
	insertSQL string
	// showsInvisible is set if the mapping includes the invisible columns.
	showsInvisible bool
}

func newTypeMatrix(t *testing.T, d *database) *typeMatrix {
	server := d.conn.Server()
	m := &typeMatrix{t: t, d: d, isMariaDB: server.Flavor == mysql.MariaDB}
	if os.Getenv("ROWFALL_LONG") != "" {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m.random = rand.New(rand.NewPCG(seed, 0))
	}
	d.exec("ALTER DATABASE `"+d.name+"` CHARACTER SET utf8mb4", "SET sql_mode = ''",
		"SET NAMES utf8mb4")
	zone, err := d.conn.Query(t.Context(), "SELECT @@system_time_zone")
	must(t, err)
	if name := string(zone.Rows[0][0]); name != "EST" && name != "EDT" {
		t.Fatalf("the server's time zone is %s", name)
	}
	all := typetest.Columns(m.isMariaDB,
		server.Major*10000+server.Minor*100+server.Patch)
	for group := range slices.Chunk(all, columnsPerTable) {
		m.create("m", group)
	}
	for group := range slices.Chunk(m.charsetColumns(), columnsPerTable) {
		m.create("m", group)
	}
	if m.isMariaDB {
		d.exec("SET GLOBAL mysql56_temporal_format = OFF")
		m.create("m", slices.DeleteFunc(slices.Clone(all),
			func(c typetest.Column) bool { return !c.IsTemporal() }))
		d.exec("SET GLOBAL mysql56_temporal_format = ON")
	}
	for _, column := range all {
		if strings.HasPrefix(column.SQL, "BIT(") && !slices.Contains(bitKeys, column.SQL) {
			continue
		}
		m.createKey(column)
	}
	m.createExamples()
	m.createComputed("mx", false)
	m.createComputed("nx", true)
	if !m.isMariaDB {
		d.exec("SET sql_generate_invisible_primary_key = ON", "CREATE TABLE mg (a INT)")
		m.tables = append(m.tables, &typeTable{
			name: "mg", rows: 5, schema: m.describe("mg"),
			insertSQL: "INSERT INTO mg (my_row_id, a) VALUES (%d + 1, %d)",
		})
	}
	return m
}

// computedColumns and generatedColumns are columns that the server fills in.
const computedColumns = ` (id INT UNSIGNED NOT NULL PRIMARY KEY, a INT NOT NULL,
	c6 INT INVISIBLE DEFAULT 7, c7 BINARY(3) INVISIBLE DEFAULT 'a',
	c8 CHAR(36) DEFAULT (UUID()), c9 DECIMAL(5,2) DEFAULT 1.5, c10 INT DEFAULT (a + 1),
	c11 DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
	c12 TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
	c13 ENUM('x','ü') CHARACTER SET latin1 NOT NULL DEFAULT 'ü', c14 BIT(9) DEFAULT b'100000001',
	c15 BLOB DEFAULT ('x')`

const generatedColumns = `, c2 INT GENERATED ALWAYS AS (a * 2) VIRTUAL,
	c3 VARCHAR(50) GENERATED ALWAYS AS (CONCAT('x ', a, ' ä')) STORED,
	c4 VARCHAR(50) CHARACTER SET latin1 GENERATED ALWAYS AS (CONCAT('ü', a)) VIRTUAL,
	c5 JSON GENERATED ALWAYS AS (JSON_ARRAY(a, 'x')) VIRTUAL,
	c16 DATE GENERATED ALWAYS AS ('2024-02-29' + INTERVAL a DAY) STORED`

// createComputed makes a table with generated and invisible columns and columns with defaults.
// MariaDB 11.8 does not log generated columns.
func (m *typeMatrix) createComputed(name string, showsInvisible bool) {
	columns := computedColumns
	if s := m.d.conn.Server(); !m.isMariaDB || !s.AtLeast(11, 8, 0) {
		columns += generatedColumns
	}
	m.d.exec("CREATE TABLE " + name + columns + ")")
	m.tables = append(m.tables, &typeTable{
		name: name, rows: 10, schema: m.describe(name), showsInvisible: showsInvisible,
		insertSQL: "INSERT INTO " + name + " (id, a) VALUES (%d, %d)",
	})
}

// charsetColumns returns columns of all character sets of the server. Characters that a set does
// not have become question marks.
func (m *typeMatrix) charsetColumns() (columns []typetest.Column) {
	r, err := m.d.conn.Query(m.t.Context(),
		"SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS ORDER BY 1")
	must(m.t, err)
	for _, row := range r.Rows {
		charset := string(row[0])
		if charset == "binary" {
			continue
		}
		texts := []string{"''", "'aé€漢ж\t😀  '", "'   '", "'עᚠא'", "'Ωπאש'", "'ก\\'\"\\\\'"}
		labels := []string{"'a'", "'é'", "'ж'", "''", "'none'", "0", "1"}
		columns = append(columns,
			typetest.Column{SQL: "CHAR(12) CHARACTER SET " + charset, Values: texts},
			typetest.Column{SQL: "VARCHAR(12) CHARACTER SET " + charset, Values: texts},
			typetest.Column{SQL: "TEXT CHARACTER SET " + charset, Values: texts},
			typetest.Column{SQL: "ENUM('a','é','ж','') CHARACTER SET " + charset, Values: labels},
			typetest.Column{SQL: "SET('a','é','ж') CHARACTER SET " + charset, Values: labels})
	}
	return columns
}

// describe reads the schema of a table.
func (m *typeMatrix) describe(name string) *binlog.Table {
	tables, err := query.Tables(m.t.Context(), m.d.conn, func(database, table string) bool {
		return database == m.d.name && table == name
	})
	must(m.t, err)
	if len(tables) != 1 {
		m.t.Fatalf("the server has no table %s", name)
	}
	return tables[0]
}

// create makes a table of columns.
func (m *typeMatrix) create(prefix string, columns []typetest.Column) {
	table := &typeTable{name: fmt.Sprint(prefix, len(m.tables)), columns: columns}
	sql := "CREATE TABLE " + table.name + " (id INT UNSIGNED NOT NULL PRIMARY KEY"
	for i := range columns {
		sql += fmt.Sprintf(", c%d %s", i, columns[i].SQL)
		table.rows = max(table.rows, len(columns[i].Values))
	}
	if m.random != nil {
		table.rows = 300
	}
	m.d.exec(sql + ") ROW_FORMAT=DYNAMIC")
	table.schema = m.describe(table.name)
	m.tables = append(m.tables, table)
}

// createKey makes a table with a column as primary key, if the type allows it.
func (m *typeMatrix) createKey(column typetest.Column) {
	name := fmt.Sprint("k", len(m.tables))
	err := m.d.conn.Exec(m.t.Context(), "CREATE TABLE "+name+" (c0 "+
		strings.TrimSuffix(column.SQL, " NULL")+" NOT NULL PRIMARY KEY, v INT DEFAULT 1)")
	if err != nil {
		return
	}
	schema := m.describe(name)
	if schema.Columns[0].Key() == binlog.KeyNone {
		m.d.exec("DROP TABLE " + name)
		return
	}
	m.tables = append(m.tables, &typeTable{
		name: name, columns: []typetest.Column{column}, isKey: true,
		rows: len(column.Values), schema: schema,
	})
}

// value returns the value of a column in a row.
func (m *typeMatrix) value(c *typetest.Column, row int) string {
	if m.random != nil {
		return c.Value(m.random)
	}
	if row >= len(c.Values) {
		return "NULL"
	}
	return c.Values[row]
}

// insert inserts the rows of a set. Keys of odd rows only are inserted for the initial load.
func (m *typeMatrix) insert(table *typeTable, set int) {
	for row := range table.rows {
		if table.isKey {
			if row%2 == set {
				m.d.exec("INSERT IGNORE INTO " + table.name + " (c0) VALUES (" +
					table.columns[0].Values[row] + ")")
			}
			continue
		}
		if table.insertSQL != "" {
			m.d.exec(fmt.Sprintf(table.insertSQL, set*setSize+row, row))
			continue
		}
		sql := fmt.Sprintf("INSERT INTO %s VALUES (%d", table.name, set*setSize+row)
		for i := range table.columns {
			sql += ", " + m.value(&table.columns[i], row)
		}
		m.d.exec(sql + ")")
	}
}

// update sets the rows of a third set from NULL to their values, and those of the first set to the
// values of the next row.
func (m *typeMatrix) update(table *typeTable) {
	switch {
	case table.isKey:
		m.d.exec("UPDATE " + table.name + " SET v = 2")
		return
	case table.insertSQL != "":
		m.d.exec("UPDATE " + table.name + " SET a = a + 100")
		return
	}
	for row := range table.rows {
		m.d.exec(fmt.Sprintf("INSERT INTO %s (id) VALUES (%d)", table.name, 2*setSize+row))
		for _, to := range []struct{ id, row int }{
			{row, (row + 1) % table.rows}, {2*setSize + row, row},
		} {
			var set []string
			for i := range table.columns {
				set = append(set, fmt.Sprintf("c%d = %s", i, m.value(&table.columns[i], to.row)))
			}
			m.d.exec(fmt.Sprintf("UPDATE %s SET %s WHERE id = %d", table.name,
				strings.Join(set, ", "), to.id))
		}
	}
}

func (m *typeMatrix) remove(table *typeTable) {
	if !table.isKey {
		m.d.exec("DELETE FROM " + table.name + " WHERE " + table.schema.Columns[0].Name +
			" % 3 = 1")
		return
	}
	// Rows with the same text have one key.
	if texts := m.print(table); len(texts) == len(m.keys(table, texts)) {
		m.d.exec("DELETE FROM " + table.name + " LIMIT 1")
	}
}

// each calls f for every table, in transactions.
func (m *typeMatrix) each(f func(*typeTable)) {
	m.d.exec("BEGIN")
	for _, table := range m.tables {
		f(table)
	}
	m.d.exec("COMMIT")
}

func (m *typeMatrix) run(kind servers.Kind) {
	m.each(func(table *typeTable) { m.insert(table, 0) })
	entries := fmt.Sprintf(`"%[1]s.m*":
    write: [{hash: "{table}:{pk...}"}, {json: "j:{table}:{pk...}"}]
  "%[1]s.k*":
    write: [{string: "{table}:{c0}", value: "{v}"}]
  "%[1]s.nx":
    columns: {include: [%[2]s]}
    write: [{hash: "{table}:{pk...}"}, {json: "j:{table}:{pk...}"}]
%[3]s`, m.d.name, strings.Join(m.describe("nx").ColumnNames(), ", "), m.exampleEntries())
	instance := runInstance(m.t, m.d.config(`"`+m.d.name+`.*": {}`, entries,
		"chunk_rows: 1000", "chunk_rows: 7"))
	replica := stockReplica(m.t, kind, instance.Node.Addr())
	m.compare(instance, replica, "the initial load")
	m.compareExamples(replica)
	if m.isMariaDB {
		m.d.exec("SET column_compression_threshold = 0, column_compression_zlib_wrap = ON")
	}
	m.d.exec("SET time_zone = '+05:45'", "SET GLOBAL time_zone = '-03:30'")
	m.each(func(table *typeTable) { m.insert(table, 1) })
	m.compare(instance, replica, "INSERT")
	m.d.exec("SET time_zone = SYSTEM")
	m.each(m.update)
	m.compare(instance, replica, "UPDATE")
	m.each(m.remove)
	m.compare(instance, replica, "DELETE")
}
