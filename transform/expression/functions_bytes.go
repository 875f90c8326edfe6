package expression

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/expr-lang/expr/ast"
)

// maxComputed is the length in bytes that the texts of one evaluation may reach. It is that of the
// longest value in Redis. Tests change it.
var maxComputed = 512 << 20

var errTooLong = errors.New("the texts of the expression are too long together (512 MiB)")

// room reports whether n bytes may be appended to the texts of the evaluation, and fails if not.
// Functions call it whose result can be longer than all their arguments together: a few of them,
// one inside the other, could otherwise use all memory.
func (s *Scratch) room(n int) bool {
	if len(s.buf) <= maxComputed-n {
		return true
	}
	s.fail(errTooLong)
	return false
}

// encoder builds a function that encodes the bytes of a text. size returns the length of the
// result.
func encoder(size func(int) int, encode func(dst, src []byte) []byte) builder {
	return func(c *checker, _ ast.Node, name string, args []ast.Node) node {
		v := c.want(args[0], Text, name+"()")
		return node{kind: Text, eval: func(s *Scratch) value {
			t := v.eval(s).t
			if !s.room(size(len(t))) {
				return value{}
			}
			start := len(s.buf)
			s.buf = encode(s.buf, t)
			return value{t: s.buf[start:len(s.buf):len(s.buf)]}
		}}
	}
}

var (
	buildHex    = encoder(hex.EncodedLen, hex.AppendEncode)
	buildBase64 = encoder(base64.StdEncoding.EncodedLen, base64.StdEncoding.AppendEncode)
)

// hasher builds a function that appends the digest of a value's text in hexadecimal. The text is
// that of string(x).
func hasher(sum func(dst, text []byte) []byte) builder {
	return func(c *checker, call ast.Node, name string, args []ast.Node) node {
		v := buildString(c, call, name, args)
		return node{kind: Text, eval: func(s *Scratch) value {
			t := v.eval(s).t
			start := len(s.buf)
			s.buf = sum(s.buf, t)
			return value{t: s.buf[start:len(s.buf):len(s.buf)]}
		}}
	}
}

func appendSHA256(dst, text []byte) []byte {
	sum := sha256.Sum256(text)
	return hex.AppendEncode(dst, sum[:])
}

func appendMD5(dst, text []byte) []byte {
	sum := md5.Sum(text)
	return hex.AppendEncode(dst, sum[:])
}

func appendCRC32(dst, text []byte) []byte {
	var sum [crc32.Size]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(text))
	return hex.AppendEncode(dst, sum[:])
}

// buildUUID builds the text of a UUID that a BINARY(16) column holds.
func buildUUID(c *checker, _ ast.Node, name string, args []ast.Node) node {
	v := c.want(args[0], Text, name+"()")
	return node{kind: Text, eval: func(s *Scratch) value {
		t := v.eval(s).t
		if len(t) != 16 {
			return s.fail(fmt.Errorf("uuid() takes exactly 16 bytes, not %d", len(t)))
		}
		start := len(s.buf)
		s.buf = AppendUUID(s.buf, t)
		return value{t: s.buf[start:len(s.buf):len(s.buf)]}
	}}
}

// AppendUUID appends 16 bytes as RFC 9562 prints a UUID, in lower case. The bytes may be a part of
// dst.
func AppendUUID(dst, b []byte) []byte {
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{c})
	}
	return dst
}
