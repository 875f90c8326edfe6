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

// visibleWait is how long a bracketed SELECT waits until the changes that the stream has applied
// are visible. Their transactions are committing at that moment.
const visibleWait = 30 * time.Second

// visibleSilence is how long a server that waits for visibleWait may send nothing.
const visibleSilence = visibleWait + 15*time.Second

// bracketedSelect is a SELECT whose rows hold everything up to one position of the binlog, and
// nothing from beyond another one, its fence.
type bracketedSelect struct {
	conn  *mysql.Conn
	table *binlog.Table
	sql   string
	// server is the UUID of the server to read from; empty means any.
	server string
	// replica is set if the server is a replica, see ChunkRequest.Replica.
	replica bool
	// silence bounds how long the server may send nothing; 0 is the connection's own limit.
	silence time.Duration
	// invalidDates is set if sql holds a date that is in no calendar.
	invalidDates bool
	// row is called for each row of the result. The cells are valid during the call.
	row func(cells [][]byte) error
	// begin makes the rows those of a consistent snapshot. It is called before the first row, with
	// the fence, which is read after the snapshot was opened. nil reads the fence after the rows.
	begin func(fence binlog.Position) error

	fence binlog.Position
}

// run waits until everything up to applied is visible, runs the SELECT, and returns the fence. It
// returns an error of row unchanged.
func (s *bracketedSelect) run(
	ctx context.Context, applied binlog.Position,
) (fence binlog.Position, err error) {
	if s.conn.Server().Flavor == mysql.MySQL && s.invalidDates {
		err = withInvalidDates(ctx, s.conn, func() error { return s.read(ctx, applied) })
	} else {
		err = s.read(ctx, applied)
	}
	return s.fence, err
}

// read reads in the way that fits the server.
func (s *bracketedSelect) read(ctx context.Context, applied binlog.Position) error {
	switch {
	case s.replica:
		return s.readReplica(ctx, applied)
	case s.conn.Server().Flavor == mysql.MariaDB:
		return s.readSnapshot(ctx, applied)
	case applied.IsZero() || s.conn.Server().GTIDMode && !applied.GTID.IsZero():
		return s.readVisible(ctx, applied)
	case s.begin != nil:
		return ErrNoSnapshot
	}
	return s.readLocked(ctx)
}

// wrap names the table that was read in an error; it returns nil for nil.
func (s *bracketedSelect) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read rows of %s: %w", s.table.FullName(), err)
}

// readVisible reads from a MySQL with GTIDs. gtid_executed grows after the engine commit, so once
// it contains applied, a plain SELECT sees all of that.
func (s *bracketedSelect) readVisible(ctx context.Context, applied binlog.Position) error {
	restore := s.conn.SetSilence(max(s.conn.Silence(), visibleSilence))
	executed, server, err := WaitExecuted(ctx, s.conn, applied.GTID, visibleWait)
	restore()
	if err != nil {
		return s.wrap(err)
	}
	// Behind a proxy, another server may answer than at the beginning of the connection.
	if err := s.checkServer(server); err != nil {
		return err
	}
	if !executed {
		return s.wrap(fmt.Errorf("the server has not executed %s within %v, "+
			"although its binlog holds it", applied.GTID.String(), visibleWait))
	}
	return s.readAndFence(ctx)
}

// readAndFence reads from a MySQL on which everything is visible that must be. The fence is read
// after the rows, or before the rows of a scan.
func (s *bracketedSelect) readAndFence(ctx context.Context) error {
	if s.begin != nil {
		return s.readOpened(ctx)
	}
	if err := s.stream(ctx, ""); err != nil {
		return err
	}
	return s.readFence(ctx)
}

// readOpened reads from a MySQL in a new consistent snapshot, and reads the fence before the rows.
func (s *bracketedSelect) readOpened(ctx context.Context) error {
	if err := s.conn.Exec(ctx, beginSnapshot); err != nil {
		return s.wrap(err)
	}
	err := s.readFence(ctx)
	if err == nil {
		err = s.begin(s.fence)
	}
	if err == nil {
		err = s.stream(ctx, "")
	}
	// An error of row has ended the connection, and with it the transaction.
	if end := s.conn.Exec(ctx, "COMMIT"); err == nil {
		err = s.wrap(end)
	}
	return err
}

// beginSnapshot opens a consistent snapshot. mysql.Dial has set the isolation level for it.
const beginSnapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

// readLocked reads from a MySQL without GTIDs. A transaction that is in the binlog but not yet
// visible still holds its row locks, so a shared lock waits for it. READ COMMITTED locks rows,
// without the gaps between them.
func (s *bracketedSelect) readLocked(ctx context.Context) error {
	uuid, err := queryValue(ctx, s.conn, "SELECT @@server_uuid")
	if err != nil {
		return s.wrap(err)
	}
	if err := s.checkServer(strings.ToLower(uuid)); err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"); err != nil {
		return s.wrap(err)
	}
	lock := " FOR SHARE"
	// From 8.0.22 on, FOR SHARE needs only the privilege SELECT.
	if !s.conn.Server().AtLeast(8, 0, 22) {
		lock = " LOCK IN SHARE MODE"
	}
	if err := s.stream(ctx, lock); err != nil {
		return err
	}
	return s.readFence(ctx)
}

// readSnapshot reads from a MariaDB: a consistent snapshot has a position in the binlog. A snapshot
// whose position is before applied is replaced by a new one.
func (s *bracketedSelect) readSnapshot(ctx context.Context, applied binlog.Position) error {
	if err := s.checkServer(s.conn.Server().UUID); err != nil {
		return err
	}
	deadline := time.NewTimer(visibleWait)
	defer deadline.Stop()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		if err := s.conn.Exec(ctx, beginSnapshot); err != nil {
			return s.wrap(err)
		}
		ready, err := s.readSnapshotPosition(ctx, applied)
		if err == nil && ready && s.replica {
			s.fence.GTID, err = executedByMariaDB(ctx, s.conn)
			s.fence.File, s.fence.Offset = "", 0
		}
		if err == nil && ready && s.begin != nil {
			err = s.begin(s.fence)
		}
		if err == nil && ready {
			err = s.stream(ctx, "")
		}
		// An error of row has ended the connection, and with it the transaction.
		if end := s.conn.Exec(ctx, "COMMIT"); err == nil {
			err = s.wrap(end)
		}
		if err != nil || ready {
			return err
		}
		select {
		case <-ctx.Done():
			return s.wrap(context.Cause(ctx))
		case <-deadline.C:
			return s.wrap(fmt.Errorf("the server's snapshots are at %s:%d "+
				"and have not reached %s:%d within %v, although its binlog holds it",
				s.fence.File, s.fence.Offset, applied.File, applied.Offset,
				visibleWait))
		case <-time.After(pause):
		}
	}
}

// readSnapshotPosition stores the open snapshot's position as the fence, and reports whether
// applied is visible in the snapshot.
func (s *bracketedSelect) readSnapshotPosition(
	ctx context.Context, applied binlog.Position,
) (bool, error) {
	status, err := s.conn.Query(ctx, "SHOW STATUS LIKE 'Binlog_snapshot_%'")
	if err != nil {
		return false, s.wrap(err)
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
		return false, s.wrap(errors.New("the server does not report its snapshot's position " +
			"in the binlog; start it with log_bin"))
	}
	s.fence = at
	if applied.IsZero() || applied.File != "" && at.CompareFile(applied) >= 0 {
		return true, nil
	}
	// The snapshot's offset is before applied's. Events outside transactions (a binlog
	// checkpoint) advance a stream and not a snapshot, so the GTIDs decide.
	if applied.GTID.IsZero() {
		return false, nil
	}
	executed, _, err := GTIDsAt(ctx, s.conn, at)
	if err != nil {
		return false, s.wrap(err)
	}
	return executed.Contains(applied.GTID), nil
}

// checkServer returns an error if another server answers than the one that sends the binlog.
func (s *bracketedSelect) checkServer(uuid string) error {
	if want := strings.ToLower(s.server); want != "" && want != uuid {
		return fmt.Errorf("rows would be read from server %s, but the binlog comes from %s: "+
			"give the address of one server, not of several behind a proxy", uuid, want)
	}
	return nil
}

// readFence reads the end of the binlog, after the rows.
func (s *bracketedSelect) readFence(ctx context.Context) error {
	if s.replica {
		set, err := gtidSet(ctx, s.conn, executedOrOwned)
		s.fence = binlog.Position{GTID: set}
		return s.wrap(err)
	}
	at, _, err := endOfLog(ctx, s.conn)
	s.fence = at
	return s.wrap(err)
}

// stream runs the SELECT.
func (s *bracketedSelect) stream(ctx context.Context, lock string) error {
	if s.silence > 0 {
		defer s.conn.SetSilence(s.silence)()
	}
	var rowErr error
	err := s.conn.Stream(ctx, s.sql+lock, func(cells [][]byte) error {
		rowErr = s.row(cells)
		return rowErr
	})
	if rowErr != nil {
		return rowErr
	}
	return s.wrap(err)
}
