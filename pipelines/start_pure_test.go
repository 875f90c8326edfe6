package pipelines

import (
	"context"
	"errors"
	"slices"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/sink/sinktest"
)

// droppingSource drops a table between the two reads of a start: Schemas still has it, Definitions
// does not.
type droppingSource struct {
	*scriptedSource
	dropped string
}

func (d *droppingSource) Definitions(
	ctx context.Context, tables []*binlog.Table,
) ([]*ddl.Schema, error) {
	all, err := d.scriptedSource.Definitions(ctx, tables)
	for i, t := range tables {
		if t.Name == d.dropped {
			all[i] = nil
		}
	}
	d.tables = slices.DeleteFunc(d.tables, func(t *binlog.Table) bool {
		return t.Name == d.dropped
	})
	return all, err
}

// A table that is dropped while a start reads the definitions does not end the start.
func TestTableDroppedDuringStart(t *testing.T) {
	kept, other := intTable(), intTable()
	other.Name = "u"
	script := &scriptedSource{
		tables: []*binlog.Table{kept, other}, images: [][2]uint32{{1, 10}},
	}
	source := &droppingSource{script, "u"}
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, script)
	l.schemas = source
	l.tables = newTableSet(&l.config.Mapping)
	if err := l.startAt(t.Context(), "snapshot", false); err != nil {
		t.Fatal(err)
	}
	if names := l.tables.names(); !slices.Equal(names, []string{"shop.t"}) {
		t.Errorf("mapped tables: %v", names)
	}
	// A table that disappears in every try ends the start with a clear error.
	source.dropped = "t"
	script.tables = []*binlog.Table{kept}
	keep := &endlessSource{source, kept}
	l.schemas = keep
	l.tables = newTableSet(&l.config.Mapping)
	if err := l.startAt(t.Context(), "snapshot", false); !errors.Is(err, errTablesChanged) {
		t.Errorf("a table that is dropped again and again: %v", err)
	}
}

// endlessSource creates the dropped table again.
type endlessSource struct {
	*droppingSource
	table *binlog.Table
}

func (e *endlessSource) Definitions(
	ctx context.Context, tables []*binlog.Table,
) ([]*ddl.Schema, error) {
	all, err := e.droppingSource.Definitions(ctx, tables)
	e.tables = []*binlog.Table{e.table}
	return all, err
}
