package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// writtenAlone are the engines whose tables have rows of their own: a write of such a table changes
// no other table. MERGE, for example, is absent.
var writtenAlone = []string{
	"INNODB", "MYISAM", "ARIA", "MEMORY", "ARCHIVE", "CSV", "BLACKHOLE", "ROCKSDB", "TOKUDB",
	"NDBCLUSTER",
}

// NoSuchTable begins the result of CheckWritten and CheckRead if the server shows no such table.
const NoSuchTable = "the server shows no such table"

// CheckWritten returns why a statement that writes a table may change other tables, apart from
// those that foreign keys change. It returns an empty text if the statement changes only the table.
func CheckWritten(
	ctx context.Context, c *mysql.Conn, database, table string,
) (why string, err error) {
	engine, why, err := baseTable(ctx, c, database, table)
	if err != nil || why != "" {
		return why, err
	}
	if !slices.Contains(writtenAlone, strings.ToUpper(engine)) {
		return "its engine is " + engine + ", which may write other tables", nil
	}
	if database == "mysql" {
		return "", nil // servers allow no triggers there
	}
	grants, err := readGrants(ctx, c)
	if err != nil {
		return "", fmt.Errorf("check grants: %w", err)
	}
	if fold := c.Server().LowerCaseNames != 0; fold {
		database, table = strings.ToLower(database), strings.ToLower(table)
	}
	// A user without the privilege TRIGGER sees no triggers, as if there were none.
	var missing []string
	for _, privilege := range []string{"SELECT", "TRIGGER"} {
		if !may(grants, privilege, database, table) {
			missing = append(missing, privilege)
		}
	}
	if len(missing) > 0 {
		user, err := account(ctx, c)
		if err != nil {
			return "", err
		}
		return "the user may not see whether it has triggers, which change other tables " +
			"without logging that: GRANT " + strings.Join(missing, ", ") + " ON " +
			sqltext.QuoteName(database) + ".* TO " + user, nil
	}
	r, err := c.Query(ctx, "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS"+
		" WHERE EVENT_OBJECT_SCHEMA="+stringLiteral(database)+
		" AND EVENT_OBJECT_TABLE="+stringLiteral(table))
	if err != nil {
		return "", fmt.Errorf("read triggers of %s.%s: %w", database, table, err)
	}
	if len(r.Rows) > 0 {
		return "it has triggers (" + string(r.Rows[0][0]) + "), and what they change is not logged",
			nil
	}
	return "", nil
}

// CheckRead returns why a statement that reads a table may change any table. It returns an empty
// text for a base table.
func CheckRead(ctx context.Context, c *mysql.Conn, database, table string) (string, error) {
	_, why, err := baseTable(ctx, c, database, table)
	return why, err
}

// baseTable returns the engine of a base table, or the reason why a table is not a base table.
func baseTable(
	ctx context.Context, c *mysql.Conn, database, table string,
) (engine, why string, err error) {
	r, err := c.Query(ctx, "SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES"+
		" WHERE TABLE_SCHEMA="+stringLiteral(database)+" AND TABLE_NAME="+stringLiteral(table))
	if err != nil {
		return "", "", fmt.Errorf("read the kind of table %s.%s: %w", database, table, err)
	}
	if len(r.Rows) == 0 {
		user, err := account(ctx, c)
		if err != nil {
			return "", "", err
		}
		return "", NoSuchTable + ": it was dropped, it is temporary, or the user may not see it " +
			"(GRANT SELECT ON " + sqltext.QuoteTable(database, table) + " TO " + user + ")", nil
	}
	switch kind := r.Text(0, "TABLE_TYPE"); kind {
	case "BASE TABLE", "SYSTEM VERSIONED":
		return r.Text(0, "ENGINE"), "", nil
	case "VIEW":
		return "", "it is a view, which may change other tables", nil
	default:
		return "", "it is a " + strings.ToLower(kind), nil
	}
}
