package query

import (
	"context"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// IsPurged reports whether the server has purged transactions that follow a position from its
// binlog, although its history contains the position. isSameServer tells whether the file and
// offset of the position belong to the server. A server that was reset or replaced is not purged.
func IsPurged(
	ctx context.Context, c *mysql.Conn, at binlog.Position, isSameServer bool,
) (bool, error) {
	if at.GTID.IsMySQL() {
		text := stringLiteral(at.GTID.String())
		r, err := c.Query(ctx, "SELECT GTID_SUBSET("+text+", @@GLOBAL.gtid_executed), "+
			"GTID_SUBSET(@@GLOBAL.gtid_purged, "+text+")")
		if err != nil {
			return false, fmt.Errorf("read which transactions are purged: %w", err)
		}
		return string(r.Rows[0][0]) == "1" && string(r.Rows[0][1]) == "0", nil
	}
	if at.GTID.IsMariaDB() {
		missing, err := MissingGTIDs(ctx, c, &at.GTID)
		if err != nil || !missing.IsZero() {
			return false, err
		}
	}
	hasFile := at.File != "" && isSameServer
	if !hasFile && !at.GTID.IsMariaDB() {
		return false, nil
	}
	files, err := BinlogFiles(ctx, c)
	if err != nil || len(files) == 0 {
		return false, err
	}
	if hasFile {
		return isBefore(at, files), nil
	}
	// Another server's files are compared by the GTIDs before the oldest of them.
	oldest, found, err := GTIDsAt(ctx, c, binlog.Position{File: files[0], Offset: firstEvent})
	return found && !at.GTID.Contains(oldest), err
}

// firstEvent is the offset of the first event of a binlog file.
const firstEvent = 4

// isBefore reports whether the file of a position was removed from the list of a server's files.
// After log_bin was changed, all files have another base name.
func isBefore(at binlog.Position, files []string) bool {
	ofBase := slices.IndexFunc(files, func(file string) bool {
		return binlog.BaseName(file) == binlog.BaseName(at.File)
	})
	if ofBase < 0 {
		return true
	}
	oldest := binlog.Position{File: files[ofBase], Offset: at.Offset}
	return at.CompareFile(oldest) < 0
}

// BinlogFiles returns the names of the server's binlog files, oldest first.
func BinlogFiles(ctx context.Context, c *mysql.Conn) ([]string, error) {
	r, err := c.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, fmt.Errorf("list the binlog files: %w", err)
	}
	files := make([]string, len(r.Rows))
	for i := range r.Rows {
		files[i] = string(r.Rows[i][0])
	}
	return files, nil
}
