package replog

import (
	"runtime"
	"slices"
)

// window holds the newest bytes of the stream in chunks: always the newest baseChunks of them, and
// up to maxChunks while a reader needs them (see neededFromLocked). The page cache holds the same
// bytes, so a larger base would only be a second copy.
//
// The writer copies bytes in without holding Log.mu, beyond the published end, where no reader
// reads. Everything else happens under Log.mu. An evicted chunk is reused or freed once no reader
// reads it.
type window struct {
	chunkSize  int
	baseChunks int
	maxChunks  int
	chunks     []*chunk // oldest first, contiguous; all except the last are full
	spare      []*chunk // evicted chunks for reuse, at most maxSpareChunks
	unused     []*chunk // evicted chunks that takeUnused returns
	// start is the offset before the first byte held. While a record is being added it may be
	// beyond the published end.
	start Offset

	// last is the last of chunks, and end is the offset after the last byte held, published or not.
	// Only the writer uses them.
	last *chunk
	end  Offset
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
	mapped  bool            // buf lies outside the Go heap, see newChunk
	cleanup runtime.Cleanup // of a mapped chunk: unmaps buf when the chunk is unreachable
}

const (
	// The base is 1/baseOfLimit of the window's limit, and at most maxBaseSize bytes. A replica
	// that reconnects at once continues with bytes of the base.
	baseOfLimit = 8
	maxBaseSize = 1 << 20
	// A chunk has 1/chunksOfLimit of the window's limit, but not fewer than minChunkSize bytes and
	// not more than maxChunkSize.
	chunksOfLimit = 16
	minChunkSize  = 1 << 10
	maxChunkSize  = 256 << 10
	// maxSpareChunks is the number of evicted chunks that are kept for reuse. While all readers are
	// at the end of the log, the window takes a chunk for each chunk that it evicts.
	maxSpareChunks = 2
)

func newWindow(limit int64, start Offset) *window {
	chunkSize := int(min(max(limit/chunksOfLimit, minChunkSize), maxChunkSize))
	maxChunks := max(int(limit/int64(chunkSize)), 1)
	return &window{
		chunkSize: chunkSize, maxChunks: maxChunks,
		baseChunks: max(int(min(limit/baseOfLimit, maxBaseSize))/chunkSize, 1),
		start:      start, end: start,
	}
}

// room returns the free bytes at the window's end, or nil if the window must grow first. Only for
// the writer, without Log.mu.
func (w *window) room() []byte {
	if w.last == nil {
		return nil
	}
	return w.last.buf[w.last.used:]
}

// advanceEnd records that n bytes of room were filled. Only for the writer, without Log.mu.
func (w *window) advanceEnd(n int) {
	w.last.used += n
	w.end += Offset(n)
}

// addToWindow copies the payload to the window. Only for the writer, without Log.mu.
func (l *Log) addToWindow(payload []byte) {
	for len(payload) > 0 {
		room := l.window.room()
		if len(room) == 0 {
			l.growWindow()
			continue
		}
		n := copy(room, payload)
		l.window.advanceEnd(n)
		payload = payload[n:]
	}
}

// growWindow adds a chunk to the window. It first evicts the chunks that no reader needs, and the
// oldest one if the window is at its limit. Memory is mapped and unmapped without Log.mu.
func (l *Log) growWindow() {
	w := l.window
	l.mu.Lock()
	w.evictBefore(l.neededFromLocked(), w.baseChunks-1)
	if len(w.chunks) == w.maxChunks {
		w.evict(1)
	}
	c := w.takeSpare()
	if c == nil {
		l.mu.Unlock()
		c = newChunk(w.chunkSize)
		l.mu.Lock()
	}
	c.start = w.end
	w.chunks = append(w.chunks, c)
	w.last = c
	unused := w.takeUnused()
	l.mu.Unlock()
	freeChunks(unused)
}

// neededFromLocked returns the lowest position of the readers that are at most the window's limit
// behind, or the window's end if there is no such reader. These readers get all bytes after their
// positions from memory: the window grows until they have caught up. A reader that is farther
// behind reads from disk. To keep bytes for it would be useless, because the window would evict
// them before the reader needs them.
func (l *Log) neededFromLocked() Offset {
	w := l.window
	from := w.start + Offset(len(w.chunks)*w.chunkSize)
	lowest := from - Offset(w.maxChunks*w.chunkSize)
	for r := range l.readers {
		if r.generation == l.generation && r.position >= lowest {
			from = min(from, r.position)
		}
	}
	return from
}

// evictBefore evicts the oldest chunks whose bytes all lie before an offset, and leaves at least
// the given number of chunks.
func (w *window) evictBefore(from Offset, least int) {
	if n := min(int(from-w.start)/w.chunkSize, len(w.chunks)-least); n > 0 {
		w.evict(n)
	}
}

// evict evicts the n oldest chunks from the window.
func (w *window) evict(n int) {
	for _, c := range w.chunks[:n] {
		c.evicted = true
		w.recycle(c)
	}
	w.chunks = slices.Delete(w.chunks, 0, n)
	w.start += Offset(n * w.chunkSize)
}

// recycle keeps an evicted chunk for reuse, or hands it to takeUnused, if no reader holds it.
func (w *window) recycle(c *chunk) {
	switch {
	case !c.evicted || c.readers > 0:
	case len(w.spare) < maxSpareChunks:
		w.spare = append(w.spare, c)
	default:
		w.unused = append(w.unused, c)
	}
}

// takeSpare returns an empty chunk from the spare ones, or nil.
func (w *window) takeSpare() *chunk {
	n := len(w.spare)
	if n == 0 {
		return nil
	}
	c := w.spare[n-1]
	w.spare = w.spare[:n-1]
	c.used, c.evicted = 0, false
	return c
}

// takeUnused returns the evicted chunks that are to be freed. The caller frees them with freeChunks
// after it has released Log.mu, because returning pages to the system takes time.
func (w *window) takeUnused() []*chunk {
	unused := w.unused
	w.unused = nil
	return unused
}

func freeChunks(chunks []*chunk) {
	for _, c := range chunks {
		c.free()
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
	w.evict(len(w.chunks))
	w.last, w.start, w.end = nil, start, start
}

// WindowSize returns the bytes of memory that the window occupies.
func (l *Log) WindowSize() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.window.chunks)+len(l.window.spare)) * int64(l.window.chunkSize)
}
