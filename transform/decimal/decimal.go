// Package decimal implements exact decimal numbers: values of MySQL's DECIMAL type, and integers
// that do not fit 64 bits. Package transform/expression computes with them.
package decimal

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
)

// maxDigits is the greatest number of digits that Parse accepts. MySQL's DECIMAL has at most 65,
// but a text column may contain anything.
const maxDigits = 128

// Number is an exact decimal number: its digits times ten to the power of -scale. The zero value
// is 0. Like MySQL's DECIMAL, a Number keeps the scale that it was written with, so 1.50 is
// printed as 1.50. Methods do not change their operands.
type Number struct {
	// The digits with their sign are in large if that is not nil, else in small. large is not
	// changed once a second Number may refer to it.
	small int64
	large *big.Int
	scale int
}

// New returns digits times ten to the power of -scale. scale must not be negative.
func New(digits int64, scale int) Number { return Number{small: digits, scale: scale} }

var errNotDecimal = errors.New("not a decimal number")

// Parse parses an optional sign and digits, with an optional decimal point anywhere among them. It
// accepts neither an exponent nor more than 128 digits. The errors are phrases that complete "...
// is".
func Parse(text []byte) (Number, error) {
	b, negative := text, false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		negative, b = b[0] == '-', b[1:]
	}
	var d Number
	point, digits := -1, 0
	for i, c := range b {
		switch {
		case c == '.' && point < 0:
			point = i
		case '0' <= c && c <= '9':
			digits++
			if digits > maxDigits {
				return Number{}, fmt.Errorf("a decimal number of more than %d digits", maxDigits)
			}
			d.appendDigit(int64(c - '0'))
		default:
			return Number{}, errNotDecimal
		}
	}
	if digits == 0 {
		return Number{}, errNotDecimal
	}
	// A number such as .5 is printed with a zero before the point. That digit counts, too, because
	// Parse must accept what String returns.
	if point == 0 && digits == maxDigits {
		return Number{}, fmt.Errorf("a decimal number of more than %d digits", maxDigits)
	}
	if point >= 0 {
		d.scale = len(b) - point - 1
	}
	if negative {
		d = d.Neg()
	}
	return d, nil
}

// appendDigit appends a digit to a number that is being parsed and that no other Number shares.
func (d *Number) appendDigit(digit int64) {
	if d.large == nil && d.small <= (1<<63-1-9)/10 {
		d.small = d.small*10 + digit
		return
	}
	if d.large == nil {
		d.large, d.small = big.NewInt(d.small), 0
	}
	d.large.Mul(d.large, big.NewInt(10))
	d.large.Add(d.large, big.NewInt(digit))
}

// bigDigits returns the digits as a big.Int, which must not be changed.
func (d Number) bigDigits() *big.Int {
	if d.large != nil {
		return d.large
	}
	return big.NewInt(d.small)
}

// fromBig returns the number of these digits. It takes ownership of i.
func fromBig(i *big.Int, scale int) Number {
	if i.IsInt64() {
		return Number{small: i.Int64(), scale: scale}
	}
	return Number{large: i, scale: scale}
}

// powersOf10 are the powers of ten that fit an int64.
var powersOf10 = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// pow10 returns ten to the power of n.
func pow10(n int) *big.Int {
	if n < len(powersOf10) {
		return big.NewInt(powersOf10[n])
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// mulSmall returns a * b, and whether the product fits an int64.
func mulSmall(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(absolute(a), absolute(b))
	if hi != 0 || lo > 1<<63-1 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(lo), true
	}
	return int64(lo), true
}

// absolute returns the absolute value of a.
func absolute(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// rescale returns d with a greater or equal scale.
func (d Number) rescale(scale int) Number {
	if d.scale == scale {
		return d
	}
	n := scale - d.scale
	if d.large == nil && n < len(powersOf10) {
		if s, ok := mulSmall(d.small, powersOf10[n]); ok {
			return Number{small: s, scale: scale}
		}
	}
	return fromBig(new(big.Int).Mul(d.bigDigits(), pow10(n)), scale)
}

// Add returns d + o. The scale of the result is the greater scale of the two.
func (d Number) Add(o Number) Number {
	scale := max(d.scale, o.scale)
	d, o = d.rescale(scale), o.rescale(scale)
	if d.large == nil && o.large == nil {
		if s := d.small + o.small; (s > d.small) == (o.small > 0) {
			return Number{small: s, scale: scale}
		}
	}
	return fromBig(new(big.Int).Add(d.bigDigits(), o.bigDigits()), scale)
}

// Neg returns -d with the same scale.
func (d Number) Neg() Number {
	if d.large == nil && d.small != -1<<63 {
		return Number{small: -d.small, scale: d.scale}
	}
	return fromBig(new(big.Int).Neg(d.bigDigits()), d.scale)
}

// Sub returns d - o. The scale of the result is the greater scale of the two.
func (d Number) Sub(o Number) Number { return d.Add(o.Neg()) }

// Mul returns d * o. The scale of the result is the sum of both scales.
func (d Number) Mul(o Number) Number {
	if d.large == nil && o.large == nil {
		if s, ok := mulSmall(d.small, o.small); ok {
			return Number{small: s, scale: d.scale + o.scale}
		}
	}
	return fromBig(new(big.Int).Mul(d.bigDigits(), o.bigDigits()), d.scale+o.scale)
}

// Sign returns -1, 0 or 1 if d is negative, zero or positive.
func (d Number) Sign() int {
	if d.large != nil {
		return d.large.Sign()
	}
	switch {
	case d.small < 0:
		return -1
	case d.small > 0:
		return 1
	}
	return 0
}

// Compare returns -1, 0 or 1 if d is less than, equal to or greater than o. Scales do not matter:
// 1.5 equals 1.50.
func (d Number) Compare(o Number) int {
	scale := max(d.scale, o.scale)
	d, o = d.rescale(scale), o.rescale(scale)
	if d.large != nil || o.large != nil {
		return d.bigDigits().Cmp(o.bigDigits())
	}
	switch {
	case d.small < o.small:
		return -1
	case d.small > o.small:
		return 1
	}
	return 0
}

// Rounding is a rounding mode of Round.
type Rounding uint8

// The rounding modes.
const (
	Truncate Rounding = iota // toward zero
	Floor                    // toward negative infinity
	Ceil                     // toward positive infinity
	HalfAway                 // to the nearest integer, halves away from zero, as MySQL does
)

// Round returns d rounded to an integer, with scale 0.
func (d Number) Round(r Rounding) Number {
	if d.scale == 0 {
		return d
	}
	if d.large == nil && d.scale < len(powersOf10) {
		return d.roundSmall(r)
	}
	q, rest := new(big.Int).QuoRem(d.bigDigits(), pow10(d.scale), new(big.Int))
	sign, up := int64(d.Sign()), false
	switch r {
	case Floor:
		up = sign < 0 && rest.Sign() != 0
	case Ceil:
		up = sign > 0 && rest.Sign() != 0
	case HalfAway:
		rest.Abs(rest)
		up = rest.Lsh(rest, 1).Cmp(pow10(d.scale)) >= 0
	}
	if up {
		q.Add(q, big.NewInt(sign))
	}
	return fromBig(q, 0)
}

// roundSmall is Round for digits in small and a scale of 1 to 18. It does not allocate.
func (d Number) roundSmall(r Rounding) Number {
	power := powersOf10[d.scale]
	q, rest := d.small/power, d.small%power // the quotient is far from the limits of an int64
	switch {
	case r == Floor && rest < 0, r == HalfAway && rest <= -(power-power/2):
		q--
	case r == Ceil && rest > 0, r == HalfAway && rest >= power-power/2:
		q++
	}
	return Number{small: q}
}

// Int64 returns d truncated toward zero, and whether the result fits an int64.
func (d Number) Int64() (int64, bool) {
	t := d.Round(Truncate)
	return t.small, t.large == nil
}

// Float64 returns the float64 nearest to d. It is infinite if d is too large.
func (d Number) Float64() float64 {
	if d.scale == 0 && d.large == nil {
		return float64(d.small)
	}
	var b [64]byte
	// The only error is a result of ±Inf, which the caller rejects.
	f, _ := strconv.ParseFloat(string(d.Append(b[:0])), 64)
	return f
}

// Append appends the number's text to dst: an optional minus sign, at least one digit, and if the
// scale is not 0, a point and as many digits as the scale.
func (d Number) Append(dst []byte) []byte {
	start := len(dst)
	if d.large != nil {
		dst = d.large.Append(dst, 10)
	} else {
		dst = strconv.AppendInt(dst, d.small, 10)
	}
	if d.scale == 0 {
		return dst
	}
	if dst[start] == '-' {
		start++
	}
	// Insert zeros until there is a digit before the point.
	for missing := d.scale + 1 - (len(dst) - start); missing > 0; missing-- {
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '0'
	}
	point := len(dst) - d.scale
	dst = append(dst, 0)
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

// String returns the text that Append appends.
func (d Number) String() string { return string(d.Append(nil)) }
