package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Reply is a reply of protocol 2.
type Reply struct {
	// Type is the first byte on the wire: + status, - error, : integer, $ bulk string, * array.
	Type byte
	// Text is the text of a status, an error or a bulk string. It is a sub-slice of the parsed
	// bytes.
	Text []byte
	// Int is the value of an integer.
	Int int64
	// Elements are the elements of an array.
	Elements []Reply
	// Null is set for a null bulk string and for a null array.
	Null bool
}

// Err returns the error that the reply is, or nil.
func (r *Reply) Err() error {
	if r.Type != '-' {
		return nil
	}
	return errors.New(string(r.Text))
}

// maxReplyDepth limits arrays within arrays. The deepest reply that Rowfall reads has 3 levels.
const maxReplyDepth = 8

// ParseReply parses the reply of protocol 2 at the start of b; n is its length. The error is
// ErrIncomplete if b ends early, and a *ProtocolError for what is no reply. Arrays are allocated
// as their elements arrive: their memory is in proportion to the length of b.
func ParseReply(b []byte) (reply Reply, n int, err error) { return parseReply(b, 0) }

func parseReply(b []byte, depth int) (r Reply, n int, err error) {
	if len(b) == 0 {
		return r, 0, ErrIncomplete
	}
	line := bytes.Index(b, []byte("\r\n"))
	if line < 0 {
		if len(b) > MaxInline {
			return r, 0, &ProtocolError{"too big reply line"}
		}
		return r, 0, ErrIncomplete
	}
	r.Type = b[0]
	text := b[1:max(line, 1)]
	pos := line + 2
	switch r.Type {
	case '+', '-':
		r.Text = text
		return r, pos, nil
	case ':', '$', '*':
	default:
		return r, 0, &ProtocolError{fmt.Sprintf("expected a reply, got %q", r.Type)}
	}
	if r.Int, err = strconv.ParseInt(string(text), 10, 64); err != nil {
		return r, 0, &ProtocolError{"invalid number in a reply"}
	}
	if r.Type == ':' {
		return r, pos, nil
	}
	length := r.Int
	r.Int, r.Null = 0, length == -1
	switch {
	case r.Null:
		return r, pos, nil
	case r.Type == '$' && (length < 0 || length > MaxBulk):
		return r, 0, &ProtocolError{badBulk}
	case r.Type == '$':
		end := pos + int(length)
		if end+2 > len(b) {
			return r, 0, ErrIncomplete
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return r, 0, &ProtocolError{"expected CRLF after a bulk string"}
		}
		r.Text = b[pos:end:end]
		return r, end + 2, nil
	case length < 0 || length > MaxStreamArgs || depth == maxReplyDepth:
		return r, 0, &ProtocolError{badMultibulk}
	}
	for range length {
		element, size, err := parseReply(b[pos:], depth+1)
		if err != nil {
			return r, 0, err
		}
		r.Elements = append(r.Elements, element)
		pos += size
	}
	return r, pos, nil
}
