package query

import (
	"context"
	"errors"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// ScanRequest describes all rows of a table.
type ScanRequest struct {
	Table *binlog.Table
	// Server, Replica and Silence are as in ChunkRequest.
	Server  string
	Replica bool
	Silence time.Duration
}

// ErrNoSnapshot is returned by Scan if nothing shows which transactions a snapshot of the server
// includes: a MySQL without GTIDs, or a position without them. Read works there.
var ErrNoSnapshot = errors.New("a snapshot needs GTIDs")

// scanWriteTimeout lets the caller of Scan leave rows unread for 30 days. The connection keeps it.
const scanWriteTimeout = "SET SESSION net_write_timeout=2592000"

// Scan reads all rows of a table with one SELECT, in no order, as of one moment. It waits as Read
// does, opens a consistent snapshot, and calls begin with the fence. Then it calls row for each
// row. The server keeps the old versions of all rows that change until Scan returns.
//
// The fence covers the rows of transactional tables only. Rows of other tables may hold changes
// from beyond it, which the stream then applies again.
//
// Scan returns errors of begin and row unchanged. These, and the end of ctx, close the connection.
func Scan(
	ctx context.Context, c *mysql.Conn, r ScanRequest, applied binlog.Position,
	begin func(fence binlog.Position) error, row func(*binlog.Row) error,
) error {
	layout := binlog.NewTextLayout(r.Table)
	var view binlog.Row
	s := bracketedSelect{
		conn: c, table: r.Table, sql: selectAll(r.Table), server: r.Server, silence: r.Silence,
		replica: r.Replica, begin: begin,
		row: func(cells [][]byte) error {
			view.SetText(layout, cells)
			return row(&view)
		},
	}
	if err := c.Exec(ctx, scanWriteTimeout); err != nil {
		return s.wrap(err)
	}
	_, err := s.run(ctx, applied)
	return err
}

// selectAll returns the query for all rows of a table.
func selectAll(t *binlog.Table) string {
	exprs := make([]string, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		exprs[i] = binlog.SelectExpr(c, "r."+sqltext.QuoteName(c.Name))
	}
	return "SELECT " + strings.Join(exprs, ", ") +
		" FROM " + sqltext.QuoteTable(t.Database, t.Name) + " AS r"
}
