package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// replicaWait is how long a read from a replica waits until the replica has executed the applied
// position, in whole seconds. The caller may try again.
const replicaWait = 2 * time.Second

// LagError is returned if a replica has not executed the applied position yet.
type LagError struct {
	Addr    string
	Applied binlog.GTIDSet
}

// Error names the server and the position.
func (e *LagError) Error() string {
	return fmt.Sprintf("the server at %s has not executed %s yet", e.Addr, e.Applied)
}

// UnfitReplicaError is returned by CheckReplica. Reason includes the remedy.
type UnfitReplicaError struct{ Addr, Reason string }

// Error names the server and the reason.
func (e *UnfitReplicaError) Error() string {
	return "rows cannot be read from the server at " + e.Addr + ": " + e.Reason
}

// CheckReplica returns an *UnfitReplicaError if rows must not be read from a server instead of from
// the source: if the server has transactions that the source lacks, does not report which
// transactions it has, or has none at all. A server that lacks some transactions of the source
// passes, because it may execute them later. executed are the transactions that the server has.
func CheckReplica(
	ctx context.Context, replica, source *mysql.Conn,
) (executed binlog.GTIDSet, err error) {
	unfit := func(format string, args ...any) error {
		return &UnfitReplicaError{replica.Addr(), fmt.Sprintf(format, args...)}
	}
	r, s := replica.Server(), source.Server()
	if reason := unfitSettings(r, s); reason != "" {
		return executed, unfit("%s", reason)
	}
	if r.Flavor == mysql.MariaDB {
		executed, err = executedByMariaDB(ctx, replica)
	} else {
		executed, err = gtidSet(ctx, replica, "@@GLOBAL.gtid_executed")
	}
	if err != nil || r.UUID == s.UUID {
		return executed, err
	}
	if executed.IsZero() {
		return executed, checkBlank(ctx, replica, source)
	}
	var extra binlog.GTIDSet
	if r.Flavor == mysql.MariaDB {
		has, err := executedByMariaDB(ctx, source)
		if err != nil {
			return executed, err
		}
		extra = executed.Subtract(&has)
	} else if extra, err = missingFromMySQL(ctx, source, &executed); err != nil {
		return executed, err
	}
	if extra.IsZero() {
		return executed, nil
	}
	remedy := "give the address of a replica of the source"
	if r.Flavor == mysql.MySQL {
		remedy += ", or commit empty transactions with these GTIDs on the source if they " +
			"changed no rows"
	}
	return executed, unfit("it has transactions that the source lacks, %s, so it is no replica "+
		"of the source, or was changed itself; %s", extra.String(), remedy)
}

// unfitSettings returns the reason why rows must not be read from a server r with these variables
// instead of from the source s, or "".
func unfitSettings(r, s mysql.Server) string {
	switch {
	case r.Flavor != s.Flavor:
		return fmt.Sprintf("it is a %s, and the source a %s; give the address of a replica of "+
			"the source", r.Flavor, s.Flavor)
	case !r.GTIDMode:
		return "its gtid_mode is not ON; set it to ON"
	case r.Flavor == mysql.MariaDB && (!r.LogBin || r.UUID != s.UUID && !r.LogReplicaUpdates):
		return "it does not log the changes that it replicates; " +
			"start it with log_bin and log_slave_updates"
	case r.LogBin && r.BinlogEngine != "":
		return "it writes MariaDB's InnoDB-based binary log (binlog_storage_engine), " +
			"which is not supported yet; " +
			"restart it without binlog_storage_engine, or give the address of another replica"
	}
	return ""
}

// checkBlank returns an error for a server without any transaction if the source has transactions.
// Such a server was most likely never made a replica. It does not just lag.
func checkBlank(ctx context.Context, replica, source *mysql.Conn) error {
	var has binlog.GTIDSet
	var err error
	if source.Server().Flavor == mysql.MariaDB {
		has, err = executedByMariaDB(ctx, source)
	} else {
		has, err = gtidSet(ctx, source, executedOrOwned)
	}
	if err != nil || has.IsZero() {
		return err
	}
	return &UnfitReplicaError{replica.Addr(), "it has none of the source's transactions: it is " +
		"blank, and no replica of the source; make it a replica of the source, or give the " +
		"address of one"}
}

// executedByMariaDB returns what the server has logged, and the last replicated transactions of the
// domains that its binlog does not have. Every visible transaction is included.
func executedByMariaDB(ctx context.Context, c *mysql.Conn) (binlog.GTIDSet, error) {
	set, err := gtidSet(ctx, c, "@@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return set, err
	}
	replicated, err := gtidSet(ctx, c, "@@GLOBAL.gtid_slave_pos")
	if err != nil {
		return set, err
	}
	replicated.Filter(func(g binlog.GTID) bool {
		if last := set.LastOf(g.Domain); last.IsZero() {
			set.AddGTID(g)
		}
		return false
	})
	return set, nil
}

// readReplica reads from another server than the stream's. F and the fence are GTID sets.
func (s *bracketedSelect) readReplica(ctx context.Context, applied binlog.Position) error {
	if applied.GTID.IsZero() && !applied.IsZero() && s.conn.Server().Flavor == mysql.MariaDB {
		return s.wrap(errors.New("the stream's position has no GTIDs, " +
			"by which rows could be read from another server"))
	}
	if s.conn.Server().Flavor == mysql.MariaDB {
		return s.readMariaDBReplica(ctx, applied.GTID)
	}
	executed, uuid, err := WaitExecuted(ctx, s.conn, applied.GTID, replicaWait)
	if err != nil {
		return s.wrap(err)
	}
	// Behind a proxy, another server may answer than at the beginning of the connection.
	if want := s.conn.Server().UUID; uuid != want {
		return s.wrap(fmt.Errorf("server %s answers at %s, and server %s before: "+
			"give the address of one server, not of several behind a proxy", uuid, s.conn.Addr(),
			want))
	}
	if !executed {
		return s.wrap(&LagError{s.conn.Addr(), applied.GTID})
	}
	return s.readAndFence(ctx)
}

// readMariaDBReplica waits until the server has logged the set. The end of its binlog after that is
// the place that a snapshot must reach.
func (s *bracketedSelect) readMariaDBReplica(ctx context.Context, applied binlog.GTIDSet) error {
	deadline := time.NewTimer(replicaWait)
	defer deadline.Stop()
	for {
		has, err := executedByMariaDB(ctx, s.conn)
		if err != nil {
			return s.wrap(err)
		}
		if has.Contains(applied) {
			break
		}
		select {
		case <-ctx.Done():
			return s.wrap(context.Cause(ctx))
		case <-deadline.C:
			return s.wrap(&LagError{s.conn.Addr(), applied})
		case <-time.After(50 * time.Millisecond):
		}
	}
	at, err := EndOfLog(ctx, s.conn)
	if err != nil {
		return s.wrap(err)
	}
	at.GTID = applied
	return s.readSnapshot(ctx, at)
}
