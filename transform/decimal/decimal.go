// Package decimal holds exact decimal numbers: MySQL's DECIMAL, and integers that
// 64 bits do not hold. It is arithmetic alone; transform/expression is its caller.
package decimal

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
)

// maxDigits bounds the digits of a decimal read from text: MySQL's own limit is
// 65, and a text column may hold anything.
const maxDigits = 128

// Number is an exact decimal number, digits times ten to the power of -scale.
// The zero value is 0. Like MySQL's it keeps the scale it was written with, so
// 1.50 prints as 1.50.
type Number struct {
	// Exactly one of small and large holds the digits; large where small
	// cannot. large is never changed once it is shared.
	small int64
	large *big.Int
	scale int
}

// New returns digits times ten to the power of -scale, which is not negative.
func New(digits int64, scale int) Number { return Number{small: digits, scale: scale} }

var errNoNumber = errors.New("not a decimal number")

// Parse reads an optional sign, digits and an optional fraction; no
// exponent. It refuses more than 128 digits.
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
			d.push(int64(c - '0'))
		default:
			return Number{}, errNoNumber
		}
	}
	if digits == 0 {
		return Number{}, errNoNumber
	}
	// It is printed with the zero that .5 leaves out, and must read back.
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

// push appends a digit; d is being built and shared with nobody.
func (d *Number) push(digit int64) {
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

func (d Number) integer() *big.Int {
	if d.large != nil {
		return d.large
	}
	return big.NewInt(d.small)
}

// fromInteger takes ownership of i.
func fromInteger(i *big.Int, scale int) Number {
	if i.IsInt64() {
		return Number{small: i.Int64(), scale: scale}
	}
	return Number{large: i, scale: scale}
}

var powers = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

func pow10(n int) *big.Int {
	if n < len(powers) {
		return big.NewInt(powers[n])
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// mulSmall multiplies where the product fits.
func mulSmall(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi != 0 || lo > 1<<63-1 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(lo), true
	}
	return int64(lo), true
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// rescaled returns d's digits at a scale that is not below its own.
func (d Number) rescaled(scale int) Number {
	if d.scale == scale {
		return d
	}
	n := scale - d.scale
	if d.large == nil && n < len(powers) {
		if s, ok := mulSmall(d.small, powers[n]); ok {
			return Number{small: s, scale: scale}
		}
	}
	return fromInteger(new(big.Int).Mul(d.integer(), pow10(n)), scale)
}

// Add returns d + o at the larger scale.
func (d Number) Add(o Number) Number {
	scale := max(d.scale, o.scale)
	d, o = d.rescaled(scale), o.rescaled(scale)
	if d.large == nil && o.large == nil {
		if s := d.small + o.small; (s > d.small) == (o.small > 0) {
			return Number{small: s, scale: scale}
		}
	}
	return fromInteger(new(big.Int).Add(d.integer(), o.integer()), scale)
}

// Neg returns -d.
func (d Number) Neg() Number {
	if d.large == nil && d.small != -1<<63 {
		return Number{small: -d.small, scale: d.scale}
	}
	return fromInteger(new(big.Int).Neg(d.integer()), d.scale)
}

// Sub returns d - o at the larger scale.
func (d Number) Sub(o Number) Number { return d.Add(o.Neg()) }

// Mul returns d * o at the sum of their scales.
func (d Number) Mul(o Number) Number {
	if d.large == nil && o.large == nil {
		if s, ok := mulSmall(d.small, o.small); ok {
			return Number{small: s, scale: d.scale + o.scale}
		}
	}
	return fromInteger(new(big.Int).Mul(d.integer(), o.integer()), d.scale+o.scale)
}

// Sign returns -1, 0 or 1.
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

// Compare returns -1, 0 or 1; scales do not matter: 1.5 equals 1.50.
func (d Number) Compare(o Number) int {
	scale := max(d.scale, o.scale)
	d, o = d.rescaled(scale), o.rescaled(scale)
	if d.large != nil || o.large != nil {
		return d.integer().Cmp(o.integer())
	}
	switch {
	case d.small < o.small:
		return -1
	case d.small > o.small:
		return 1
	}
	return 0
}

// Rounding is a direction for Round.
type Rounding uint8

// The directions.
const (
	Truncate Rounding = iota // toward zero
	Floor
	Ceil
	HalfAway // halves away from zero, as MySQL rounds exact numbers
)

// Round returns d rounded to scale 0.
func (d Number) Round(r Rounding) Number {
	if d.scale == 0 {
		return d
	}
	q, rest := new(big.Int).QuoRem(d.integer(), pow10(d.scale), new(big.Int))
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
	return fromInteger(q, 0)
}

// Int64 returns d truncated toward zero, and whether that fits.
func (d Number) Int64() (int64, bool) {
	t := d.Round(Truncate)
	return t.small, t.large == nil
}

// Float64 returns the nearest float64.
func (d Number) Float64() float64 {
	if d.scale == 0 && d.large == nil {
		return float64(d.small)
	}
	f, _ := strconv.ParseFloat(d.String(), 64) // at most ±Inf, which the caller refuses to print
	return f
}

// Append appends the number's text.
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
	// Room for at least one digit before the point.
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

// String returns the number's text.
func (d Number) String() string { return string(d.Append(nil)) }
