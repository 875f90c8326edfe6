package pipelines

import (
	"context"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// checkForeignKeys returns a StopError if a cascade may change rows of a mapped table without
// logging them. Tables with `cascades: ignore` are exempt. effects are those of a statement, of
// whose tables the keys are checked; nil checks all tables.
func (l *loop) checkForeignKeys(ctx context.Context, effects []ddl.Effect) error {
	var tables []*binlog.Table
	paths := make(map[*binlog.Table]string)
	for _, name := range l.tables.names() {
		t := l.tables.all[name].Schema
		isAffected := slices.ContainsFunc(effects, func(e ddl.Effect) bool {
			return e.Table.String() == name
		})
		if t == nil || effects != nil && !isAffected {
			continue
		}
		rule, err := l.config.Mapping.Rule(t.Database, t.Name)
		if err != nil {
			return &StopError{err}
		}
		if rule != nil && !rule.IgnoreCascades {
			tables = append(tables, t)
			paths[t] = rule.Path
		}
	}
	if len(tables) == 0 {
		return nil
	}
	found, err := l.schemas.UnloggedCascades(ctx, tables)
	if err != nil || len(found) == 0 {
		return err
	}
	first := found[0]
	return &StopError{l.config.Fault(paths[first.table],
		"the foreign key %s of mapped table %s is %s, "+
			"and this server logs no rows that a cascade changes; drop the cascade, "+
			"or set `cascades: ignore` for the table if its rows may differ then",
		first.key.Name, first.table.FullName(), first.key.Cascades())}
}
