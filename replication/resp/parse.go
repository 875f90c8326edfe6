package resp

import (
	"bytes"
	"errors"
	"fmt"
)

// Limits of the protocol. Exceeding one is a *ProtocolError.
const (
	// MaxBulk is the longest bulk string, in bytes.
	MaxBulk = 512 << 20
	// MaxArgs is the largest number of arguments of a client's command.
	MaxArgs = 1 << 20
	// MaxStreamArgs is the largest number of arguments of a command in a replication stream. There
	// MaxCommand is the effective limit, as for the clients of servers.
	MaxStreamArgs = 1<<31 - 1
	// MaxInline is the longest line, in bytes: of an inline command or a status reply.
	MaxInline = 64 << 10
	// MaxCommand is the longest command, in bytes on the wire.
	MaxCommand = 1 << 30
)

// ErrIncomplete is returned when the bytes end before the command does. With more bytes the command
// may be valid.
var ErrIncomplete = errors.New("incomplete command")

// ProtocolError is the reason why bytes are not RESP. The rest of the stream cannot be parsed,
// because the start of the next command is unknown.
type ProtocolError struct {
	// Reason is one phrase, such as "invalid bulk length"; the wording is that of Redis, if Redis
	// has the error.
	Reason string
}

// Error returns the text of Redis without the code "ERR".
func (e *ProtocolError) Error() string { return "Protocol error: " + e.Reason }

// Reasons in the wording of Redis.
const (
	badMultibulk = "invalid multibulk length"
	badBulk      = "invalid bulk length"
)

// ParseCommand parses one array of bulk strings at the start of b. The arguments, at most
// MaxStreamArgs, are sub-slices of b in args[:0]; n is the length of the command. The error is
// ErrIncomplete if b ends early, and a *ProtocolError for everything but a non-empty array of bulk
// strings.
func ParseCommand(b []byte, args [][]byte) (out [][]byte, n int, err error) {
	out = args[:0]
	count, pos, err := parseHeader(b, 0, '*', MaxStreamArgs)
	if err != nil {
		return out, 0, err
	}
	if count < 1 {
		return out, 0, &ProtocolError{badMultibulk}
	}
	for range count {
		size, start := 0, 0
		// Nearly all headers have one or two digits. This is not a function, because the compiler
		// would not inline it.
		if len(b)-pos >= 5 && b[pos] == '$' && b[pos+1]-'0' <= 9 {
			size = int(b[pos+1] - '0')
			if b[pos+2] == '\r' && b[pos+3] == '\n' {
				start = pos + 4
			} else if b[pos+2]-'0' <= 9 && b[pos+3] == '\r' && b[pos+4] == '\n' {
				size, start = 10*size+int(b[pos+2]-'0'), pos+5
			}
		}
		if start == 0 {
			if size, start, err = parseHeader(b, pos, '$', MaxBulk); err != nil {
				return out, 0, err
			}
		}
		end := start + size
		if end+2 > len(b) {
			return out, 0, ErrIncomplete
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return out, 0, &ProtocolError{"expected CRLF after a bulk string"}
		}
		out = append(out, b[start:end:end])
		pos = end + 2
	}
	return out, pos, nil
}

// maxHeader is the longest header line, in bytes: type, sign, 20 digits and CRLF.
const maxHeader = 24

// parseHeader parses "<kind><number>\r\n" at b[pos:]. It returns the number, and the position after
// the header. Only the number of an array may be negative.
func parseHeader(b []byte, pos int, kind byte, limit int) (value, next int, err error) {
	if pos >= len(b) {
		return 0, 0, ErrIncomplete
	}
	if b[pos] != kind {
		return 0, 0, &ProtocolError{fmt.Sprintf("expected '%c', got %q", kind, b[pos])}
	}
	// Fast path: most headers have at most two digits.
	i := pos + 1
	for i < len(b) && b[i]-'0' <= 9 && i-pos <= 10 {
		value = value*10 + int(b[i]-'0')
		i++
	}
	if i > pos+1 && i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' && value <= limit {
		return value, i + 2, nil
	}
	return parseUnusualHeader(b, pos, kind, limit)
}

// parseUnusualHeader is the slow path of parseHeader: incomplete lines, signs, leading zeros and
// all errors.
func parseUnusualHeader(b []byte, pos int, kind byte, limit int) (value, next int, err error) {
	reason := badBulk
	if kind == '*' {
		reason = badMultibulk
	}
	line := b[pos+1 : min(len(b), pos+maxHeader)]
	end := bytes.IndexByte(line, '\n')
	if end < 0 {
		if len(line) == maxHeader-1 {
			return 0, 0, &ProtocolError{reason}
		}
		return 0, 0, ErrIncomplete
	}
	if end == 0 || line[end-1] != '\r' {
		return 0, 0, &ProtocolError{reason}
	}
	digits, negative := line[:end-1], false
	if kind == '*' && len(digits) > 1 && digits[0] == '-' {
		digits, negative = digits[1:], true
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, 0, &ProtocolError{reason}
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, 0, &ProtocolError{reason}
		}
		value = value*10 + int(c-'0')
	}
	if value > limit {
		return 0, 0, &ProtocolError{reason}
	}
	if negative {
		value = -value
	}
	return value, pos + 1 + end + 1, nil
}

// MaxName bounds the length of the names that Upper converts.
const MaxName = 32

// Upper writes name in upper case into room and returns that part of room. It returns nil for a
// name longer than MaxName, which no command has.
func Upper(room *[MaxName]byte, name []byte) []byte {
	if len(name) > MaxName {
		return nil
	}
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		room[i] = c
	}
	return room[:len(name)]
}

// IsWord reports whether an argument is word in any case.
func IsWord(arg []byte, word string) bool {
	return len(arg) == len(word) && bytes.EqualFold(arg, []byte(word))
}
