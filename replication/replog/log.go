package replog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/notify"
)

var (
	// ErrTrimmed is returned when the requested bytes are no longer in the log.
	ErrTrimmed = errors.New("the log no longer holds this offset")
	// ErrBeyond is returned when a reader would start after the log's end.
	ErrBeyond = errors.New("the log does not reach this offset yet")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the log is closed")
)

// CorruptError reports damage in bytes of the log that had been durable. The operation that returns
// it has changed nothing on disk.
type CorruptError struct {
	// File is the segment's path; Offset is the damage's position in that file, in bytes.
	File   string
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("log segment %s is damaged at byte %d: %v; put the file back from a copy",
		e.File, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Recovery describes what Open or Repair had to do.
type Recovery struct {
	// Cut is how many bytes of segment files were cut off or removed at the end of the log.
	Cut int64
	// Lost is set if more was cut than one interrupted record, so that readers of the last run may
	// hold bytes that the log has lost. A crash of the process alone never causes it.
	Lost bool
	// Created is set if a new, empty log was created, because the directory held none, or none that
	// Repair could use.
	Created bool
}

// Log is the replication log of one directory. Append, Reset, BeginReset, CompleteSegment and
// Trimmable are for one goroutine at a time; all other methods may be called concurrently.
// Appending, syncing, removing and waiting share the segments and the end, so they are one type.
// Its fields are grouped by the lock that guards them. Locks are taken in the order syncMu,
// removeMu, mu.
type Log struct {
	dir      string
	config   Config
	recovery Recovery
	opened   time.Time

	// Fields of the writer: only Append, Reset, BeginReset, CompleteSegment and Trimmable use them.
	// Of config only Reserve changes.
	scratch []byte
	// allocatedSize is the size up to which the newest segment's file has room on the disk; a value
	// below the segment's size means unknown.
	allocatedSize int64
	// spareCheckedSize is the size up to which the newest segment may grow without using the spare
	// room.
	spareCheckedSize int64

	keepBytes atomic.Int64              // Config.Keep, or the argument of the last SetKeep
	spareRoom atomic.Pointer[spareRoom] // of the last SetSpare; nil: none

	// syncMu is held while records are made durable or files are closed. It is taken before mu.
	syncMu sync.Mutex
	marker disk.File // the file "synced"

	// removeMu is held while old segments are removed, so that they are removed in order. It is
	// taken before mu.
	removeMu sync.Mutex

	mu           sync.Mutex
	generation   uint64
	file         disk.File   // the newest segment's file
	rolled       []disk.File // completed segments that are not durable yet
	dirChanged   bool        // the directory's entries are not durable yet
	segments     []*segment
	window       *window
	readers      map[*Reader]struct{} // the readers that are not closed
	end          Offset               // the offset up to which readers may read
	synced       Offset
	retain       Offset
	readableFrom Offset // bytes before this offset may not be readable from disk (ExcludeDamaged)
	pins         map[*Pin]struct{}
	readable     notify.Signal // of bytes that readers can read, or of the end of the log
	waiting      int           // number of readers that wait on readable
	lastWake     time.Time     // time of the last Notify of readable
	wakeTimer    *time.Timer   // notifies when wakePause is over; nil if no wake-up is pending
	err          error         // why the log failed; nil while it works
	closed       bool

	failed         chan struct{}
	wakeBackground chan struct{} // signals a new segment or a new limit to runBackground
	stop           chan struct{}
	background     sync.WaitGroup

	closing  sync.Once
	closeErr error
}

// Open recovers the log of a directory. A missing directory is created, and an empty one gets an
// empty log at offset 0. An interrupted record at the end is cut; damage in durable bytes is a
// *CorruptError. The log is durable before Open returns, whatever the last run left to the
// operating system.
func Open(dir string, c Config) (*Log, error) {
	l, f, err := prepare(dir, c)
	if err != nil {
		return nil, err
	}
	ok, start, err := f.selectGeneration()
	if err != nil {
		return nil, err
	}
	l.recovery = f.result
	if ok {
		if err = l.useSegments(f); err == nil {
			err = l.Sync()
		}
	} else if err = l.startGeneration(nextGeneration(f.lastGeneration), start); err == nil {
		l.recovery.Created = true
		err = l.removeOldGenerations()
	}
	return l.finishOpen(err)
}

// Create starts a new log at offset start, in place of the log that the directory holds.
func Create(dir string, start Offset, c Config) (*Log, error) {
	l, f, err := prepare(dir, c)
	if err != nil {
		return nil, err
	}
	if err = l.startGeneration(nextGeneration(f.lastGeneration), start); err == nil {
		err = l.removeOldGenerations()
	}
	return l.finishOpen(err)
}

// prepare creates the directory if needed and lists it.
func prepare(dir string, c Config) (*Log, *dirScan, error) {
	l := &Log{
		dir: dir, config: c.withDefaults(), opened: time.Now(),
		pins: make(map[*Pin]struct{}), readers: make(map[*Reader]struct{}),
		failed:         make(chan struct{}),
		wakeBackground: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	l.keepBytes.Store(l.config.Keep)
	if err := disk.MkdirAll(l.config.FS, dir); err != nil {
		return nil, nil, fmt.Errorf("make log folder: %w", err)
	}
	f, err := scanDir(l.config.FS, dir)
	return l, f, err
}

// finishOpen starts the background goroutine, or closes the open files after an error.
func (l *Log) finishOpen(err error) (*Log, error) {
	if err == nil {
		l.window = newWindow(l.config.Memory, l.end)
		l.background.Go(l.runBackground)
		return l, nil
	}
	for _, f := range []disk.File{l.file, l.marker} {
		if f != nil {
			_ = f.Close()
		}
	}
	return nil, err
}

// useSegments continues the log that was found on disk.
func (l *Log) useSegments(f *dirScan) error {
	newest := f.segments[len(f.segments)-1]
	file, err := l.config.FS.Open(newest.path, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	l.file, l.segments, l.dirChanged = file, f.segments, true
	l.generation, l.end = f.headers[len(f.headers)-1].generation, newest.end
	l.retain, l.synced = l.segments[0].start, max(f.mark.offset, newest.start)
	if l.config.Reserve > 0 {
		// A full disk is not an error here: the next record reports it.
		err := l.allocate(file, newest, newest.size+l.config.Reserve)
		if err != nil && !disk.IsFull(err) {
			return fmt.Errorf("reserve room for segment: %w", err)
		}
	}
	if err := l.openMarker(); err != nil {
		return err
	}
	if f.newestMark.generation == l.generation && f.newestMark.start > newest.start {
		// Without this, the next Open would report the missing segments as lost again.
		return l.writeNewestMark(newestSegmentMark{l.generation, newest.start})
	}
	return nil
}

func (l *Log) openMarker() error {
	if l.marker != nil {
		return nil
	}
	file, err := l.config.FS.Open(filepath.Join(l.dir, SyncedFile), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("open sync mark: %w", err)
	}
	l.marker = file
	return nil
}

// newSegment creates a segment file with its header and its reserve. After a *FullError no file is
// left.
func (l *Log) newSegment(h segmentHeader) (disk.File, *segment, error) {
	s := &segment{
		path:  filepath.Join(l.dir, segmentName(h.generation, h.start)),
		start: h.start, previous: h.previous, begun: h.begun,
		size: segmentHeaderSize, end: h.start, index: []recordPos{{h.start, segmentHeaderSize}},
	}
	need := segmentHeaderSize + l.config.Reserve
	file, err := l.config.FS.Open(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if disk.IsFull(err) {
		return nil, nil, &FullError{s.path, need, err}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("create segment: %w", err)
	}
	was := l.allocatedSize
	if _, err = file.WriteAt(h.marshal(), 0); err != nil {
		err = fmt.Errorf("write segment: %w", err)
	} else if l.config.Reserve > 0 {
		if err = l.allocate(file, s, need); err != nil {
			err = fmt.Errorf("reserve room for segment: %w", err)
		}
	}
	if err == nil {
		return file, s, nil
	}
	_ = file.Close()
	if !disk.IsFull(err) {
		return nil, nil, err
	}
	l.allocatedSize = was
	if e := l.config.FS.Remove(s.path); e != nil {
		return nil, nil, fmt.Errorf("remove segment: %w", e)
	}
	return nil, nil, &FullError{s.path, need, err}
}

// Recovery returns what Open or Repair had to cut.
func (l *Log) Recovery() Recovery { return l.recovery }

// writableLocked returns ErrClosed or the error that ended the log, or nil if the log can be
// written.
func (l *Log) writableLocked() error {
	if l.closed {
		return ErrClosed
	}
	return l.err
}

// fail records err as the final error, unless an earlier one was recorded, and returns the final
// error.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.failed)
		l.wakeLocked()
	}
	return l.err
}

// wakePause is the least time between two wake-ups of many readers. Each wake-up costs a turn of
// every reader and a network packet to its replica.
const wakePause = time.Millisecond

// manyReaders is the number of waiting readers from which wake-ups are at least wakePause apart.
const manyReaders = 4

// notifyLocked wakes waiting readers for a new record. If many readers wait and they were woken
// less than wakePause ago, they are woken when the pause is over.
func (l *Log) notifyLocked() {
	if l.waiting < manyReaders {
		l.wakeLocked()
		return
	}
	if l.wakeTimer != nil {
		return
	}
	if pause := wakePause - time.Since(l.lastWake); pause > 0 {
		l.wakeTimer = time.AfterFunc(pause, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.wakeLocked()
		})
		return
	}
	l.wakeLocked()
}

// wakeLocked wakes all waiting readers.
func (l *Log) wakeLocked() {
	if l.wakeTimer != nil {
		l.wakeTimer.Stop()
		l.wakeTimer = nil
	}
	if l.waiting > 0 {
		l.readable.Notify()
		l.waiting, l.lastWake = 0, time.Now()
	}
}

// Append adds one record and returns the log's new end. It copies the payload. The record is in the
// file (and durable, with Always) before readers see it. A failed write or sync is final: this and
// every later call return its error.
//
// Two errors are not final and append nothing. A payload that is empty or longer than MaxPayload is
// rejected. A *FullError means that the disk lacks room: for a unit and the reserve after it, or
// for another record even with the reserve.
func (l *Log) Append(k Kind, payload []byte) (Offset, error) {
	if !k.valid() || len(payload) == 0 || len(payload) > MaxPayload {
		return 0, fmt.Errorf("append record: %v of %d bytes is not allowed", k, len(payload))
	}
	l.mu.Lock()
	err, start := l.writableLocked(), l.end
	s := l.segments[len(l.segments)-1]
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	end := start + Offset(len(payload))
	if end > maxStart {
		return 0, fmt.Errorf("append record: offset %d is out of range", end)
	}
	size := int64(recordHeaderSize + len(payload))
	if s, err = l.segmentFor(k, s, size); err != nil {
		return 0, err
	}
	if err := l.write(k, start, payload, s.size); err != nil {
		return 0, l.undoAppend(s, size, err)
	}
	if l.config.Fsync == Always {
		if err := l.sync(end, true); err != nil {
			return 0, err
		}
	}
	l.addToWindow(payload)

	l.mu.Lock()
	s.addToIndex(recordPos{start, s.size})
	s.size += size
	s.end, l.end = end, end
	l.notifyLocked()
	l.mu.Unlock()
	return end, nil
}

// scratchSize is the largest payload that is copied so that one write holds it and its header.
const scratchSize = 1 << 20

// write writes a record to the newest segment's file, in one write unless the payload exceeds
// scratchSize.
func (l *Log) write(k Kind, start Offset, payload []byte, pos int64) error {
	b := appendRecordHeader(l.scratch[:0], k, start, payload)
	rest := payload
	if len(payload) <= scratchSize {
		b, rest = append(b, payload...), nil
	}
	l.scratch = b
	if _, err := l.file.WriteAt(b, pos); err != nil || rest == nil {
		return err
	}
	_, err := l.file.WriteAt(rest, pos+recordHeaderSize)
	return err
}

// roll completes segment s and creates the next one. It first syncs an older completed segment, so
// that at most two segments are not durable, which is what recovery scans.
func (l *Log) roll(s *segment) (*segment, error) {
	l.mu.Lock()
	behind := len(l.rolled) > 0
	l.mu.Unlock()
	if behind {
		if err := l.sync(s.end, true); err != nil {
			return nil, err
		}
	}
	had := l.allocatedSize
	file, next, err := l.newSegment(segmentHeader{l.generation, s.end, s.start, time.Now()})
	if errors.As(err, new(*FullError)) {
		return nil, err
	}
	if err == nil && l.config.Fsync != Always { // with Always the syncedMark is exact
		if err = l.writeNewestMark(newestSegmentMark{l.generation, s.end}); err != nil {
			_ = file.Close()
		}
	}
	if err != nil {
		return nil, l.fail(err)
	}
	if had > s.size { // release room that was allocated and not used
		if err := l.file.Truncate(s.size); err != nil {
			_ = file.Close()
			return nil, l.fail(fmt.Errorf("truncate segment: %w", err))
		}
	}
	l.spareCheckedSize = 0
	l.mu.Lock()
	l.rolled = append(l.rolled, l.file)
	l.file, l.dirChanged = file, true
	l.segments = append(l.segments, next)
	l.mu.Unlock()
	select {
	case l.wakeBackground <- struct{}{}:
	default:
	}
	return next, nil
}

// Start returns the offset of the oldest byte that can be read: the number of stream bytes before
// it.
func (l *Log) Start() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.startLocked()
}

// End returns the offset after the newest record.
func (l *Log) End() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Failed returns a channel that is closed when the log has failed, also if the fault was in the
// background. Err returns the cause.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err returns the error that ended the log, or nil while the log works.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close syncs the log, stops the background goroutine and wakes waiting readers. Later calls return
// the result of the first.
func (l *Log) Close() error {
	l.closing.Do(func() {
		close(l.stop)
		l.background.Wait()
		l.closeErr = l.close()
	})
	return l.closeErr
}

func (l *Log) close() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	err := l.syncLocked(l.End(), true)
	l.mu.Lock()
	l.closed = true
	l.wakeLocked()
	files := append(slices.Clone(l.rolled), l.file, l.marker)
	l.mu.Unlock()
	for _, f := range files {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("close segment: %w", e)
		}
	}
	return err
}
