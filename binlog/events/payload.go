package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

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
	// firstBuffer is the size of a new decompression buffer, and growth the largest factor by which
	// it grows. Sizes in an event may be wrong, so a buffer grows with the bytes that arrive; few
	// large steps copy fewer bytes than many small ones.
	firstBuffer = 32 << 10
	growth      = 16
	// oneStep is the number of compressed bytes below which zstd decodes them in one step, so that
	// it allocates no window: a frame may declare one that is larger than its content. At most
	// 32 KiB come out of each byte, so that the content of these bytes is not larger than a window.
	oneStep = maxWindow / (32 << 10)
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

// source is an io.Reader of compressed bytes.
type source struct{ b []byte }

func (s *source) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

// smallSource is a source that zstd may decode in one step, because of its methods Bytes and Len.
// The result is in memory as a whole.
type smallSource struct{ *source }

func (s smallSource) Bytes() []byte { return s.b }
func (s smallSource) Len() int      { return len(s.b) }

// open begins with the body of a TRANSACTION_PAYLOAD_EVENT. It borrows the body until next has
// returned nil.
func (p *payload) open(body []byte) error {
	compression, size := uint64(payloadNone+1), uint64(math.MaxUint64)
	c := cursor{b: body}
	for {
		field := c.lengthEncodedInt()
		if field == 0 || c.truncated {
			break
		}
		value := cursor{b: c.bytes(c.lengthEncodedInt())}
		switch field {
		case 2:
			compression = value.lengthEncodedInt()
		case 3:
			size = value.lengthEncodedInt()
		}
		c.truncated = c.truncated || value.truncated
	}
	if c.truncated {
		return errTruncated
	}
	p.source.b = c.b
	switch compression {
	case payloadNone:
		p.reader = &p.source
	case payloadZstd:
		if err := p.resetZstd(size); err != nil {
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

// resetZstd prepares to decompress the source. size is the size of the result as the event states
// it.
func (p *payload) resetZstd(size uint64) (err error) {
	if p.zstd == nil {
		p.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
	}
	if size <= keptBuffer || len(p.source.b) < oneStep {
		return p.zstd.Reset(smallSource{&p.source})
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
			grown := make([]byte, min(max(growth*len(p.buf), firstBuffer), p.r+n+firstBuffer))
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
	out    []byte
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
	if err := f.read(n); err != nil {
		return nil, fmt.Errorf("decompress event: %w", err)
	}
	return f.out, nil
}

// read reads n bytes, and the end of the zlib data, into f.out.
func (f *inflater) read(n int) error {
	f.out = f.out[:0]
	for len(f.out) < n {
		got := len(f.out)
		if got == cap(f.out) {
			grown := make([]byte, got, min(max(growth*got, firstBuffer), n))
			copy(grown, f.out)
			f.out = grown
		}
		m, err := f.zlib.Read(f.out[got:min(cap(f.out), n)])
		f.out = f.out[:got+m]
		if err != nil && len(f.out) < n {
			return fmt.Errorf("its header gives %d bytes, and it has %d: %w", n, len(f.out),
				unexpectedEOF(err))
		}
	}
	// The end shows that the data have no more bytes, and verifies their checksum.
	var more [1]byte
	if _, err := io.ReadFull(f.zlib, more[:]); err == nil {
		return fmt.Errorf("its header gives %d bytes, and it has more", n)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// release drops the buffer of the last result if it is large.
func (f *inflater) release() {
	if cap(f.out) > keptBuffer {
		f.out = nil
	}
}

func (f *inflater) reset() (err error) {
	if f.zlib == nil {
		f.zlib, err = zlib.NewReader(&f.source)
		return err
	}
	return f.zlib.(zlib.Resetter).Reset(&f.source, nil)
}
