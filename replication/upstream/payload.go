package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

const markLen = 40 // bytes

// Payload is a snapshot without its framing. The framing is a length before the snapshot, or a mark
// of 40 random bytes after it.
type Payload struct {
	r    io.Reader
	wire *wire
	size int64 // -1: unknown
}

// wire stores the first error of the connection, which distinguishes a broken connection from a
// corrupt snapshot.
type wire struct {
	r   io.Reader
	err error
	n   atomic.Int64 // bytes read
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n.Add(int64(n))
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

func newSized(r io.Reader, n int64) *Payload {
	w := &wire{r: r}
	return &Payload{r: io.LimitReader(w, n), wire: w, size: n}
}

func newMarked(r io.Reader, mark []byte) *Payload {
	w := &wire{r: r}
	marked := &markedReader{r: w, mark: mark, buf: make([]byte, 64<<10)}
	return &Payload{r: marked, wire: w, size: -1}
}

// Read reads bytes of the snapshot. It returns io.EOF where the framing ends the snapshot.
func (p *Payload) Read(b []byte) (int, error) { return p.r.Read(b) }

// Progress returns the bytes received, and the size of the snapshot: -1 if the framing is a mark.
// Any goroutine may call it.
func (p *Payload) Progress() (received, total int64) { return p.wire.n.Load(), p.size }

// WireErr returns the first error of the connection, or nil.
func (p *Payload) WireErr() error { return p.wire.err }

// End reads to the end of the framing. It returns an error if bytes of the snapshot are left.
func (p *Payload) End() error {
	n, err := io.Copy(io.Discard, p)
	if err != nil {
		return fmt.Errorf("read snapshot's end: %w", err)
	}
	if p.wire.err != nil {
		return fmt.Errorf("read snapshot's end: %w", p.wire.err)
	}
	if n > 0 {
		return fmt.Errorf("read snapshot's end: %d bytes follow the snapshot inside its framing", n)
	}
	return nil
}

// markedReader ends where the received bytes end with the mark. A master sends nothing after the
// mark before the replica's first acknowledgement, so no byte of the stream is taken for snapshot.
type markedReader struct {
	r    io.Reader
	mark []byte
	buf  []byte
	at   int // buf[at:n] has been received and not returned
	n    int
	done bool
}

func (m *markedReader) Read(p []byte) (int, error) {
	for {
		// The last markLen bytes may be the mark, so they are not returned yet.
		if free := m.n - m.at - markLen; free > 0 {
			c := copy(p, m.buf[m.at:m.at+free])
			m.at += c
			return c, nil
		}
		if m.done {
			return 0, io.EOF
		}
		if err := m.fill(); err != nil {
			return 0, err
		}
	}
}

// fill receives more bytes and sets done at the mark.
func (m *markedReader) fill() error {
	copy(m.buf, m.buf[m.at:m.n])
	m.n, m.at = m.n-m.at, 0
	c, err := m.r.Read(m.buf[m.n:])
	m.n += c
	if m.n >= markLen && bytes.Equal(m.buf[m.n-markLen:m.n], m.mark) {
		m.done = true
		return nil
	}
	if c == 0 && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if c > 0 {
		return nil
	}
	return err
}
