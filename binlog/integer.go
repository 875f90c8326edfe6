package binlog

import (
	"math/bits"
	"strconv"
)

// twoDigits are the numbers from 00 to 99, one after the other.
const twoDigits = "" +
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839" +
	"40414243444546474849505152535455565758596061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"

// powersOfTen[n] is the lowest number with n+1 digits; powersOfTen[0] is 0.
var powersOfTen = func() (p [20]uint64) {
	v := uint64(1)
	for i := 1; i < len(p); i++ {
		v *= 10
		p[i] = v
	}
	return p
}()

// appendUint appends v in decimal digits. It writes them in place, where strconv.AppendUint writes
// them into a buffer and copies that: integers are the most frequent values.
func appendUint(dst []byte, v uint64) []byte {
	n := bits.Len64(v|1) * 1233 >> 12 // the number of digits, or one less
	if v >= powersOfTen[n] {
		n++
	}
	start := len(dst)
	if cap(dst)-start < n {
		return strconv.AppendUint(dst, v, 10)
	}
	dst = dst[:start+n]
	b := dst[start:]
	for n > 2 {
		q := v / 100
		two := 2 * (v - 100*q)
		n -= 2
		b[n], b[n+1] = twoDigits[two], twoDigits[two+1]
		v = q
	}
	if n == 2 {
		b[0], b[1] = twoDigits[2*v], twoDigits[2*v+1]
	} else {
		b[0] = '0' + byte(v)
	}
	return dst
}

// appendInt appends v in decimal digits.
func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendUint(append(dst, '-'), -uint64(v))
	}
	return appendUint(dst, uint64(v))
}
