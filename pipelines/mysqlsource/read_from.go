package mysqlsource

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/pipelines/holds"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
)

// replicaRows reads rows from the servers of source.mysql.read_from. Definitions of tables are read
// from the source.
//
// A fault of these servers delays the jobs and nothing else. If a server cannot be reached, lags,
// or has another history, the reader tries the next one, again and again. Meanwhile the reason
// shows as a hold.
type replicaRows struct {
	*rows   // reads from the present server
	schemas *rows
	source  mysql.Config // the stream's server; config has all servers of read_from
	// next is the index of the address that is tried next. failed counts the attempts since the
	// last read that succeeded.
	next, failed int
	// own are the transactions that the present server has committed itself, and that the source
	// has, too.
	own binlog.GTIDSet
	// receiver is the error of the receiver of the rows, which is no fault of the server.
	receiver error
	cause    atomic.Pointer[holds.Hold] // nil: the reader does not wait
	logged   time.Time
}

var _ jobs.RowReader = (*replicaRows)(nil)

const (
	// maxReplicaPause limits the pause after an attempt at each server has failed.
	maxReplicaPause = 30 * time.Second
	// replicaLogInterval is how often a lasting failure is logged.
	replicaLogInterval = time.Minute
)

// checkReadFrom rejects source.mysql.read_from at a source without GTIDs.
func checkReadFrom(c *file.Config, src *mysql.Conn) error {
	if len(c.Source.ReadFrom) == 0 || src.Server().GTIDMode {
		return nil
	}
	return &source.StopError{Err: c.Fault("source.mysql.read_from",
		"rows cannot be read from another server, because the source at %s has no GTIDs; "+
			"set its gtid_mode to ON, or remove read_from", src.Addr())}
}

// newReplicaRows returns a reader that is not connected yet. schemas reads from the source.
func newReplicaRows(addresses []string, schemas *rows, log zerolog.Logger) *replicaRows {
	r := &replicaRows{schemas: schemas, source: schemas.config}
	r.rows = &rows{
		config: schemas.config, isReplica: true, holds: schemas.holds, log: log,
		dial: r.connectNext,
	}
	r.config.Addresses = addresses
	return r
}

// Close implements jobs.RowReader.
func (r *replicaRows) Close() {
	r.rows.Close()
	r.schemas.Close()
}

// ReadSchema implements jobs.RowReader.
func (r *replicaRows) ReadSchema(
	ctx context.Context, database, table string,
) (*ddl.Schema, binlog.Position, error) {
	return r.schemas.ReadSchema(ctx, database, table)
}

// ReadRows implements jobs.RowReader.
func (r *replicaRows) ReadRows(
	ctx context.Context, request query.ChunkRequest, from binlog.Position, to jobs.Collector,
) (result query.ChunkResult, err error) {
	err = r.retry(ctx, func() error {
		result, err = r.rows.ReadRows(ctx, request, from, receiver{to, r})
		if err == nil {
			err = r.checkFence(&result.Fence)
		}
		return err
	})
	return result, err
}

// ReadMatching implements jobs.RowReader.
func (r *replicaRows) ReadMatching(
	ctx context.Context, request query.MatchRequest, from binlog.Position, to jobs.Collector,
) (fence binlog.Position, err error) {
	err = r.retry(ctx, func() error {
		fence, err = r.rows.ReadMatching(ctx, request, from, receiver{to, r})
		if err == nil {
			err = r.checkFence(&fence)
		}
		return err
	})
	return fence, err
}

// ScanRows implements jobs.RowReader.
func (r *replicaRows) ScanRows(
	ctx context.Context, request query.ScanRequest, from binlog.Position, to jobs.Scanner,
) error {
	return r.retry(ctx, func() error {
		return r.rows.ScanRows(ctx, request, from, scanReceiver{receiver{to, r}, to})
	})
}

// receiver records the errors of a Collector.
type receiver struct {
	jobs.Collector
	rows *replicaRows
}

func (c receiver) Add(row *binlog.Row) error { return c.rows.received(c.Collector.Add(row)) }

// scanReceiver records the errors of a Scanner.
type scanReceiver struct {
	receiver
	scanner jobs.Scanner
}

func (c scanReceiver) Begin(fence binlog.Position) error {
	if err := c.rows.checkFence(&fence); err != nil {
		return err
	}
	return c.rows.received(c.scanner.Begin(fence))
}

func (c scanReceiver) IsFull() bool { return c.scanner.IsFull() }

func (c scanReceiver) HandOver(ctx context.Context) error {
	return c.rows.received(c.scanner.HandOver(ctx))
}

func (r *replicaRows) received(err error) error {
	if err != nil {
		r.receiver = err
	}
	return err
}

// checkFence returns an error if the server has committed transactions itself since the connection
// was opened: the stream might never pass the fence. The next connection compares the server with
// the source again.
func (r *replicaRows) checkFence(fence *binlog.Position) error {
	own := ownTransactions(r.conn, &fence.GTID)
	if r.own.Contains(own) {
		return nil
	}
	return &query.UnfitReplicaError{
		Addr: r.conn.Addr(), Reason: "it has committed transactions itself, " + own.String(),
	}
}

// ownTransactions returns the transactions of a set that the server has committed itself.
func ownTransactions(c *mysql.Conn, set *binlog.GTIDSet) binlog.GTIDSet {
	if s := c.Server(); s.Flavor == mysql.MariaDB {
		return set.OfServerID(s.ServerID)
	}
	return set.Of(c.Server().UUID)
}

// retry runs read until it succeeds, or fails for another reason than the state of a server.
func (r *replicaRows) retry(ctx context.Context, read func() error) error {
	defer r.holds.Add(r)()
	defer r.cause.Store(nil)
	for {
		r.receiver = nil
		err := read()
		if err == nil || ctx.Err() != nil || r.receiver != nil || !isFaultOfServer(err) {
			r.failed = 0
			return err
		}
		r.rows.Close()
		r.show(err)
		if err := r.pause(ctx, err); err != nil {
			return err
		}
	}
}

// isFaultOfServer reports whether a read may succeed at another server, or later. If the table is
// gone, the stream will show why.
func isFaultOfServer(err error) bool {
	switch {
	case jobs.IsGone(err), errors.Is(err, query.ErrNoSnapshot):
		return false
	case errors.As(err, new(*query.LagError)), errors.As(err, new(*query.UnfitReplicaError)),
		errors.As(err, new(*mysql.ServerError)), errors.As(err, new(*connectionError)):
		return true
	}
	return false
}

// show shows the cause as a hold, and logs it from time to time.
func (r *replicaRows) show(err error) {
	since := time.Now()
	if h := r.cause.Load(); h != nil {
		since = h.Since
	}
	const prefix = "a job waits for a server of source.mysql.read_from: "
	r.cause.Store(&holds.Hold{Reason: prefix + err.Error(), Since: since})
	if time.Since(r.logged) >= replicaLogInterval {
		r.logged = time.Now()
		r.log.Warn().Err(err).Msg("rows cannot be read from a server of source.mysql.read_from; " +
			"the job waits, and the stream continues")
	}
}

// pause chooses the next server, and waits after an attempt at each server. A read from a server
// that lags has waited itself.
func (r *replicaRows) pause(ctx context.Context, err error) error {
	r.next = (r.next + 1) % len(r.config.Addresses)
	if errors.As(err, new(*query.LagError)) {
		return nil
	}
	r.failed++
	round := r.failed / len(r.config.Addresses)
	if r.failed%len(r.config.Addresses) > 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(min(time.Second<<min(round-1, 5), maxReplicaPause)):
		return nil
	}
}

// Hold implements holds.Waiter.
func (r *replicaRows) Hold() holds.Hold {
	if h := r.cause.Load(); h != nil {
		return *h
	}
	return holds.Hold{}
}

// connectionError means that a connection was not possible, or was lost.
type connectionError struct{ err error }

func (e *connectionError) Error() string { return e.err.Error() }
func (e *connectionError) Unwrap() error { return e.err }

// connectNext connects to the server whose turn it is, and checks that it has the history of the
// source.
func (r *replicaRows) connectNext(ctx context.Context) (*mysql.Conn, error) {
	config := r.config
	config.Addresses = config.Addresses[r.next : r.next+1]
	conn, err := mysql.Dial(ctx, config)
	if err != nil {
		return nil, &connectionError{err}
	}
	if err := r.check(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// check compares the server with the source, over a connection that is closed again.
func (r *replicaRows) check(ctx context.Context, conn *mysql.Conn) error {
	src, err := mysql.Dial(ctx, r.source)
	if err != nil {
		return &connectionError{fmt.Errorf("connect to the source: %w", err)}
	}
	defer func() { _ = src.Close() }()
	if got := src.Server().UUID; got != r.schemas.server {
		return &connectionError{fmt.Errorf("the source is server %s now, and the binlog comes "+
			"from %s", got, r.schemas.server)}
	}
	executed, err := query.CheckReplica(ctx, conn, src)
	if err != nil {
		return err
	}
	r.own = ownTransactions(conn, &executed)
	return nil
}
