package template

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"unicode"

	"rowfall/transform/expression"
)

// filter transforms what is rendered: run appends the transformed form of
// dst[from:] to dst.
type filter struct {
	name string
	run  func(dst []byte, from int) ([]byte, error)
}

var filters = []filter{
	{"urlencode", urlencode},
	{"lower", func(dst []byte, from int) ([]byte, error) {
		return expression.AppendMapped(dst, dst[from:], unicode.ToLower), nil
	}},
	{"upper", func(dst []byte, from int) ([]byte, error) {
		return expression.AppendMapped(dst, dst[from:], unicode.ToUpper), nil
	}},
	{"hex", func(dst []byte, from int) ([]byte, error) { return hex.AppendEncode(dst, dst[from:]), nil }},
	{"base64", func(dst []byte, from int) ([]byte, error) {
		return base64.StdEncoding.AppendEncode(dst, dst[from:]), nil
	}},
	{"uuid", uuid},
}

// urlencode escapes all but RFC 3986's unreserved characters.
func urlencode(dst []byte, from int) ([]byte, error) {
	const digits = "0123456789ABCDEF"
	for _, c := range dst[from:] {
		if unreserved.has(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst, nil
}

func uuid(dst []byte, from int) ([]byte, error) {
	b := dst[from:]
	if len(b) != 16 {
		return dst, fmt.Errorf("holds %d bytes and |uuid takes exactly 16", len(b))
	}
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{c})
	}
	return dst, nil
}
