package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// addTables maps the tables of new data. load tells whether their rows will be loaded.
func (l *loop) addTables(
	ctx context.Context, schemas map[string]*binlog.Table, load bool,
) (err error) {
	if l.tables.databases, err = l.schemas.Databases(ctx); err != nil {
		return err
	}
	tables := make([]*binlog.Table, 0, len(schemas))
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		tables = append(tables, schemas[name])
	}
	definitions, err := l.schemas.Definitions(ctx, tables)
	if err != nil {
		return err
	}
	var faults []error
	for _, d := range definitions {
		t, err := l.tables.add(d)
		if err != nil && (len(transform.MappingErrors(err)) == 0 ||
			l.tables.historyOf(d.TableName().String()).Known) {
			// The fault is the table's, such as a character set that is not supported, or a
			// column that was dropped since the mapping has fitted the table.
			err = l.addFaulty(d.TableName(), d, err)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if t == nil {
			continue
		}
		if load {
			if err := l.checkLoadable(t); err != nil {
				return err
			}
		}
		t.Job.Skipped = !load
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return l.tables.checkConflicts()
}

// checkLoadable checks that the initial load can read a table in the order of its key. If it
// cannot, a table that only a wildcard maps becomes unmapped; otherwise that is a StopError.
func (l *loop) checkLoadable(t *mappedTable) error {
	fault := query.CheckKey(t.Schema, jobs.Order(t.Schema, t.Plan))
	if fault == nil {
		return nil
	}
	rule, err := l.config.Mapping.Rule(t.Database, t.Name)
	if err != nil {
		return &StopError{Err: err}
	}
	if rule != nil && rule.Wildcard {
		l.tables.unmap(t, fault.Error())
		return nil
	}
	return &StopError{Err: l.config.Fault(l.entryPath(t.Schema), "%v", fault)}
}

// addAltered maps tables that were altered while they were read. Their jobs read the definitions
// again, and changes after position are not applied until then.
func (l *loop) addAltered(altered []ddl.TableName, position binlog.Position) {
	for _, n := range altered {
		job := l.reconcileJob("altered while its definition was read")
		job.NeedsSchema, job.MissedFrom = true, position.String()
		l.tables.put(n).Restart(job)
		l.log.Info().Stringer("table", n).
			Msg("a table is being altered; a job will read its definition")
	}
}

// bracketSchemas returns schemas and a position at which they were valid: they were the same
// before and after the position was read. altered are the tables of which no such schema was found,
// because other sessions create, alter or drop them all the time.
func (l *loop) bracketSchemas(ctx context.Context) (
	position binlog.Position, schemas map[string]*binlog.Table, altered []ddl.TableName, err error,
) {
	before, err := l.schemas.Schemas(ctx, nil)
	if err != nil {
		return position, nil, nil, err
	}
	const tries = 3
	for try := 1; ; try++ {
		var visible bool
		if position, visible, err = l.positions.End(ctx); err != nil {
			return position, nil, nil, fmt.Errorf("read the binlog's end: %w", err)
		}
		if !visible {
			if err := l.awaitLoggedDDL(ctx, before); err != nil {
				return position, nil, nil, err
			}
		}
		after, err := l.schemas.Schemas(ctx, nil)
		if err != nil {
			return position, nil, nil, err
		}
		changed := tablestate.ChangedSchemas(before, after)
		if len(changed) > 0 && try < tries {
			before = after
			continue
		}
		for _, name := range changed {
			t := after[name]
			if t == nil {
				t = before[name]
			}
			altered = append(altered, ddl.NameOf(t))
			delete(after, name)
		}
		return position, after, altered, nil
	}
}

// awaitLoggedDDL waits until every statement before the binlog's end has taken effect.
func (l *loop) awaitLoggedDDL(ctx context.Context, tables map[string]*binlog.Table) error {
	for _, t := range tables {
		if t.NotFollowed != "" {
			continue
		}
		if err := l.schemas.AwaitDDL(ctx, ddl.NameOf(t)); err != nil {
			return err
		}
	}
	return nil
}

// upgradeDefinitions completes the definitions of data that a version without definitions built.
// The server's present definition is taken if its columns and keys are those of the data.
func (l *loop) upgradeDefinitions(ctx context.Context) error {
	var partial []*mappedTable
	var schemas []*binlog.Table
	current, err := l.partialTables(ctx)
	if err != nil || current == nil {
		return err
	}
	for _, name := range l.tables.names() {
		t := l.tables.all[name]
		now := current[name]
		if t.definition != nil && t.definition.Partial && now != nil && t.hasSchema(now) {
			partial, schemas = append(partial, t), append(schemas, now)
		}
	}
	definitions, err := l.schemas.Definitions(ctx, schemas)
	if err != nil {
		return err
	}
	changed := false
	for i, t := range partial {
		if definitions[i].Partial {
			continue
		}
		changed = true
		if err := l.redefine(t, definitions[i], t.Job); err != nil {
			return err
		}
	}
	if len(l.tables.databases) == 0 {
		if l.tables.databases, err = l.schemas.Databases(ctx); err != nil {
			return err
		}
		if err := l.tables.saveDatabases(&l.unit, l.config.Name); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return l.flush(ctx)
}

// partialTables returns the server's present schemas if a definition of the data is Partial, else
// nil.
func (l *loop) partialTables(ctx context.Context) (map[string]*binlog.Table, error) {
	for _, t := range l.tables.all {
		if t.definition != nil && t.definition.Partial {
			return l.schemas.Schemas(ctx, nil)
		}
	}
	return nil, nil
}
