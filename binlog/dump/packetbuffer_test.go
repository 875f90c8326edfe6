package dump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"
)

// SetSilence changes how long the server may be silent.
func (s *Stream) SetSilence(d time.Duration) { s.silence, s.readDeadline = d, time.Time{} }

// Packets are found in whatever portions they arrive.
func TestPackets(t *testing.T) {
	sizes := []int{0, 1, 5, 1 << 20, 3, maxPart - 1, maxPart, maxPart + 1, 2*maxPart + 7, 9, 20}
	var wire []byte
	for i, n := range sizes {
		rest := bytes.Repeat([]byte{byte(i)}, n)
		for {
			part := rest[:min(len(rest), maxPart)]
			wire = append(wire, byte(len(part)), byte(len(part)>>8), byte(len(part)>>16), 0)
			wire = append(wire, part...)
			if rest = rest[len(part):]; len(part) < maxPart {
				break
			}
		}
	}
	for _, step := range []int{100_003, 1 << 30} {
		var p packetBuffer
		r := &stepReader{bytes.NewReader(wire), step}
		for i, n := range sizes {
			var got []byte
			for ok := false; !ok; {
				complete := p.complete()
				if got, ok = p.next(); ok != complete {
					t.Fatal("complete is wrong")
				}
				if !ok {
					if err := p.fill(r); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(got) != n || bytes.Count(got, []byte{byte(i)}) != n {
				t.Fatalf("packet %d has %d bytes, want %d", i, len(got), n)
			}
		}
	}
}

// A huge event gets a buffer of its size, which is released before the packets after it are
// handled, however they arrived.
func TestHugePacket(t *testing.T) {
	for _, size := range []int{5 << 20, 70 << 20} {
		event := make([]byte, 1+size)
		binary.LittleEndian.PutUint32(event[1+9:], uint32(size))
		var wire []byte
		for _, payload := range [][]byte{{0, 1, 2}, event, {0, 3, 4}, {0, 5, 6}} {
			for first := true; first || len(payload) > 0; first = false {
				part := payload[:min(len(payload), maxPart)]
				wire = append(wire, byte(len(part)), byte(len(part)>>8), byte(len(part)>>16), 0)
				wire, payload = append(wire, part...), payload[len(part):]
			}
		}
		var p packetBuffer
		r := &stepReader{bytes.NewReader(wire), 1 << 20}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read := func() []byte {
			for {
				if b, ok := p.next(); ok {
					return b
				}
				if err := p.fill(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		read()
		if b := read(); len(b) != len(event) {
			t.Fatalf("the event has %d bytes, want %d", len(b), len(event))
		}
		runtime.ReadMemStats(&after)
		if most := size + size/100 + 2*bufferSize; len(p.buf) > most {
			t.Errorf("the buffer of %d bytes has %d, want at most %d", size, len(p.buf), most)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(
			size,
		)+(2+2*growth)*bufferSize {
			t.Errorf("%d bytes were allocated for %d", took, size)
		}
		if b := read(); !bytes.Equal(b, []byte{0, 3, 4}) || len(p.buf) != bufferSize {
			t.Errorf("the packet %v behind it is in a buffer of %d bytes", b, len(p.buf))
		}
		if b := read(); !bytes.Equal(b, []byte{0, 5, 6}) {
			t.Errorf("the last packet is %v", b)
		}
	}
}

type stepReader struct {
	*bytes.Reader
	step int
}

func (r *stepReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), r.step)]) }

// FuzzPackets splits arbitrary bytes after some full parts, which are joined with the bytes that
// follow. The packets must be those of a simple reader, and the buffer must grow with the bytes
// that have come, not with lengths in headers.
func FuzzPackets(f *testing.F) {
	f.Add(uint8(0), uint16(3), []byte("\x01\x00\x00\x00a\x00\x00\x00\x01\x02\x00\x00\x02bc"))
	f.Add(uint8(1), uint16(60000), []byte("\x00\x00\x00\x01\x01\x00\x00\x02a"))
	f.Add(uint8(2), uint16(60000), []byte("\x01\x00\x00\x02a\xff\xff\xff\x03b"))
	f.Fuzz(func(t *testing.T, full uint8, step uint16, tail []byte) {
		if full > 2 {
			full = 0 // most runs shall be cheap
		}
		var wire []byte
		for i := range full {
			wire = append(wire, 0xff, 0xff, 0xff, i)
			wire = append(wire, bytes.Repeat([]byte{'x' + i}, maxPart)...)
		}
		wire = append(wire, tail...)
		want := plainPackets(wire)
		r := &stepReader{bytes.NewReader(wire), int(step) + 1 + int(full)<<16}
		var p packetBuffer
		for n := 0; ; {
			for b, ok := p.next(); ok; b, ok = p.next() {
				if n == len(want) || !bytes.Equal(b, want[n]) {
					t.Fatalf("packet %d of %d has %d bytes", n, len(want), len(b))
				}
				n++
			}
			if p.complete() {
				t.Fatal("a complete packet was not handed out")
			}
			if err := p.fill(r); err != nil {
				if n != len(want) || !errors.Is(err, io.EOF) {
					t.Fatalf("%d of %d packets, then %v", n, len(want), err)
				}
				break
			}
			if len(p.buf) > growth*(len(wire)+bufferSize) {
				t.Fatalf("the buffer has %d bytes for %d", len(p.buf), len(wire))
			}
		}
	})
}

// plainPackets returns the complete packets in b.
func plainPackets(b []byte) (all [][]byte) {
	payload := []byte{}
	for len(b) >= partHeaderSize {
		n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		if b = b[partHeaderSize:]; n > len(b) {
			break
		}
		payload, b = append(payload, b[:n]...), b[n:]
		if n < maxPart {
			all, payload = append(all, payload), []byte{}
		}
	}
	return all
}

// complete reports whether next would return a packet.
func (p *packetBuffer) complete() bool {
	_, parts := p.scan()
	return parts > 0
}
