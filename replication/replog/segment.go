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
	// indexEvery is the bytes of segment file between two marks; a reader scans at most so much to find its offset.
	indexEvery = 1 << 20
)

// segmentHeader begins every segment file.
type segmentHeader struct {
	generation uint64
	start      Offset
	// previous is the start of the segment before it in this generation; of the first, its own.
	previous Offset
	// begun is when the segment was, to the second, and so when the one before it was completed; zero: not known.
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
		return fmt.Errorf("segment version %q is not known, this program writes %q", b[5:8], segmentMagic[5:])
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

// recordPos is a record's edge: its offset in the stream and its place in the file.
type recordPos struct {
	offset Offset
	pos    int64
}

// segment is one file of the log. Only the newest is written to; its fields are guarded by Log.mu.
type segment struct {
	path     string
	start    Offset
	previous Offset    // as in the header
	begun    time.Time // as in the header
	// size is the length of the file in bytes, counting whole records only.
	size int64
	// end is the offset after the last record.
	end Offset
	// index are edges about every markEvery bytes, in order; a segment that was not scanned has only its first.
	index []recordPos
}

// segmentName has 8 digits for the generations of program versions that counted from 1.
func segmentName(generation uint64, start Offset) string {
	digits := 16
	if generation <= math.MaxUint32 {
		digits = 8
	}
	return fmt.Sprintf("%0*x-%020d%s", digits, generation, start, segmentSuffix)
}

// parseSegmentName reports whether name is a segment's.
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

// addToIndex adds a mark for an edge if the last one is far enough back.
func (s *segment) addToIndex(m recordPos) {
	if m.pos-s.index[len(s.index)-1].pos >= indexEvery {
		s.index = append(s.index, m)
	}
}

// lookup is the last mark that is not after off.
func (s *segment) lookup(off Offset) recordPos {
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].offset > off })
	return s.index[i-1]
}

// errTorn says that the file ends inside a record.
var errTorn = errors.New("record is cut short")

// scanBlock is how much of a file is read at once.
const scanBlock = 256 << 10

// scanner reads the records of one segment file one after another. It never allocates more than the file holds.
type scanner struct {
	file disk.File
	// at is the edge of the record that next reads, limit the file's end.
	at    recordPos
	limit int64
	buf   []byte // file bytes from bufPos
	pos   int64  // of buf[0]
}

func newScanner(f disk.File, from recordPos, limit int64) *scanner {
	return &scanner{file: f, at: from, limit: limit, pos: from.pos}
}

// next returns the record at s.at and moves behind it. The payload is valid until the next call. io.EOF: the file ends
// here; errTorn: it ends inside the record; any other error: the bytes are no record or cannot be read. After an error s.at
// stays where it was.
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

// header returns the header of the record at s.at, which is known to lie wholly in the file.
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

// skip moves behind the record at s.at, whose header is h, without looking at its payload.
func (s *scanner) skip(h recordHeader) {
	s.at = recordPos{h.end(), s.at.pos + recordHeaderSize + int64(h.length)}
}

// seek moves to the record that holds the byte after off, or to the segment's end.
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

// verify checks the payload of the record at s.at, whose header is h, without holding all of it.
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

// peek returns the n bytes at s.at.
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
		return nil, err // a fault behind the n bytes is met when they are wanted
	}
	return s.buf[:n], nil
}

// maxReadTries is how often a place is read in vain before it counts as damaged.
const maxReadTries = 3

// errUnreadable says that the disk does not give what it had taken, a bad sector perhaps. That is damage, and never the trace of
// an interrupted write.
var errUnreadable = errors.New("it cannot be read")

// readFull reads all of b from a place in a file, and says how much it got. A place that fails with EIO, or is not in the file, at each
// of a few tries is errUnreadable; any other fault is a *readError.
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
			try = 1 // at another place
		}
		switch {
		case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.EIO):
			return n, &readError{err}
		case try == maxReadTries:
			return n, fmt.Errorf("%w: %w, %d times", errUnreadable, err, try)
		}
	}
}

// readError says that bytes could not be read now, which tells nothing about what they are: the file could not be opened, say.
type readError struct{ err error }

func (e *readError) Error() string { return "read segment: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }
