package jobs

import (
	"context"
	"fmt"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// schemaTask reads the definition of a table whose columns are not known. Changes of the table are
// not applied meanwhile. The definition is valid from the fence on, unless a DDL of the table comes
// before: that interrupts the task.
type schemaTask struct {
	taskBase
	schema *ddl.Schema // nil: there is no such table
}

func (s *schemaTask) run(ctx context.Context, rows RowReader) (err error) {
	s.schema, s.fence, err = rows.ReadSchema(ctx, s.table.Database, s.table.Name)
	if err != nil {
		return fmt.Errorf("read the definition of %s: %w", s.table.FullName(), err)
	}
	return nil
}

func (s *schemaTask) markDirty(*binlog.Change) error { return nil }

func (s *schemaTask) retry(*Engine) bool { return false }

func (s *schemaTask) apply(ctx context.Context, e *Engine) error {
	return e.host.AdoptSchema(ctx, s.table, s.schema)
}
