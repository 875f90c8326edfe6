// Package typetest is a table of column types with values in SQL, for tests that compare what the
// product prints with what servers print. It covers every type of MySQL and MariaDB, and the limits
// of each; binlog/charset has the tests of all character sets. typetest.go is the table, and
// random.go makes random values.
package typetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Column is a type of a column, with values.
type Column struct {
	// SQL is the type with its attributes.
	SQL string
	// Values are SQL expressions, to be stored with an empty sql_mode: a value beyond the limits of
	// the type becomes another one. None is NULL.
	Values []string
	// Random returns an SQL expression; nil means one of Values.
	Random func(*rand.Rand) string
}

// Value returns one of the values, or a random one.
func (c *Column) Value(r *rand.Rand) string {
	if c.Random == nil || len(c.Values) > 0 && r.IntN(4) == 0 {
		return c.Values[r.IntN(len(c.Values))]
	}
	return c.Random(r)
}

// IsTemporal reports whether the type is TIME, DATETIME or TIMESTAMP, of which MariaDB has two
// formats.
func (c *Column) IsTemporal() bool {
	return strings.HasPrefix(c.SQL, "TIME") || strings.HasPrefix(c.SQL, "DATETIME")
}

// Columns returns the columns that a server can have. version is 101118 for 10.11.18.
func Columns(isMariaDB bool, version int) []Column {
	all := slices.Concat(integers(), decimals(), floats(), bits(), dates(), times(), texts(),
		bytesColumns(), labels(), geometries(isMariaDB), documents(isMariaDB))
	if isMariaDB {
		return slices.Concat(all, mariaDBColumns(version))
	}
	if version >= 90000 {
		all = append(all, Column{SQL: "VECTOR(3)", Values: []string{
			"STRING_TO_VECTOR('[1.5,-2,3e10]')", "STRING_TO_VECTOR('[0,0.1,1e-20]')",
			"STRING_TO_VECTOR('[-0]')",
			"STRING_TO_VECTOR('[3.4028235e38,1.17549435e-38,16777217]')",
		}}, Column{SQL: "VECTOR", Values: []string{"STRING_TO_VECTOR('[0.5,0.25,1e15,1e14]')"}})
	}
	return all
}

func integers() (all []Column) {
	for _, t := range []struct {
		sql  string
		bits int
	}{{"TINYINT", 8}, {"SMALLINT", 16}, {"MEDIUMINT", 24}, {"INT", 32}, {"BIGINT", 64}} {
		most := uint64(math.MaxUint64) >> (64 - t.bits)
		all = append(all,
			Column{t.sql, []string{
				"0", "-1", "1", fmt.Sprint(most / 2), fmt.Sprintf("-%d", most/2+1), "-1e30", "1e30",
			}, integer(t.bits, false)},
			Column{t.sql + " UNSIGNED", []string{
				"0", "1", fmt.Sprint(most), fmt.Sprint(most/2 + 1), "-1", "1e30",
			}, integer(t.bits, true)})
	}
	return append(all, Column{"INT(8) ZEROFILL", []string{"0", "7", "4294967295"}, nil},
		Column{"BIGINT(20) UNSIGNED ZEROFILL", []string{"0", "7", "18446744073709551615"}, nil},
		Column{"TINYINT(1)", []string{"0", "1", "-128"}, nil},
		Column{"BOOL", []string{"TRUE", "FALSE", "12"}, nil})
}

func decimals() (all []Column) {
	for _, t := range [][2]int{
		{1, 0},
		{1, 1},
		{5, 5},
		{9, 0},
		{10, 0},
		{10, 9},
		{18, 9},
		{19, 4},
		{30, 30},
		{38, 20},
		{65, 0},
		{65, 1},
		{65, 30},
	} {
		whole, fraction := strings.Repeat("9", t[0]-t[1]), ""
		smallest := "1"
		if t[1] > 0 {
			fraction = "." + strings.Repeat("9", t[1])
			smallest = "0." + strings.Repeat("0", t[1]-1) + "1"
		}
		values := []string{
			"0", "'-0.0'", "'0" + whole + fraction + "'", "'-0" + whole + fraction + "'",
			"'" + smallest + "'", "'-" + smallest + "'", "'1e70'", "'-1e70'", "'1.5'", "'-0.06'",
			"'10000000000'", "'-1000000000.000000001'",
		}
		sql := fmt.Sprintf("DECIMAL(%d,%d)", t[0], t[1])
		all = append(all, Column{sql, values, decimal(t[0], t[1], false)})
	}
	return append(all,
		Column{"DECIMAL(10,0) UNSIGNED", []string{"0", "-1", "9999999999"}, decimal(10, 0, true)},
		Column{"DECIMAL(10,2) ZEROFILL", []string{"0", "0.5", "12.34", "99999999.99"}, nil})
}

func floats() []Column {
	values := []string{
		"0", "'-0'", "1", "-1.5", "0.1", "'1e14'", "'1e15'", "'999999999999999'", "'1e-15'",
		"'1e-16'", "'1.5e-5'", "16777216", "16777217", "123456.789", "'-3.4028234e38'",
		"'3.4028234663852886e38'", "'1.17549435e-38'", "'1e22'", "'1e21'", "0.30000001",
	}
	doubles := append(slices.Clone(values), "'1.7976931348623157e308'",
		"'-1.7976931348623157e308'", "'2.2250738585072014e-308'", "'0.30000000000000004'",
		"'9007199254740993'", "'123456789012345678'", "'1e400'")
	return []Column{
		{"FLOAT", values, float(32)},
		{"FLOAT UNSIGNED", values, nil},
		{"FLOAT(7,3)", values, nil},
		{"FLOAT ZEROFILL", []string{"0", "1.5", "123456"}, nil},
		{"DOUBLE", doubles, float(64)},
		{"DOUBLE(12,2)", doubles, nil},
		{"DOUBLE UNSIGNED ZEROFILL", []string{"0", "1.5", "123456"}, nil},
	}
}

// bits returns all lengths of BIT.
func bits() (all []Column) {
	for n := 1; n <= 64; n++ {
		most := uint64(math.MaxUint64) >> (64 - n)
		all = append(all, Column{fmt.Sprintf("BIT(%d)", n), []string{
			"0", "1", fmt.Sprint(most), fmt.Sprint(most/2 + 1),
			fmt.Sprint(most & 0xaaaaaaaaaaaaaaaa),
		}, integer(n, true)})
	}
	return all
}

func dates() []Column {
	return []Column{
		{"YEAR", []string{
			"0", "'0000'", "'0'", "1901", "2155", "2000", "69", "70", "1900", "2156", "1970",
		}, nil},
		{"DATE", []string{
			"'0000-00-00'", "'2024-00-00'", "'2024-02-00'", "'2024-00-10'", "'0000-01-01'",
			"'0000-12-31'", "'0001-01-01'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'",
			"'2023-02-29'", "'1969-12-31'",
		}, moment(true, false, 0)},
	}
}

// times returns the temporal types with fractional seconds, in all precisions. TIMESTAMP includes
// the hours around which the clocks of zones change.
func times() (all []Column) {
	clocks := []string{
		"'-838:59:59'", "'838:59:59'", "'838:59:58.999999'", "'-838:59:58.999999'", "'-00:00:01'",
		"'00:00:00'", "'-00:00:00'", "'-00:00:00.000001'", "'-00:00:00.9'", "'00:00:00.999999'",
		"'-12:34:56.654321'", "'-00:01:00'", "'800:00:00.999'", "'24:00:00'", "'-100:10:20.01'",
		"'23:59:59.9999999'", "'900:00:00'",
	}
	moments := []string{
		"'0000-00-00 00:00:00'", "'2024-00-10 10:00:00'", "'2024-02-00 00:00:00.5'",
		"'0000-01-01 00:00:00'", "'0000-00-00 01:02:03.000004'", "'1000-01-01 00:00:00'",
		"'9999-12-31 23:59:59'", "'9999-12-31 23:59:59.499999'", "'2024-02-29 23:59:59.999999'",
		"'1969-12-31 23:59:59.000001'", "'2023-02-29 00:00:00'", "'2024-06-30 12:00:00.9999999'",
	}
	stamps := []string{
		"'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'1970-01-01 00:00:01.000001'",
		"'2038-01-19 03:14:07'", "'2038-01-19 03:14:06.999999'", "'2001-09-09 01:46:40.5'",
		"'2024-03-10 06:59:59.9'", "'2024-03-10 07:00:00'", "'2024-11-03 05:30:00.25'",
		"'2024-11-03 06:30:00.25'", "'2024-03-31 01:00:00'", "'2024-10-27 00:30:00'",
		"'2024-10-27 01:30:00'", "'1900-01-01 00:00:00'", "'2024-02-29 12:34:56.123456'",
	}
	for digits := range 7 {
		all = append(all,
			Column{fmt.Sprintf("TIME(%d)", digits), clocks, moment(false, true, digits)},
			Column{fmt.Sprintf("DATETIME(%d)", digits), moments, moment(true, true, digits)},
			Column{fmt.Sprintf("TIMESTAMP(%d) NULL", digits), stamps, moment(true, true, digits)})
	}
	return all
}

// quoted returns the texts as literals of their bytes in utf8mb4.
func quoted(texts ...string) []string {
	literals := make([]string, len(texts))
	for i, text := range texts {
		literals[i] = fmt.Sprintf("_utf8mb4 x'%x'", text)
	}
	return literals
}

func texts() []Column {
	short := quoted("", " ", "a", "a ", "a  b  ", " a", "a\x00", "a\x00 ", "\t", "ä€漢",
		"😀", "a😀 ", "\"\\/'\x01\x1f\x7f", "\u2028\ufeff\ufffd", "{1:%2}*", strings.Repeat("漢", 10),
		strings.Repeat("x", 300))
	long := append(slices.Clone(short), "REPEAT(_utf8mb4'ä€', 30000)", "REPEAT('\\\\\"', 128)",
		"REPEAT(' ', 127)")
	columns := []Column{
		{"CHAR(0)", short, nil},
		{"VARCHAR(0)", short, nil},
		{"CHAR(255)", short, textOf(255, beyond)},
		{"VARCHAR(60)", short, textOf(60, beyond)},
		{"VARCHAR(300)", short, textOf(300, beyond)},
		{"TINYTEXT", long, textOf(60, beyond)},
		{"TEXT", long, textOf(100, beyond)},
		{"MEDIUMTEXT", long, textOf(100, beyond)},
		{"LONGTEXT", long, textOf(100, beyond)},
		{"CHAR(10) COLLATE utf8mb4_bin", short, textOf(10, beyond)},
	}
	for _, charset := range []string{
		"latin1", "ascii", "utf8mb3", "gbk", "sjis", "ucs2", "utf16", "utf16le", "utf32",
	} {
		columns = append(columns,
			Column{"CHAR(10) CHARACTER SET " + charset, short, textOf(10, plane)},
			Column{"VARCHAR(100) CHARACTER SET " + charset, short, textOf(100, plane)},
			Column{"TEXT CHARACTER SET " + charset, long, textOf(100, plane)})
	}
	return columns
}

func bytesColumns() []Column {
	short := []string{
		"''", "x'00'", "x'0000'", "'a'", "x'6100'", "x'61000000'", "'a   '", "x'20'", "x'2000'",
		"x'ff00fe'", "x'c3'", "'abcdefgh'", "REPEAT(x'00ff', 200)",
	}
	long := append(slices.Clone(short), "REPEAT(x'00', 255)", "REPEAT(x'f09f', 40000)")
	return []Column{
		{"BINARY(0)", short, nil},
		{"VARBINARY(0)", short, nil},
		{"BINARY(4)", short, bytesOf(4)},
		{"BINARY(255)", short, bytesOf(255)},
		{"CHAR(5) CHARACTER SET binary", short, nil},
		{"VARBINARY(40)", short, bytesOf(40)},
		{"VARBINARY(300)", short, bytesOf(300)},
		{"TINYBLOB", long, bytesOf(255)},
		{"BLOB", long, bytesOf(400)},
		{"MEDIUMBLOB", long, bytesOf(400)},
		{"LONGBLOB", long, bytesOf(400)},
	}
}

func labels() []Column {
	many := letters(300)
	all := make([]string, 64)
	for i := range all {
		all[i] = strings.Trim(many[i], "'")
	}
	columns := []Column{
		{"ENUM(" + strings.Join(many, ",") + ")", append(many[250:260:260], "1", "300"), nil},
		{"SET(" + strings.Join(many[:64], ",") + ")", []string{
			"''", many[0], many[63], "'" + strings.Join(all, ",") + "'", "'m63ü,m0ü,m31ü,m32ü'",
			"18446744073709551615", "9223372036854775808", "'none'",
		}, subset(many[:64])},
		{"SET('x','yy','ü','it''s')", []string{
			"''", "'x'", "'yy,x'", "'ü,x,yy,it''s'", "'none,x'", "'none'", "0", "15",
		}, nil},
	}
	for n := 1; n <= 64; n += 9 {
		columns = append(columns, Column{
			"SET(" + strings.Join(many[:n], ",") + ")",
			[]string{"''", many[n-1], many[0], "1"},
			nil,
		})
	}
	for _, charset := range []string{
		"utf8mb4", "latin1", "utf8mb3", "ucs2", "sjis", "koi8r", "utf32",
	} {
		values := []string{
			"'a'", "'it''s'", "'ж'", "'漢'", "'ü'", "''", "'no label'", "0", "1", "5",
		}
		columns = append(columns,
			Column{"ENUM('a','it''s','ж','','漢','ü') CHARACTER SET " + charset, values, nil},
			Column{
				"ENUM('a','b ') CHARACTER SET " + charset, []string{"'a'", "'b'", "'c'", "0"}, nil,
			},
			Column{"SET('a','it''s','ж','漢','ü') CHARACTER SET " + charset, append(values[:7:7],
				"'a,漢'", "'ü,ж,a'", "0", "31"), nil})
	}
	return columns
}

func geometries(isMariaDB bool) []Column {
	var all []string
	kinds := []struct{ sql, text string }{
		{"POINT", "POINT(1 -2.5)"},
		{"LINESTRING", "LINESTRING(0 0, 1 1, 2 0)"},
		{"POLYGON", "POLYGON((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 2, 1 1))"},
		{"MULTIPOINT", "MULTIPOINT(1 1, 2 2)"},
		{"MULTILINESTRING", "MULTILINESTRING((0 0, 1 1), (2 2, 3 3))"},
		{"MULTIPOLYGON", "MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))"},
		{"GEOMETRYCOLLECTION", "GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))"},
	}
	var columns []Column
	for _, kind := range kinds {
		values := []string{
			"ST_GeomFromText('" + kind.text + "')", "ST_GeomFromText('" + kind.text + "', 4326)",
		}
		columns = append(columns, Column{kind.sql, values, nil})
		all = append(all, values...)
	}
	all = append(all, "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')")
	withSRID := "POINT SRID 4326"
	if isMariaDB {
		withSRID = "POINT REF_SYSTEM_ID=4326"
	}
	return append(columns, Column{"GEOMETRY", all, nil},
		Column{withSRID, []string{"ST_GeomFromText('POINT(1 2)', 4326)"}, nil})
}

func documents(isMariaDB bool) []Column {
	depth := 100 // the most that a MySQL accepts
	if isMariaDB {
		depth = 31
	}
	values := append(quoted(
		"null", "true", "false", "0", "-1", "32767", "32768", "-32768", "-32769", "65535", "65536",
		"2147483647", "2147483648", "-2147483649", "4294967296", "-9223372036854775808",
		"9223372036854775807", "18446744073709551615", "18446744073709551616", "1.5", "-0.0", "0.0",
		"1e300", "-1e-300", "0.1", "1e15", "1e16", "1e-16", "123456789012345.6", "3.0",
		"1.7976931348623157e308", "5e-324", "100000000000000000000",
		`""`, `"\"\\\/\b\f\n\r\t\u0001\u001f\u007f\u2028é😀\ud83d\ude00"`, `"/"`,
		"[]", "{}", "[[[[]]]]",
		`{"b": 1, "a": [1, "x", null, {"": {}}], "aa": 1, "é": true, "B": 2}`,
		`{"k": 1, "k": 2, "K": 3, "k": 4}`, `[{"a":{"a":{"a":[{"a":[]}]}}}, 1 ,2]`,
		strings.Repeat("[", depth)+strings.Repeat("]", depth),
		`{"a": {"b": {"c": [1.25, -1, 70000, 5000000000]}}}`,
		`"`+strings.Repeat("x", 200)+`"`, `"`+strings.Repeat("é", 20000)+`"`,
	), "CONCAT('[', REPEAT('\"0123456789\",', 6553), '{\"k\": [1]}]')",
		"CONCAT('{', REPEAT('\"0123456789\": {\"x\": 1},', 100), '\"k\": [1, 2.5]}')",
		"JSON_OBJECT('d', CAST('2024-02-29' AS DATE), 't', CAST('-12:00:00.5' AS TIME(6)), "+
			"'at', CAST('2024-02-29 01:02:03.000004' AS DATETIME(6)), "+
			"'z', CAST('0000-00-00' AS DATE))",
		"JSON_ARRAY(CAST('-1.10' AS DECIMAL(10,2)), CAST('12345678901234567890.123456789' AS "+
			"DECIMAL(40,9)), 1.0, 1e0, -0e0)",
		"JSON_ARRAY(CAST('-838:59:59' AS TIME), CAST('9999-12-31 23:59:59' AS DATETIME))")
	if !isMariaDB {
		values = append(values,
			"JSON_ARRAY(x'00ff', b'101', CAST('2024-01-01' AS DATETIME), POINT(1, 2), "+
				"YEAR('2024-01-01'), CAST('2024-01-01 00:00:00' AS YEAR))",
			"JSON_OBJECT('blob', x'', 'text', REPEAT('x', 70000), 'blob2', REPEAT(x'ff', 100))",
			"CAST(CAST('1.50' AS DECIMAL(5,2)) AS JSON)", "CAST(x'414243' AS JSON)",
			"CAST(TIMESTAMP'2024-01-01 10:00:00' AS JSON)", "CAST(DATE'2024-01-01' AS JSON)",
			"CAST(TIME'-10:00:00.1' AS JSON)", "CAST(18446744073709551615 AS JSON)",
			"JSON_ARRAY(CAST(JSON_ARRAY(1) AS JSON), ST_GeomFromText('POINT(1 1)'))")
	}
	return []Column{{"JSON", values, document}}
}

func mariaDBColumns(version int) []Column {
	columns := []Column{
		{"YEAR(2)", []string{
			"0", "'00'", "1", "69", "70", "99", "2001", "1970", "1900", "'0000'",
		}, nil},
		{"INET6", []string{
			"'::'", "'::1'", "'::ffff:1.2.3.4'", "'2001:db8::ff00:42:8329'", "'1::'", "'::1.2.3.4'",
			"'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'1:0:0:2::3'", "'1:0:2::'",
			"'::2:0:0:0'", "'0:1::'", "'64:ff9b::1.2.3.4'",
		}, nil},
	}
	if version >= 100700 {
		columns = append(columns, Column{"UUID", []string{
			"'00000000-0000-0000-0000-000000000000'", "'123e4567-e89b-12d3-a456-426655440000'",
			"'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'",
			"'018f2b3c-7a11-7000-8000-000000000000'", "'1ed9e1f0-0000-6000-8000-0123456789ab'",
			"'00000000-0000-1000-0000-000000000000'", "'00000000-0000-5000-c000-000000000000'",
		}, nil})
	}
	if version >= 101000 {
		columns = append(columns,
			Column{"INET4", []string{"'0.0.0.0'", "'255.254.1.0'", "'1.2.3.4'", "'0.0.0.1'"}, nil})
	}
	if version >= 110700 {
		columns = append(columns, Column{"VECTOR(3)", []string{
			"VEC_FromText('[1.5,-2,3e10]')", "VEC_FromText('[0,0.1,1e-20]')",
			"VEC_FromText('[3.4028235e38,1.17549435e-38,16777217]')",
		}, nil})
	}
	if version >= 110500 {
		columns = append(columns, Column{"TIMESTAMP(6) NULL", []string{
			"'2038-01-19 03:14:08'", "'2106-02-07 06:28:15.999999'", "'2106-02-07 06:28:16'",
		}, nil})
	}
	return slices.Concat(columns, compressed())
}

// compressed returns MariaDB's COMPRESSED columns.
func compressed() []Column {
	texts := append(quoted("", " ", "a", "a ", "ä€漢", "\x00", strings.Repeat("漢", 9),
		strings.Repeat("the quick brown fox ", 20)),
		"REPEAT('a', 254)", "REPEAT('a', 255)", "REPEAT(_utf8mb4'ä€', 30000)", "REPEAT('\"', 3000)",
		"MD5(1)", "CONCAT(MD5(1), MD5(2), MD5(3), MD5(4), MD5(5))")
	bytes := []string{
		"''", "x'00'", "REPEAT(x'00', 255)", "REPEAT(x'ff', 1000)", "UNHEX(MD5(1))", "'a  '",
		"REPEAT(x'00ff', 40000)",
	}
	return []Column{
		{"VARCHAR(10) COMPRESSED", texts, textOf(10, beyond)},
		{"VARCHAR(300) COMPRESSED", texts, textOf(300, beyond)},
		{"VARCHAR(200) COMPRESSED CHARACTER SET latin1", texts, textOf(200, latin)},
		{"VARCHAR(200) COMPRESSED CHARACTER SET utf16", texts, textOf(200, beyond)},
		{"TINYTEXT COMPRESSED", texts, textOf(60, beyond)},
		{"TEXT COMPRESSED", texts, textOf(100, beyond)},
		{"MEDIUMTEXT COMPRESSED CHARACTER SET cp1251", texts, textOf(100, plane)},
		{"LONGTEXT COMPRESSED", texts, textOf(100, beyond)},
		{"VARBINARY(40) COMPRESSED", bytes, bytesOf(40)},
		{"VARBINARY(300) COMPRESSED", bytes, bytesOf(300)},
		{"TINYBLOB COMPRESSED", bytes, bytesOf(255)},
		{"BLOB COMPRESSED", bytes, bytesOf(400)},
		{"MEDIUMBLOB COMPRESSED", bytes, bytesOf(400)},
		{"LONGBLOB COMPRESSED", bytes, bytesOf(400)},
	}
}
