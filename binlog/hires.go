package binlog

import "strings"

// MariaDB 5.3 introduced a format for temporal columns with fractional seconds, which a server with
// mysql56_temporal_format=OFF still writes. A value is a big-endian number of units; with N digits,
// a second has 10^N units. Columns without fractional seconds have the format of older servers. A
// table map has the same type byte for both formats, and no number of digits. So the digits come
// from the schema.

// hiresEncoding returns the encoding in MariaDB's format of version 5.3, and the number of bytes of
// a value, for a column with fractional-second digits. e is the encoding of such a column without
// digits.
func hiresEncoding(e encoding, digits int) (encoding, int) {
	if digits < 1 || digits > maxFraction {
		return encodingUnknown, 0
	}
	switch e {
	case encodingOldTime:
		return encodingHiresTime, [...]int{3, 4, 4, 5, 5, 5, 6}[digits]
	case encodingOldDatetime:
		return encodingHiresDatetime, [...]int{5, 6, 6, 7, 7, 7, 8}[digits]
	case encodingOldTimestamp:
		return encodingHiresTimestamp, 4 + (digits+1)/2
	}
	return encodingUnknown, 0
}

// isHires reports whether e belongs to MariaDB's format of version 5.3.
func (e encoding) isHires() bool {
	return e == encodingHiresTime || e == encodingHiresDatetime || e == encodingHiresTimestamp
}

// splitHires splits a number of units into whole seconds and microseconds.
func splitHires(units uint64, digits uint8) (seconds, micros uint64) {
	second := uint64(pow10[digits])
	return units / second, units % second * uint64(pow10[maxFraction-digits])
}

// appendHiresTime reads the units since the smallest TIME less one second.
func appendHiresTime(dst, b []byte, digits uint8) ([]byte, error) {
	const zero = 838*3600 + 59*60 + 60
	v := int64(bigEndian(b)) - zero*int64(pow10[digits])
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	seconds, micros := splitHires(uint64(v), digits)
	if seconds >= zero {
		return dst, errTemporal
	}
	dst = appendClock(dst, seconds/3600, seconds/60%60, seconds%60)
	return appendFraction(dst, micros, digits)
}

// appendHiresDatetime reads the units of a calendar of years with 13 months of 32 days each, so
// that a month or day of zero has a number of its own.
func appendHiresDatetime(dst, b []byte, digits uint8) ([]byte, error) {
	seconds, micros := splitHires(bigEndian(b), digits)
	days := seconds / 86400
	day, months := days%32, days/32
	if months/13 > 9999 {
		return dst, errTemporal
	}
	dst = append(appendDate(dst, months/13, months%13, day), ' ')
	dst = appendClock(dst, seconds/3600%24, seconds/60%60, seconds%60)
	return appendFraction(dst, micros, digits)
}

// appendHiresTimestamp reads seconds since 1970 and the units of the fraction.
func appendHiresTimestamp(dst, b []byte, digits uint8) ([]byte, error) {
	fraction := bigEndian(b[4:])
	if fraction >= uint64(pow10[digits]) {
		return dst, errTemporal
	}
	return appendUnix(dst, bigEndian(b[:4]), fraction*uint64(pow10[maxFraction-digits]), digits)
}

// WithoutStorage returns a type in the spelling of information_schema without the comment by which
// MariaDB marks a column in the format of version 5.3. No definition in a statement has it.
func WithoutStorage(sqlType string) string {
	return strings.TrimSuffix(sqlType, " /* mariadb-5.3 */")
}
