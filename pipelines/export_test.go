package pipelines

// SetChunkBytes changes what a chunk may hold until the returned function is
// called. No pipeline may run at either moment.
func SetChunkBytes(n int) (restore func()) {
	was := chunkBytes
	chunkBytes = n
	return func() { chunkBytes = was }
}
