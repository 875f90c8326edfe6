package mysql

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Limits of the protocol. A server sends packets of up to 1 GiB (max_allowed_packet) in parts of at
// most maxPart bytes.
const (
	maxPart    = 1<<24 - 1
	maxPacket  = 1<<30 + 64
	bufferSize = 64 << 10
)

var errMalformed = errors.New("malformed packet")

// packetConn reads and writes MySQL packets on a connection. A packet has a header of 3 bytes of
// length and 1 byte of sequence number, which counts the packets of a command and its response.
type packetConn struct {
	r        *bufio.Reader
	w        io.Writer
	sequence uint8
	out      []byte
	large    []byte // a buffer of next
}

func newPacketConn(c io.ReadWriter) *packetConn {
	return &packetConn{r: bufio.NewReaderSize(c, bufferSize), w: c}
}

// command sends a command. Unread bytes of an earlier response are an error, because they would be
// taken for the new response.
func (p *packetConn) command(cmd byte, payload ...[]byte) error {
	if n := p.r.Buffered(); n != 0 {
		return fmt.Errorf("%w: %d unexpected bytes after a response", errMalformed, n)
	}
	p.sequence = 0
	size := 1
	for _, b := range payload {
		size += len(b)
	}
	out := append(p.out[:0], 0, 0, 0, 0, cmd)
	for _, b := range payload {
		out = append(out, b...)
	}
	// Each part needs a header of 4 bytes in front of it, so the parts of a long payload are
	// copied to a second buffer.
	if size < maxPart {
		p.header(out, size)
		_, err := p.w.Write(out)
		if cap(out) <= bufferSize {
			p.out = out
		}
		return err
	}
	body := out[4:]
	var part []byte
	for {
		n := min(len(body), maxPart)
		part = append(part[:0], 0, 0, 0, 0)
		part = append(part, body[:n]...)
		p.header(part, n)
		if _, err := p.w.Write(part); err != nil {
			return err
		}
		body = body[n:]
		if n < maxPart {
			return nil
		}
	}
}

func (p *packetConn) header(b []byte, n int) {
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), p.sequence
	p.sequence++
}

// read appends the payload of the next packet to dst, joined from its parts. Memory grows with the
// bytes that arrive, not with the length in a header.
func (p *packetConn) read(dst []byte) ([]byte, error) {
	// Full parts are joined once, when the length is known: a growing buffer would copy each byte
	// several times.
	var full [][]byte
	size := 0
	for {
		n, err := p.partHeader(size)
		if err != nil {
			return dst, err
		}
		if dst, err = p.readPart(dst, n); err != nil {
			return dst, err
		}
		size += n
		if n < maxPart {
			break
		}
		full, dst = append(full, dst), nil
	}
	if full == nil {
		return dst, nil
	}
	return slices.Concat(append(full, dst)...), nil
}

// maxKeptPacket is the largest buffer that next keeps for the next packet.
const maxKeptPacket = 1 << 20

// next returns the payload of the next packet, which is valid until the next call. A packet that
// fits into the buffer of the connection is not copied.
func (p *packetConn) next() ([]byte, error) {
	n, err := p.peekHeader(0)
	if err != nil {
		return nil, err
	}
	if headerSize+n > bufferSize {
		b, err := p.read(p.large[:0])
		if p.large = nil; cap(b) <= maxKeptPacket {
			p.large = b
		}
		return b, err
	}
	packet, err := p.peek(headerSize + n)
	if err != nil {
		return nil, err
	}
	p.sequence++
	_, err = p.r.Discard(len(packet))
	return packet[headerSize:], err
}

// partHeader reads the header of a part, after size bytes of the same packet, and returns the
// part's length.
func (p *packetConn) partHeader(size int) (int, error) {
	n, err := p.peekHeader(size)
	if err != nil {
		return 0, err
	}
	p.sequence++
	_, err = p.r.Discard(headerSize)
	return n, err
}

// headerSize is the size of the header of a part.
const headerSize = 4

// peekHeader returns the length in the header of a part, after size bytes of the same packet. It
// leaves the header where it is.
func (p *packetConn) peekHeader(size int) (int, error) {
	h, err := p.peek(headerSize)
	if err != nil {
		return 0, err
	}
	n := int(h[0]) | int(h[1])<<8 | int(h[2])<<16
	if h[3] != p.sequence {
		return 0, fmt.Errorf("%w: sequence number %d, want %d", errMalformed, h[3], p.sequence)
	}
	if size+n > maxPacket {
		return 0, fmt.Errorf("%w: longer than %d bytes", errMalformed, maxPacket)
	}
	return n, nil
}

// peek waits for n bytes, at most bufferSize, and leaves them in the buffer.
func (p *packetConn) peek(n int) ([]byte, error) {
	b, err := p.r.Peek(n)
	if errors.Is(err, io.EOF) && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// readPart appends n bytes to dst.
func (p *packetConn) readPart(dst []byte, n int) ([]byte, error) {
	const step = 1 << 20
	end := len(dst) + n
	for len(dst) < end {
		from := len(dst)
		to := min(end, from+step)
		if cap(dst) < to {
			dst = slices.Grow(dst, min(end, max(2*from, to))-from)
		}
		dst = dst[:to]
		if _, err := io.ReadFull(p.r, dst[from:]); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// lengthInt reads a length-encoded integer from the start of b. A first byte of 0xfb (NULL) or 0xff
// is an error.
func lengthInt(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, errMalformed
	}
	size := 0
	switch b[0] {
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	case 0xfb, 0xff:
		return 0, 0, errMalformed
	default:
		return uint64(b[0]), 1, nil
	}
	if len(b) < 1+size {
		return 0, 0, errMalformed
	}
	var full [8]byte
	copy(full[:], b[1:1+size])
	return binary.LittleEndian.Uint64(full[:]), 1 + size, nil
}

// lengthBytes reads a length-encoded string from the start of b. s is a part of b.
func lengthBytes(b []byte) (s, rest []byte, err error) {
	v, n, err := lengthInt(b)
	if err != nil {
		return nil, nil, err
	}
	b = b[n:]
	if v > uint64(len(b)) {
		return nil, nil, errMalformed
	}
	return b[:v:v], b[v:], nil
}

// splitRow sets cells to the columns of a text row. A nil cell is NULL; an empty string is not nil.
// The cells are parts of b.
func splitRow(b []byte, cells [][]byte) error {
	for i := range cells {
		switch {
		case len(b) > 0 && b[0] == 0xfb:
			cells[i], b = nil, b[1:]
			continue
		case len(b) > 0 && b[0] < 0xfb && int(b[0]) < len(b): // a short value, as most are
			end := 1 + int(b[0])
			cells[i], b = b[1:end:end], b[end:]
			continue
		}
		s, rest, err := lengthBytes(b)
		if err != nil {
			return fmt.Errorf("%w: column %d of a row", errMalformed, i+1)
		}
		cells[i], b = s, rest
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: %d bytes after the last column of a row", errMalformed, len(b))
	}
	return nil
}

// columnName returns the name in a column definition.
func columnName(b []byte) (string, error) {
	var s []byte
	var err error
	// catalog, schema, table, original table, name
	for range 5 {
		if s, b, err = lengthBytes(b); err != nil {
			return "", fmt.Errorf("%w: column definition", errMalformed)
		}
	}
	return string(s), nil
}
