package pipelines

import "time"

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
