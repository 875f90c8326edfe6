package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// LostAtRestart is the NotFollowed of tables of the MEMORY engine.
const LostAtRestart = "its engine MEMORY loses all rows when the server restarts, " +
	"which is in the binlog only when the table is next used"

// enginesNotFollowed holds, by name in capitals, the engines whose tables hold rows that are not in
// the binlog, or have rows in the binlog that they do not hold.
var enginesNotFollowed = map[string]string{
	"MRG_MYISAM": "its engine MERGE shows the rows of other tables, " +
		"logged under their names",
	"BLACKHOLE":          "its engine BLACKHOLE does not store the rows that are logged for it",
	"EXAMPLE":            "its engine EXAMPLE stores no rows",
	"MEMORY":             LostAtRestart,
	"HEAP":               LostAtRestart,
	"FEDERATED":          elsewhere("FEDERATED"),
	"CONNECT":            elsewhere("CONNECT"),
	"SPIDER":             elsewhere("SPIDER"),
	"SPHINX":             elsewhere("SPHINX"),
	"S3":                 elsewhere("S3"),
	"COLUMNSTORE":        "its engine COLUMNSTORE loads rows without logging them",
	"OQGRAPH":            "its engine OQGRAPH computes its rows from another table",
	"SEQUENCE":           "its engine SEQUENCE computes its rows",
	"PERFORMANCE_SCHEMA": "its engine PERFORMANCE_SCHEMA logs no rows",
	"NDBINFO":            "its engine NDBINFO logs no rows",
}

// EngineNotFollowed returns why tables of an engine cannot be followed, empty if they can. The name
// may be in any case; empty is the server's default engine.
func EngineNotFollowed(engine string) string {
	engine = strings.ToUpper(engine)
	if engine == "MERGE" {
		engine = "MRG_MYISAM"
	}
	return enginesNotFollowed[engine]
}

// WithEngine returns a definition with the reason why its engine cannot be followed. A reason that
// the engine of the former definition had is removed. d and former may be nil.
func WithEngine(d, former *ddl.Schema) *ddl.Schema {
	if d == nil {
		return nil
	}
	why := EngineNotFollowed(d.Engine)
	if why == "" && former != nil {
		if old := EngineNotFollowed(former.Engine); old != d.NotFollowed {
			why = d.NotFollowed
		}
	} else if why == "" {
		why = d.NotFollowed
	}
	if why == d.NotFollowed {
		return d
	}
	changed := *d
	changed.NotFollowed = why
	return &changed
}

func elsewhere(engine string) string {
	return "its engine " + engine + " stores the rows elsewhere, " +
		"where they change without being logged"
}

// kindsNotFollowed holds the values of information_schema.TABLES.TABLE_TYPE that are never
// followed.
var kindsNotFollowed = map[string]string{
	"SEQUENCE":         "it is a sequence",
	"SYSTEM VERSIONED": "it has SYSTEM VERSIONING, which is not supported yet",
	"VIEW":             "it is a view: changes are logged under the names of its tables",
}

// listedTable is a row of information_schema.TABLES.
type listedTable struct {
	database, name, kind string
	engine               string // empty for a view
}

func (t *listedTable) fullName() string { return t.database + "." + t.name }

// notFollowed returns the reason why the table cannot be followed, empty if it can.
func (t *listedTable) notFollowed() string {
	if why := kindsNotFollowed[t.kind]; why != "" {
		return why
	}
	return enginesNotFollowed[strings.ToUpper(t.engine)]
}

// listTables returns all tables, sequences and views that the user may see, without those of system
// schemas unless system is set.
func listTables(ctx context.Context, c *mysql.Conn, system bool) ([]listedTable, error) {
	sql := `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE` +
		` FROM information_schema.TABLES` +
		` WHERE TABLE_TYPE IN ('BASE TABLE','SEQUENCE','SYSTEM VERSIONED','VIEW')`
	if !system {
		sql += ` AND TABLE_SCHEMA NOT IN (` + systemSchemas + `)`
	}
	var tables []listedTable
	err := c.Stream(ctx, sql, func(cells [][]byte) error {
		tables = append(tables, listedTable{
			database: string(cells[0]), name: string(cells[1]),
			kind: string(cells[2]), engine: string(cells[3]),
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return tables, nil
}

// Names returns all tables, sequences and views that the user may see, system schemas included,
// in no order. Base tables have their columns' names. All other fields are left empty.
func Names(ctx context.Context, c *mysql.Conn) ([]*binlog.Table, error) {
	listed, err := listTables(ctx, c, true)
	if err != nil {
		return nil, err
	}
	tables := make([]*binlog.Table, len(listed))
	type name struct{ database, table string }
	base := make(map[name]*binlog.Table)
	for i, t := range listed {
		tables[i] = &binlog.Table{Database: t.database, Name: t.name}
		if t.kind == "BASE TABLE" {
			base[name{t.database, t.name}] = tables[i]
		}
	}
	const sql = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS"
	err = c.Stream(ctx, sql, func(cells [][]byte) error {
		if t := base[name{string(cells[0]), string(cells[1])}]; t != nil {
			t.Columns = append(t.Columns, binlog.Column{Name: string(cells[2])})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	return tables, nil
}

// codesCannotOpen are the error numbers for a table that exists and that its engine cannot open.
var codesCannotOpen = []uint16{
	1016, 1017, 1030, // a file is missing, or an engine's own error
	1033, 1034, 1035, 1194, 1195, 1877, // a file is damaged
	1168,       // a table of a MERGE table's UNION is missing or differs
	1286,       // the engine is unknown
	1296,       // an engine's own error, of FEDERATED for one
	1356, 1449, // a view refers to a table or a user that is missing
	1429, 1430, 1431, // FEDERATED finds no server, or no table there
	1812, 1814, 1932, // InnoDB lacks the table's file
}

// CannotOpen reports whether err is a server's error for a table that exists and that its engine
// cannot open. To find that out, the server has acquired the table's metadata lock.
func CannotOpen(err error) bool {
	var answer *mysql.ServerError
	return errors.As(err, &answer) && slices.Contains(codesCannotOpen, answer.Code)
}

// mergeUnions returns the tables in the UNION of a MERGE table, each with the MERGE table's name.
// Rows that are written through the MERGE table are logged under its name, so the binlog lacks them
// for the tables that hold them.
func mergeUnions(
	ctx context.Context, c *mysql.Conn, tables []listedTable,
) (map[string]string, error) {
	unions := make(map[string]string)
	for i := range tables {
		t := &tables[i]
		if !strings.EqualFold(t.engine, "MRG_MYISAM") {
			continue
		}
		r, err := c.Query(ctx, "SHOW CREATE TABLE "+sqltext.QuoteTable(t.database, t.name))
		if IsNoTable(err) || CannotOpen(err) {
			continue // in this state no session can write through it
		}
		if err != nil {
			return nil, fmt.Errorf("read the UNION of MERGE table %s: %w", t.fullName(), err)
		}
		for _, child := range parseUnion(r.Text(0, "Create Table"), t.database) {
			if c.Server().LowerCaseNames != 0 {
				child = strings.ToLower(child)
			}
			unions[child] = t.fullName()
		}
	}
	return unions, nil
}

// parseUnion reads UNION=(`a`,`db`.`b`) from the SHOW CREATE TABLE of a MERGE table. A name without
// a database is in the MERGE table's database.
func parseUnion(create, database string) []string {
	words := sqltext.Split(create)
	depth := 0
	for i, w := range words {
		switch {
		case w.Is("("):
			depth++
		case w.Is(")"):
			depth--
		case depth == 0 && w.Is("UNION"):
			return unionNames(words[i+1:], database)
		}
	}
	return nil
}

func unionNames(words []sqltext.Word, database string) []string {
	var names []string
	for i := 0; i < len(words) && !words[i].Is(")"); i++ {
		switch {
		case !words[i].IsName():
		case i+2 < len(words) && words[i+1].Is("."):
			names = append(names, words[i].Text+"."+words[i+2].Text)
			i += 2
		default:
			names = append(names, database+"."+words[i].Text)
		}
	}
	return names
}
