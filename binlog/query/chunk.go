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

// visibleWait is how long Read waits until the changes that the stream has applied are visible.
// Their transactions are committing at that moment.
const visibleWait = 30 * time.Second

// visibleSilence is how long a server that waits for visibleWait may send nothing.
const visibleSilence = visibleWait + 15*time.Second

// ChunkRequest describes a chunk: the rows of a table after a key, in the order of the key.
type ChunkRequest struct {
	Table *binlog.Table
	// Key are the columns that identify a row in a table without a key; nil means Table.Key. No two
	// rows may be equal in them, byte by byte. Unless an index begins with these columns, each
	// chunk costs a scan of the table.
	Key []int
	// After is ChunkResult.Last of the chunk before; nil reads from the start.
	After [][]byte
	// Until is ChunkResult.Last of a chunk that is read again: no rows after it are read. nil reads
	// up to Limit rows.
	Until [][]byte
	// Limit is the largest number of rows to read, 1 or more.
	Limit int
	// Server is the UUID (mysql.Server.UUID) of the server that the stream comes from. Reading from
	// another server is an error. Empty means any server.
	Server string
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
	// Fence is a file and offset (without GTIDs) in the binlog: the rows hold nothing from beyond
	// it. When the stream has passed the fence, the rows may be applied, except those that the
	// stream has changed after the applied position.
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
	r := reader{conn: c, request: ch, row: row, server: c.Server()}
	var err error
	if r.sql, err = selectChunk(ch); err != nil {
		return ChunkResult{}, fmt.Errorf("read rows: %w", err)
	}
	if r.server.Flavor == mysql.MySQL && ch.hasInvalidDate() {
		err = withInvalidDates(ctx, c, func() error { return r.read(ctx, applied) })
	} else {
		err = r.read(ctx, applied)
	}
	if err != nil {
		return ChunkResult{}, err
	}
	return r.result, nil
}

// reader reads one chunk.
type reader struct {
	conn    *mysql.Conn
	server  mysql.Server
	request ChunkRequest
	sql     string
	row     func(*binlog.Row) error
	result  ChunkResult
}

// read reads the chunk in the way that fits the server.
func (r *reader) read(ctx context.Context, applied binlog.Position) error {
	switch {
	case r.server.Flavor == mysql.MariaDB:
		return r.readSnapshot(ctx, applied)
	case applied.IsZero() || r.server.GTIDMode && !applied.GTID.IsZero():
		return r.readVisible(ctx, applied)
	}
	return r.readLocked(ctx)
}

func (r *reader) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read rows of %s: %w", r.request.Table.FullName(), err)
}

// readVisible reads from a MySQL with GTIDs. gtid_executed grows after the engine commit, so once
// it contains applied, a plain SELECT sees all of that.
func (r *reader) readVisible(ctx context.Context, applied binlog.Position) error {
	restore := r.conn.SetSilence(max(r.conn.Silence(), visibleSilence))
	executed, server, err := WaitExecuted(ctx, r.conn, applied.GTID, visibleWait)
	restore()
	if err != nil {
		return r.wrap(err)
	}
	// Behind a proxy, another server may answer than at the beginning of the connection.
	if err := r.checkServer(server); err != nil {
		return err
	}
	if !executed {
		return r.wrap(fmt.Errorf("the server has not executed %s within %v, "+
			"although its binlog holds it", applied.GTID.String(), visibleWait))
	}
	if err := r.stream(ctx, ""); err != nil {
		return err
	}
	return r.readFence(ctx)
}

// readLocked reads from a MySQL without GTIDs. A transaction that is in the binlog but not yet
// visible still holds its row locks, so a shared lock waits for it. READ COMMITTED locks rows,
// without the gaps between them.
func (r *reader) readLocked(ctx context.Context) error {
	uuid, err := queryValue(ctx, r.conn, "SELECT @@server_uuid")
	if err != nil {
		return r.wrap(err)
	}
	if err := r.checkServer(strings.ToLower(uuid)); err != nil {
		return err
	}
	if err := r.conn.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"); err != nil {
		return r.wrap(err)
	}
	lock := " FOR SHARE"
	// From 8.0.22 on, FOR SHARE needs only the privilege SELECT.
	if !r.server.AtLeast(8, 0, 22) {
		lock = " LOCK IN SHARE MODE"
	}
	if err := r.stream(ctx, lock); err != nil {
		return err
	}
	return r.readFence(ctx)
}

// readSnapshot reads from a MariaDB: a consistent snapshot has a position in the binlog. A snapshot
// whose position is before applied is replaced by a new one.
func (r *reader) readSnapshot(ctx context.Context, applied binlog.Position) error {
	if err := r.checkServer(r.server.UUID); err != nil {
		return err
	}
	deadline := time.NewTimer(visibleWait)
	defer deadline.Stop()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		const begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
		if err := r.conn.Exec(ctx, begin); err != nil {
			return r.wrap(err)
		}
		ready, err := r.readSnapshotPosition(ctx, applied)
		if err == nil && ready {
			err = r.stream(ctx, "")
		}
		// An error of row has ended the connection, and with it the transaction.
		if end := r.conn.Exec(ctx, "COMMIT"); err == nil {
			err = r.wrap(end)
		}
		if err != nil || ready {
			return err
		}
		select {
		case <-ctx.Done():
			return r.wrap(context.Cause(ctx))
		case <-deadline.C:
			return r.wrap(fmt.Errorf("the server's snapshots are at %s:%d "+
				"and have not reached %s:%d within %v, although its binlog holds it",
				r.result.Fence.File, r.result.Fence.Offset, applied.File, applied.Offset,
				visibleWait))
		case <-time.After(pause):
		}
	}
}

// readSnapshotPosition stores the open snapshot's position as the fence, and reports whether
// applied is visible in the snapshot.
func (r *reader) readSnapshotPosition(ctx context.Context, applied binlog.Position) (bool, error) {
	status, err := r.conn.Query(ctx, "SHOW STATUS LIKE 'Binlog_snapshot_%'")
	if err != nil {
		return false, r.wrap(err)
	}
	var at binlog.Position
	for _, row := range status.Rows {
		switch v := string(row[1]); strings.ToLower(string(row[0])) {
		case "binlog_snapshot_file":
			at.File = v
		case "binlog_snapshot_position":
			at.Offset, err = strconv.ParseUint(v, 10, 64)
		}
	}
	if err != nil || at.File == "" {
		return false, r.wrap(errors.New("the server does not report its snapshot's position " +
			"in the binlog; start it with log_bin"))
	}
	r.result.Fence = at
	if applied.IsZero() || applied.File != "" && at.CompareFile(applied) >= 0 {
		return true, nil
	}
	// The snapshot's offset is before applied's. Events outside transactions (a binlog
	// checkpoint) advance a stream and not a snapshot, so the GTIDs decide.
	if applied.GTID.IsZero() {
		return false, nil
	}
	executed, _, err := GTIDsAt(ctx, r.conn, at)
	if err != nil {
		return false, r.wrap(err)
	}
	return executed.Contains(applied.GTID), nil
}

func (r *reader) checkServer(uuid string) error {
	if want := strings.ToLower(r.request.Server); want != "" && want != uuid {
		return fmt.Errorf("rows would be read from server %s, but the binlog comes from %s: "+
			"give the address of one server, not of several behind a proxy", uuid, want)
	}
	return nil
}

// stream runs the chunk's query.
func (r *reader) stream(ctx context.Context, lock string) error {
	t := r.request.Table
	layout := binlog.NewTextLayout(t)
	n := len(t.Columns)
	last := make([][]byte, len(r.request.key()))
	var view binlog.Row
	var rowErr error
	if r.request.Silence > 0 {
		defer r.conn.SetSilence(r.request.Silence)()
	}
	err := r.conn.Stream(ctx, r.sql+lock, func(cells [][]byte) error {
		for i, cell := range cells[n:] {
			last[i] = append(last[i][:0], cell...)
		}
		r.result.Rows++
		view.SetText(layout, cells[:n])
		rowErr = r.row(&view)
		return rowErr
	})
	if rowErr != nil {
		return rowErr
	}
	if err != nil {
		return r.wrap(err)
	}
	reachedEnd := r.result.Rows < r.request.Limit
	r.result.Done = reachedEnd && r.request.Until == nil
	switch {
	case reachedEnd && r.request.Until != nil:
		r.result.Last = r.request.Until
	case r.result.Rows > 0:
		r.result.Last = last
	default:
		r.result.Last = r.request.After
	}
	return nil
}

// readFence reads the end of the binlog, after the rows.
func (r *reader) readFence(ctx context.Context) error {
	at, _, err := endOfLog(ctx, r.conn)
	r.result.Fence = at
	return r.wrap(err)
}
