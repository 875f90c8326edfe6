package typetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// oneOf returns one of the values.
func oneOf(values ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return values[r.IntN(len(values))] }
}

// integer returns the ends of the range of a type with so many bits, or any
// number between.
func integer(bits int, unsigned bool) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		if unsigned {
			most := uint64(math.MaxUint64) >> (64 - bits)
			return strconv.FormatUint(
				[]uint64{0, 1, most, most - 1, most/2 + 1, r.Uint64() & most}[r.IntN(6)], 10,
			)
		}
		most := int64(math.MaxInt64) >> (64 - bits)
		return strconv.FormatInt(
			[]int64{0, -1, most, -most - 1, int64(r.Uint64()) >> (64 - bits)}[r.IntN(5)], 10,
		)
	}
}

// decimal returns a number that fits a DECIMAL's digits.
func decimal(digits, scale int, unsigned bool) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		b := make([]byte, digits)
		for i := range b {
			b[i] = '0' + byte(r.IntN(10))
		}
		switch r.IntN(6) {
		case 0:
			copy(b, strings.Repeat("9", digits))
		case 1:
			copy(b, strings.Repeat("0", digits))
		case 2:
			copy(b, strings.Repeat("0", r.IntN(digits)))
		}
		s := "0" + string(b[:digits-scale]) + "." + string(b[digits-scale:])
		if !unsigned && r.IntN(2) == 0 {
			s = "-" + s
		}
		return s
	}
}

// float returns any finite number of the size, as a string: literals lose bits
// on some servers.
func float(bits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var f float64
		switch r.IntN(5) {
		case 0:
			f = []float64{
				0, 1, -1, 1e15, 1e14, -1e-15, 123456789, 0.1, 1e22, 1.5e-5, 3.4028234e38,
				1.1754944e-38,
			}[r.IntN(12)]
		case 1:
			f = float64(r.IntN(2e9)) / 1000
		default:
			f = math.Float64frombits(r.Uint64())
			if bits == 32 {
				f = float64(math.Float32frombits(r.Uint32()))
			}
			if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) > 1.7976931348623e308 ||
				f != 0 && math.Abs(f) < 2.2250738585073e-308 {
				f = 0.5
			}
			if bits == 32 && f != 0 && (math.Abs(f) < 1.1754944e-38 || math.Abs(f) > 3.4028234e38) {
				f = 0.25
			}
		}
		return "'" + strconv.FormatFloat(f, 'e', -1, 64) + "'"
	}
}

// bytesOf returns up to n bytes, some of them zero, some at the end.
func bytesOf(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		b := make([]byte, r.IntN(n+1))
		for i := range b {
			b[i] = []byte{0, 0x20, 0xff, byte(r.Uint32())}[r.IntN(4)]
		}
		return fmt.Sprintf("x'%x'", b)
	}
}

// textOf returns up to n of the characters.
func textOf(n int, characters string) func(*rand.Rand) string {
	all := []rune(characters)
	return func(r *rand.Rand) string {
		s := make([]rune, r.IntN(n+1))
		for i := range s {
			s[i] = all[r.IntN(len(all))]
		}
		return fmt.Sprintf("_utf8mb4 x'%x'", string(s))
	}
}

// moment returns a date, a time or both; some are such that only sql_mode=”
// lets them in.
func moment(date, clock bool, digits int, odd ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		if len(odd) > 0 && r.IntN(3) == 0 {
			return "'" + odd[r.IntN(len(odd))] + "'"
		}
		var s []string
		if date {
			s = append(s,
				fmt.Sprintf("%04d-%02d-%02d", 1970+r.IntN(68), 1+r.IntN(12), 1+r.IntN(28)))
		}
		if clock {
			s = append(
				s, fmt.Sprintf("%02d:%02d:%02d.%0*d", r.IntN(24), r.IntN(60), r.IntN(60),
					max(digits, 1), r.IntN(int(math.Pow10(digits)))),
			)
		}
		return "'" + strings.Join(s, " ") + "'"
	}
}

const (
	ascii  = "ab \t\n\\'\"<>&,:%{}\x00\x1f\x7f"
	latin  = ascii + "äöüß€éÿ™"
	plane  = ascii + "äß€漢字\u2028\ufeff\ufffd"
	beyond = plane + "😀𝄞🏴"
)

// letters returns the members of an ENUM or SET.
func letters(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = "'m" + strconv.Itoa(i) + "ü'"
	}
	return s
}

// subset returns some of the members.
func subset(members []string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var in []string
		for _, m := range members {
			if r.IntN(3) == 0 {
				in = append(in, strings.Trim(m, "'"))
			}
		}
		return "'" + strings.Join(in, ",") + "'"
	}
}

// document returns JSON as a text of JSON, and of the kinds that only SQL makes
// on MySQL.
func document(r *rand.Rand) string {
	text := []string{
		"null", "true", "false", "0", "-1", "32767", "32768", "-32769", "2147483648",
		"-9223372036854775808", "9223372036854775807",
		"18446744073709551615", "1.5", "1e300", "-1e-300", "0.1", "1e15", "1e16",
		"100000000000000000000", "3.0", "-0.0",
		`""`, `"\"\\\/\b\f\n\r\t\u0001\u2028é😀"`, "[]", "{}", "[[[[]]]]",
		`{"b": 1, "a": [1, "x", null, {"": {}}], "aa": 1, "é": true}`,
		`{"a": {"b": {"c": [1.25, -1, 70000, 5000000000]}}}`,
	}
	if i := r.IntN(len(text) + 6); i < len(text) {
		return fmt.Sprintf("_utf8mb4 x'%x'", text[i])
	} else if i == len(text) {
		// Beyond 64 KiB offsets are wider.
		return fmt.Sprintf("CONCAT('[', REPEAT('\"0123456789\",', %d), '{\"k\": [1]}]')",
			6000+r.IntN(10))
	}
	return oneOf(
		"JSON_OBJECT('d', CAST('2024-02-29' AS DATE), 't', CAST('-12:00:00.5' AS TIME(6)), "+
			"'at', CAST('2024-02-29 01:02:03.000004' AS DATETIME(6)))",
		"JSON_ARRAY(CAST('-1.10' AS DECIMAL(10,2)), CAST('12345678901234567890.123456789' AS "+
			"DECIMAL(40,9)), 1.0, 1e0)",
		"JSON_ARRAY(TRUE, FALSE, NULL, 'x', 12, -12)",
	)(r)
}
