package pipelines

import "time"

// SetChunkBytes changes what a chunk may hold until the returned function is
// called. No pipeline may run at either moment.
func SetChunkBytes(n int) (restore func()) {
	was := chunkBytes
	chunkBytes = n
	return func() { chunkBytes = was }
}

// SetDirtyKeyBytes does the same for the keys that are noted while a chunk is read.
func SetDirtyKeyBytes(n int) (restore func()) {
	was := dirtyKeyBytes
	dirtyKeyBytes = n
	return func() { dirtyKeyBytes = was }
}

// SetLockWait does the same for how long a statement waits for a metadata lock before it is
// tried again.
func SetLockWait(d time.Duration) (restore func()) {
	was := lockWait
	lockWait = d
	return func() { lockWait = was }
}
