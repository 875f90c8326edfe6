package resp

// Writer renders replies into a buffer. When the buffer is full it is sent, and a long string is
// sent from where it lies, so that a reply of any length takes a bounded amount of memory. A Writer
// without a send function keeps everything. It is not safe for concurrent use.
type Writer struct {
	proto int
	buf   []byte
	size  int // of the buffer, from which on it is sent
	send  func(p []byte) error
	err   error
}

// NewWriter returns a Writer that calls send with pieces of the replies, once size bytes have
// gathered. A piece is valid during the call. nil: everything stays in the buffer.
func NewWriter(size int, send func(p []byte) error) *Writer {
	return &Writer{proto: 2, size: size, send: send}
}

// Reset begins anew behind the bytes of buf, in protocol 2 or 3, and forgets an error.
func (w *Writer) Reset(buf []byte, proto int) { w.buf, w.proto, w.err = buf, proto, nil }

// SetSize changes from how many bytes on the buffer is sent.
func (w *Writer) SetSize(size int) { w.size = size }

// Bytes returns what was not sent.
func (w *Writer) Bytes() []byte { return w.buf }

// Proto returns the protocol version.
func (w *Writer) Proto() int { return w.proto }

// Err returns the first error of send. After it nothing is rendered or sent.
func (w *Writer) Err() error { return w.err }

// OK reports whether rendering makes sense: loops over many elements end when it turns false.
func (w *Writer) OK() bool { return w.err == nil }

// Flush sends what has gathered. Without a send function it does nothing.
func (w *Writer) Flush() {
	if w.send == nil || len(w.buf) == 0 {
		return
	}
	if w.err == nil {
		w.err = w.send(w.buf)
	}
	w.buf = w.buf[:0]
}

// full sends the buffer if it is full.
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

// Null renders the absence of a value.
func (w *Writer) Null() { w.buf = AppendNull(w.buf, w.proto); w.full() }

// NullArray renders the absence of an array.
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
		w.Bulk([]byte(s)) // a copy, but only of such a long one
		return
	}
	w.buf = AppendBulkString(w.buf, s)
	w.full()
}

// long renders a bulk string that fills the buffer. The header never goes alone, nor does the end;
// what lies between full buffers is sent without a copy.
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
