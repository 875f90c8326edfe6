package replog

// window holds the newest bytes of the stream in chunks. The writer copies bytes in without holding
// Log.mu, beyond the published end, where no reader reads. Everything else happens under Log.mu. An
// evicted chunk is reused once no reader reads it.
type window struct {
	chunkSize int
	maxChunks int
	chunks    []*chunk // oldest first, contiguous; all except the last are full
	free      []*chunk
	// start is the offset before the first byte held. While a record is being added it may be
	// beyond the published end.
	start Offset
	// end is the offset after the last byte held, published or not. Only the writer uses it.
	end Offset
}

// chunk holds consecutive bytes of the stream: buf[0] is the byte after start.
type chunk struct {
	start Offset
	buf   []byte // chunkSize bytes
	used  int    // number of bytes of buf that are filled; only the writer uses it
	// readers counts the readers that hold buf and prevent its reuse. evicted is set once the
	// window no longer holds the chunk.
	readers int
	evicted bool
}

func newWindow(size int64, start Offset) *window {
	chunkSize := int(min(max(size/16, 1<<10), 1<<20))
	maxChunks := max(int(size/int64(chunkSize)), 1)
	return &window{chunkSize: chunkSize, maxChunks: maxChunks, start: start, end: start}
}

// room returns the free bytes at the window's end, or nil if the window must grow first. Only for
// the writer, without Log.mu.
func (w *window) room() []byte {
	if n := len(w.chunks); n > 0 {
		c := w.chunks[n-1]
		return c.buf[c.used:]
	}
	return nil
}

// advanceEnd records that n bytes of room were filled. Only for the writer, without Log.mu.
func (w *window) advanceEnd(n int) {
	w.chunks[len(w.chunks)-1].used += n
	w.end += Offset(n)
}

// grow adds a chunk, and evicts the oldest one if the window is at its limit.
func (w *window) grow() {
	if len(w.chunks) == w.maxChunks {
		w.evictOldest()
	}
	var c *chunk
	if n := len(w.free); n > 0 {
		c, w.free = w.free[n-1], w.free[:n-1]
		c.used, c.evicted = 0, false
	} else {
		c = newChunk(w.chunkSize)
	}
	c.start = w.end
	w.chunks = append(w.chunks, c)
}

// evictOldest evicts the oldest chunk from the window.
func (w *window) evictOldest() {
	c := w.chunks[0]
	copy(w.chunks, w.chunks[1:])
	w.chunks = w.chunks[:len(w.chunks)-1]
	w.start = c.start + Offset(w.chunkSize)
	c.evicted = true
	w.recycle(c)
}

// recycle keeps an evicted chunk for grow if no reader holds it. Two spare chunks are enough,
// because the window takes one for each that it evicts.
func (w *window) recycle(c *chunk) {
	if c.evicted && c.readers == 0 && len(w.free) < 2 {
		w.free = append(w.free, c)
	}
}

// read returns the bytes after off, at most limit and none after end, and the chunk that holds
// them, which the caller must release. off must be in [w.start, end).
func (w *window) read(off, end Offset, limit int) ([]byte, *chunk) {
	// All chunks except the last hold chunkSize bytes, so the chunk's index is a quotient.
	c := w.chunks[int(off-w.start)/w.chunkSize]
	from := int(off - c.start)
	to := min(int(end-c.start), w.chunkSize, from+limit)
	c.readers++
	return c.buf[:to:to][from:], c
}

// release returns a chunk that read returned.
func (w *window) release(c *chunk) {
	c.readers--
	w.recycle(c)
}

// reset evicts all chunks and continues at start.
func (w *window) reset(start Offset) {
	for len(w.chunks) > 0 {
		w.evictOldest()
	}
	w.start, w.end = start, start
}
