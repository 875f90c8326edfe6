package expression_test

import (
	"errors"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

var table = &binlog.Table{Database: "shop", Name: "t", Columns: []binlog.Column{
	{Name: "i", Type: binlog.TypeInt},
	{Name: "big", Type: binlog.TypeBigInt},
	{Name: "u", Type: binlog.TypeBigInt, Unsigned: true},
	{Name: "d", Type: binlog.TypeDecimal, Length: 10, Decimals: 2},
	{Name: "f", Type: binlog.TypeDouble},
	{Name: "s", Type: binlog.TypeVarchar},
	{Name: "ns", Type: binlog.TypeVarchar, Nullable: true},
	{Name: "ni", Type: binlog.TypeInt, Nullable: true},
	{Name: "at", Type: binlog.TypeDatetime},
	{Name: "day", Type: binlog.TypeDate},
	{Name: "clock", Type: binlog.TypeTime},
	{Name: "flags", Type: binlog.TypeSet},
	{Name: "two words", Type: binlog.TypeInt},
	{Name: "first", Type: binlog.TypeInt},
	{Name: "nd", Type: binlog.TypeDecimal, Nullable: true},
	{Name: "real", Type: binlog.TypeFloat},
	{Name: "fine", Type: binlog.TypeDatetime, Decimals: 3},
	{Name: "div", Type: binlog.TypeInt},
	{Name: "doc", Type: binlog.TypeJSON},
	{Name: "ndoc", Type: binlog.TypeJSON, Nullable: true},
	{Name: "status", Type: binlog.TypeEnum, Values: []string{"new", "paid", "sent"}},
	{Name: "nstatus", Type: binlog.TypeEnum, Nullable: true, Values: []string{"new", "paid"}},
	{Name: "roles", Type: binlog.TypeSet, Values: []string{"admin", "staff", "guest"}},
	{Name: "nroles", Type: binlog.TypeSet, Nullable: true, Values: []string{"admin", "staff"}},
	{Name: "raw", Type: binlog.TypeBinary, Length: 16},
	{Name: "zero", Type: binlog.TypeDatetime},
	{Name: "nat", Type: binlog.TypeDatetime, Nullable: true},
	{Name: "csv", Type: binlog.TypeVarchar},
}}

var cells = [][]byte{
	[]byte(
		"-7",
	), []byte("9223372036854775807"), []byte("18446744073709551615"), []byte("12.50"),
	[]byte("0.1"), []byte("Ärger"), nil, nil,
	[]byte(
		"2024-05-01 10:00:00",
	), []byte("2024-05-01"), []byte("-12:30:00"), []byte("x,yy"), []byte("3"), []byte("1"), nil,
	[]byte("0.1"),
	[]byte("2024-05-01 10:00:00.050"), []byte("5"),
	[]byte(`{"a": [{"b": "x\"y"}, 18446744073709551615, 1.50], "n": null, "o": {"p": true}}`), nil,
	[]byte("paid"), nil, []byte("admin,guest"), nil,
	[]byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"),
	[]byte("2024-05-00 00:00:00"), nil, []byte("a,bb,,d"),
}

func row() *binlog.Row {
	r := new(binlog.Row)
	r.SetText(binlog.NewTextLayout(table), cells)
	return r
}

func TestEval(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`i + 1`, "-6"},
		{`-i`, "7"},
		{`abs(i)`, "7"},
		{`i % 4`, "-3"},
		{`i / 2`, "-3.5"},
		{`2 ** 10`, "1024"},
		{`+i`, "-7"},
		{`i * 0.5`, "-3.5"},
		{`i * 0.1`, "-0.7"},
		{`f * 0.5`, "0.05"},
		{`f == 0.1`, "1"},
		{`real == 0.1`, "1"},
		{`1e3 * f`, "100"},
		{`f + i`, "-6.9"},
		{`u`, "18446744073709551615"},
		{`u + 1`, "18446744073709551616"},
		{`u > 5`, "1"},
		{`u == decimal("18446744073709551615")`, "1"},
		{`decimal(big) + 1`, "9223372036854775808"},
		{`u - u`, "0"},
		{`u * u`, "340282366920938463426481119284349108225"},
		{`d`, "12.50"},
		{`d * 3`, "37.50"},
		{`d - 12.5`, "0.00"},
		{`d == 12.5`, "1"},
		{`d < 12.51`, "1"},
		{`-2 * 4611686018427387904`, "-9223372036854775808"}, // the lowest there is
		{`-d`, "-12.50"},
		{`d * 1.19`, "14.8750"},
		{`int(d)`, "12"},
		{`round(d)`, "13"},
		{`round(-d)`, "-13"},
		{`ceil(d)`, "13"},
		{`floor(-d)`, "-13"},
		{`float(d) / 2`, "6.25"},
		{`d in [1, 12.5]`, "1"},
		{`s + "!"`, "Ärger!"},
		{`len(s)`, "5"},
		{`upper(s)`, "ÄRGER"},
		{`lower(s)`, "ärger"},
		{`s contains "rg"`, "1"},
		{`s startsWith "Ä"`, "1"},
		{`s endsWith "x"`, "0"},
		{`s matches "^Ä.*r$"`, "1"},
		{`s in ["a", "Ärger"]`, "1"},
		{`s not in ["a"]`, "1"},
		{`not (s == "x")`, "1"},
		{`!(s == "x")`, "1"},
		{`replace(s, "r", "RR")`, "ÄRRgeRR"},
		{`trim("  a ")`, "a"},
		{`trim("xax", "x")`, "a"},
		{`trimPrefix(s, "Ä")`, "rger"},
		{`trimSuffix(s, "er")`, "Ärg"},
		{`hasPrefix(s, "Är")`, "1"},
		{`hasSuffix(s, "Är")`, "0"},
		{`s | upper()`, "ÄRGER"},
		{`s < "Z"`, "0"},
		{`ns == nil`, "1"},
		{`ns != nil`, "0"},
		{`ns != "x"`, "1"},
		{`nil != "x"`, "1"},
		{`ns == "x"`, "0"},
		{`ns ?? "d"`, "d"},
		{`ni ?? 3`, "3"},
		{`ns ?? nil`, "nil"},
		{`(ni ?? 1) + 1`, "2"},
		{`nd ?? 1.5`, "1.5"},
		{`(nd ?? 0) + d`, "12.50"},
		{`nd == d`, "0"},
		{`ni == ni`, "1"},
		{`ns`, "nil"},
		{`ns == nil ? "none" : "some"`, "none"},
		{`i < 0 ? nil : i`, "nil"},
		{`i > 0 ? 1 : 2.5`, "2.5"},
		{`at > "2024-05-01"`, "1"},
		{`at == "2024-05-01 10:00:00.000"`, "1"},
		{`day == "2024-05-01"`, "1"},
		{`day < at`, "1"},
		{`at >= "2024-05-01 10:00:01"`, "0"},
		{`unix(at)`, "1714557600"},
		{`unix(fine)`, "1714557600.050"},
		{`unix(day) + 0.5`, "1714521600.5"},
		{`string(at) + "Z"`, "2024-05-01 10:00:00Z"},
		{`clock < "00:00:00"`, "1"},
		{`clock == "-12:30:00.0"`, "1"},
		{`clock > "-100:00:00"`, "1"},
		{`clock > "-12:30:00.05"`, "1"},
		{`"yy" in flags`, "1"},
		{`"y" in flags`, "0"},
		{`"x,yy" in flags`, "0"},
		{`flags == "x,yy"`, "1"},
		{`i in -10..0`, "1"},
		{`i in 1..5`, "0"},
		{`i in [1, -7]`, "1"},
		{`$env["two words"] + first`, "4"},
		{`-10 < i < 0`, "1"},
		{`true and i < 0 || false`, "1"},
		{`div + 1`, "6"}, // a column's name is no SQL
		{`i > 0 and 1 / 0 > 1`, "0"},
		{`bitand(first, 3)`, "1"},
		{`bitor(first, 2)`, "3"},
		{`max(i, 2, 1)`, "2"},
		{`min(d, 2)`, "2"},
		{`max(s, "a")`, "Ärger"},
		{`string(i) + string(d) + string(f)`, "-712.500.1"},
		{`int("42")`, "42"},
		{`float("1.5")`, "1.5"},
		{`int(f)`, "0"},
		{`10.0 ** 20`, "1e20"},
		{`float(d) * 1e15`, "1.25e16"},
		{`I + 1`, "-6"},
	} {
		p, err := expression.Compile(c.source, columns.New(table))
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		var s expression.Scratch
		got, null, err := p.AppendText(nil, &s, row())
		if null {
			got = []byte("nil")
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.source, got, err, c.want)
		}
		if null && !p.Nullable() {
			t.Errorf("%s: nil, and not nullable", c.source)
		}
	}
}

func TestBadExpressions(t *testing.T) {
	for _, c := range []struct {
		source, message string
		column          int
	}{
		{
			`ns + "x"`,
			"ns may be NULL and + needs a value: only ==, != and ?? take a NULL, " +
				"so give it a default, as in (ns ?? \"\")",
			1,
		},
		{`i > 1 and ni > 1`, "ni may be NULL", 11},
		{`ns < "x"`, "may be NULL", 1},
		{`ns in ["a"]`, "may be NULL", 1},
		{`upper(ns)`, "may be NULL", 7},
		{`ns matches "x"`, "may be NULL", 1},
		{`-ni`, "may be NULL", 2},
		{`len(ns ?? ns)`, "may be NULL", 8},
		{`ni + 1 == nil`, "may be NULL", 1},
		{`s startsWith ns`, "may be NULL", 14},
		{`i == "x"`, "an integer and text do not fit together: write string(x)", 3},
		{`s + 1`, "text and an integer do not fit", 3},
		{`d * f`, "an exact number and a float have no exact result: write float(x)", 3},
		{`d / 2`, "write float(x) around an exact number", 3},
		{`i and true`, "and needs a condition and i is an integer: compare it, as in x != 0", 1},
		{`first == true`, "MySQL's true and false are 1 and 0", 7},
		{`at > "yesterday"`, "is not a date like 2024-05-01", 4},
		{`at > "2024-5-1"`, "is not a date", 4},
		{`at > "2024-13-01"`, "is not a date", 4},
		{`clock > "noon"`, "is not a time like", 7},
		{`at + 1`, "do not fit together", 4},
		{`at + at`, "does not work on a date", 4},
		{`now()`, "expressions have no clock", 1},
		{`date("2024-01-01") < at`, "no clock", 1},
		{`now`, `no column "now"`, 1},
		{`uper(s)`, `did you mean "upper"?`, 1},
		{`filter(s, true)`, "no function filter()", 1},
		{`len()`, "takes 1 argument", 1},
		{`max(1)`, "2 to 16 arguments", 1},
		{`s.x`, "columns have no parts", 3},
		{`s[0]`, "columns have no parts", 2},
		{`[1, 2]`, "allowed only on the right of in", 1},
		{`let x = 1; x`, "let is not available", 5},
		{`i in s`, "in needs a list", 6},
		{`s matches s`, "must be written out", 11},
		{`s matches "("`, "missing closing", 11},
		{`i ?: 2`, "", 0},
		{`{"a": 1}`, "not available", 1},
		{`{s}`, `names a column without braces: write name, not "{name}"`, 1},
		{`{s} {ns}`, `names a column without braces`, 1},
		{`s || ns`, "s is text; to join texts write + (not ||)", 1},
		{`ns || s`, "ns is text; to join texts write + (not ||)", 1},
		{``, "", 1},
		{`i ==`, "", 0},
		{`i = 1`, "this is SQL; in an expression write == (not =)", 3},
		{
			`i = 1 AND s <> "x" OR ns IS NULL`,
			"write == (not =), and (not AND), != (not <>), or (not OR), == nil (not IS NULL)", 3,
		},
		{`s == "a = b" and NOT (i == 1)`, "write not (not NOT)", 18},
		{`ns is not null`, "write != nil (not is not null)", 4},
		{`ns == NULL`, "write nil (not NULL)", 7},
		{`i IN (1, 2)`, "write in with a list in brackets, as in [1, 2] (not IN)", 3},
		{`i in (1, 2)`, "write in [...] (not in (...))", 3},
		{`s LIKE "a%"`, "write contains, startsWith, endsWith or matches (not LIKE)", 3},
		{`i BETWEEN 1 AND 5`, "write x >= low and x <= high (not BETWEEN)", 3},
		{`ifnull(ns, "x")`, "write x ?? other (not ifnull())", 1},
		{`concat(s, "x")`, "write + (not concat())", 1},
		{`ns <=> s`, "write == (not <=>)", 4},
		{"i > 1\n  && s = \"x\"", "write == (not =)", 8},
		{`i == 1 and nope == "AND = NULL"`, `no column "nope"`, 12},
		{`99999999999999999999`, "", 0},
		{`true < false`, "does not order conditions", 6},
		{"i +\n nope", `no column "nope"`, 2},
		{`s == nil + 1`, "may be NULL", 6},
		{`decimal("x")`, "is not a decimal number", 1},
		{`"é" + nope`, "no column", 7},
	} {
		p, err := expression.Compile(c.source, columns.New(table))
		var e *expression.CompileError
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, %v", c.source, p, err)
			continue
		}
		if !strings.Contains(e.Message, c.message) || c.column > 0 && e.Column != c.column {
			t.Errorf("%s: got column %d: %s, want %d: %s", c.source, e.Column, e.Message, c.column,
				c.message)
		}
	}
}

// The parser puts the middle of a < x < b into the tree twice. Nested in each other, these doubled
// the time to compile with each level.
func TestNestedComparisons(t *testing.T) {
	source := "i"
	for range 60 {
		source = "(1 < " + source + " < 5 ? 1 : 2)"
	}
	_, err := expression.Compile(source, columns.New(table))
	if err == nil || !strings.Contains(err.Error(), "the expression is too large") {
		t.Errorf("compiles with %v", err)
	}
	if err := expression.CheckSyntax(source); err != nil {
		t.Errorf("its syntax: %v", err)
	}
	if got := evaluate(t, `(1 < (1 < i < 5 ? 1 : 2) < 5 ? 1 : 2)`); got != "1" {
		t.Errorf("got %s", got)
	}
	source = "i"
	for range 200 {
		source = "(i in " + source + ")"
	}
	if _, err := expression.Compile(source, columns.New(table)); err == nil {
		t.Error("in compiles without a list")
	}
}

// The left side of in was evaluated for each member of the list, and nested in each other these
// doubled the time per row with each level.
func TestNestedLists(t *testing.T) {
	source := "i == 1"
	for range 100 {
		source = "(" + source + ") in [first == first, first != 1]"
	}
	if got := evaluate(t, source); got != "1" {
		t.Errorf("got %s", got)
	}
	for source, want := range map[string]string{
		`i in [2.5, f, -7]`: "1", `i in [7, -7.00]`: "1", `-7.0 in [f, i]`: "1", `i in [f]`: "0",
		`"2024-05-01" in [at, day]`: "1", `0.1 in [f]`: "1",
	} {
		if got := evaluate(t, source); got != want {
			t.Errorf("%s: got %s", source, got)
		}
	}
}

// CheckSyntax checks the syntax without a table, so it accepts any name of a column.
func TestCheckSyntax(t *testing.T) {
	for source, want := range map[string]string{
		`a = 1`: "write == (not =)", `a == 1 AND b == 2`: "write and (not AND)",
		`a ==`: "unexpected", ``: "",
		`CONCAT(a, b)`: "write + (not CONCAT())", `uper(a)`: `did you mean "upper"?`,
		`a == now()`: "no clock", `len(a, b) > 1`: "len() takes 1 argument",
		`1 + len(format(a, "%Q"))`: "no specifier %Q", `json(a, "b")`: "does not begin with $",
		`a matches "("`: "missing closing", `regexFind(a, "(")`: "missing closing",
		`format(a, b)`: "ok", `len(split(a, ","))`: "ok", `a | upper() | len()`: "ok",
		`"x" in split(a, ",")`: "ok", `a.b()`: "ok", `format(a, "%Y")`: "ok",
		`nope == 1`: "ok", `a and not b`: "ok", `$env["two words"] > 1`: "ok",
	} {
		err := expression.CheckSyntax(source)
		if (err == nil) != (want == "ok") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
}

func TestEvalErrors(t *testing.T) {
	for _, c := range []struct{ source, message string }{
		{`big + 1`, "integer overflow"},
		{`big * 2`, "integer overflow"},
		{`-big - 2`, "integer overflow"},
		{`int(u)`, "integer overflow"},
		{`i % (first - 1)`, "division by zero"},
		{`i / (first - 1)`, "division by zero"},
		{`i / (first - 1) < 0`, "division by zero"}, // an infinite number would be less than 0
		{`f * 1e308 ** 2`, "not a finite number"},
		{`int(s)`, "not a 64-bit integer"},
		{`float(s)`, "not a number"},
		{`decimal(s)`, "not a decimal"},
		{`string(10.0 ** 400)`, "not a finite number"},
	} {
		p, err := expression.Compile(c.source, columns.New(table))
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		var s expression.Scratch
		got, _, err := p.AppendText(nil, &s, row())
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: got %s, %v, want %s", c.source, got, err, c.message)
		}
	}
}

// A computed text is encoded as JSON in the same way as the text of a column. A backspace used to
// be \u0008 in one and \b in the other.
func TestJSONIsThatOfColumns(t *testing.T) {
	texts := &binlog.Table{Database: "d", Name: "t", Columns: []binlog.Column{
		{Name: "s", Type: binlog.TypeVarchar, Charset: "utf8mb4"},
		{Name: "f", Type: binlog.TypeDouble},
	}}
	r := new(binlog.Row)
	var s expression.Scratch
	for _, text := range []string{"a\b\f\n\r\t\x01\x7f\"\\/\u2028é\xff", ""} {
		r.SetText(binlog.NewTextLayout(texts), [][]byte{[]byte(text), []byte("1e-16")})
		for i, name := range []string{"s", "f"} {
			p, err := expression.Compile(name, columns.New(texts))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.AppendJSON(nil, &s, r)
			want, err2 := r.AppendJSON(nil, i)
			if err != nil || err2 != nil || string(got) != string(want) {
				t.Errorf("%s of %q is %s, %v; the column is %s, %v", name, text, got, err, want,
					err2)
			}
		}
	}
}
