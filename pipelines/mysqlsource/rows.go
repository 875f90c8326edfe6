package mysqlsource

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/holds"
	"rowfall/pipelines/jobs"
)

const (
	// sortSilence is how long the server may be silent while it sorts a table without a key.
	sortSilence = 30 * time.Minute
	// MaxSilence is the upper bound of the times for which the server may be silent.
	MaxSilence = 32 * time.Minute
)

// rows reads rows over a connection of its own, which it opens when it needs one.
type rows struct {
	config mysql.Config
	server string // UUID of the server that the stream comes from; empty for replicas
	// isReplica is set if the rows are those of another server of the source's history.
	isReplica bool
	// dial opens a connection; nil connects to config.
	dial  func(ctx context.Context) (*mysql.Conn, error)
	holds *holds.Set
	log   zerolog.Logger
	conn  *mysql.Conn // nil: not connected
	// silence is how long the server may be silent; 0 is the connection's own limit. It grows
	// until a query succeeds.
	silence time.Duration
}

// OpenRows returns a reader that is not connected yet.
func (m *Source) OpenRows() jobs.RowReader {
	rows := &rows{
		config: m.config, server: m.conn.Server().UUID, holds: m.holds, log: m.log,
	}
	if len(m.readFrom) > 0 {
		return newReplicaRows(m.readFrom, rows, m.log)
	}
	return rows
}

// Close closes the connection.
func (m *rows) Close() {
	if m.conn != nil {
		_ = m.conn.Close()
		m.conn = nil
	}
}

// ReadRows reads with one bracketed SELECT.
func (m *rows) ReadRows(
	ctx context.Context, request query.ChunkRequest, from binlog.Position, to jobs.Collector,
) (result query.ChunkResult, err error) {
	request.Server, request.Replica = m.server, m.isReplica
	name := request.Table.FullName()
	isSorted := len(request.Table.Key()) == 0
	err = m.ask(ctx, name, "a SELECT of rows of "+name, isSorted,
		func(silence time.Duration) error {
			to.Reset()
			request.Silence = silence
			result, err = query.Read(ctx, m.conn, request, from, to.Add)
			return err
		})
	return result, err
}

// ScanRows reads in a consistent snapshot.
func (m *rows) ScanRows(
	ctx context.Context, request query.ScanRequest, from binlog.Position, to jobs.Scanner,
) error {
	request.Server, request.Replica = m.server, m.isReplica
	name := request.Table.FullName()
	add := func(row *binlog.Row) error {
		if to.IsFull() {
			resume := m.conn.SuspendSilence()
			err := to.HandOver(ctx)
			resume()
			if err != nil {
				return err
			}
		}
		return to.Add(row)
	}
	return m.ask(ctx, name, "a SELECT of all rows of "+name, false,
		func(silence time.Duration) error {
			to.Reset()
			request.Silence = silence
			return query.Scan(ctx, m.conn, request, from, to.Begin, add)
		})
}

// ReadMatching reads with one bracketed SELECT.
func (m *rows) ReadMatching(
	ctx context.Context, request query.MatchRequest, from binlog.Position, to jobs.Collector,
) (fence binlog.Position, err error) {
	request.Server, request.Replica = m.server, m.isReplica
	name := request.Table.FullName()
	err = m.ask(ctx, name, "a SELECT of rows of "+name, false,
		func(silence time.Duration) error {
			to.Reset()
			request.Silence = silence
			fence, err = query.ReadMatching(ctx, m.conn, request, from, to.Add)
			return err
		})
	return fence, err
}

// ReadSchema reads the definition that the table has now.
func (m *rows) ReadSchema(
	ctx context.Context, database, table string,
) (schema *ddl.Schema, fence binlog.Position, err error) {
	name := database + "." + table
	err = m.ask(ctx, name, "the definition of "+name, false, func(time.Duration) error {
		schema, fence, err = query.PresentDefinition(ctx, m.conn, database, table)
		return err
	})
	return schema, fence, err
}

// ask runs a query over the connection, which it opens if necessary. A table lock that another
// session holds delays only this query: the stream continues. If the server falls silent, the query
// is run again over a new connection with a longer limit, because a slow statement looks the same
// as a dead connection.
func (m *rows) ask(
	ctx context.Context, table, what string, isSorted bool, run func(silence time.Duration) error,
) error {
	if m.silence == 0 && isSorted {
		m.silence = sortSilence
	}
	for {
		if err := m.connect(ctx); err != nil {
			return err
		}
		wait := newQueryWait(m.conn, what, m.log)
		wait.locksRows = m.conn.Server().Flavor == mysql.MySQL && !m.isReplica
		remove := m.holds.Add(wait)
		err := wait.retryWhileLocked(ctx, table, false, func() error {
			if err := run(m.silence); err != nil {
				return fmt.Errorf("read %s: %w", table, err)
			}
			return nil
		})
		remove()
		if err == nil {
			m.silence = 0
			return nil
		}
		if !m.conn.IsUsable() && m.isReplica {
			err = &connectionError{err}
		}
		m.Close() // rows that were not read make the connection unusable
		var silent *mysql.SilentError
		if !errors.As(err, &silent) || ctx.Err() != nil {
			return err
		}
		m.silence = min(2*silent.Limit, MaxSilence)
		m.log.Warn().Err(err).Dur("next_limit", m.silence).
			Msg("a query is run again over a new connection")
	}
}

// connect opens the connection unless it is open.
func (m *rows) connect(ctx context.Context) error {
	if m.conn != nil {
		return nil
	}
	dial := m.dial
	if dial == nil {
		dial = func(ctx context.Context) (*mysql.Conn, error) { return mysql.Dial(ctx, m.config) }
	}
	conn, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to read rows: %w", err)
	}
	m.conn = conn
	return nil
}
