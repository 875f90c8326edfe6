package pipelines

import (
	"context"
	"time"

	"rowfall/pipelines/jobs"
)

// AddKeys starts a keys job for rows of a table whose key is one column.
func (p *Pipeline) AddKeys(ctx context.Context, table string, keys []string) error {
	return p.submit(ctx, func(_ context.Context, l *loop) error {
		for len(keys) > 0 {
			var some []jobs.Key
			for len(keys) > 0 && len(some) < 100 {
				some, keys = append(some, jobs.Key{[]byte(keys[0])}), keys[1:]
			}
			if err := l.jobs.AddKeys(&l.tables.all[table].Table, "test", some); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetChunkBytes sets the memory of all chunks in flight, until restore is called. No pipeline may
// run at either moment.
func SetChunkBytes(n int) (restore func()) {
	was := chunkBytes
	chunkBytes = n
	return func() { chunkBytes = was }
}

// SetDirtyKeyBytes sets the memory of a chunk's dirty keys in the same way.
func SetDirtyKeyBytes(n int) (restore func()) {
	was := dirtyKeyBytes
	dirtyKeyBytes = n
	return func() { dirtyKeyBytes = was }
}

// SetLockWait sets how long a statement waits for a metadata lock before it is retried, in the
// same way.
func SetLockWait(d time.Duration) (restore func()) {
	was := lockWait
	lockWait = d
	return func() { lockWait = was }
}

// LettersIn returns the dead letters that pieces of state hold.
func LettersIn(pieces map[string][]byte) ([]DeadLetter, error) { return lettersIn(pieces) }
