package replog

// window holds the newest bytes of the stream in chunks. The writer copies bytes in outside of Log.mu, beyond what is published,
// where no reader looks; everything else happens under Log.mu. Chunks are used again once no reader looks at them.
type window struct {
	chunkSize int
	maxChunks int
	chunks    []*chunk // oldest first, contiguous; all but the last are full
	free      []*chunk
	// start is the offset before the first byte held. While a record is added it may pass the published end.
	start Offset
	// end is the offset after the last byte held, published or not; only the writer looks at it.
	end Offset
}

// chunk is a piece of the stream: buf[0] is the byte after start.
type chunk struct {
	start Offset
	buf   []byte // chunkSize bytes
	used  int    // of buf; only the writer looks at it
	// readers look at buf and prevent its use for other bytes; dropped says the window no longer holds the chunk.
	readers int
	dropped bool
}

func newWindow(size int64, start Offset) *window {
	chunkSize := int(min(max(size/16, 1<<10), 1<<20))
	return &window{chunkSize: chunkSize, maxChunks: max(int(size/int64(chunkSize)), 1), start: start, end: start}
}

// room returns the free bytes at the window's end, nil if there are none without grow. For the writer, without Log.mu.
func (w *window) room() []byte {
	if n := len(w.chunks); n > 0 {
		c := w.chunks[n-1]
		return c.buf[c.used:]
	}
	return nil
}

// advanceEnd says that n bytes of room were filled. For the writer, without Log.mu.
func (w *window) advanceEnd(n int) {
	w.chunks[len(w.chunks)-1].used += n
	w.end += Offset(n)
}

// grow adds a chunk, and drops the oldest if there are too many.
func (w *window) grow() {
	if len(w.chunks) == w.maxChunks {
		w.dropOldest()
	}
	var c *chunk
	if n := len(w.free); n > 0 {
		c, w.free = w.free[n-1], w.free[:n-1]
		c.used, c.dropped = 0, false
	} else {
		c = newChunk(w.chunkSize)
	}
	c.start = w.end
	w.chunks = append(w.chunks, c)
}

// dropOldest forgets the oldest chunk.
func (w *window) dropOldest() {
	c := w.chunks[0]
	copy(w.chunks, w.chunks[1:])
	w.chunks = w.chunks[:len(w.chunks)-1]
	w.start = c.start + Offset(w.chunkSize)
	c.dropped = true
	w.recycle(c)
}

// recycle keeps a dropped chunk for grow, if no reader looks at it. Few spares will do: the window takes one for each it drops.
func (w *window) recycle(c *chunk) {
	if c.dropped && c.readers == 0 && len(w.free) < 2 {
		w.free = append(w.free, c)
	}
}

// read returns the bytes after off, at most limit and none after end, and the chunk they are in, which the caller must give back.
// off must be in [w.start, end).
func (w *window) read(off, end Offset, limit int) ([]byte, *chunk) {
	// All chunks but the last hold chunkSize bytes, so the chunk's index is a division.
	c := w.chunks[int(off-w.start)/w.chunkSize]
	from := int(off - c.start)
	to := min(int(end-c.start), w.chunkSize, from+limit)
	c.readers++
	return c.buf[:to:to][from:], c
}

// release gives back a chunk that view returned.
func (w *window) release(c *chunk) {
	c.readers--
	w.recycle(c)
}

// reset forgets everything and continues at start.
func (w *window) reset(start Offset) {
	for len(w.chunks) > 0 {
		w.dropOldest()
	}
	w.start, w.end = start, start
}
