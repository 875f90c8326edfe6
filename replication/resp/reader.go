package resp

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// Reader reads commands, lines and raw bytes from one stream. It is not safe for concurrent use.
// After a *ProtocolError the stream must be closed. After an error of the underlying reader, such
// as a time-out, the caller may repeat the call, which continues where it stopped. It has more than
// 15 fields, because the parser stores its progress in a command of which only a part has arrived.
type Reader struct {
	r    io.Reader
	size int // of the buffer between commands
	err  error

	// buf[pos:end] has been received and not returned.
	buf      []byte
	pos, end int

	maxArgs, maxBulk   int
	keepSize, keepArgs int                   // of buf and args: the largest kept between commands
	account            func(bytes int) error // may be nil; see SetAccount
	accounted          int                   // argument of the last call of account

	// The command that is being parsed. Offsets are relative to pos, because the buffer moves while
	// a command arrives.
	announced int    // number of arguments; 0 before the header
	parsed    int    // bytes parsed
	bulk      int    // length of the bulk string whose header has been parsed, or -1
	spans     []span // the arguments
	args      [][]byte
}

// span is the position of an argument. MaxCommand fits into 32 bits.
type span struct{ start, end uint32 }

// defaultKeepSize is the largest buffer kept between commands without SetAccount, in bytes.
const defaultKeepSize = 1 << 20

// argSize is the memory of an argument besides its content: a span, and a slice when the command is
// complete.
const argSize = 8 + 24

// Arguments for which a Reader keeps memory between commands, without and with SetAccount.
const (
	defaultKeepArgs   = 1 << 12
	accountedKeepArgs = 1 << 8
)

// accountStep is the number of arguments after which their memory is accounted for again.
const accountStep = 1 << 10

// NewReader returns a Reader on r with a buffer of size bytes (at least 512). The buffer grows
// while a longer command arrives.
func NewReader(r io.Reader, size int) *Reader {
	size = max(size, 512)
	return &Reader{
		r: r, size: size, buf: make([]byte, size), maxArgs: MaxArgs, maxBulk: MaxBulk,
		keepSize: max(size, defaultKeepSize), keepArgs: defaultKeepArgs, bulk: -1,
	}
}

// SetLimits sets the largest number of arguments and the longest argument, in bytes, of commands
// from now on. The defaults are MaxArgs and MaxBulk. Redis allows 10 and 16384 before
// authentication.
func (r *Reader) SetLimits(args, bulk int) {
	r.maxArgs, r.maxBulk = min(args, MaxStreamArgs), min(bulk, MaxBulk)
}

// SetAccount makes the Reader call account with the bytes of memory that it holds beyond its buffer
// of the initial size: before the number grows, and after it has shrunk. Between commands it is 0.
// An error of account ends the read, which returns it unchanged.
func (r *Reader) SetAccount(account func(bytes int) error) {
	r.account, r.keepSize, r.keepArgs = account, r.size, accountedKeepArgs
}

// updateAccount accounts for a buffer of size bytes and the arguments of the command so far.
func (r *Reader) updateAccount(size int) error {
	if r.account == nil {
		return nil
	}
	args := max(len(r.spans)-r.keepArgs, cap(r.args)-r.keepArgs, 0)
	bytes := size - r.size + argSize*args
	if bytes == r.accounted {
		return nil
	}
	r.accounted = bytes
	return r.account(bytes)
}

// Buffered returns the number of bytes that have been received and not returned.
func (r *Reader) Buffered() int { return r.end - r.pos }

// ReadCommand reads one command: an array of bulk strings, or an inline command. raw is the
// command's bytes on the wire. args and raw are valid until the next call of any method. For an
// empty line or array args is nil and err is nil; masters send empty lines to keep a connection
// alive. The error at the end of the stream is io.EOF between commands and io.ErrUnexpectedEOF
// within one.
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

// ReadLine reads one line that ends with LF or CRLF, and returns it without that end. The line is
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

// Read reads the bytes after the last command or line, such as the payload of a full resync.
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

// Ahead reads from the stream into the buffer, until the buffer is full or a read fails, and
// returns the error of that read. The last command stays valid. While a command blocks, Ahead
// detects that the client has left. No other method may be called before Ahead returns.
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

// parseArray continues to parse the array of bulk strings at buf[pos:end].
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
		if len(r.spans)%accountStep == accountStep-1 && r.bulk < 0 {
			if err := r.updateAccount(len(r.buf)); err != nil {
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

// parseInline parses a command that is a line of words.
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

// fill reads more bytes to buf[end:]. To make room it moves buf[pos:end] to the front, and doubles
// the buffer only if the buffer is full of received bytes: an announced length alone allocates
// nothing.
func (r *Reader) fill() error {
	if r.err != nil {
		err := r.err
		r.err = nil
		return r.ended(err)
	}
	switch {
	case r.pos == r.end:
		r.pos, r.end = 0, 0
		if len(r.buf) > r.keepSize {
			r.buf = make([]byte, r.size)
			clear(r.args[:cap(r.args)]) // they point into the old buffer
		}
		if cap(r.args) > r.keepArgs {
			r.args, r.spans = nil, nil
		}
		r.args, r.spans = r.args[:0], r.spans[:0]
		if r.accounted > 0 {
			if err := r.updateAccount(len(r.buf)); err != nil {
				return err
			}
		}
	case r.end == len(r.buf) && r.pos > 0:
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
	if r.end == len(r.buf) {
		if err := r.updateAccount(2 * len(r.buf)); err != nil {
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

// ended converts io.EOF within a command to io.ErrUnexpectedEOF.
func (r *Reader) ended(err error) error {
	if r.pos < r.end && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
