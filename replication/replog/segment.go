package replog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rowfall/replication/disk"
)

const (
	segmentMagic      = "RFSEG001"
	segmentHeaderSize = 40
	segmentSuffix     = ".seg"
	// indexEvery is the distance in bytes of segment file between two index entries, and so the
	// most that a reader scans to find its offset.
	indexEvery = 1 << 20
)

// segmentHeader is the header of every segment file; doc.go has the layout.
type segmentHeader struct {
	generation uint64
	start      Offset
	// previous is the start of the previous segment of this generation. The first segment has its
	// own start.
	previous Offset
	// begun is when the segment was created, in whole seconds, and so when the previous one was
	// completed. The zero time means unknown.
	begun time.Time
}

func (h segmentHeader) marshal() []byte {
	b := make([]byte, 0, segmentHeaderSize)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.start))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.previous))
	b = binary.LittleEndian.AppendUint32(b, uint32(max(h.begun.Unix(), 0)))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (h *segmentHeader) unmarshal(b []byte) error {
	switch {
	case len(b) < segmentHeaderSize:
		return errors.New("header is cut short")
	case string(b[:len(segmentMagic)-3]) != segmentMagic[:len(segmentMagic)-3]:
		return errors.New("not a log segment")
	case string(b[:len(segmentMagic)]) != segmentMagic:
		return fmt.Errorf("segment version %q is unknown, this program writes %q",
			b[5:8], segmentMagic[5:])
	case binary.LittleEndian.Uint32(b[36:]) != crc32.Checksum(b[:36], castagnoli):
		return fmt.Errorf("header: %w", errChecksum)
	}
	h.generation = binary.LittleEndian.Uint64(b[8:])
	h.start = Offset(binary.LittleEndian.Uint64(b[16:]))
	h.previous = Offset(binary.LittleEndian.Uint64(b[24:]))
	h.begun = time.Time{}
	if at := binary.LittleEndian.Uint32(b[32:]); at != 0 {
		h.begun = time.Unix(int64(at), 0)
	}
	return nil
}

// recordPos is the boundary before a record: its offset in the stream and its position in the file.
type recordPos struct {
	offset Offset
	pos    int64
}

// segment is one file of the log. Only the newest is written. Its fields are guarded by Log.mu.
type segment struct {
	path     string
	start    Offset
	previous Offset    // as in the header
	begun    time.Time // as in the header
	// size is the length of the file in bytes, up to the last complete record.
	size int64
	// end is the offset after the last record.
	end Offset
	// index holds record boundaries about every indexEvery bytes, in order. A segment that was not
	// scanned has only the first.
	index []recordPos
}

// segmentName returns the file name of a segment. Generations of program versions that counted from
// 1 have 8 digits.
func segmentName(generation uint64, start Offset) string {
	digits := 16
	if generation <= math.MaxUint32 {
		digits = 8
	}
	return fmt.Sprintf("%0*x-%020d%s", digits, generation, start, segmentSuffix)
}

// parseSegmentName parses a segment's file name. ok is false if name is not one.
func parseSegmentName(name string) (h segmentHeader, ok bool) {
	base, ok := strings.CutSuffix(name, segmentSuffix)
	generation, start, dashed := strings.Cut(base, "-")
	if !ok || !dashed {
		return h, false
	}
	g, err := strconv.ParseUint(generation, 16, 64)
	if err != nil {
		return h, false
	}
	at, err := strconv.ParseInt(start, 10, 64)
	if err != nil {
		return h, false
	}
	h.generation, h.start = g, Offset(at)
	return h, name == segmentName(h.generation, h.start)
}

// addToIndex adds a record boundary if the last entry is at least indexEvery bytes before it.
func (s *segment) addToIndex(m recordPos) {
	if m.pos-s.index[len(s.index)-1].pos >= indexEvery {
		s.index = append(s.index, m)
	}
}

// lookup returns the last indexed boundary at or before off.
func (s *segment) lookup(off Offset) recordPos {
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].offset > off })
	return s.index[i-1]
}

// errTorn reports that the file ends inside a record (a torn tail).
var errTorn = errors.New("record is cut short")

// scanBlock is how many bytes of a file are read at once.
const scanBlock = 256 << 10

// scanner reads the records of one segment file in order. It never allocates more than the file
// holds.
type scanner struct {
	file disk.File
	// at is the boundary before the next record; limit is the end of the file.
	at    recordPos
	limit int64
	buf   []byte // file bytes from position pos
	pos   int64  // file position of buf[0]
}

func newScanner(f disk.File, from recordPos, limit int64) *scanner {
	return &scanner{file: f, at: from, limit: limit, pos: from.pos}
}

// next returns the record at s.at and advances past it. The payload is valid until the next call.
// io.EOF means that the file ends here, and errTorn that it ends inside the record. Any other error
// means that the bytes are not a record or cannot be read. After an error s.at is unchanged.
func (s *scanner) next() (Record, error) {
	if s.at.pos == s.limit {
		return Record{}, io.EOF
	}
	h, err := s.header()
	if err != nil {
		return Record{}, err
	}
	b, err := s.peek(recordHeaderSize + int64(h.length))
	if err != nil {
		return Record{}, err
	}
	if crc32.Checksum(b[4:], castagnoli) != h.sum {
		return Record{}, fmt.Errorf("record at offset %d: %w", h.start, errChecksum)
	}
	s.at = recordPos{h.end(), s.at.pos + int64(len(b))}
	return Record{h.kind, h.start, b[recordHeaderSize:]}, nil
}

// header returns the header of the record at s.at, after checking that the file holds the whole
// record.
func (s *scanner) header() (recordHeader, error) {
	b, err := s.peek(recordHeaderSize)
	if err != nil {
		return recordHeader{}, err
	}
	h := parseRecordHeader(b)
	if err := h.validate(s.at.offset); err != nil {
		return h, err
	}
	if recordHeaderSize+int64(h.length) > s.limit-s.at.pos {
		return h, errTorn
	}
	return h, nil
}

// skip advances past the record at s.at, whose header is h, without reading its payload.
func (s *scanner) skip(h recordHeader) {
	s.at = recordPos{h.end(), s.at.pos + recordHeaderSize + int64(h.length)}
}

// seek advances to the record that holds the byte after off, or to the segment's end.
func (s *scanner) seek(off Offset) error {
	for s.at.pos < s.limit {
		h, err := s.header()
		if err != nil {
			return err
		}
		if h.end() > off {
			return nil
		}
		s.skip(h)
	}
	return nil
}

// verify checks the payload of the record at s.at, whose header is h, in blocks, so that a large
// payload is never held in memory as a whole.
func (s *scanner) verify(h recordHeader) error {
	head, err := s.peek(recordHeaderSize)
	if err != nil {
		return err
	}
	sum := crc32.Checksum(head[4:], castagnoli)
	pos := s.at.pos + recordHeaderSize
	s.buf = append(s.buf[:0], make([]byte, scanBlock)...)
	defer func() { s.buf = s.buf[:0] }()
	for left := int64(h.length); left > 0; {
		b := s.buf[:min(left, scanBlock)]
		if _, err := readFull(s.file, b, pos); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b)
		pos, left = pos+int64(len(b)), left-int64(len(b))
	}
	if sum != h.sum {
		return fmt.Errorf("record at offset %d: %w", h.start, errChecksum)
	}
	return nil
}

// peek returns the n bytes at s.at without advancing.
func (s *scanner) peek(n int64) ([]byte, error) {
	if n > s.limit-s.at.pos {
		return nil, errTorn
	}
	skip := s.at.pos - s.pos
	if int64(len(s.buf))-skip >= n {
		return s.buf[skip : skip+n], nil
	}
	want := min(max(n, scanBlock), s.limit-s.at.pos)
	rest := s.buf[min(skip, int64(len(s.buf))):]
	if int64(cap(s.buf)) < want {
		s.buf = append(make([]byte, 0, want), rest...)
	} else {
		s.buf = append(s.buf[:0], rest...)
	}
	have := int64(len(s.buf))
	s.buf, s.pos = s.buf[:want], s.at.pos
	got, err := readFull(s.file, s.buf[have:], s.pos+have)
	if s.buf = s.buf[:have+int64(got)]; int64(len(s.buf)) < n {
		return nil, err // a fault after the n bytes is reported when those bytes are needed
	}
	return s.buf[:n], nil
}

// maxReadTries is how often a position is read in vain before it counts as damaged.
const maxReadTries = 3

// errUnreadable reports that the disk does not return bytes that it had accepted, as with a bad
// sector. That is damage; an interrupted write never causes it.
var errUnreadable = errors.New("it cannot be read")

// readFull reads len(b) bytes at position pos and returns how many it read. A position that fails
// with EIO, or lies beyond the end of the file, maxReadTries times in a row gives errUnreadable.
// Any other fault is a *readError.
func readFull(f disk.File, b []byte, pos int64) (n int, err error) {
	for try := 1; ; try++ {
		more, err := f.ReadAt(b[n:], pos+int64(n))
		if n += more; n == len(b) {
			return n, nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if more > 0 {
			try = 1 // the next read is at another position
		}
		switch {
		case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.EIO):
			return n, &readError{err}
		case try == maxReadTries:
			return n, fmt.Errorf("%w: %w, %d times", errUnreadable, err, try)
		}
	}
}

// readError reports that bytes cannot be read now, for example because the file could not be
// opened. It does not mean that the bytes are damaged.
type readError struct{ err error }

func (e *readError) Error() string { return "read segment: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }
