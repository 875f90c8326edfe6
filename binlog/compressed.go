package binlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

// Values of MariaDB's COMPRESSED columns are empty, or begin with a byte that holds the method of
// compression in its upper half:
//
//	0  the value follows uncompressed
//	8  zlib: bits 0 to 2 are the size of the value's length in bytes, and bit 3 is set for a
//	   deflate stream without zlib's header and checksum; the length, big endian, and the
//	   stream follow
const (
	methodNone = 0
	methodZlib = 8

	methodShift = 4
	rawStream   = 0x08
	lengthSize  = 0x07
)

// maxDeflateRatio is the largest number of bytes that one byte of a deflate stream can stand for.
const maxDeflateRatio = 1032

// keptBuffer is the largest buffer that a decompressor keeps for the next value.
const keptBuffer = 1 << 20

var errCompressed = errors.New("the compressed value is corrupt")

// appendCompressed appends a value of a COMPRESSED column as text, or as JSON.
func (k *columnLayout) appendCompressed(
	dst, raw []byte, c *Column, asJSON bool,
) ([]byte, error) {
	d, _ := decompressors.Get().(*decompressor)
	defer d.release()
	plain, err := d.decompress(raw, k.size)
	if err != nil {
		return dst, err
	}
	content := *k
	content.encoding = k.content
	if asJSON {
		return content.appendJSON(dst, plain, c)
	}
	return content.appendText(dst, plain, c)
}

// decompressor decompresses one value after the other.
type decompressor struct {
	source bytes.Reader
	zlib   io.ReadCloser
	flate  io.ReadCloser
	out    []byte
}

var decompressors = sync.Pool{New: func() any { return new(decompressor) }}

// release returns d for other values. The bytes that decompress returned are no longer valid.
func (d *decompressor) release() {
	d.source.Reset(nil)
	if cap(d.out) > keptBuffer {
		d.out = nil
	}
	decompressors.Put(d)
}

// decompress returns the value that b holds, which may have at most limit bytes. The result is
// valid until release.
func (d *decompressor) decompress(b []byte, limit int) ([]byte, error) {
	if len(b) == 0 {
		return b, nil
	}
	switch method := b[0] >> methodShift; method {
	case methodNone:
		return b[1:], nil
	case methodZlib:
	default:
		return nil, fmt.Errorf("the compression method %d is not known", method)
	}
	size := int(b[0] & lengthSize)
	if size == 0 || size > 4 || size >= len(b) {
		return nil, errCompressed
	}
	// A length that the stream cannot have is rejected before memory is allocated for it.
	length, stream := bigEndian(b[1:1+size]), b[1+size:]
	if length > uint64(limit) || length > uint64(len(stream))*maxDeflateRatio {
		return nil, errCompressed
	}
	d.source.Reset(stream)
	r, err := d.reader(b[0]&rawStream != 0)
	if err != nil {
		return nil, errCompressed
	}
	if uint64(cap(d.out)) < length {
		d.out = make([]byte, length)
	}
	d.out = d.out[:length]
	if _, err := io.ReadFull(r, d.out); err != nil {
		return nil, errCompressed
	}
	// The end of the stream comes after the last byte, and zlib verifies its checksum there.
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, errCompressed
	}
	return d.out, nil
}

// reader returns a reader of the decompressed source.
func (d *decompressor) reader(isRaw bool) (io.Reader, error) {
	var err error
	switch {
	case isRaw && d.flate == nil:
		d.flate = flate.NewReader(&d.source)
		return d.flate, nil
	case isRaw:
		return d.flate, d.flate.(flate.Resetter).Reset(&d.source, nil)
	case d.zlib == nil:
		d.zlib, err = zlib.NewReader(&d.source)
		return d.zlib, err
	}
	return d.zlib, d.zlib.(zlib.Resetter).Reset(&d.source, nil)
}
