package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// errChanged is returned when a table was altered each time that its schema was read.
var errChanged = errors.New("the table is being altered; try again after the ALTER")

// maxDescribeAttempts is how often a schema is read that is being altered.
const maxDescribeAttempts = 5

const systemSchemas = `'mysql','sys','information_schema','performance_schema'`

// Tables returns the schemas of the tables that match, ordered by database and name. System schemas
// are skipped. Tables that can never be followed (views, sequences, tables of engines that log
// other rows than they hold) have NotFollowed and no columns; tables in the UNION of a MERGE table
// and tables of the MEMORY engine have both.
//
// A column whose values cannot be read has Unreadable set; Table.CheckReadable returns the error.
// While another session holds a metadata lock, the error has mysql.CodeLockTimeout.
func Tables(
	ctx context.Context, c *mysql.Conn, match func(database, table string) bool,
) ([]*binlog.Table, error) {
	listed, err := listTables(ctx, c, false)
	if err != nil {
		return nil, err
	}
	unions, err := mergeUnions(ctx, c, listed)
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	volatile := map[string]bool{}
	var tables []*binlog.Table
	for i := range listed {
		t := &listed[i]
		if !match(t.database, t.name) {
			continue
		}
		if why := t.notFollowed(); why != "" && why != LostAtRestart {
			tables = append(tables, &binlog.Table{
				Database: t.database, Name: t.name, NotFollowed: why,
			})
			continue
		}
		names[t.database] = append(names[t.database], t.name)
		volatile[t.fullName()] = t.notFollowed() == LostAtRestart
	}
	for database, wanted := range names {
		some, err := describe(ctx, c, database, wanted)
		if err != nil {
			return nil, err
		}
		tables = append(tables, some...)
	}
	for _, t := range tables {
		full := t.FullName()
		if c.Server().LowerCaseNames != 0 {
			full = strings.ToLower(full)
		}
		switch merge := unions[full]; {
		case volatile[t.FullName()]:
			t.NotFollowed = LostAtRestart
		case merge != "" && t.NotFollowed == "":
			t.NotFollowed = "it is in the UNION of the MERGE table " + merge +
				", and rows written through the MERGE table are logged under that name"
		}
	}
	slices.SortFunc(tables, func(a, b *binlog.Table) int {
		if n := strings.Compare(a.Database, b.Database); n != 0 {
			return n
		}
		return strings.Compare(a.Name, b.Name)
	})
	return tables, nil
}

// describe reads columns and keys of tables of one database. Tables that were dropped meanwhile are
// skipped. Tables that were altered meanwhile are read again, each by itself.
func describe(
	ctx context.Context, c *mysql.Conn, database string, names []string,
) ([]*binlog.Table, error) {
	tables, altered, err := describeOnce(ctx, c, database, names)
	if err != nil {
		return nil, err
	}
	for _, name := range altered {
		again, err := describeAltered(ctx, c, database, name)
		if err != nil {
			return nil, err
		}
		tables = append(tables, again...)
	}
	return tables, nil
}

// describeAltered reads a table again that was altered while it was read.
func describeAltered(
	ctx context.Context, c *mysql.Conn, database, name string,
) ([]*binlog.Table, error) {
	for range maxDescribeAttempts {
		tables, altered, err := describeOnce(ctx, c, database, []string{name})
		if err != nil || len(altered) == 0 {
			return tables, err
		}
	}
	return nil, fmt.Errorf("read table %s.%s: %w", database, name, errChanged)
}

// describeOnce reads columns and keys of tables of one database. altered are tables that were
// altered meanwhile; they are not among tables.
func describeOnce(
	ctx context.Context, c *mysql.Conn, database string, names []string,
) (tables []*binlog.Table, altered []string, err error) {
	where := ` WHERE TABLE_SCHEMA=` + stringLiteral(database)
	if len(names) == 1 {
		where = whereTable(database, names[0])
	}
	byName := make(map[string]*binlog.Table, len(names))
	for _, name := range names {
		byName[name] = &binlog.Table{Database: database, Name: name}
	}
	// Columns and keys are read in two queries. If the columns differ afterwards, the keys may
	// belong to another version of the table.
	before, err := readColumns(ctx, c, where, byName)
	if err != nil {
		return nil, nil, err
	}
	isAltered, err := readKeys(ctx, c, where, byName)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.Query(ctx, columnsQuery+where+columnsOrder)
	if err != nil {
		return nil, nil, fmt.Errorf("read columns of %s: %w", database, err)
	}
	after := rowsByTable(r.Rows)
	for _, name := range names {
		switch t := byName[name]; {
		case isAltered[t] || !equalRows(before[name], after[name]):
			altered = append(altered, name)
		case len(t.Columns) > 0:
			tables = append(tables, t)
		}
	}
	return tables, altered, nil
}

const (
	columnsQuery = `SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE,` +
		` CHARACTER_SET_NAME, IS_NULLABLE, EXTRA FROM information_schema.COLUMNS`
	columnsOrder = ` ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION`
	keysQuery    = `SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART,` +
		` INDEX_TYPE FROM information_schema.STATISTICS`
	// A hash index does not order the rows: such keys come last.
	keysOrder = ` ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_TYPE='HASH', INDEX_NAME, SEQ_IN_INDEX`
)

// rowsByTable groups rows of columnsQuery by the names of their tables, which are of one database.
func rowsByTable(rows [][]mysql.Cell) map[string][][]mysql.Cell {
	byTable := make(map[string][][]mysql.Cell)
	for _, row := range rows {
		name := string(row[1])
		byTable[name] = append(byTable[name], row)
	}
	return byTable
}

// readColumns sets the columns of tables, and returns the rows that describe them.
func readColumns(
	ctx context.Context, c *mysql.Conn, where string, tables map[string]*binlog.Table,
) (map[string][][]mysql.Cell, error) {
	r, err := c.Query(ctx, columnsQuery+where+columnsOrder)
	if err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	for _, row := range r.Rows {
		t := tables[string(row[1])]
		if t == nil || t.Database != string(row[0]) {
			continue
		}
		extra := strings.ToUpper(string(row[6]))
		col := binlog.Column{
			Name:      string(row[2]),
			Nullable:  string(row[5]) == "YES",
			Invisible: slices.Contains(strings.FieldsFunc(extra, notLetter), "INVISIBLE"),
			// DEFAULT_GENERATED marks a column with an expression as its default.
			Generated: strings.Contains(extra, "VIRTUAL GENERATED") ||
				strings.Contains(extra, "STORED GENERATED") ||
				strings.Contains(extra, "PERSISTENT"),
		}
		if err := setType(&col, string(row[3]), string(row[4])); err != nil {
			col.Unreadable = err.Error() // only this table cannot be followed
		}
		t.Columns = append(t.Columns, col)
	}
	return rowsByTable(r.Rows), nil
}

func notLetter(r rune) bool { return r < 'A' || r > 'Z' }

// readKeys sets the primary key and the unique keys of whole columns, without prefixes or
// expressions. It returns the tables that were altered since their columns were read.
func readKeys(
	ctx context.Context, c *mysql.Conn, where string, tables map[string]*binlog.Table,
) (altered map[*binlog.Table]bool, err error) {
	r, err := c.Query(ctx, keysQuery+where+` AND NON_UNIQUE=0`+keysOrder)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	altered = make(map[*binlog.Table]bool)
	nullable := make(map[*binlog.Table][][]int)
	for at := 0; at < len(r.Rows); {
		first := r.Rows[at]
		end := at + 1
		for end < len(r.Rows) && equalCells(first[:3], r.Rows[end][:3]) {
			end++
		}
		parts := r.Rows[at:end]
		at = end
		t := tables[string(first[1])]
		if t == nil || t.Database != string(first[0]) || len(t.Columns) == 0 {
			continue
		}
		if c.Server().Flavor == mysql.MariaDB && string(first[5]) == "HASH" {
			if err := longUnique(ctx, c, t, string(first[2])); err != nil {
				return nil, err
			}
		}
		key, ok := keyOf(t, parts)
		switch {
		case !ok:
			altered[t] = true
		case key == nil:
		case slices.ContainsFunc(key, func(i int) bool { return t.Columns[i].Nullable }):
			nullable[t] = append(nullable[t], key)
		case string(first[2]) == "PRIMARY":
			t.Primary = key
		default:
			t.Unique = append(t.Unique, key)
		}
	}
	for t, keys := range nullable {
		t.SetNullableUnique(keys)
	}
	return altered, nil
}

// longUnique marks a table with a MariaDB unique key that is too long for an index: its rows hold a
// hash of the key in a hidden column. Tables of the MEMORY engine have hash indexes and no such
// column.
func longUnique(ctx context.Context, c *mysql.Conn, t *binlog.Table, key string) error {
	engine, err := queryValue(ctx, c,
		`SELECT MAX(ENGINE) FROM information_schema.TABLES`+whereTable(t.Database, t.Name))
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	if !strings.EqualFold(engine, "MEMORY") {
		t.NotFollowed = "its UNIQUE key " + key + " is a hash in a hidden column, " +
			"which is not supported yet"
	}
	return nil
}

// keyOf returns the columns of a key, or nil for a key with a prefix or an expression. ok is false
// if the table lacks a column of the key.
func keyOf(t *binlog.Table, parts [][]mysql.Cell) (key []int, ok bool) {
	key = make([]int, 0, len(parts))
	for _, p := range parts {
		if p[3] == nil || p[4] != nil { // an expression; a prefix
			return nil, true
		}
		i := t.Column(string(p[3]))
		if i < 0 {
			return nil, false
		}
		key = append(key, i)
	}
	return key, true
}

func equalRows(a, b [][]mysql.Cell) bool { return slices.EqualFunc(a, b, equalCells) }

func equalCells(a, b []mysql.Cell) bool {
	return slices.EqualFunc(a, b, func(x, y mysql.Cell) bool {
		return (x == nil) == (y == nil) && string(x) == string(y)
	})
}

// whereTable returns the condition for one table in information_schema.
func whereTable(database, name string) string {
	return ` WHERE TABLE_SCHEMA=` + stringLiteral(database) +
		` AND TABLE_NAME=` + stringLiteral(name)
}

// EstimateRows returns the server's estimates of the tables' row counts, in the order of tables.
// They come from samples and may be wrong by half. An unknown or missing table has 0.
func EstimateRows(ctx context.Context, c *mysql.Conn, tables []*binlog.Table) ([]int64, error) {
	estimates := make([]int64, len(tables))
	for i, t := range tables {
		n, err := queryValue(ctx, c,
			`SELECT MAX(TABLE_ROWS) FROM information_schema.TABLES`+whereTable(t.Database, t.Name))
		if err != nil {
			return nil, fmt.Errorf("estimate rows of %s: %w", t.FullName(), err)
		}
		if estimates[i], err = strconv.ParseInt(n, 10, 64); err != nil {
			estimates[i] = 0
		}
	}
	return estimates, nil
}
