package jobs

// chunkBuffers are the buffers of a chunk that was applied. The next chunk fills them again: to
// grow new ones took about a sixth of the CPU of an initial load.
type chunkBuffers struct {
	read []readRow
	keys []byte
	unit []byte
}

// takeBuffers gives a new chunk the buffers of an earlier one, if there are any.
func (e *Engine) takeBuffers(c *chunk) {
	if n := len(e.buffers); n > 0 {
		b := e.buffers[n-1]
		e.buffers = e.buffers[:n-1]
		c.read, c.keys, c.unit.Bytes = b.read[:0], b.keys[:0], b.unit[:0]
	}
}

// keepBuffers takes the buffers of a chunk that was applied. The engine keeps at most one set for
// each worker, none that is larger than a chunk may be, and none once no task is left.
func (e *Engine) keepBuffers(c *chunk) {
	if len(e.buffers) < e.config.Parallel && cap(c.unit.Bytes)+cap(c.keys) <= 4*c.bytes {
		e.buffers = append(e.buffers, chunkBuffers{c.read, c.keys, c.unit.Bytes})
	}
	c.read, c.keys, c.unit.Bytes = nil, nil, nil
}
