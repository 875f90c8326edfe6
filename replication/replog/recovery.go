package replog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"rowfall/replication/disk"
)

// SyncedFile is the name of the file in the log's directory that records which bytes are durable
// and which segment is the newest. It is created with the log's first segment, and after that it is
// only written in place.
const SyncedFile = "synced"

const (
	syncedMagic = "RFSYN001"
	syncedSize  = 32
	begunSize   = 20
)

// syncedMark is the durable watermark, stored in the file "synced": every byte of the generation up
// to offset is durable. It is written after the sync that it records. It need not be durable
// itself, because an older mark claims less.
type syncedMark struct {
	generation uint64
	offset     Offset
}

func (m syncedMark) marshal() []byte {
	b := make([]byte, 0, syncedSize)
	b = append(b, syncedMagic...)
	b = binary.LittleEndian.AppendUint64(b, m.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.offset))
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unmarshal leaves the zero mark, which claims nothing, if b is not a valid mark.
func (m *syncedMark) unmarshal(b []byte) {
	if len(b) < syncedSize || string(b[:8]) != syncedMagic ||
		binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return
	}
	m.generation = binary.LittleEndian.Uint64(b[8:])
	m.offset = Offset(binary.LittleEndian.Uint64(b[16:]))
}

// newestSegmentMark follows the syncedMark in its file and names the newest segment that was
// created. If that segment is missing, the log has lost it.
type newestSegmentMark struct {
	generation uint64
	start      Offset
}

func (m newestSegmentMark) marshal() []byte {
	b := make([]byte, 0, begunSize)
	b = binary.LittleEndian.AppendUint64(b, m.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.start))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unmarshal leaves the zero mark, which claims nothing, if b is not a valid mark.
func (m *newestSegmentMark) unmarshal(b []byte) {
	if len(b) < begunSize ||
		binary.LittleEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
		return
	}
	m.generation = binary.LittleEndian.Uint64(b)
	m.start = Offset(binary.LittleEndian.Uint64(b[8:]))
}

// missing reports whether the segment that m names and all later ones are missing from headers,
// which are sorted.
func (m newestSegmentMark) missing(headers []segmentHeader) bool {
	if m.generation == 0 || len(headers) == 0 {
		return false
	}
	newest := headers[len(headers)-1]
	return newest.generation == m.generation && newest.start < m.start
}

// dirScan is what recovery found in a log's directory, and what it decided.
type dirScan struct {
	fs  disk.FS
	dir string
	// storedMark and newestMark are the marks as read from the file "synced".
	storedMark syncedMark
	newestMark newestSegmentMark
	// markErr is why the file "synced" is unreadable. Without the file it is unknown which bytes
	// had been durable.
	markErr        error
	mark           syncedMark      // storedMark if it belongs to the selected generation
	headers        []segmentHeader // generation and start from the file names, sorted
	lastGeneration uint64          // the highest generation in the directory, selected or not
	segments       []*segment      // the segments of the selected generation
	result         Recovery
	// stale lists the files to remove: those of other generations, and those after a cut.
	stale []string
	// repairing makes recovery cut damage after repairFrom even if those bytes had been durable.
	repairing  bool
	repairFrom Offset
}

// scanDir lists a directory and reads its marks, without checking the segments.
func scanDir(fsys disk.FS, dir string) (*dirScan, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read log folder: %w", err)
	}
	f := &dirScan{fs: fsys, dir: dir}
	for _, name := range names {
		if h, ok := parseSegmentName(name); ok {
			f.headers = append(f.headers, h)
		}
	}
	slices.SortFunc(f.headers, func(a, b segmentHeader) int {
		if a.generation != b.generation {
			return cmp.Compare(a.generation, b.generation)
		}
		return cmp.Compare(a.start, b.start)
	})
	if n := len(f.headers); n > 0 {
		f.lastGeneration = f.headers[n-1].generation
	}
	file, err := fsys.Open(filepath.Join(dir, SyncedFile), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open sync mark: %w", err)
	}
	b := make([]byte, syncedSize+begunSize)
	n, err := readFull(file, b, 0)
	if e := file.Close(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		err = e
	}
	if errors.Is(err, errUnreadable) {
		f.markErr = &CorruptError{filepath.Join(dir, SyncedFile), int64(n), err}
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read sync mark: %w", err)
	}
	f.storedMark.unmarshal(b[:min(n, syncedSize)])
	f.newestMark.unmarshal(b[min(n, syncedSize):n])
	f.lastGeneration = max(f.lastGeneration, f.storedMark.generation)
	return f, nil
}

// path returns the path of a segment's file.
func (f *dirScan) path(h segmentHeader) string {
	return filepath.Join(f.dir, segmentName(h.generation, h.start))
}

// selectGeneration selects the generation to continue and recovers its tail. If no log is left, it
// returns false and the offset at which a new one must start.
func (f *dirScan) selectGeneration() (ok bool, start Offset, err error) {
	if f.markErr != nil && !f.repairing {
		return false, 0, f.markErr
	}
	for len(f.headers) > 0 {
		newest := f.headers[len(f.headers)-1]
		i := slices.IndexFunc(f.headers, func(h segmentHeader) bool {
			return h.generation == newest.generation
		})
		if f.mark = f.storedMark; f.mark.generation != newest.generation {
			f.mark = syncedMark{}
		}
		if err := f.openGeneration(f.headers[i:]); err != nil {
			return false, 0, err
		}
		if len(f.segments) == 0 {
			// The first segment was never completely written, so Reset stopped before it removed
			// the previous generation.
			start, f.headers = newest.start, f.headers[:i]
			if f.repairing { // or it was damaged: the previous generation is then of other data
				break
			}
			continue
		}
		for _, h := range f.headers[:i] {
			f.stale = append(f.stale, f.path(h))
		}
		f.chainSegments()
		f.result.Lost = f.result.Lost || f.newestMark.missing(f.headers)
		return true, 0, f.recoverTail()
	}
	if f.storedMark.offset > 0 && !f.repairing {
		return false, 0, &CorruptError{f.dir, 0, errors.New("its segments are missing")}
	}
	return false, start, nil
}

// openGeneration reads the headers of one generation's segments. An invalid header ends the log,
// unless the bytes after it had been durable: then it is a *CorruptError.
func (f *dirScan) openGeneration(headers []segmentHeader) error {
	f.segments = nil
	var bad error
	for i, want := range headers {
		path := f.path(want)
		got, size, err := readSegmentHeader(f.fs, path)
		if re := (*readError)(nil); errors.As(err, &re) {
			return fmt.Errorf("open segment %s: %w", path, err)
		}
		if err == nil && (got.generation != want.generation || got.start != want.start) {
			err = fmt.Errorf("its header is of generation %d, offset %d", got.generation, got.start)
		}
		if err != nil && bad == nil {
			// The first header was durable before any record was written. All but the last two
			// segments were durable before the last one was created.
			begun := f.mark.generation != 0 || size > segmentHeaderSize || len(headers) > 1
			if i < len(headers)-1 && f.skippable(headers[i+1]) {
				f.stale = append(f.stale, path) // else the next Open finds the damage again
				continue
			}
			wasDurable := want.start < f.mark.offset || i == 0 && begun || i < len(headers)-2
			if !f.repairing && (wasDurable || errors.Is(err, errUnreadable)) {
				return &CorruptError{path, 0, err}
			}
			bad = err
			f.result.Lost = size > segmentHeaderSize || i < len(headers)-1 || f.repairing
		}
		if bad != nil {
			f.stale = append(f.stale, path)
			f.result.Cut += size
			continue
		}
		first := recordPos{want.start, segmentHeaderSize}
		f.segments = append(f.segments, &segment{
			path: path, start: want.start, previous: got.previous, begun: got.begun,
			size: size, end: want.start, index: []recordPos{first},
		})
	}
	return nil
}

// readSegmentHeader returns a *readError if the file cannot be read now.
func readSegmentHeader(fsys disk.FS, path string) (h segmentHeader, size int64, err error) {
	file, err := fsys.Open(path, os.O_RDONLY)
	if err != nil {
		return h, 0, &readError{err}
	}
	defer func() { _ = file.Close() }()
	if size, err = file.Size(); err != nil {
		return h, 0, &readError{err}
	}
	b := make([]byte, min(size, segmentHeaderSize))
	if _, err := readFull(file, b, 0); err != nil {
		return h, size, err
	}
	return h, size, h.unmarshal(b)
}

// chainSegments keeps the segments that form an unbroken chain to the end. Segments before a gap
// are stale: they were being removed when the machine stopped.
func (f *dirScan) chainSegments() {
	from := 0
	for i := 1; i < len(f.segments); i++ {
		s, before := f.segments[i], f.segments[i-1]
		if s.previous != before.start {
			from = i
		}
		before.end = s.start
	}
	for _, s := range f.segments[:from] {
		f.stale = append(f.stale, s.path)
	}
	f.segments = f.segments[from:]
}

// recoverTail checks every record of the last two segments, cuts the torn tail, and makes the rest
// durable. Older segments were durable before the last one was created; they are checked when they
// are read.
func (f *dirScan) recoverTail() error {
	if f.repairing {
		return f.repairTail()
	}
	n := len(f.segments)
	for i := max(0, n-2); i < n; i++ {
		err := f.scanSegment(f.segments[i], i < n-1)
		if err == nil {
			continue
		}
		bad := (*badRecord)(nil)
		if !errors.As(err, &bad) {
			return fmt.Errorf("check log segment %s: %w", f.segments[i].path, err)
		}
		s := f.segments[i]
		if bad.end.offset < f.mark.offset || errors.Is(bad.err, errUnreadable) {
			return &CorruptError{s.path, bad.end.pos, bad.err}
		}
		f.result.Lost = f.result.Lost || i < n-1 || !errors.Is(bad.err, errTorn)
		return f.truncateFrom(i, bad)
	}
	if s := f.segments[n-1]; s.end < f.mark.offset {
		err := fmt.Errorf("it ends at offset %d, but was durable up to %d", s.end, f.mark.offset)
		return &CorruptError{s.path, s.size, err}
	}
	return f.removeStale()
}

// truncateFrom makes bad.end, in the i-th segment, the end of the log.
func (f *dirScan) truncateFrom(i int, bad *badRecord) error {
	for _, later := range f.segments[i+1:] {
		f.stale = append(f.stale, later.path)
		f.result.Cut += later.size
	}
	s := f.segments[i]
	f.result.Cut += s.size - bad.end.pos
	f.segments = f.segments[:i+1]
	if err := f.removeStale(); err != nil { // before the truncation: a crash leaves a prefix
		return err
	}
	return f.truncateSegment(s, bad.end)
}

// badRecord reports where the valid records of a segment end.
type badRecord struct {
	end recordPos
	err error
}

func (e *badRecord) Error() string { return e.err.Error() }

// scanSegment checks all records of a segment. A complete segment (one that is not the newest) is
// also synced, and must end where the next one starts.
func (f *dirScan) scanSegment(s *segment, full bool) (err error) {
	flag := os.O_RDONLY
	if full {
		flag = os.O_RDWR // some systems sync only files open for writing
	}
	file, err := f.fs.Open(s.path, flag)
	if err != nil {
		return err
	}
	defer func() {
		if e := file.Close(); err == nil {
			err = e
		}
	}()
	sc := newScanner(file, s.index[0], s.size)
	for {
		if _, err = sc.next(); err != nil {
			break
		}
		s.addToIndex(sc.at)
	}
	if re := (*readError)(nil); errors.As(err, &re) {
		return err
	}
	if !errors.Is(err, io.EOF) {
		return &badRecord{sc.at, err}
	}
	if !full {
		s.end = sc.at.offset
		return nil
	}
	if sc.at.offset != s.end {
		err := fmt.Errorf("it ends at offset %d, but the next one begins at %d", sc.at.offset,
			s.end)
		return &badRecord{sc.at, err}
	}
	if s.end > f.mark.offset {
		return file.Sync()
	}
	return nil
}

// truncateSegment truncates the file of s at a record boundary and syncs it.
func (f *dirScan) truncateSegment(s *segment, at recordPos) (err error) {
	file, err := f.fs.Open(s.path, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer func() {
		if e := file.Close(); err == nil {
			err = e
		}
	}()
	if err := file.Truncate(at.pos); err != nil {
		return fmt.Errorf("truncate segment: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	s.size, s.end = at.pos, at.offset
	return nil
}

// removeStale removes the stale files. Of one generation the newest is removed first, so that a
// crash in between leaves a prefix.
func (f *dirScan) removeStale() error {
	if len(f.stale) == 0 {
		return nil
	}
	slices.Sort(f.stale)
	for _, path := range slices.Backward(f.stale) {
		if err := f.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove segment: %w", err)
		}
	}
	f.stale = nil
	if err := f.fs.SyncDir(f.dir); err != nil {
		return fmt.Errorf("sync log folder: %w", err)
	}
	return nil
}
