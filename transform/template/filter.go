package template

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"unicode"

	"rowfall/transform/expression"
)

// filter changes the text of a column. run appends the changed form of dst[from:] to dst, and
// leaves dst[from:] itself in place. invert returns the text from which run makes the given one;
// false if run cannot print that. It is used only where the chain of filters is injective.
type filter struct {
	name   string
	run    func(dst []byte, from int) ([]byte, error)
	invert func(text []byte) ([]byte, bool)
}

// FilterError is returned if a filter cannot print a value. So no row with this value was ever
// written, in whatever form the row was read.
type FilterError struct{ Reason string }

// Error returns the reason.
func (e *FilterError) Error() string { return e.Reason }

var filters = []filter{
	{"urlencode", urlencode, decodeURL},
	{"lower", func(dst []byte, from int) ([]byte, error) {
		return expression.AppendMapped(dst, dst[from:], unicode.ToLower), nil
	}, unchanged},
	{"upper", func(dst []byte, from int) ([]byte, error) {
		return expression.AppendMapped(dst, dst[from:], unicode.ToUpper), nil
	}, unchanged},
	{"hex", func(dst []byte, from int) ([]byte, error) {
		return hex.AppendEncode(dst, dst[from:]), nil
	}, decodeHex},
	{"base64", func(dst []byte, from int) ([]byte, error) {
		return base64.StdEncoding.AppendEncode(dst, dst[from:]), nil
	}, decodeBase64},
	{"uuid", uuid, parseUUID},
}

// FilterNames returns the names of all filters, in the order of the table.
func FilterNames() []string {
	names := make([]string, len(filters))
	for i := range filters {
		names[i] = filters[i].name
	}
	return names
}

// urlencode escapes every byte except the unreserved characters of RFC 3986, section 2.3.
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

// uuid prints 16 bytes as RFC 9562 prints a UUID, in lower case.
func uuid(dst []byte, from int) ([]byte, error) {
	b := dst[from:]
	if len(b) != 16 {
		return dst, &FilterError{fmt.Sprintf("holds %d bytes and |uuid takes exactly 16", len(b))}
	}
	return expression.AppendUUID(dst, b), nil
}
