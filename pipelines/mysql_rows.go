package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

const (
	// sortSilence is how long the server may be silent while it sorts a table without a key.
	sortSilence = 30 * time.Minute
	// maxSilence is the upper bound of the times for which the server may be silent.
	maxSilence = 32 * time.Minute
)

// mysqlRows reads rows over a connection of its own, which it opens when it needs one.
type mysqlRows struct {
	config mysql.Config
	server string // UUID of the server that the stream comes from
	holds  *holds
	log    zerolog.Logger
	conn   *mysql.Conn // nil: not connected
	// silence is how long the server may be silent; 0 is the connection's own limit. It grows
	// until a reading succeeds.
	silence time.Duration
}

// OpenRows returns a reader that is not connected yet.
func (m *mysqlSource) OpenRows() rowReader {
	return &mysqlRows{
		config: m.config, server: m.conn.Server().UUID, holds: m.holds, log: m.log,
	}
}

// Close closes the connection.
func (m *mysqlRows) Close() {
	if m.conn != nil {
		_ = m.conn.Close()
		m.conn = nil
	}
}

// ReadRows reads with one bracketed SELECT. If the server falls silent, it reads again over a new
// connection with a longer limit, because a slow statement looks the same as a dead connection.
func (m *mysqlRows) ReadRows(
	ctx context.Context, request query.ChunkRequest, from binlog.Position, to rowCollector,
) (query.ChunkResult, error) {
	request.Server = m.server
	if m.silence == 0 && len(request.Table.Key()) == 0 {
		m.silence = sortSilence
	}
	for {
		if err := m.connect(ctx); err != nil {
			return query.ChunkResult{}, err
		}
		request.Silence = m.silence
		result, err := m.readOnce(ctx, request, from, to)
		if err == nil {
			m.silence = 0
			return result, nil
		}
		m.Close() // rows that were not read make the connection unusable
		var silent *mysql.SilentError
		if !errors.As(err, &silent) || ctx.Err() != nil {
			return result, err
		}
		m.silence = min(2*silent.Limit, maxSilence)
		m.log.Warn().Err(err).Dur("next_limit", m.silence).
			Msg("a chunk is read again over a new connection")
	}
}

// connect opens the connection if there is none.
func (m *mysqlRows) connect(ctx context.Context) error {
	if m.conn != nil {
		return nil
	}
	conn, err := mysql.Dial(ctx, m.config)
	if err != nil {
		return fmt.Errorf("connect to read rows: %w", err)
	}
	m.conn = conn
	return nil
}

// readOnce reads the chunk. A table lock that another session holds delays only the chunk: the
// stream continues.
func (m *mysqlRows) readOnce(
	ctx context.Context, request query.ChunkRequest, from binlog.Position, to rowCollector,
) (result query.ChunkResult, err error) {
	name := request.Table.FullName()
	wait := newQueryWait(m.conn, "a SELECT of rows of "+name, m.log)
	defer m.holds.add(wait)()
	err = wait.retryWhileLocked(ctx, name, false, func() (err error) {
		to.reset()
		if result, err = query.Read(ctx, m.conn, request, from, to.add); err != nil {
			return fmt.Errorf("read rows of %s: %w", name, err)
		}
		return nil
	})
	return result, err
}
