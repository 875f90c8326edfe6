package resp

// Writer renders replies into a buffer, and sends the buffer when it is full. It sends long strings
// without a copy, so that a reply of any length takes a bounded amount of memory. Without a send
// function everything stays in the buffer. A Writer is not safe for concurrent use.
type Writer struct {
	proto int
	buf   []byte
	size  int // bytes in the buffer at which it is sent
	send  func(p []byte) error
	err   error
}

// NewWriter returns a Writer for protocol 2 that calls send with chunks of the replies when the
// buffer has size bytes. A chunk is valid during the call. send may be nil.
func NewWriter(size int, send func(p []byte) error) *Writer {
	return &Writer{proto: 2, size: size, send: send}
}

// Reset makes the Writer append to buf, in protocol 2 or 3, and clears its error.
func (w *Writer) Reset(buf []byte, proto int) { w.buf, w.proto, w.err = buf, proto, nil }

// SetSize sets the number of bytes in the buffer at which it is sent.
func (w *Writer) SetSize(size int) { w.size = size }

// Bytes returns the bytes that have not been sent.
func (w *Writer) Bytes() []byte { return w.buf }

// Proto returns the protocol version.
func (w *Writer) Proto() int { return w.proto }

// Err returns the first error of send. After an error the Writer sends nothing.
func (w *Writer) Err() error { return w.err }

// OK reports whether send has not failed. Loops over many elements end when it is false.
func (w *Writer) OK() bool { return w.err == nil }

// Flush sends the buffer. Without a send function it does nothing.
func (w *Writer) Flush() {
	if w.send == nil || len(w.buf) == 0 {
		return
	}
	if w.err == nil {
		w.err = w.send(w.buf)
	}
	w.buf = w.buf[:0]
}

// full calls Flush if the buffer is full.
func (w *Writer) full() {
	if w.send != nil && len(w.buf) >= w.size {
		w.Flush()
	}
}

// Array begins an array of n elements.
func (w *Writer) Array(n int) { w.buf = AppendArray(w.buf, n); w.full() }

// Map begins a map of n pairs.
func (w *Writer) Map(n int) { w.buf = AppendMap(w.buf, w.proto, n); w.full() }

// Set begins a set of n elements.
func (w *Writer) Set(n int) { w.buf = AppendSet(w.buf, w.proto, n); w.full() }

// Int renders an integer.
func (w *Writer) Int(n int64) { w.buf = AppendInt(w.buf, n); w.full() }

// Simple renders a simple string.
func (w *Writer) Simple(s string) { w.buf = AppendSimple(w.buf, s); w.full() }

// Error renders an error, whose text begins with its code.
func (w *Writer) Error(s string) { w.buf = AppendError(w.buf, s); w.full() }

// Null renders a null.
func (w *Writer) Null() { w.buf = AppendNull(w.buf, w.proto); w.full() }

// NullArray renders a null array.
func (w *Writer) NullArray() { w.buf = AppendNullArray(w.buf, w.proto); w.full() }

// Double renders a floating-point number.
func (w *Writer) Double(f float64) { w.buf = AppendDouble(w.buf, w.proto, f); w.full() }

// Bulk renders a bulk string.
func (w *Writer) Bulk(b []byte) {
	if w.err != nil {
		return
	}
	if w.send == nil || len(w.buf)+len(b) < w.size {
		w.buf = AppendBulk(w.buf, b)
		return
	}
	w.long(b)
}

// BulkString renders a bulk string.
func (w *Writer) BulkString(s string) {
	if len(s) >= w.size && w.send != nil {
		w.Bulk([]byte(s)) // only long strings are copied
		return
	}
	w.buf = AppendBulkString(w.buf, s)
	w.full()
}

// long renders a bulk string that does not fit into the buffer. It sends the header together with
// the first bytes, then whole multiples of size without a copy, and keeps the rest in the buffer.
func (w *Writer) long(b []byte) {
	w.buf = appendHeader(w.buf, '$', int64(len(b)))
	n := min(max(w.size-len(w.buf), 0), len(b))
	w.buf = append(w.buf, b[:n]...)
	if b = b[n:]; len(w.buf) >= w.size {
		w.Flush()
	}
	if n := len(b) / w.size * w.size; n > 0 && w.err == nil {
		w.err = w.send(b[:n])
		b = b[n:]
	}
	if w.err == nil {
		w.buf = append(append(w.buf, b...), '\r', '\n')
		w.full()
	}
}
