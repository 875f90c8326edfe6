package query

import (
	"context"

	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// AwaitMetadataLock waits until no statement holds the metadata lock of a table exclusively.
// MySQL logs a DDL statement before the statement takes effect, and holds that lock until then.
//
// It returns nil if the table does not exist, or if its engine cannot open it: the server holds
// the lock when it finds that out. Any other error, such as mysql.CodeLockTimeout, proves nothing.
func AwaitMetadataLock(ctx context.Context, c *mysql.Conn, database, table string) error {
	_, err := c.Query(ctx, "SELECT 1 FROM "+sqltext.QuoteTable(database, table)+" LIMIT 0")
	if IsNoTable(err) || CannotOpen(err) {
		return nil
	}
	return err
}
