package dump_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"rowfall/binlog/mysql"
)

// typed is a column of a type, and how SQL for a value of it is made up.
type typed struct {
	sql   string
	value func(r *rand.Rand) string
}

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

// numbersAndTimes are columns that both servers have.
func numbersAndTimes() []typed {
	zeroDates := []string{
		"0000-00-00", "2024-00-00", "2024-02-00", "1000-01-01", "9999-12-31",
		"0001-01-01",
	}
	zeroTimes := []string{
		"0000-00-00 00:00:00", "2024-00-10 10:00:00", "1000-01-01 00:00:00",
		"9999-12-31 23:59:59", "2024-02-00 00:00:00.5",
	}
	stamps := []string{
		"0000-00-00 00:00:00", "1970-01-01 00:00:01", "2038-01-19 03:14:07",
		"2001-09-09 01:46:40",
	}
	clocks := []string{
		"-838:59:59", "838:59:59", "-00:00:01", "00:00:00", "-00:00:00.000001",
		"-00:00:00.9", "-12:34:56.654321", "-00:01:00", "800:00:00.999",
	}
	columns := []typed{
		{"DECIMAL(65,30)", decimal(65, 30, false)},
		{"DECIMAL(10,0) UNSIGNED", decimal(10, 0, true)},
		{"DECIMAL(5,5)", decimal(5, 5, false)},
		{"DECIMAL(19,4)", decimal(19, 4, false)},
		{"INT(8) UNSIGNED ZEROFILL", integer(32, true)},
		{"FLOAT", float(32)},
		{"DOUBLE", float(64)},
		{"BIT(1)", oneOf("0", "1")},
		{"BIT(9)", integer(9, true)},
		{"BIT(64)", integer(64, true)},
		{"YEAR", oneOf("0", "1901", "2155", "2000", "1970")},
		{"DATE", moment(true, false, 0, zeroDates...)},
	}
	for _, c := range []struct {
		sql  string
		bits int
	}{{"TINYINT", 8}, {"SMALLINT", 16}, {"MEDIUMINT", 24}, {"INT", 32}, {"BIGINT", 64}} {
		columns = append(columns, typed{c.sql, integer(c.bits, false)},
			typed{c.sql + " UNSIGNED", integer(c.bits, true)})
	}
	for digits := range 7 {
		columns = append(columns,
			typed{fmt.Sprintf("TIME(%d)", digits), moment(false, true, digits, clocks...)},
			typed{fmt.Sprintf("DATETIME(%d)", digits), moment(true, true, digits, zeroTimes...)},
			typed{fmt.Sprintf("TIMESTAMP(%d) NULL", digits), moment(true, true, digits, stamps...)})
	}
	return columns
}

// textsAndBytes are columns that both servers have.
func textsAndBytes() []typed {
	many := letters(300)
	return []typed{
		{"CHAR(10)", textOf(10, beyond)},
		{"CHAR(255)", textOf(255, beyond)},
		{"CHAR(10) CHARACTER SET latin1", textOf(10, latin)},
		{"CHAR(10) CHARACTER SET ascii", textOf(10, ascii)},
		{"VARCHAR(60)", textOf(60, beyond)},
		{"VARCHAR(300)", textOf(300, beyond)},
		{"VARCHAR(300) CHARACTER SET latin1", textOf(300, latin)},
		{"VARCHAR(30) CHARACTER SET utf8mb3", textOf(30, plane)},
		{"VARCHAR(30) CHARACTER SET gbk", textOf(30, plane)},
		{"CHAR(10) CHARACTER SET utf16", textOf(10, beyond)},
		{"TEXT CHARACTER SET cp1251", textOf(100, plane)},
		{"TINYTEXT", textOf(60, beyond)},
		{"TEXT CHARACTER SET latin1", textOf(100, latin)},
		{"MEDIUMTEXT", textOf(100, beyond)},
		{"LONGTEXT", textOf(100, beyond)},
		{"BINARY(16)", bytesOf(16)},
		{"BINARY(255)", bytesOf(255)},
		{"VARBINARY(40)", bytesOf(40)},
		{"VARBINARY(300)", bytesOf(300)},
		{"TINYBLOB", bytesOf(255)},
		{"BLOB", bytesOf(400)},
		{"MEDIUMBLOB", bytesOf(400)},
		{"LONGBLOB", bytesOf(400)},
		{"ENUM('a','it''s','ü','')", oneOf("'a'", "'it''s'", "'ü'", "''", "'no member'")},
		{"ENUM(" + strings.Join(many, ",") + ")", oneOf(many...)},
		{"ENUM('ü','漢') CHARACTER SET ucs2", oneOf("'ü'", "'漢'", "'no member'")},
		{"SET('ж','漢') CHARACTER SET sjis", oneOf("''", "'ж'", "'漢,ж'")},
		{"SET('x','yy','ü')", oneOf("''", "'x'", "'yy,x'", "'ü,x,yy'")},
		{"SET(" + strings.Join(many[:64], ",") + ")", subset(many[:64])},
		{
			"GEOMETRY",
			oneOf("ST_GeomFromText('POINT(1 -2.5)')",
				"ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)', 4326)"),
		},
		{"POINT", oneOf("ST_GeomFromText('POINT(0 0)')")},
		{"JSON", document},
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

// typesOf returns the columns that a server can have.
func typesOf(s mysql.Server) []typed {
	columns := append(numbersAndTimes(), textsAndBytes()...)
	if s.Flavor == mysql.MySQL {
		columns = append(
			columns,
			typed{
				"JSON",
				oneOf("JSON_ARRAY(x'00ff', b'101', CAST('2024-01-01' AS DATETIME), POINT(1, 2), " +
					"YEAR('2024-01-01'))"),
			},
		)
		if s.AtLeast(9, 0, 0) {
			columns = append(
				columns,
				typed{
					"VECTOR(3)",
					oneOf("STRING_TO_VECTOR('[1.5,-2,3e10]')", "STRING_TO_VECTOR('[0,0.1,1e-20]')"),
				},
			)
		}
		return columns
	}
	columns = append(columns,
		typed{"INET6", oneOf("'::1'", "'::ffff:1.2.3.4'", "'2001:db8::ff00:42:8329'", "'::'")})
	if s.AtLeast(10, 7, 0) {
		columns = append(
			columns,
			typed{
				"UUID",
				oneOf("'00000000-0000-0000-0000-000000000000'",
					"'123e4567-e89b-12d3-a456-426655440000'"),
			},
		)
	}
	if s.AtLeast(10, 10, 0) {
		columns = append(columns, typed{"INET4", oneOf("'0.0.0.0'", "'255.254.1.0'")})
	}
	if s.AtLeast(11, 7, 0) {
		columns = append(columns, typed{
			"VECTOR(3)",
			oneOf("VEC_FromText('[1.5,-2,3e10]')", "VEC_FromText('[0,0.1,1e-20]')"),
		}, typed{"TIMESTAMP(6) NULL", oneOf("'2106-02-07 06:28:15.999999'")})
	}
	return columns
}
