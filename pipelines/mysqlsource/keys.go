package mysqlsource

import (
	"context"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/source"
)

// OpenKeys implements source.KeySource.
func (m *Source) OpenKeys() source.KeyReader {
	return &rows{
		config: m.config, server: m.conn.Server().UUID, holds: m.holds, log: m.log,
	}
}

// ReadKeys implements source.KeyReader.
func (m *rows) ReadKeys(
	ctx context.Context, request query.KeysRequest, reset func(), key func(texts [][]byte) error,
) (result query.KeysResult, err error) {
	name := request.Table.FullName()
	err = m.ask(ctx, name, "a search for rows of "+name, false,
		func(silence time.Duration) error {
			reset()
			request.Silence = silence
			result, err = query.ReadKeys(ctx, m.conn, request, key)
			return err
		})
	return result, err
}

// OpenReplay implements source.KeySource.
func (m *Source) OpenReplay(ctx context.Context, start source.ReplayStart) (source.Stream, error) {
	config := m.replayConfig()
	config.Tables = start.Tables
	stream, err := dump.Open(ctx, config, start.Position)
	if err != nil {
		return nil, fmt.Errorf("read the binlog again from %s: %w", start.Position, err)
	}
	return stream, nil
}

// LogFiles implements source.PreparedSource.
func (m *Source) LogFiles(ctx context.Context) ([]string, error) {
	return query.BinlogFiles(ctx, m.conn)
}

// OpenPrepared implements source.PreparedSource.
func (m *Source) OpenPrepared(
	ctx context.Context, file string, tables events.Tables,
) (source.Stream, error) {
	const first = 4 // the offset of the first event
	config := m.replayConfig()
	config.Tables, config.PreparedOnly = tables, true
	stream, err := dump.Open(ctx, config, binlog.Position{File: file, Offset: first})
	if err != nil {
		return nil, fmt.Errorf("read the XA transactions of %s: %w", file, err)
	}
	return stream, nil
}

// replayConfig returns the configuration of a stream beside the pipeline's own.
func (m *Source) replayConfig() dump.Config {
	config := m.dump
	config.Tables, config.ServerID = nil, m.replayID
	config.Logger = m.log.With().Bool("again", true).Logger()
	return config
}

// TryCondition returns the server's error if the server cannot evaluate a condition over the
// columns of t. It opens a connection for that. ctx limits the time.
func TryCondition(
	ctx context.Context, config mysql.Config, t *binlog.Table, condition string,
) error {
	if err := query.CheckCondition(condition); err != nil {
		return err
	}
	conn, err := mysql.Dial(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to try the condition: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return query.TryCondition(ctx, conn, t, condition)
}
