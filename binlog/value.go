package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// appendPadded appends v with leading zeros up to width digits.
func appendPadded(dst []byte, v uint64, width int) []byte {
	var b [20]byte
	i := len(b)
	for v > 0 || width > 0 {
		i--
		b[i] = '0' + byte(v%10)
		v /= 10
		width--
	}
	return append(dst, b[i:]...)
}

// appendTwo appends v, which is below 100, as two digits.
func appendTwo(dst []byte, v uint64) []byte {
	return append(dst, '0'+byte(v/10), '0'+byte(v%10))
}

// littleEndian reads an unsigned number of up to 8 bytes.
func littleEndian(b []byte) (v uint64) {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// bigEndian reads an unsigned number of up to 8 bytes.
func bigEndian(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// signed extends the sign of a number of size bytes.
func signed(v uint64, size int) int64 {
	shift := 64 - 8*size
	return int64(v<<shift) >> shift
}

// maxPrecision is the most digits of a DECIMAL.
const maxPrecision = 65

// A packed decimal holds nine digits in four bytes; decimalBytes is the number of bytes
// for fewer digits.
var decimalBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

func decimalSize(precision, scale uint8) int {
	whole, fraction := max(0, int(precision)-int(scale)), int(scale)
	return whole/9*4 + decimalBytes[whole%9] + fraction/9*4 + decimalBytes[fraction%9]
}

var errDecimal = errors.New("the packed decimal is corrupt")

// appendDecimal appends a packed decimal: the digits before the point, the
// incomplete group first, then those after it, the incomplete group last. The
// first bit is set for a positive number; a negative one has all bits inverted.
func appendDecimal(dst, b []byte, precision, scale uint8) ([]byte, error) {
	if precision > maxPrecision || scale > precision || precision == 0 ||
		len(b) != decimalSize(precision, scale) {
		return dst, errDecimal
	}
	var invert uint32
	first := b[0] ^ 0x80
	if b[0]&0x80 == 0 {
		invert = math.MaxUint32
		dst = append(dst, '-')
	}
	start, whole := len(dst), int(precision-scale)
	pos := 0
	group := func(digits int) (uint32, bool) {
		n := decimalBytes[digits]
		var v uint32
		for i := range n {
			c := b[pos+i]
			if pos+i == 0 {
				c = first
			}
			v = v<<8 | uint32(c)
		}
		pos += n
		v = (v ^ invert) & uint32(1<<(8*n)-1)
		return v, v < pow10[digits]
	}
	for whole > 0 {
		digits := whole % 9
		if digits == 0 {
			digits = 9
		}
		whole -= digits
		v, ok := group(digits)
		if !ok {
			return dst, errDecimal
		}
		if len(dst) > start {
			dst = appendPadded(dst, uint64(v), digits)
		} else if v > 0 {
			dst = strconv.AppendUint(dst, uint64(v), 10)
		}
	}
	if len(dst) == start {
		dst = append(dst, '0')
	}
	if scale > 0 {
		dst = append(dst, '.')
	}
	for left := int(scale); left > 0; left -= 9 {
		digits := min(left, 9)
		v, ok := group(digits)
		if !ok {
			return dst, errDecimal
		}
		dst = appendPadded(dst, uint64(v), digits)
	}
	return dst, nil
}

var pow10 = [10]uint32{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// AppendFloat appends the shortest decimal that reads back as f, a number of 32 or 64
// bits, in MySQL's style: with an exponent below 1e-15 and, for a number without a
// fraction, from 1e15 on; never with a trailing ".0". It returns an error if f is not
// finite.
func AppendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, errors.New("the number is not finite")
	}
	var buf [32]byte
	e := strconv.AppendFloat(buf[:0], f, 'e', -1, bits) // -d.ddde±dd
	if e[0] == '-' {
		dst, e = append(dst, '-'), e[1:]
	}
	mark := len(e) - 1
	for e[mark] != 'e' {
		mark--
	}
	exponent := 0
	for _, c := range e[mark+2:] {
		exponent = exponent*10 + int(c-'0')
	}
	if e[mark+1] == '-' {
		exponent = -exponent
	}
	digits := e[:mark]
	if len(digits) > 1 { // remove the decimal point
		copy(digits[1:], digits[2:])
		digits = digits[:len(digits)-1]
	}
	switch {
	case f == 0:
		dst = append(dst, '0')
	case exponent < -15 || exponent >= 15 && len(digits) <= exponent+1:
		dst = append(dst, digits[0])
		if len(digits) > 1 {
			dst = append(append(dst, '.'), digits[1:]...)
		}
		dst = strconv.AppendInt(append(dst, 'e'), int64(exponent), 10)
	case exponent < 0:
		dst = append(dst, "0.00000000000000"[:1-exponent]...)
		dst = append(dst, digits...)
	case len(digits) <= exponent+1:
		dst = append(dst, digits...)
		dst = append(dst, "00000000000000"[:exponent+1-len(digits)]...)
	default:
		dst = append(append(dst, digits[:exponent+1]...), '.')
		dst = append(dst, digits[exponent+1:]...)
	}
	return dst, nil
}

var errTemporal = errors.New("the date or time is out of range")

func appendDate(dst []byte, year, month, day uint64) []byte {
	dst = append(appendTwo(appendTwo(dst, year/100), year%100), '-')
	return appendTwo(append(appendTwo(dst, month), '-'), day)
}

func appendClock(dst []byte, hour, minute, second uint64) []byte {
	if hour >= 100 {
		dst, hour = append(dst, '0'+byte(hour/100)), hour%100
	}
	dst = append(appendTwo(dst, hour), ':')
	return appendTwo(append(appendTwo(dst, minute), ':'), second)
}

// appendFraction appends the first digits digits of a number of microseconds.
func appendFraction(dst []byte, micros uint64, digits uint8) ([]byte, error) {
	if micros > 999999 {
		return dst, errTemporal
	}
	if digits > 0 {
		dst = appendPadded(append(dst, '.'), micros/uint64(pow10[6-digits]), int(digits))
	}
	return dst, nil
}

// fractionUnit is the value of a stored fraction's unit in microseconds, by the number
// of bytes: hundredths in one byte, ten-thousandths in two, microseconds in three.
var fractionUnit = [4]uint64{1, 10000, 100, 1}

func appendPackedDate(dst, b []byte) ([]byte, error) {
	v := littleEndian(b)
	year, month, day := v>>9, v>>5&15, v&31
	if year > 9999 || month > 12 {
		return dst, errTemporal
	}
	return appendDate(dst, year, month, day), nil
}

// appendDatetimeBits appends year*13+month (17 bits), day (5), hour (5),
// minute (6), second (6) and the fraction.
func appendDatetimeBits(dst []byte, v, micros uint64, digits uint8) ([]byte, error) {
	month := v >> 22
	hour, minute, second := v>>12&31, v>>6&63, v&63
	if month/13 > 9999 || hour > 23 || minute > 59 || second > 59 {
		return dst, errTemporal
	}
	dst = append(appendDate(dst, month/13, month%13, v>>17&31), ' ')
	return appendFraction(appendClock(dst, hour, minute, second), micros, digits)
}

func appendDatetime2(dst, b []byte, digits uint8) ([]byte, error) {
	v := bigEndian(b[:5])
	if v < 1<<39 {
		return dst, errTemporal
	}
	return appendDatetimeBits(dst, v-1<<39, bigEndian(b[5:])*fractionUnit[len(b)-5], digits)
}

// appendTime2 reads a time and its fraction as one number with an offset that keeps it
// from being negative: 1 sign bit, 1 unused, hour (10), minute (6), second (6).
func appendTime2(dst, b []byte, digits uint8) ([]byte, error) {
	bits := 8 * (len(b) - 3)
	v := int64(bigEndian(b)) - 0x800000<<bits
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	micros := uint64(v) & (1<<bits - 1) * fractionUnit[len(b)-3]
	return appendTimeBits(dst, uint64(v)>>bits, micros, digits)
}

func appendTimeBits(dst []byte, v, micros uint64, digits uint8) ([]byte, error) {
	hour, minute, second := v>>12, v>>6&63, v&63
	if hour > 838 || minute > 59 || second > 59 {
		return dst, errTemporal
	}
	return appendFraction(appendClock(dst, hour, minute, second), micros, digits)
}

// appendUnix appends a TIMESTAMP in UTC; second 0 is MySQL's zero date.
func appendUnix(dst []byte, seconds, micros uint64, digits uint8) ([]byte, error) {
	if seconds == 0 && micros == 0 {
		dst = append(dst, "0000-00-00 00:00:00"...)
		return appendFraction(dst, 0, digits)
	}
	// The days since 1970-01-01 become a date by counting in 400-year eras from
	// 0000-03-01, so that the leap day is the last day of a year.
	days, clock := seconds/86400+719468, seconds%86400
	era, day := days/146097, days%146097
	year := (day - day/1460 + day/36524 - day/146096) / 365
	day -= 365*year + year/4 - year/100
	m := (5*day + 2) / 153
	day -= (153*m + 2) / 5
	year += era * 400
	month := m + 3
	if month > 12 {
		month -= 12
		year++
	}
	dst = append(appendDate(dst, year, month, day+1), ' ')
	return appendFraction(appendClock(dst, clock/3600, clock/60%60, clock%60), micros, digits)
}

func appendOldDatetime(dst, b []byte) ([]byte, error) {
	v := littleEndian(b)
	date, clock := v/1000000, v%1000000
	year, month, day := date/10000, date/100%100, date%100
	hour, minute, second := clock/10000, clock/100%100, clock%100
	if year > 9999 || month > 12 || day > 31 || hour > 23 || minute > 59 || second > 59 {
		return dst, errTemporal
	}
	return appendClock(append(appendDate(dst, year, month, day), ' '), hour, minute, second), nil
}

func appendOldTime(dst, b []byte) ([]byte, error) {
	v := signed(littleEndian(b), 3)
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	hour, minute, second := uint64(v/10000), uint64(v/100%100), uint64(v%100)
	if hour > 838 || minute > 59 || second > 59 {
		return dst, errTemporal
	}
	return appendClock(dst, hour, minute, second), nil
}

// appendVector appends little endian 4-byte floats as [1.5,2].
func appendVector(dst, b []byte) ([]byte, error) {
	if len(b)%4 != 0 {
		return dst, errors.New("the vector's length is not a multiple of 4")
	}
	dst = append(dst, '[')
	for i := 0; i < len(b); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		dst, err = AppendFloat(dst,
			float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))), 32)
		if err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// appendStoredUUID appends a UUID from MariaDB's stored form. For versions 1 to 5 its
// parts are stored in reverse order, so that UUIDs of one time sort together.
func appendStoredUUID(dst []byte, b [16]byte, old bool) []byte {
	// In the stored order the variant is in byte 6 and the version in byte 8.
	if old || b[6]&0x80 != 0 && int8(b[8]) > 0 {
		u := b
		copy(u[:4], b[12:])
		copy(u[4:6], b[10:12])
		copy(u[6:8], b[8:10])
		copy(u[8:10], b[6:8])
		copy(u[10:], b[:6])
		b = u
	}
	return appendUUID(dst, b[:])
}

func appendInet4(dst, b []byte) []byte {
	for i, c := range b {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return dst
}

// appendInet6 appends an address with its longest run of zero groups as "::" and an
// embedded IPv4 address with dots.
func appendInet6(dst []byte, b [16]byte) []byte {
	start, end := 0, 0 // the longest run
	for i := 0; i < 16; i += 2 {
		j := i
		for j < 16 && b[j] == 0 && b[j+1] == 0 {
			j += 2
		}
		if j-i > end-start {
			start, end = i, j
		}
		i = max(i, j-2)
	}
	for i := 0; i < 16; i += 2 {
		if i == start && end > start {
			dst = append(dst, "::"...)
			i = end
			if i == 16 {
				break
			}
		} else if i > 0 {
			dst = append(dst, ':')
		}
		mapped := start == 0 && end == 10 && b[10] == 0xff && b[11] == 0xff
		if i == 12 && start == 0 && (end == 12 || mapped) {
			return appendInet4(dst, b[12:])
		}
		dst = strconv.AppendUint(dst, uint64(b[i])<<8|uint64(b[i+1]), 16)
	}
	return dst
}

// padded returns a value whose trailing zeros are not stored, with these zeros.
func padded(b []byte) (p [16]byte) {
	copy(p[:], b)
	return p
}

func appendBit(dst, b []byte) []byte { return strconv.AppendUint(dst, bigEndian(b), 10) }

// label returns an ENUM's label by its index; "" for 0, which MySQL stores for a value
// that is not one of the labels.
func label(values []string, b []byte) (string, error) {
	n := littleEndian(b)
	if n > uint64(len(values)) {
		return "", fmt.Errorf("the ENUM has %d labels, the row has number %d", len(values), n)
	}
	if n == 0 {
		return "", nil
	}
	return values[n-1], nil
}

// setBits returns a SET's value, a bit for each label.
func setBits(values []string, b []byte) (uint64, error) {
	v := littleEndian(b)
	if len(values) < 64 && v>>len(values) != 0 {
		return 0, fmt.Errorf("the SET has %d labels, the row has the bits %#x", len(values), v)
	}
	return v, nil
}
