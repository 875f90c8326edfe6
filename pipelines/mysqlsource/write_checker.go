package mysqlsource

import (
	"context"
	"fmt"

	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/source"
)

// CheckWritten implements source.WriteChecker.
func (m *schemas) CheckWritten(ctx context.Context, t ddl.TableName) (why string, err error) {
	err = m.wait.retryWhileLocked(ctx, t.String(), false, func() (err error) {
		why, err = query.CheckWritten(ctx, m.conn, t.Database, t.Table)
		return err
	})
	return why, err
}

// CheckRead implements source.WriteChecker.
func (m *schemas) CheckRead(ctx context.Context, t ddl.TableName) (why string, err error) {
	err = m.wait.retryWhileLocked(ctx, t.String(), false, func() (err error) {
		why, err = query.CheckRead(ctx, m.conn, t.Database, t.Table)
		return err
	})
	return why, err
}

// Cascades implements source.WriteChecker. A table that the user may not read is an error, because
// the server shows nothing of its foreign keys.
func (m *schemas) Cascades(
	ctx context.Context, tables []ddl.TableName,
) (found []source.UnloggedCascade, err error) {
	for _, t := range tables {
		var keys []query.ForeignKey
		err := m.wait.retryWhileLocked(ctx, t.String(), false, func() (err error) {
			if err = query.CheckSelectable(ctx, m.conn, t.Database, t.Table); err == nil {
				keys, err = query.ForeignKeys(ctx, m.conn, t.Database, t.Table)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the foreign keys of %s, on which rows of mapped tables "+
				"depend: %w", t, m.explainDenied(ctx, err))
		}
		for _, key := range keys {
			if key.Cascades() != "" {
				found = append(found, source.UnloggedCascade{Table: t, Key: key})
			}
		}
	}
	return found, nil
}
