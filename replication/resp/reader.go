package resp

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// Reader reads commands, lines and raw bytes from one stream. It is not safe
// for concurrent use. After a *ProtocolError the stream is out of step and must
// be closed; after any other error of the underlying reader, a time-out for
// instance, the same call may be made again and goes on where it stopped.
type Reader struct {
	r    io.Reader
	size int // the buffer's size at rest
	err  error

	// buf[pos:end] is what was received and not yet handed out.
	buf      []byte
	pos, end int

	maxArgs, maxBulk int
	rest, restArgs   int                   // bytes of buffer, and arguments, for which room is kept between commands
	hold             func(bytes int) error // nil: nobody counts
	held             int                   // what hold was told last

	// The command being parsed. Offsets are relative to pos, since the buffer
	// moves while a command arrives.
	announced int    // arguments; 0 before the header was read
	parsed    int    // bytes parsed
	bulk      int    // length of the bulk whose header has been parsed, or -1
	spans     []span // the arguments
	args      [][]byte
}

// span is where an argument lies. No command is longer than MaxCommand.
type span struct{ start, end uint32 }

// restSize is what a buffer may keep between commands.
const restSize = 1 << 20

// argSize is what an argument takes beside its bytes: a span, and a slice once the command is whole.
const argSize = 8 + 24

// keptArgs is for how many arguments room is kept between commands; with SetAccount it is less.
const (
	keptArgs     = 1 << 12
	keptArgsHeld = 1 << 8
)

// holdStep is the number of arguments after which their memory is counted again.
const holdStep = 1 << 10

// NewReader returns a Reader on r with a buffer of size bytes (at least 512),
// which grows while a longer command arrives.
func NewReader(r io.Reader, size int) *Reader {
	size = max(size, 512)
	return &Reader{r: r, size: size, buf: make([]byte, size), maxArgs: MaxArgs, maxBulk: MaxBulk, rest: max(size, restSize), restArgs: keptArgs, bulk: -1}
}

// SetLimits sets the largest number of arguments and the longest argument that
// are accepted from now on, MaxArgs and MaxBulk until then. Redis allows 10 and
// 16384 before authentication.
func (r *Reader) SetLimits(args, bulk int) {
	r.maxArgs, r.maxBulk = min(args, MaxStreamArgs), min(bulk, MaxBulk)
}

// SetAccount has hold called with the number of bytes that the Reader holds beyond those that it holds
// at rest: before the number grows, and when it has shrunk. Between commands it is 0. An error of
// hold ends the reading and is returned as it is.
func (r *Reader) SetAccount(hold func(bytes int) error) {
	r.hold, r.rest, r.restArgs = hold, r.size, keptArgsHeld
}

// count calls hold for a buffer of size bytes and the arguments of the command so far.
func (r *Reader) count(size int) error {
	if r.hold == nil {
		return nil
	}
	held := size - r.size + argSize*max(len(r.spans)-r.restArgs, cap(r.args)-r.restArgs, 0)
	if held == r.held {
		return nil
	}
	r.held = held
	return r.hold(held)
}

// Buffered returns the number of bytes received and not yet handed out.
func (r *Reader) Buffered() int { return r.end - r.pos }

// ReadCommand reads one command: an array of bulk strings, or an inline line.
// raw holds its exact bytes on the wire. Both are valid until the next call of
// any method. An empty line or an empty array gives args == nil without an
// error; replicas take such a line as a sign of life. The error is io.EOF only
// between commands, io.ErrUnexpectedEOF inside one.
func (r *Reader) ReadCommand() (args [][]byte, raw []byte, err error) {
	for {
		if r.pos < r.end {
			if r.buf[r.pos] == '*' {
				args, raw, err = r.parseArray()
			} else {
				args, raw, err = r.parseInline()
			}
			if err == nil || !errors.Is(err, ErrIncomplete) {
				return args, raw, err
			}
		}
		if err := r.fill(); err != nil {
			return nil, nil, err
		}
	}
}

// ReadLine reads one line ended by LF or CRLF and returns it without its end,
// valid until the next call of any method.
func (r *Reader) ReadLine() ([]byte, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(r.buf[r.pos+scanned:r.end], '\n'); i >= 0 {
			line := r.buf[r.pos : r.pos+scanned+i]
			r.pos += scanned + i + 1
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		scanned = r.end - r.pos
		if scanned > MaxInline {
			return nil, &ProtocolError{"too big line"}
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// Read hands out the bytes that follow what was parsed, the payload of a full
// resync for instance.
func (r *Reader) Read(p []byte) (int, error) {
	if r.pos < r.end {
		n := copy(p, r.buf[r.pos:r.end])
		r.pos += n
		return n, nil
	}
	if r.err != nil {
		err := r.err
		r.err = nil
		return 0, err
	}
	return r.r.Read(p)
}

// Ahead reads on until the stream ends or fails, which it returns, or until the
// buffer is full. The last command stays valid. A command that blocks learns by it
// that its client left; until it returns no other method may be called.
func (r *Reader) Ahead() error {
	for r.err == nil && r.end < len(r.buf) {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if err != nil {
			return err
		}
	}
	return r.err
}

// parseArray goes on with the array of bulk strings at buf[pos:end].
func (r *Reader) parseArray() ([][]byte, []byte, error) {
	b := r.buf[r.pos:r.end]
	if r.announced == 0 {
		count, next, err := parseHeader(b, 0, '*', r.maxArgs)
		if err != nil {
			return nil, nil, err
		}
		if count <= 0 {
			r.pos += next
			return nil, b[:next], nil
		}
		r.announced, r.parsed, r.bulk, r.spans = count, next, -1, r.spans[:0]
	}
	for len(r.spans) < r.announced {
		if len(r.spans)%holdStep == holdStep-1 && r.bulk < 0 {
			if err := r.count(len(r.buf)); err != nil {
				return nil, nil, err
			}
		}
		if r.bulk < 0 {
			size, next, err := parseHeader(b, r.parsed, '$', r.maxBulk)
			if err != nil {
				return nil, nil, err
			}
			if next+size > MaxCommand {
				return nil, nil, &ProtocolError{"command too long"}
			}
			r.bulk, r.parsed = size, next
		}
		end := r.parsed + r.bulk
		if end+2 > len(b) {
			return nil, nil, ErrIncomplete
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return nil, nil, &ProtocolError{"expected CRLF after a bulk string"}
		}
		r.spans = append(r.spans, span{uint32(r.parsed), uint32(end)})
		r.parsed, r.bulk = end+2, -1
	}
	r.args = slices.Grow(r.args[:0], r.announced)
	for _, s := range r.spans {
		r.args = append(r.args, b[s.start:s.end:s.end])
	}
	raw := b[:r.parsed:r.parsed]
	r.pos += r.parsed
	r.announced, r.parsed = 0, 0
	return r.args, raw, nil
}

// parseInline reads a command typed as a line of words.
func (r *Reader) parseInline() ([][]byte, []byte, error) {
	b := r.buf[r.pos:r.end]
	end := bytes.IndexByte(b[:min(len(b), MaxInline+1)], '\n')
	if end < 0 {
		if len(b) > MaxInline {
			return nil, nil, &ProtocolError{"too big inline request"}
		}
		return nil, nil, ErrIncomplete
	}
	raw := b[: end+1 : end+1]
	args, err := splitInline(bytes.TrimSuffix(b[:end], []byte{'\r'}))
	if err != nil {
		return nil, nil, err
	}
	r.pos += end + 1
	return args, raw, nil
}

// fill reads more bytes behind buf[end], making room first: by moving what is
// left to the front, and by doubling only when the buffer is full of received
// bytes, so that an announced length alone never costs memory.
func (r *Reader) fill() error {
	if r.err != nil {
		err := r.err
		r.err = nil
		return r.ended(err)
	}
	switch {
	case r.pos == r.end:
		r.pos, r.end = 0, 0
		if len(r.buf) > r.rest {
			r.buf = make([]byte, r.size)
			clear(r.args[:cap(r.args)]) // they lie in the old buffer
		}
		if cap(r.args) > r.restArgs {
			r.args, r.spans = nil, nil
		}
		r.args, r.spans = r.args[:0], r.spans[:0]
		if r.held > 0 {
			if err := r.count(len(r.buf)); err != nil {
				return err
			}
		}
	case r.end == len(r.buf) && r.pos > 0:
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
	if r.end == len(r.buf) {
		if err := r.count(2 * len(r.buf)); err != nil {
			return err
		}
		grown := make([]byte, 2*len(r.buf))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	for range 100 {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			r.err = err
			return nil
		}
		if err != nil {
			return r.ended(err)
		}
	}
	return io.ErrNoProgress
}

// ended turns an end of file inside a command into io.ErrUnexpectedEOF.
func (r *Reader) ended(err error) error {
	if errors.Is(err, io.EOF) && r.pos < r.end {
		return io.ErrUnexpectedEOF
	}
	return err
}
