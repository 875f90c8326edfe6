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
)

var (
	// ErrTrimmed is returned when the bytes asked for are no longer in the log.
	ErrTrimmed = errors.New("the log no longer holds this offset")
	// ErrBeyond is returned when a reader is to begin after the log's end.
	ErrBeyond = errors.New("the log does not reach this offset yet")
	// ErrClosed is returned when the log has been closed.
	ErrClosed = errors.New("the log is closed")
)

// CorruptError is returned when the log on disk is damaged where it had been durable. Nothing is changed on disk then.
type CorruptError struct {
	// File is the segment's path, Offset the damage's place in that file (bytes).
	File   string
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("log segment %s is damaged at byte %d: %v; put the file back from a copy", e.File, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Recovery is what Open or Repair had to do.
type Recovery struct {
	// Cut is how many bytes of segment files were cut off or removed at the end of the log.
	Cut int64
	// Lost says that more was cut than one record whose writing had been interrupted, so that readers of the last run
	// may hold bytes that the log has no longer. It never happens by the end of the process alone.
	Lost bool
	// Began says that there was no log, or none that Repair could use, and one was begun.
	Began bool
}

// Log is the replication log of one directory. One goroutine at a time may call Append, Reset,
// Restart and Droppable; everything else may be called by any. Appending, making durable, dropping
// and waiting share the segments and the end, so they are one type; its fields stand in groups by
// the lock that guards them.
type Log struct {
	dir      string
	config   Config
	recovery Recovery
	opened   time.Time

	// The writer's own: only Append, Reset, Restart and Droppable touch them, and of config only
	// Reserve changes.
	scratch   []byte
	allocatedSize int64 // the size up to which the newest segment has room on the disk; less than its size: not known
	spareCheckedSize   int64 // the size up to which the newest segment may grow without touching the spare room

	keepBytes atomic.Int64 // Config.Keep, or what SetKeep made of it
	spareRoom     atomic.Int64 // room on the volume that units leave alone

	// syncMu is held while something is made durable, or files are closed. It is taken before mu.
	syncMu sync.Mutex
	marker disk.File // the file "synced"

	// dropMu is held while old segments are removed, so that they go in order. It is taken before mu.
	dropMu sync.Mutex

	mu         sync.Mutex
	generation uint64
	file       disk.File   // of the newest segment
	rolled     []disk.File // full segments that are not durable yet
	dirChanged bool        // the directory's entries are not durable yet
	segments   []*segment
	window     *window
	end        Offset // what readers may see
	synced     Offset
	retain     Offset
	readableFrom      Offset // what lies before it is condemned
	pins       map[*Pin]struct{}
	wake       chan struct{} // closed and replaced when there is something new for waiting readers
	waiting    int           // readers that wait on wake
	lastWake      time.Time     // when it was closed last
	wakeTimer      *time.Timer   // closes it when wakePause is over; nil: nothing new yet
	err        error         // why the log failed
	closed     bool

	failed chan struct{}
	wakeBackground   chan struct{} // tells the keeper of a new segment
	stop   chan struct{}
	background sync.WaitGroup

	closing  sync.Once
	closeErr error
}

// Open recovers the log of a directory. A directory without one, which is made where missing, gives an empty log at offset 0.
// A record whose writing was interrupted is cut; damage in what was durable is a *CorruptError. What is left is durable before anybody
// sees it, whatever the last run left to the operating system.
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
		l.recovery.Began = true
		err = l.removeOldGenerations()
	}
	return l.finishOpen(err)
}

// Create begins a log at an offset, in place of whatever the directory holds.
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

// prepare makes the directory and lists it.
func prepare(dir string, c Config) (*Log, *dirScan, error) {
	l := &Log{
		dir: dir, config: c.withDefaults(), opened: time.Now(), pins: make(map[*Pin]struct{}),
		wake: make(chan struct{}), failed: make(chan struct{}), wakeBackground: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	l.keepBytes.Store(l.config.Keep)
	if err := disk.MkdirAll(l.config.FS, dir); err != nil {
		return nil, nil, fmt.Errorf("make log folder: %w", err)
	}
	f, err := scanDir(l.config.FS, dir)
	return l, f, err
}

// finishOpen starts the keeper, or after an error closes what was opened.
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

// useSegments takes over what was found on disk.
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
		// A disk that is full already is noticed by the next record.
		if err := l.allocate(file, newest, newest.size+l.config.Reserve); err != nil && !disk.IsFull(err) {
			return fmt.Errorf("reserve room for segment: %w", err)
		}
	}
	if err := l.openMarker(); err != nil {
		return err
	}
	if f.newestMark.generation == l.generation && f.newestMark.start > newest.start {
		// Otherwise the next Open reports what is missing, or was cut by this one, as a loss again.
		return l.writeNewestMark(newestSegmentMark{l.generation, newest.start})
	}
	return nil
}

func (l *Log) openMarker() error {
	if l.marker != nil {
		return nil
	}
	var err error
	if l.marker, err = l.config.FS.Open(filepath.Join(l.dir, MarkName), os.O_RDWR|os.O_CREATE); err != nil {
		return fmt.Errorf("open sync mark: %w", err)
	}
	return nil
}

// newSegment creates a segment file with its header and the reserve. After a *FullError there is none.
func (l *Log) newSegment(h segmentHeader) (disk.File, *segment, error) {
	s := &segment{
		path: filepath.Join(l.dir, segmentName(h.generation, h.start)), start: h.start, previous: h.previous, begun: h.begun,
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

// Recovery says what Open or Repair had to cut.
func (l *Log) Recovery() Recovery { return l.recovery }

// writableLocked is why nothing may be written.
func (l *Log) writableLocked() error {
	if l.closed {
		return ErrClosed
	}
	return l.err
}

// fail makes the first error final.
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

// wakePause is the least time between two wake-ups of many readers. Each costs every reader a turn and its replica a packet.
const wakePause = time.Millisecond

// notifyLocked tells waiting readers of a new record: at once, unless many were told of another just before.
func (l *Log) notifyLocked() {
	if l.waiting < 4 {
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

// wakeLocked lets waiting readers look again.
func (l *Log) wakeLocked() {
	if l.wakeTimer != nil {
		l.wakeTimer.Stop()
		l.wakeTimer = nil
	}
	if l.waiting > 0 {
		close(l.wake)
		l.wake, l.waiting, l.lastWake = make(chan struct{}), 0, time.Now()
	}
}

// Append adds one record and returns the log's new end. The payload is copied. It is in the file (and durable, with
// Always) before readers see it. A write or sync that fails is final: this and every later call return that error.
// Not final are the refusal of a payload that is empty or longer than MaxPayload, and a *FullError: without room for a unit
// and the reserve after it, or of another record without the reserve, nothing is appended.
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

// scratchSize is the most payload that is copied to be written together with its header.
const scratchSize = 1 << 20

// write puts a record into the newest segment's file: with one write, unless it is so large that copying it would cost more.
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

// addToWindow copies the payload to the memory window.
func (l *Log) addToWindow(payload []byte) {
	for len(payload) > 0 {
		room := l.window.room()
		if len(room) == 0 {
			l.mu.Lock()
			l.window.grow()
			l.mu.Unlock()
			continue
		}
		n := copy(room, payload)
		l.window.advanceEnd(n)
		payload = payload[n:]
	}
}

// roll begins the segment after s. At most two segments are ever not durable, so that recovery has to check no more.
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
	if err == nil && l.config.Fsync != Always { // there the syncedMark is exact
		if err = l.writeNewestMark(newestSegmentMark{l.generation, s.end}); err != nil {
			_ = file.Close()
		}
	}
	if err != nil {
		return nil, l.fail(err)
	}
	if had > s.size { // what it has set aside and not used is given back
		if err := l.file.Truncate(s.size); err != nil {
			_ = file.Close()
			return nil, l.fail(fmt.Errorf("cut segment: %w", err))
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

// Start is the number of stream bytes before the oldest that the log holds.
func (l *Log) Start() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.startLocked()
}

// End is the number of stream bytes up to the newest record.
func (l *Log) End() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Failed is closed when the log has failed for good, also in the background; Err says why.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err is the error that ended the log, nil while it works.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close syncs, ends the background work and wakes waiting readers. It may be called again.
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
