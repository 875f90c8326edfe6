package mysqlsource

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog/mysql"
	"rowfall/pipelines/holds"
)

// queryWait is the wait of the statements of one connection.
type queryWait struct {
	conn *mysql.Conn
	// what describes the statements, for messages: "rows of shop.users".
	what string
	// locksRows means that the statements may also wait for locks of rows.
	locksRows bool
	log       zerolog.Logger
	// known is the wait's cause, if more is known than that the server is silent.
	known atomic.Pointer[holds.Hold]
}

func newQueryWait(conn *mysql.Conn, what string, log zerolog.Logger) *queryWait {
	return &queryWait{conn: conn, what: what, log: log}
}

// lockReason describes the wait for a lock of a table. The server's error is the same for a
// metadata lock and for locks of rows.
func (w *queryWait) lockReason(table string) string {
	if w.locksRows {
		return "waiting for a lock on " + table + " (a metadata lock or row locks, which a " +
			"session holds, or a prepared transaction that XA RECOVER lists)"
	}
	return "waiting for a metadata lock on " + table
}

// Hold returns what the connection waits for. Since is zero if it does not wait.
func (w *queryWait) Hold() holds.Hold {
	if h := w.known.Load(); h != nil {
		return *h
	}
	reason := fmt.Sprintf("waiting for MySQL at %s to answer %s", w.conn.Addr(), w.what)
	return holds.Hold{Reason: reason, Since: w.conn.SilentSince()}
}

const (
	// lockRetryDelay is the pause between two tries of a statement that needs a lock. In each try
	// the server itself waits for mysql.Config.LockWait.
	lockRetryDelay = 100 * time.Millisecond
	// lockLogInterval is how often a lasting wait for a lock is logged.
	lockLogInterval = time.Minute
)

// retryWhileLocked runs query again as long as it fails because a session or a prepared XA
// transaction holds a lock of the table. The wait has no limit but ctx; the log and Stats.Held show
// it. likely means that query waits for nothing but the lock, so that the hold begins at once.
func (w *queryWait) retryWhileLocked(
	ctx context.Context, table string, likely bool, query func() error,
) error {
	began := time.Now()
	wait := &holds.Hold{Reason: w.lockReason(table), Since: began}
	if likely {
		w.known.Store(wait)
	}
	defer w.known.Store(nil)
	var logged time.Time
	for {
		err := query()
		if !mysql.IsCode(err, mysql.CodeLockTimeout) {
			if !logged.IsZero() && err == nil {
				w.log.Info().Str("table", table).Dur("after", time.Since(began)).
					Msg("the lock is free; the pipeline continues")
			}
			return err
		}
		w.known.Store(wait)
		if time.Since(logged) >= lockLogInterval {
			logged = time.Now()
			w.log.Warn().Str("table", table).Time("since", began).
				Msg(w.lockReason(table) + "; to find the holder, see SHOW PROCESSLIST, " +
					"performance_schema.metadata_locks and data_locks, and XA RECOVER")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockRetryDelay):
		}
	}
}
