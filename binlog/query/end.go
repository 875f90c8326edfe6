package query

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// End returns the end of the server's binlog (file and offset) and, on a server with GTIDs
// (mysql.Server.GTIDMode), the GTIDs executed so far. On
// MySQL the GTIDs may lag behind file and offset, because a transaction is written before it is
// executed.
func End(ctx context.Context, c *mysql.Conn) (binlog.Position, error) {
	if c.Server().Flavor == mysql.MariaDB {
		return endMariaDB(ctx, c)
	}
	p, gtids, err := endOfLog(ctx, c)
	if err != nil {
		return binlog.Position{}, err
	}
	if !c.Server().GTIDMode {
		return p, nil // the set lacks the transactions without a GTID
	}
	if p.GTID, err = binlog.ParseGTIDSet(gtids); err != nil {
		return binlog.Position{}, fmt.Errorf("read end of binlog: %w", err)
	}
	return p, nil
}

// endMariaDB reads file and offset between two readings of the GTID position. If these are equal,
// all belong to one moment. On a busy server it lets the server compute the GTIDs from file and
// offset instead.
func endMariaDB(ctx context.Context, c *mysql.Conn) (p binlog.Position, err error) {
	before, err := queryValue(ctx, c, "SELECT @@gtid_binlog_pos")
	if err != nil {
		return p, err
	}
	for range 3 {
		if p, _, err = endOfLog(ctx, c); err != nil {
			return p, err
		}
		after, err := queryValue(ctx, c, "SELECT @@gtid_binlog_pos")
		if err != nil {
			return p, err
		}
		if before == after {
			p.GTID, err = binlog.ParseGTIDSet(after)
			return p, err
		}
		before = after
	}
	p.GTID, _, err = GTIDsAt(ctx, c, p)
	return p, err
}

// GTIDsAt returns the GTIDs of all transactions before a file and offset in a MariaDB's binlog. The
// server reads the file up to that offset, which may take minutes. found is false if the server
// has no such file or offset.
func GTIDsAt(
	ctx context.Context, c *mysql.Conn, p binlog.Position,
) (set binlog.GTIDSet, found bool, err error) {
	defer c.SetSilence(mysql.ScanSilence)()
	sql := fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d)", stringLiteral(p.File), p.Offset)
	r, err := c.Query(ctx, sql)
	if err == nil && len(r.Rows) == 1 && r.Rows[0][0] != nil {
		found = true
		set, err = binlog.ParseGTIDSet(string(r.Rows[0][0]))
	}
	if err != nil {
		return set, false, fmt.Errorf("read the GTIDs before %s:%d: %w", p.File, p.Offset, err)
	}
	return set, found, nil
}

// WaitExecuted waits at most timeout, in whole seconds, until a MySQL has executed all
// transactions of a set, and reports whether it has. A transaction is in the binlog before it is
// executed. server is the UUID of the server that answered: behind a proxy it may be another one
// than Conn.Server returns. The empty set is not waited for.
func WaitExecuted(
	ctx context.Context, c *mysql.Conn, set binlog.GTIDSet, timeout time.Duration,
) (executed bool, server string, err error) {
	wait := "0"
	if !set.IsZero() {
		wait = fmt.Sprintf(
			"WAIT_FOR_EXECUTED_GTID_SET('%s', %d)", set.String(), int(timeout.Seconds()))
	}
	r, err := c.Query(ctx, "SELECT "+wait+" waited, @@server_uuid uuid")
	if err != nil {
		return false, "", err
	}
	if len(r.Rows) != 1 {
		return false, "", fmt.Errorf("WAIT_FOR_EXECUTED_GTID_SET answered %d rows", len(r.Rows))
	}
	return r.Text(0, "waited") == "0", strings.ToLower(r.Text(0, "uuid")), nil
}

// EndOfLog returns the end of the server's binlog as file and offset, without GTIDs.
func EndOfLog(ctx context.Context, c *mysql.Conn) (binlog.Position, error) {
	p, _, err := endOfLog(ctx, c)
	return p, err
}

// Now returns the server's clock, in microseconds since 1970.
func Now(ctx context.Context, c *mysql.Conn) (int64, error) {
	s, err := queryValue(ctx, c, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")
	if err != nil {
		return 0, fmt.Errorf("read the server's clock: %w", err)
	}
	now, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the server's clock: %w", err)
	}
	return now, nil
}

// endOfLog returns file and offset, and MySQL's Executed_Gtid_Set as text.
func endOfLog(ctx context.Context, c *mysql.Conn) (p binlog.Position, gtids string, err error) {
	sql := statusStatement(c.Server())
	r, err := c.Query(ctx, sql)
	if err != nil {
		return p, "", fmt.Errorf("read end of binlog: %w", err)
	}
	if len(r.Rows) == 0 {
		return p, "", errors.New("read end of binlog: the server has no binlog; " +
			"start it with log_bin")
	}
	p.File = r.Text(0, "File")
	p.Offset, err = strconv.ParseUint(r.Text(0, "Position"), 10, 64)
	if err != nil || p.File == "" {
		return p, "", fmt.Errorf("read end of binlog: %s answered %q", sql, r.Rows[0])
	}
	return p, r.Text(0, "Executed_Gtid_Set"), nil
}

// queryValue runs a query for a single value. NULL is "".
func queryValue(ctx context.Context, c *mysql.Conn, sql string) (string, error) {
	r, err := c.Query(ctx, sql)
	if err != nil {
		return "", err
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 1 {
		return "", fmt.Errorf("%s answered %d rows", sql, len(r.Rows))
	}
	return string(r.Rows[0][0]), nil
}
