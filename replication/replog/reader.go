package replog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sort"

	"rowfall/replication/disk"
)

const (
	// defaultNext is the most bytes that Next returns if the caller sets no limit.
	defaultNext = 64 << 10
	// largeRecord is the payload size from which a record on disk is checked in blocks instead of
	// being held in memory as a whole.
	largeRecord = 1 << 20
)

// Reader returns the stream's bytes from an offset on, without end. One goroutine at a time may use
// it. Readers disturb neither each other nor the writer.
type Reader struct {
	log        *Log
	generation uint64
	offset     Offset // number of stream bytes before the next byte that Next returns
	closed     bool

	// chunk is the chunk of the memory window that holds the last returned slice. position is the
	// offset before that slice: the window keeps what follows it. Log.mu guards both.
	chunk    *chunk
	position Offset

	// While reading from disk: the open segment, the bytes that were read and checked but not
	// returned, and the rest of a large record.
	path      string
	file      disk.File
	scan      *scanner
	buf       []byte
	unread    []byte // part of buf not yet returned
	largePos  int64
	largeLeft int64
}

// NewReader returns a reader of the bytes after an offset, which need not be a record boundary.
// ErrTrimmed means that the log no longer reaches back to that offset, ErrBeyond that the log ends
// before that offset. The caller must close the reader, because the memory window keeps the bytes
// that open readers need.
func (l *Log) NewReader(after Offset) (*Reader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkOffsetLocked(after); err != nil {
		return nil, err
	}
	r := &Reader{log: l, generation: l.generation, offset: after, position: after}
	l.readers[r] = struct{}{}
	return r, nil
}

// checkOffsetLocked returns nil if the bytes after off can be read, and otherwise NewReader's
// error.
func (l *Log) checkOffsetLocked(off Offset) error {
	switch {
	case l.closed:
		return ErrClosed
	case off < l.segments[0].start || off < l.readableFrom && off < l.window.start:
		return ErrTrimmed
	case off > l.end:
		return ErrBeyond
	}
	return nil
}

// Offset returns the number of stream bytes before the next byte that Next returns.
func (r *Reader) Offset() Offset { return r.offset }

// Next returns the bytes that follow, at most limit of them (0 means 64 KiB), and blocks until
// there are some. The bytes are payloads only. They are shared with other readers, must not be
// changed, and are valid until the next call of Next or Close.
//
// The error is ErrTrimmed if the reader fell behind what the log keeps, or after Reset, and
// ErrClosed after the log's Close. A failed log returns its error once everything before the
// failure was read. Damage on disk is a *CorruptError.
func (r *Reader) Next(ctx context.Context, limit int) ([]byte, error) {
	for {
		b, wait, err := r.read(limit, true)
		if b != nil || err != nil {
			return b, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryNext is Next, but returns nil at the end of the log instead of waiting.
func (r *Reader) TryNext(limit int) ([]byte, error) {
	b, _, err := r.read(limit, false)
	return b, err
}

// read returns the bytes that follow. At the log's end it returns no bytes, and, if willWait is
// set, a channel to wait on.
func (r *Reader) read(limit int, willWait bool) ([]byte, <-chan struct{}, error) {
	if limit <= 0 {
		limit = defaultNext
	}
	l := r.log
	l.mu.Lock()
	b, onDisk, err := r.fromMemoryLocked(limit)
	var wait <-chan struct{}
	if b == nil && !onDisk && err == nil && willWait {
		l.waiting++
		wait = l.readable.Next()
	}
	unused := l.window.takeUnused()
	l.mu.Unlock()
	freeChunks(unused)
	if onDisk {
		b, err = r.fromDisk(limit)
	}
	if err != nil {
		return nil, nil, err
	}
	r.offset += Offset(len(b))
	return b, wait, nil
}

// fromMemoryLocked returns bytes of the memory window, or nil at the log's end. onDisk means that
// the bytes must be read from disk.
func (r *Reader) fromMemoryLocked(limit int) (b []byte, onDisk bool, err error) {
	l := r.log
	r.releaseLocked()
	r.advanceLocked()
	switch {
	case l.closed || r.closed:
		return nil, false, ErrClosed
	case r.generation != l.generation:
		return nil, false, ErrTrimmed
	case len(r.unread) > 0 || r.largeLeft > 0:
		return nil, true, nil
	case r.offset == l.end:
		return nil, false, l.err
	case r.offset < l.window.start:
		return nil, true, nil
	}
	r.closeFile()
	r.buf = nil
	b, r.chunk = l.window.read(r.offset, l.end, limit)
	return b, false, nil
}

// releaseLocked releases the chunk of the last returned slice.
func (r *Reader) releaseLocked() {
	if r.chunk != nil {
		r.log.window.release(r.chunk)
		r.chunk = nil
	}
}

// advanceLocked sets the position to the reader's offset, and shrinks the window if the reader has
// passed the oldest chunk.
func (r *Reader) advanceLocked() {
	w := r.log.window
	oldestEnd := w.start + Offset(w.chunkSize)
	passed := r.position < oldestEnd && oldestEnd <= r.offset
	r.position = r.offset
	if passed && len(w.chunks) > w.baseChunks {
		w.evictBefore(r.log.neededFromLocked(), w.baseChunks)
	}
}

// closeFile closes the open segment. The error is ignored, because the file was only read.
func (r *Reader) closeFile() {
	if r.file != nil {
		_ = r.file.Close()
		r.file, r.scan, r.path = nil, nil, ""
	}
}

// Close releases the reader's part of the memory window and its file.
func (r *Reader) Close() error {
	l := r.log
	l.mu.Lock()
	r.releaseLocked()
	delete(l.readers, r)
	l.window.evictBefore(l.neededFromLocked(), l.window.baseChunks)
	unused := l.window.takeUnused()
	r.closeFile()
	r.closed, r.unread, r.buf, r.largeLeft = true, nil, nil, 0
	l.mu.Unlock()
	freeChunks(unused)
	return nil
}

// fromDisk returns bytes from the segment files.
func (r *Reader) fromDisk(limit int) ([]byte, error) {
	if len(r.unread) == 0 && r.largeLeft == 0 {
		if err := r.fill(); err != nil {
			return nil, r.asCorrupt(err)
		}
	}
	if len(r.unread) == 0 {
		n := int(min(int64(limit), r.largeLeft, scanBlock))
		r.buf = slices.Grow(r.buf[:0], n)[:n]
		if _, err := readFull(r.file, r.buf, r.largePos); errors.Is(err, errUnreadable) {
			return nil, &CorruptError{r.path, r.largePos, err}
		} else if err != nil {
			return nil, err
		}
		r.largePos, r.largeLeft = r.largePos+int64(n), r.largeLeft-int64(n)
		return r.buf, nil
	}
	b := r.unread[:min(limit, len(r.unread))]
	r.unread = r.unread[len(b):]
	return b, nil
}

// asCorrupt wraps err in a *CorruptError, unless it is ErrTrimmed or a *readError, which do not
// mean damage.
func (r *Reader) asCorrupt(err error) error {
	if r.scan == nil || errors.Is(err, ErrTrimmed) || errors.As(err, new(*readError)) {
		return err
	}
	return &CorruptError{r.path, r.scan.at.pos, err}
}

// fill reads complete records from disk and checks them. It leaves their payloads, from r.offset
// on, in unread; of a large record it leaves the position in largePos.
func (r *Reader) fill() error {
	if r.scan == nil || r.scan.at.pos == r.scan.limit {
		if err := r.locate(); err != nil {
			return err
		}
	}
	r.buf = r.buf[:0]
	at := r.offset
	for r.scan.at.pos < r.scan.limit && len(r.buf) < defaultNext {
		h, err := r.scan.header()
		if err != nil {
			return err
		}
		skip := at - h.start // into the first record only
		if h.length > largeRecord {
			if len(r.buf) > 0 {
				break
			}
			if err := r.scan.verify(h); err != nil {
				return err
			}
			r.largePos = r.scan.at.pos + recordHeaderSize + int64(skip)
			r.largeLeft = int64(h.length) - int64(skip)
			r.scan.skip(h)
			return nil
		}
		rec, err := r.scan.next()
		if err != nil {
			return err
		}
		r.buf = append(r.buf, rec.Payload[skip:]...)
		at = h.end()
	}
	r.unread = r.buf
	return nil
}

// locate opens the segment that holds the byte after r.offset. If that segment is open already,
// locate updates its size.
func (r *Reader) locate() error {
	l := r.log
	l.mu.Lock()
	if r.generation != l.generation || r.offset < l.startLocked() {
		l.mu.Unlock()
		return ErrTrimmed
	}
	s := l.segmentLocked(r.offset)
	path, limit, from := s.path, s.size, s.lookup(r.offset)
	l.mu.Unlock()
	if path == r.path {
		if limit == r.scan.limit {
			return fmt.Errorf("it ends before offset %d", r.offset)
		}
		r.scan.limit = limit
		return nil
	}
	r.closeFile()
	file, err := l.config.FS.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrTrimmed // removed meanwhile
	}
	if err != nil {
		return &readError{err}
	}
	r.path, r.file, r.scan = path, file, newScanner(file, from, limit)
	if err := r.scan.seek(r.offset); err != nil {
		return err
	}
	if r.scan.at.pos == limit {
		return fmt.Errorf("it ends before offset %d", r.offset)
	}
	return nil
}

// segmentLocked returns the segment that holds the byte after off, which must be in the log.
func (l *Log) segmentLocked(off Offset) *segment {
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].start > off })
	return l.segments[i-1]
}

// Replay calls fn for every record from after, which must be a record boundary, to the end of the
// log at the time of the call. Payloads are read from disk, checked, and valid during the call of
// fn. An error of fn ends the replay and is returned as it is. The other errors are those of
// NewReader, a *CorruptError, and errors of the file system.
func (l *Log) Replay(after Offset, fn func(Record) error) error {
	defer l.Pin(after).Release()
	l.mu.Lock()
	err := l.checkOffsetLocked(after)
	var segments []segment
	for _, s := range l.segments {
		if s.end > after {
			segments = append(segments, *s)
		}
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for i := range segments {
		if err := l.replay(&segments[i], max(after, segments[i].start), fn); err != nil {
			return err
		}
	}
	return nil
}

// replay replays one segment.
func (l *Log) replay(s *segment, after Offset, fn func(Record) error) error {
	file, err := l.config.FS.Open(s.path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = file.Close() }()
	sc := newScanner(file, s.lookup(after), s.size)
	damage := func(err error) error {
		if errors.As(err, new(*readError)) {
			return err
		}
		return &CorruptError{s.path, sc.at.pos, err}
	}
	if err := sc.seek(after); err != nil {
		return damage(err)
	}
	if sc.at.offset < after {
		return fmt.Errorf("replay log: offset %d is inside the record that begins at %d",
			after, sc.at.offset)
	}
	for sc.at.pos < sc.limit {
		rec, err := sc.next()
		if err != nil {
			return damage(err)
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
	if sc.at.offset != s.end {
		err := fmt.Errorf("it ends at offset %d, want %d", sc.at.offset, s.end)
		return &CorruptError{s.path, sc.at.pos, err}
	}
	return nil
}
