package resp

import (
	"math"
	"strconv"
)

func appendHeader(dst []byte, kind byte, n int64) []byte {
	dst = append(dst, kind)
	if n >= 0 && n < 10 {
		dst = append(dst, '0'+byte(n))
	} else {
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(dst, '\r', '\n')
}

// AppendArray appends the header of an array of n elements.
func AppendArray(dst []byte, n int) []byte { return appendHeader(dst, '*', int64(n)) }

// AppendMap appends the header of a map of n pairs, or in protocol 2 of an array of 2n elements.
func AppendMap(dst []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendHeader(dst, '%', int64(n))
	}
	return appendHeader(dst, '*', 2*int64(n))
}

// AppendSet appends the header of a set of n elements, or in protocol 2 of an array.
func AppendSet(dst []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendHeader(dst, '~', int64(n))
	}
	return appendHeader(dst, '*', int64(n))
}

// AppendPush appends the header of an out-of-band push of n elements, or in protocol 2 of an array.
func AppendPush(dst []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendHeader(dst, '>', int64(n))
	}
	return appendHeader(dst, '*', int64(n))
}

// AppendBulk appends b as a bulk string. Most values of a row are short, so their headers are
// written without a call.
func AppendBulk(dst, b []byte) []byte {
	switch n := len(b); {
	case n < 10:
		dst = append(dst, '$', '0'+byte(n), '\r', '\n')
	case n < 100:
		dst = append(dst, '$', '0'+byte(n/10), '0'+byte(n%10), '\r', '\n')
	default:
		dst = appendHeader(dst, '$', int64(n))
	}
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString appends s as a bulk string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendHeader(dst, '$', int64(len(s)))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendVerbatim appends text as a verbatim string of format txt, or in protocol 2 as a bulk
// string. It is the form of the reply to INFO.
func AppendVerbatim(dst []byte, proto int, text string) []byte {
	if proto < 3 {
		return AppendBulkString(dst, text)
	}
	dst = appendHeader(dst, '=', int64(len(text))+4)
	dst = append(dst, "txt:"...)
	dst = append(dst, text...)
	return append(dst, '\r', '\n')
}

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte { return appendHeader(dst, ':', n) }

// AppendSimple appends a simple string such as OK. Line breaks in it become
// spaces, so that a reply stays one reply.
func AppendSimple(dst []byte, s string) []byte { return appendLine(dst, '+', s) }

// AppendError appends an error. The text begins with its code ("ERR ...",
// "WRONGTYPE ..."); line breaks in it become spaces.
func AppendError(dst []byte, text string) []byte { return appendLine(dst, '-', text) }

func appendLine(dst []byte, kind byte, s string) []byte {
	dst = append(dst, kind)
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if c == '\r' || c == '\n' {
			dst[start+i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}

// AppendNull appends a null: in protocol 2, a null bulk string.
func AppendNull(dst []byte, proto int) []byte {
	if proto >= 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "$-1\r\n"...)
}

// AppendNullArray appends a null: in protocol 2, a null array.
func AppendNullArray(dst []byte, proto int) []byte {
	if proto >= 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "*-1\r\n"...)
}

// AppendBool appends a boolean, or in protocol 2 the integer 1 or 0.
func AppendBool(dst []byte, proto int, b bool) []byte {
	switch {
	case proto >= 3 && b:
		return append(dst, "#t\r\n"...)
	case proto >= 3:
		return append(dst, "#f\r\n"...)
	case b:
		return append(dst, ":1\r\n"...)
	}
	return append(dst, ":0\r\n"...)
}

// AppendDouble appends a floating-point number, or in protocol 2 a bulk string.
func AppendDouble(dst []byte, proto int, f float64) []byte {
	if proto >= 3 {
		return append(AppendFloat(append(dst, ','), f), '\r', '\n')
	}
	var text [32]byte
	return AppendBulk(dst, AppendFloat(text[:0], f))
}

// AppendFloat appends the text that Redis 7.0 and later print for a double: the shortest digits
// that parse to the same number; integers of up to 62 bits without an exponent; inf, -inf and nan.
func AppendFloat(dst []byte, f float64) []byte {
	const maxInteger = 1 << 62
	switch {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case f == 0:
		if math.Signbit(f) {
			return append(dst, "-0"...)
		}
		return append(dst, '0')
	case f >= -maxInteger && f <= maxInteger && f == math.Trunc(f):
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return appendShortest(dst, f)
}

// appendShortest formats the shortest digits as fpconv in Redis does. For digits d and power k (the
// value is d * 10^k) it appends all digits if few zeros are needed, else d.ddde+x without padding
// of the exponent.
func appendShortest(dst []byte, f float64) []byte {
	var text [32]byte
	e := strconv.AppendFloat(text[:0], f, 'e', -1, 64)
	if e[0] == '-' {
		dst, e = append(dst, '-'), e[1:]
	}
	var digits [20]byte
	n, i := 0, 0
	for ; e[i] != 'e'; i++ {
		if e[i] != '.' {
			digits[n] = e[i]
			n++
		}
	}
	exp, _ := strconv.Atoi(string(e[i+1:]))
	d, k := digits[:n], exp-(n-1)
	size := exp
	if size < 0 {
		size = -size
	}
	switch {
	case k >= 0 && size < n+7:
		dst = append(dst, d...)
		for range k {
			dst = append(dst, '0')
		}
		return dst
	case k < 0 && (k > -7 || size < 4):
		return appendDecimal(dst, d, n+k)
	}
	dst = append(dst, d[0])
	if n > 1 {
		dst = append(append(dst, '.'), d[1:]...)
	}
	sign := byte('+')
	if exp < 0 {
		sign = '-'
	}
	return strconv.AppendInt(append(dst, 'e', sign), int64(size), 10)
}

// appendDecimal appends the digits with the decimal point after the first point of them. point may
// be zero or negative.
func appendDecimal(dst, digits []byte, point int) []byte {
	if point > 0 {
		dst = append(append(dst, digits[:point]...), '.')
		return append(dst, digits[point:]...)
	}
	dst = append(dst, "0."...)
	for range -point {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// AppendCommand appends a command as an array of bulk strings.
func AppendCommand(dst []byte, args ...string) []byte {
	dst = AppendArray(dst, len(args))
	for _, a := range args {
		dst = AppendBulkString(dst, a)
	}
	return dst
}
