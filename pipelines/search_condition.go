package pipelines

import (
	"bytes"
	"context"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
)

// conditionSearch finds the rows of a table that match a condition.
type conditionSearch struct {
	source    source.KeySource
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
