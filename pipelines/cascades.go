package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// cascades stops where a foreign key may change rows of a mapped table behind the
// binlog's back. InnoDB follows cascades below the layer that logs; only a MySQL
// that handles foreign keys above it (9.6 and later, unless it is told otherwise)
// logs the rows of the child.
func (l *loop) cascades(ctx context.Context) error {
	native, err := l.conn.Query(ctx, "SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err != nil {
		return fmt.Errorf("ask how foreign keys are handled: %w", err)
	}
	if len(native.Rows) == 1 && slices.Contains([]string{"OFF", "0"}, string(native.Rows[0][1])) {
		return nil
	}
	r, err := l.conn.Query(ctx, "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS"+
		" WHERE CONSTRAINT_SCHEMA NOT IN ('mysql','sys') ORDER BY 1, 2, 3")
	if err != nil {
		return fmt.Errorf("read foreign keys: %w", err)
	}
	mapped := l.tables.names()
	for _, row := range r.Rows {
		key := tableName{string(row[0]), string(row[1])}
		i := slices.IndexFunc(mapped, func(name string) bool { return strings.EqualFold(name, key.String()) })
		if i < 0 {
			continue
		}
		what := ""
		for j, event := range []string{"DELETE", "UPDATE"} {
			if action := string(row[3+j]); action != "NO ACTION" && action != "RESTRICT" {
				what += " ON " + event + " " + action
			}
		}
		if what == "" {
			continue
		}
		schema := l.tables.all[mapped[i]].schema
		rule, err := l.config.Mapping.Rule(schema.Database, schema.Name)
		if err != nil {
			return &StopError{err}
		}
		if rule == nil || rule.IgnoreCascades {
			continue
		}
		return stop("%s: the foreign key %s of mapped table %s is%s, and this server logs no rows that a cascade changes: "+
			"drop the cascade, or say `cascades: ignore` for the table if its rows may differ then", l.config.Path, row[2], mapped[i], what)
	}
	return nil
}
