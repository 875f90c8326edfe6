package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

const markLen = 40

// Payload is the snapshot inside its framing: a length before it, or a mark of
// 40 random bytes behind it.
type Payload struct {
	r    io.Reader
	wire *wire
	size int64
}

// wire remembers the connection's own fault, so that a cut link can be told
// from a snapshot that is wrong.
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
	return &Payload{r: &markedReader{r: w, mark: mark, buf: make([]byte, 64<<10)}, wire: w, size: -1}
}

// Read reads the snapshot's bytes; io.EOF at its framed end.
func (p *Payload) Read(b []byte) (int, error) { return p.r.Read(b) }

// Progress says how many bytes have come and how many there are, -1 if the
// framing does not tell. Any goroutine may ask.
func (p *Payload) Progress() (received, total int64) { return p.wire.n.Load(), p.size }

// WireErr is the fault of the connection, if reading failed by one.
func (p *Payload) WireErr() error { return p.wire.err }

// End checks that the framing ends where the snapshot's reader stopped.
func (p *Payload) End() error {
	n, err := io.Copy(io.Discard, p)
	if err != nil {
		return fmt.Errorf("read snapshot's end: %w", err)
	}
	if p.wire.err != nil {
		return fmt.Errorf("read snapshot's end: %w", p.wire.err)
	}
	if n > 0 {
		return fmt.Errorf("read snapshot's end: %d bytes follow it inside its frame", n)
	}
	return nil
}

// markedReader ends where the mark is the last thing that has come. A master
// sends nothing behind the mark until it is acknowledged, so nothing of the
// stream is ever taken for snapshot.
type markedReader struct {
	r    io.Reader
	mark []byte
	buf  []byte
	at   int // buf[at:n] has been read and not delivered
	n    int
	done bool
}

func (m *markedReader) Read(p []byte) (int, error) {
	for {
		// The last markLen bytes may be the mark: they are held back.
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
