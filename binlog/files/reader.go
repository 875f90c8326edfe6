package files

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"rowfall/binlog/events"
)

const (
	headerSize   = 19 // of every event
	checksumSize = 4
	// bufferSize is the size of reads, and maxKeptBuffer that of the largest event whose memory is
	// used again, in bytes.
	bufferSize    = 1 << 16
	maxKeptBuffer = 4 << 20
)

// flagInUse is set in the FORMAT_DESCRIPTION_EVENT of a file until the server closes the file, or
// has recovered it after a crash.
const flagInUse = 1

// The types of events that this package looks at.
const (
	typeStop              = 3
	typeRotate            = 4
	typeFormatDescription = 15
	typePreviousGTIDs     = 35
	typeBinlogCheckpoint  = 161
	typeGTIDList          = 163
	typeStartEncryption   = 164
)

// tornError is returned for a file that ends within an event, or within the magic bytes.
type tornError struct{ at uint64 }

func (e *tornError) Error() string {
	return fmt.Sprintf("the file ends within the event at offset %d: it was cut off, as after a "+
		"crash, or copied while the server wrote it; copy the whole file, or end before it with "+
		"--to", e.at)
}

// reader splits files into events.
type reader struct {
	files []logFile
	file  io.ReadCloser // nil: between two files
	in    *bufio.Reader
	size  uint64 // of the file
	// offset is the end of the last event in its file.
	offset uint64
	// startsFile is set if next has returned an event that only names the file that follows.
	startsFile bool
	// inUse is set if the server was writing the file when it was copied. lastType is the type of
	// the last event. before describes the file before the present one.
	inUse    bool
	lastType byte
	before   fileEnd
	// hasChecksum is set if events end in a checksum.
	hasChecksum bool
	// used is the size of the last event if that is still in the buffer of in.
	used int
	// buffer holds the last event if that did not fit into the buffer of in.
	buffer []byte
}

// fileEnd is what the end of a file shows.
type fileEnd struct {
	name string
	// isClosed is set if the file ends in an event with which the server closes a file.
	isClosed bool
	// inUse is set if the file has the flag LOG_EVENT_BINLOG_IN_USE_F: the server was writing the
	// file when it was copied. A copy by mysqlbinlog --raw never has the flag.
	inUse bool
}

func newReader(files []logFile) *reader {
	size := uint64(0)
	for i := range files {
		size = max(size, files[i].size)
	}
	return &reader{files: files, in: bufio.NewReaderSize(nil, int(min(size, bufferSize)))}
}

// close closes the file that is being read.
func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}

// name returns the name of the file that is being read.
func (r *reader) name() string { return r.files[0].name }

// next returns the next event, which is valid until the next call. Before the events of each file,
// it returns a generated ROTATE_EVENT with the file's name, as a server sends it. The error at the
// end of the last file is io.EOF.
func (r *reader) next() ([]byte, error) {
	r.startsFile = false
	if r.file != nil && r.offset == r.size {
		r.close()
		r.before = fileEnd{
			name: r.name(), isClosed: r.lastType == typeRotate || r.lastType == typeStop,
			inUse: r.inUse,
		}
		r.files = r.files[1:]
	}
	if len(r.files) == 0 {
		return nil, io.EOF
	}
	if r.file == nil {
		if err := r.openFile(); err != nil {
			return nil, err
		}
		r.startsFile = true
		return r.rotate(), nil
	}
	raw, err := r.event()
	if err != nil {
		return nil, err
	}
	switch raw[4] {
	case typeFormatDescription:
		if r.hasChecksum, err = events.HasChecksums(raw); err != nil {
			return nil, err
		}
		r.inUse = binary.LittleEndian.Uint16(raw[17:])&flagInUse != 0
	case typeStartEncryption:
		return nil, errEncrypted
	}
	if r.offset == firstEvent && raw[4] != typeFormatDescription {
		if err := events.CheckStart(raw); err != nil {
			return nil, err
		}
		return nil, errors.New("it does not begin with a FORMAT_DESCRIPTION event: " +
			"the file is damaged")
	}
	r.offset += uint64(len(raw))
	r.lastType = raw[4]
	return raw, nil
}

// openFile opens the next file and reads the magic bytes.
func (r *reader) openFile() error {
	f, err := r.files[0].open()
	if err != nil {
		return err
	}
	r.in.Reset(f)
	r.used = 0
	var begin [firstEvent]byte
	switch n, err := io.ReadFull(r.in, begin[:]); {
	case n < len(begin) && isEnd(err):
		err = &tornError{0}
		fallthrough
	case err != nil:
		_ = f.Close()
		return err
	case bytes.Equal(begin[:], encryptedMagic):
		_ = f.Close()
		return errEncrypted
	case !bytes.Equal(begin[:], magic):
		_ = f.Close()
		return errors.New("it is not a binlog file: the magic bytes at its beginning are missing")
	}
	r.file, r.size, r.offset = f, max(r.files[0].size, firstEvent), firstEvent
	return nil
}

// event reads one event. It returns a part of the buffer, without a copy, if the event fits in.
func (r *reader) event() ([]byte, error) {
	_, _ = r.in.Discard(r.used) // it is in the buffer
	r.used = 0
	header, err := r.in.Peek(headerSize)
	if isEnd(err) {
		return nil, &tornError{r.offset}
	}
	if err != nil {
		return nil, err
	}
	size := uint64(binary.LittleEndian.Uint32(header[9:]))
	switch {
	case size < headerSize && bytes.Equal(header, make([]byte, headerSize)):
		return nil, &tornError{r.offset} // a file system may fill up a lost tail with zeros
	case size < headerSize:
		return nil, fmt.Errorf("the event at offset %d is damaged: its header gives %d bytes",
			r.offset, size)
	// Memory is allocated only for what the file has.
	case size > r.size-r.offset:
		return nil, &tornError{r.offset}
	}
	if size <= uint64(r.in.Size()) {
		raw, err := r.in.Peek(int(size))
		if isEnd(err) {
			return nil, &tornError{r.offset}
		}
		r.used = len(raw)
		return raw, err
	}
	if cap(r.buffer) > maxKeptBuffer && size < maxKeptBuffer || uint64(cap(r.buffer)) < size {
		r.buffer = make([]byte, max(size, 4096))
	}
	raw := r.buffer[:size]
	if _, err := io.ReadFull(r.in, raw); isEnd(err) {
		return nil, &tornError{r.offset}
	} else if err != nil {
		return nil, err
	}
	return raw, nil
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// body returns an event without header and checksum.
func (r *reader) body(raw []byte) []byte {
	if r.hasChecksum && len(raw) >= headerSize+checksumSize {
		raw = raw[:len(raw)-checksumSize]
	}
	return raw[headerSize:]
}

// rotate returns a generated ROTATE_EVENT that names the file.
func (r *reader) rotate() []byte { return rotateEvent(r.name(), r.hasChecksum) }
