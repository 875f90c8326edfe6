package pipelines

import (
	"context"

	"rowfall/binlog"
)

// checkForeignKeys returns a StopError if a cascade may change rows of a mapped table without
// logging them. Tables with `cascades: ignore` are exempt.
func (l *loop) checkForeignKeys(ctx context.Context) error {
	var tables []*binlog.Table
	paths := make(map[*binlog.Table]string)
	for _, name := range l.tables.names() {
		t := l.tables.all[name].schema
		rule, err := l.config.Mapping.Rule(t.Database, t.Name)
		if err != nil {
			return &StopError{err}
		}
		if rule != nil && !rule.IgnoreCascades {
			tables = append(tables, t)
			paths[t] = rule.Path
		}
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
