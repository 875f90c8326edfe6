package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxEvent bounds an event's size in bytes: a server writes at most 1 GiB, plus headers.
	maxEvent = 1<<30 + 1<<20
	// maxWindow bounds the memory of a zstd window, in bytes: that of zstd's highest level.
	maxWindow = 128 << 20
	// keptBuffer is the size in bytes of the largest decompression buffer that is kept for reuse.
	keptBuffer = 4 << 20
)

// The compression types of a TRANSACTION_PAYLOAD_EVENT.
const (
	payloadZstd = 0
	payloadNone = 255
)

// payload reads the events in a TRANSACTION_PAYLOAD_EVENT. It decompresses them as a stream: a
// transaction may be larger than memory, and the sizes in the event may be wrong.
type payload struct {
	active bool
	source source
	zstd   *zstd.Decoder
	reader io.Reader
	// buf[r:w] is decompressed and not yet returned by next.
	buf  []byte
	r, w int
	// total counts the decompressed bytes of the transaction.
	total int
}

// source is an io.Reader of compressed bytes. With Bytes and Len, zstd decodes a small source in
// one step.
type source struct{ b []byte }

func (s *source) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

func (s *source) Bytes() []byte { return s.b }
func (s *source) Len() int      { return len(s.b) }

// open begins with the body of a TRANSACTION_PAYLOAD_EVENT. It borrows the body until next has
// returned nil.
func (p *payload) open(body []byte) error {
	compression := uint64(payloadNone + 1)
	c := cursor{b: body}
	for {
		field := c.lengthEncodedInt()
		if field == 0 || c.truncated {
			break
		}
		value := cursor{b: c.bytes(c.lengthEncodedInt())}
		if field == 2 {
			compression = value.lengthEncodedInt()
			c.truncated = c.truncated || value.truncated
		}
	}
	if c.truncated {
		return errTruncated
	}
	p.source.b = c.b
	switch compression {
	case payloadNone:
		p.reader = &p.source
	case payloadZstd:
		if err := p.resetZstd(); err != nil {
			return fmt.Errorf("decompress transaction: %w", err)
		}
		p.reader = p.zstd
	default:
		return reject("compression type %d is unknown; "+
			"set binlog_transaction_compression=OFF on the server", compression)
	}
	p.r, p.w, p.total, p.active = 0, 0, 0, true
	return nil
}

func (p *payload) resetZstd() (err error) {
	if p.zstd == nil {
		p.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
	}
	return p.zstd.Reset(&p.source)
}

// next returns the next event, valid until the next call, or nil after the last one.
func (p *payload) next() ([]byte, error) {
	if err := p.fill(HeaderSize); err != nil {
		if errors.Is(err, io.EOF) && p.r == p.w {
			p.close()
			return nil, nil
		}
		return nil, fmt.Errorf("decompress transaction: %w", unexpectedEOF(err))
	}
	size := binary.LittleEndian.Uint32(p.buf[p.r+9:])
	if size < HeaderSize || size > maxEvent {
		return nil, fmt.Errorf("decompress transaction: the header of an event gives %d bytes",
			size)
	}
	if err := p.fill(int(size)); err != nil {
		return nil, fmt.Errorf("decompress transaction: %w", unexpectedEOF(err))
	}
	event := p.buf[p.r : p.r+int(size) : p.r+int(size)]
	p.r += int(size)
	return event, nil
}

func (p *payload) close() {
	p.active = false
	p.source.b, p.reader = nil, nil
	if cap(p.buf) > keptBuffer {
		p.buf = nil
	}
	if p.total > keptBuffer && p.zstd != nil {
		p.zstd.Close() // its window has grown with the data
		p.zstd = nil
	}
}

// fill makes at least n bytes available from r on. The buffer grows with the bytes that arrive, so
// a wrong size in an event cannot exhaust memory.
func (p *payload) fill(n int) error {
	for p.w-p.r < n {
		if p.r > 0 && (p.r == p.w || len(p.buf)-p.w == 0) {
			p.w = copy(p.buf, p.buf[p.r:p.w])
			p.r = 0
		}
		if p.w == len(p.buf) {
			grown := make([]byte, min(2*max(len(p.buf), 32<<10), max(p.r+n, len(p.buf))+64<<10))
			copy(grown, p.buf)
			p.buf = grown
		}
		m, err := p.reader.Read(p.buf[p.w:])
		p.w += m
		p.total += m
		if m == 0 && err != nil {
			return err
		}
	}
	return nil
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inflater decompresses MariaDB's log_bin_compress: one byte holds the algorithm (only zlib exists)
// and the number of length bytes; then come the decompressed length, big-endian, and the zlib data.
type inflater struct {
	source bytes.Reader
	zlib   io.ReadCloser
	out    bytes.Buffer
}

// inflate returns the decompressed bytes, valid until the next call.
func (f *inflater) inflate(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0]&0x70 != 0 || b[0]&0x07 > 4 || len(b) < 1+int(b[0]&0x07) {
		return nil, errors.New("decompress event: its header is damaged")
	}
	n, head := 0, int(b[0]&0x07)
	for _, c := range b[1 : 1+head] {
		n = n<<8 | int(c)
	}
	if n > maxEvent {
		return nil, fmt.Errorf("decompress event: its header gives %d bytes", n)
	}
	f.source.Reset(b[1+head:])
	if err := f.reset(); err != nil {
		return nil, fmt.Errorf("decompress event: %w", err)
	}
	f.release()
	f.out.Reset()
	got, err := f.out.ReadFrom(io.LimitReader(f.zlib, int64(n)+1))
	if err == nil && got != int64(n) {
		err = fmt.Errorf("its header gives %d bytes, and it has %d", n, got)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress event: %w", err)
	}
	return f.out.Bytes(), nil
}

// release drops the buffer of the last result if it is large.
func (f *inflater) release() {
	if f.out.Cap() > keptBuffer {
		f.out = bytes.Buffer{}
	}
}

func (f *inflater) reset() (err error) {
	if f.zlib == nil {
		f.zlib, err = zlib.NewReader(&f.source)
		return err
	}
	return f.zlib.(zlib.Resetter).Reset(&f.source, nil)
}
