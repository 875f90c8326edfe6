package pipelines

import (
	"context"
	"fmt"
	"slices"

	"rowfall/binlog/query"
)

// cascades stops where a foreign key may change rows of a mapped table behind the
// binlog's back. InnoDB follows cascades below the layer that logs; only a MySQL
// that handles foreign keys above it (9.6 and later, unless it is told otherwise)
// logs the rows of the child.
func (l *loop) checkForeignKeys(ctx context.Context) error {
	native, err := l.conn.Query(ctx, "SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err != nil {
		return fmt.Errorf("ask how foreign keys are handled: %w", err)
	}
	if len(native.Rows) == 1 && slices.Contains([]string{"OFF", "0"}, string(native.Rows[0][1])) {
		return nil
	}
	for _, name := range l.tables.names() {
		t := l.tables.all[name].schema
		rule, err := l.config.Mapping.Rule(t.Database, t.Name)
		if err != nil {
			return &StopError{err}
		}
		if rule == nil || rule.IgnoreCascades {
			continue
		}
		keys, err := query.ForeignKeys(ctx, l.conn, t)
		if err != nil {
			return l.explainDenied(ctx, err)
		}
		for _, key := range keys {
			if actions := key.Cascades(); actions != "" {
				return &StopError{l.config.Fault(rule.Path, "the foreign key %s of mapped table %s is %s, "+
					"and this server logs no rows that a cascade changes; drop the cascade, "+
					"or set `cascades: ignore` for the table if its rows may differ then", key.Name, name, actions)}
			}
		}
	}
	return nil
}
