package pipelines

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
)

// keySource is the part of a source that searches use.
type keySource interface {
	// OpenKeys returns a reader of keys for one goroutine. The caller closes it.
	OpenKeys() keyReader
	// OpenReplay opens a second stream of the binlog, with the tables of a replay.
	OpenReplay(ctx context.Context, start replayStart) (eventStream, error)
}

// keyReader reads pages of keys.
type keyReader interface {
	// ReadKeys reads a page, see query.ReadKeys. reset is called before the first key, and before
	// keys are read again.
	ReadKeys(ctx context.Context, request query.KeysRequest, reset func(),
		key func(texts [][]byte) error) (query.KeysResult, error)
	Close()
}

// conditionSearch finds the rows of a table that match a condition.
type conditionSearch struct {
	source    keySource
	table     string
	schema    *binlog.Table
	key       []int
	condition string
	after     [][]byte // the last key of the last page that was sent
}

func (c *conditionSearch) find(ctx context.Context, send func(page) error) error {
	reader := c.source.OpenKeys()
	defer reader.Close()
	for {
		var keys []jobs.Key
		request := query.KeysRequest{
			Table: c.schema, Key: c.key, Condition: c.condition, After: c.after, Limit: pageKeys,
		}
		result, err := reader.ReadKeys(ctx, request, func() { keys = nil },
			func(texts [][]byte) error {
				key := make(jobs.Key, len(texts))
				for i, text := range texts {
					key[i] = bytes.Clone(text)
				}
				keys = append(keys, key)
				return nil
			})
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			after := result.Last
			err := send(page{
				found:   []foundKeys{{c.table, c.schema, keys}},
				advance: func(s *tablestate.Search) error { s.After = after; return nil },
			})
			if err != nil {
				return err
			}
			c.after = after
		}
		if result.Done {
			return nil
		}
	}
}

// OpenKeys implements keySource.
func (m *mysqlSource) OpenKeys() keyReader {
	return &mysqlRows{
		config: m.config, server: m.conn.Server().UUID, holds: m.holds, log: m.log,
	}
}

// ReadKeys implements keyReader.
func (m *mysqlRows) ReadKeys(
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

// tryCondition returns the server's error if the server cannot evaluate the condition.
func (p *Pipeline) tryCondition(ctx context.Context, t *binlog.Table, condition string) error {
	if err := query.CheckCondition(condition); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	conn, err := mysql.Dial(ctx, p.mysqlConfig())
	if err != nil {
		return fmt.Errorf("connect to try the condition: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return query.TryCondition(ctx, conn, t, condition)
}
