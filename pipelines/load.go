package pipelines

import (
	"context"
	"iter"

	"rowfall/binlog"
)

var _ reconcilerLoop = (*loop)(nil)

// startLoad starts the reconciler, which loads the tables that are not loaded yet.
func (l *loop) startLoad(ctx context.Context) {
	var tables []*mappedTable
	for _, name := range l.tables.names() {
		tables = append(tables, l.tables.all[name])
	}
	l.reconciler = newReconciler(l, l.rowSource, tables, l.config.Source.Backfill, l.log)
	l.reconciler.estimate(ctx, tables)
}

func (l *loop) streamPosition() *binlog.Position { return l.stream.Position() }

func (l *loop) wake() { l.stream.Wake() }

func (l *loop) writeRows(ctx context.Context, rows iter.Seq[rowCommands]) error {
	if !l.unit.IsEmpty() {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	inUnit := 0
	for row := range rows {
		u := &l.unit.Commands
		if len(row.bytes) > hugeUnit && row.last && len(u.Bytes) == 0 {
			u.Bytes = row.bytes
		} else {
			u.Bytes = append(u.Bytes, row.bytes...)
		}
		u.Count += row.count
		inUnit++
		if inUnit >= chunkUnitRows || l.unit.Size() >= l.config.Limits.MaxAtomicBytes {
			if err := l.flush(ctx); err != nil {
				return err
			}
			inUnit = 0
		}
	}
	return nil
}

func (l *loop) saveBackfill(ctx context.Context, t *mappedTable) error {
	if err := t.saveBackfill(&l.unit, l.config.Name); err != nil {
		return err
	}
	return l.flush(ctx)
}

func (l *loop) reportLoad(loaded, expected int64) {
	l.stats.loaded.Store(loaded)
	l.stats.expected.Store(expected)
}
