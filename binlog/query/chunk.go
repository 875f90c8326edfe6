package query

import (
	"context"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// ChunkRequest describes a chunk: the rows of a table after a key, in the order of the key.
type ChunkRequest struct {
	Table *binlog.Table
	// Key are the columns that identify a row in a table without a key; nil means Table.Key. No two
	// rows may be equal in them, byte by byte. Unless an index begins with these columns, each
	// chunk costs a scan of the table.
	Key []int
	// After is ChunkResult.Last of the chunk before; nil reads from the start. Values of the first
	// key columns only stand for all rows that begin with these values: the rows after them are
	// read.
	After [][]byte
	// Until is ChunkResult.Last of a chunk that is read again, or values of the first key columns:
	// no rows after it are read. nil reads up to Limit rows.
	Until [][]byte
	// Limit is the largest number of rows to read, 1 or more.
	Limit int
	// FindMaximum makes Read find the largest value of the first key column, too.
	FindMaximum bool
	// Server is the UUID (mysql.Server.UUID) of the server that the stream comes from. Reading from
	// another server is an error. Empty means any server.
	Server string
	// Replica means that the server is not the one that the stream comes from, but has the same
	// history. Then the fence is a GTID set, and Read returns a *LagError if the server has not
	// executed the applied position.
	Replica bool
	// Silence bounds how long the server may send nothing while it runs the SELECT, see
	// mysql.Config.Silence; 0 is the connection's own limit. A server sends the first row when it
	// has found the rows and, without an index, sorted them.
	Silence time.Duration
}

func (ch *ChunkRequest) key() []int {
	if key := ch.Table.Key(); len(key) > 0 {
		return key
	}
	return ch.Key
}

// ChunkResult describes a chunk that was read.
type ChunkResult struct {
	Rows int
	// Last is the key of the last row, as opaque bytes: pass it as After of the next request for
	// the same table, on any connection. It is Until if all rows up to there were read, and After
	// if there were no rows.
	Last [][]byte
	// Done is set if the table has no rows after the chunk. It stays unset with Until.
	Done bool
	// Maximum is the text of the largest value of the first key column at about the time of the
	// chunk, if it was requested; empty if the table has no rows.
	Maximum []byte
	// Fence is a file and offset (without GTIDs) in the binlog, or the GTIDs of a replica: the
	// rows hold nothing from beyond it. When the stream has passed the fence, the rows may be
	// applied, except those that the stream has changed after the applied position.
	Fence binlog.Position
}

// Read reads one chunk: it waits at most 30 s until everything up to applied is visible, selects
// the rows, calls row for each of them, and reads the fence. applied is a position of the stream's
// server, zero if nothing has been applied yet. The Row is valid during the call.
//
// Read returns an error of row unchanged. Such an error, and the end of ctx, close the connection.
func Read(
	ctx context.Context, c *mysql.Conn, ch ChunkRequest, applied binlog.Position,
	row func(*binlog.Row) error,
) (ChunkResult, error) {
	sql, keyCells, err := selectChunk(ch)
	if err != nil {
		return ChunkResult{}, fmt.Errorf("read rows: %w", err)
	}
	var result ChunkResult
	last := make([][]byte, len(ch.key()))
	n := len(ch.Table.Columns)
	layout := binlog.NewTextLayout(ch.Table)
	var view binlog.Row
	s := bracketedSelect{
		conn: c, table: ch.Table, sql: sql, server: ch.Server, silence: ch.Silence,
		replica: ch.Replica, invalidDates: ch.hasInvalidDate(),
		row: func(cells [][]byte) error {
			for i, cell := range keyCells {
				last[i] = append(last[i][:0], cells[cell]...)
			}
			result.Rows++
			view.SetText(layout, cells[:n])
			return row(&view)
		},
	}
	if result.Fence, err = s.run(ctx, applied); err != nil {
		return ChunkResult{}, err
	}
	if ch.FindMaximum {
		if result.Maximum, err = findMaximum(ctx, c, &ch); err != nil {
			return ChunkResult{}, err
		}
	}
	reachedEnd := result.Rows < ch.Limit
	result.Done = reachedEnd && ch.Until == nil
	switch {
	case reachedEnd && ch.Until != nil:
		result.Last = ch.Until
	case result.Rows > 0:
		result.Last = last
	default:
		result.Last = ch.After
	}
	return result, nil
}

// findMaximum returns the text of the largest value of the first key column. In a table with a key,
// an index begins with this column, so the server reads one row of the index.
func findMaximum(ctx context.Context, c *mysql.Conn, ch *ChunkRequest) ([]byte, error) {
	t := ch.Table
	value, err := queryValue(ctx, c, "SELECT MAX("+
		sqltext.QuoteName(t.Columns[ch.key()[0]].Name)+") FROM "+
		sqltext.QuoteTable(t.Database, t.Name))
	if err != nil {
		return nil, fmt.Errorf("find the last key of %s: %w", t.FullName(), err)
	}
	return []byte(value), nil
}
