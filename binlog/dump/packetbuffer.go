package dump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// bufferSize is the usual size of the buffer, in bytes.
	bufferSize = 1 << 20
	// maxKeptBuffer is the size of the largest buffer that is kept after a large packet, in bytes.
	maxKeptBuffer = 4 << 20
	// maxPacket bounds a packet that is joined from parts, in bytes. A server sends events of at
	// most 1 GiB, plus headers.
	maxPacket = 1<<30 + 1<<20
	// maxPart is the length in bytes of a part that another part of the same packet follows.
	maxPart = 0xffffff
	// partHeaderSize is the size of a part's header: three bytes of length and one of sequence
	// number.
	partHeaderSize = 4
)

// packetBuffer reads from a connection and splits the bytes into packets, in place. buf[r:w] is
// read and not yet returned by next.
type packetBuffer struct {
	buf  []byte
	r, w int
}

// next returns the payload of the next packet if all of it has been read. The payload is valid
// until the next call of next or fill.
func (p *packetBuffer) next() ([]byte, bool) {
	// The buffer for a huge packet is replaced before the packets after it are handled.
	if p.oversized() {
		p.move(make([]byte, bufferSize))
	}
	end, parts := p.scan()
	if parts == 0 {
		return nil, false
	}
	start := p.r + partHeaderSize
	if parts > 1 {
		start = p.join(parts)
	}
	p.r = end
	return p.buf[start:end], true
}

// scan returns the end of the next packet and the number of its parts, 0 if it is not complete.
func (p *packetBuffer) scan() (end, parts int) {
	at := p.r
	for {
		if p.w-at < partHeaderSize {
			return 0, 0
		}
		n := int(p.buf[at]) | int(p.buf[at+1])<<8 | int(p.buf[at+2])<<16
		at += partHeaderSize + n
		if at > p.w {
			return 0, 0
		}
		parts++
		if n < maxPart {
			return at, parts
		}
	}
}

// join moves the parts of a packet together, towards the end of the packet, over the headers
// between them. It returns the index at which the payload begins.
func (p *packetBuffer) join(parts int) int {
	// Every part but the last is full, so part i's data begins here:
	data := func(i int) int { return p.r + i*(partHeaderSize+maxPart) + partHeaderSize }
	start := data(parts - 1)
	for i := parts - 2; i >= 0; i-- {
		start -= maxPart
		copy(p.buf[start:], p.buf[data(i):data(i)+maxPart])
	}
	return start
}

// fill reads once. The payload that next returned last becomes invalid.
func (p *packetBuffer) fill(r io.Reader) error {
	if err := p.makeRoom(); err != nil {
		return err
	}
	n, err := r.Read(p.buf[p.w:])
	p.w += n
	if n > 0 {
		// The next read returns the error again, without bytes.
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom makes space to read into: it moves unread bytes to the front, grows the buffer in
// proportion to the bytes that have arrived (a length in a header may be wrong), and replaces a
// large buffer that is no longer needed.
func (p *packetBuffer) makeRoom() error {
	rest := p.w - p.r
	switch {
	case p.buf == nil, p.oversized():
		p.move(make([]byte, bufferSize))
	case rest == 0:
		p.r, p.w = 0, 0
	case len(p.buf)-p.w >= len(p.buf)/4:
	case rest <= len(p.buf)/2:
		p.move(p.buf)
	case rest >= maxPacket:
		return fmt.Errorf("read packet: it is longer than %d bytes", maxPacket)
	case len(p.buf)-p.w == 0 || p.r > 0:
		p.move(make([]byte, min(p.grownSize(), maxPacket+bufferSize)))
	}
	if p.w == len(p.buf) {
		return errors.New("read packet: the buffer is full")
	}
	return nil
}

// oversized reports whether the buffer is large and what is left in it is not.
func (p *packetBuffer) oversized() bool {
	return len(p.buf) > maxKeptBuffer && p.w-p.r < bufferSize/2
}

// growth is the largest factor by which the buffer grows at once. Each step copies the bytes and
// leaves the old buffer to the garbage collector, so few large steps take less memory than many
// small ones.
const growth = 16

// grownSize returns the size to grow the buffer to: that of the event, which is in the event's
// header, but at most growth times the current size. Without a header the buffer doubles.
func (p *packetBuffer) grownSize() int {
	const status, lengthAt = 1, 9
	least := p.w - p.r + bufferSize
	at := p.r + partHeaderSize + status + lengthAt
	if at+4 > p.w {
		return max(2*len(p.buf), least)
	}
	size := status + int(binary.LittleEndian.Uint32(p.buf[at:]))
	size += partHeaderSize*(size/maxPart+1) + bufferSize
	return max(least, min(size, growth*len(p.buf)))
}

func (p *packetBuffer) move(to []byte) {
	p.w = copy(to, p.buf[p.r:p.w])
	p.r = 0
	p.buf = to
}
