package expression_test

import (
	"errors"
	"strings"
	"testing"

	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// evaluate compiles an expression and returns its text for a row of table.
func evaluate(t *testing.T, source string, options ...expression.Option) string {
	t.Helper()
	p, err := expression.Compile(source, columns.New(table), options...)
	if err != nil {
		t.Errorf("%s: %v", source, err)
		return ""
	}
	var s expression.Scratch
	got, null, err := p.AppendText(nil, &s, row())
	switch {
	case err != nil:
		return "error: " + err.Error()
	case null && !p.Nullable():
		t.Errorf("%s: nil, and not nullable", source)
	case null:
		return "nil"
	}
	return string(got)
}

func TestFunctions(t *testing.T) {
	for source, want := range map[string]string{
		`format(at, "%Y-%m-%d %H:%i")`:          "2024-05-01 10:00",
		`format(day, "%d.%m.%Y %T")`:            "01.05.2024 00:00:00",
		`format(fine, "%f")`:                    "050000",
		`format(at, "%W")`:                      "Wednesday",
		`format(zero, "%Y-%m-%d")`:              "2024-05-00",
		`format(zero, "%W")`:                    "nil",
		`format(zero, "%W") ?? "none"`:          "none",
		`format(zero, "%Y") + "!"`:              "2024!",
		`format("2024-12-31", "%j")`:            "366",
		`format(nat ?? "0000-00-00", "%y")`:     "00",
		`int(format(at, "%Y")) + 1`:             "2025",
		`unix("1970-01-02") + 1`:                "86401",
		`unix(at) > unix("2024-05-01")`:         "1",
		`s[0:1]`:                                "Ä",
		`s[1:]`:                                 "rger",
		`s[:2] + "|"`:                           "Är|",
		`s[:]`:                                  "Ärger",
		`s[-2:]`:                                "er",
		`s[:-1]`:                                "Ärge",
		`s[3:1] + "|"`:                          "|",
		`s[1:99]`:                               "rger",
		`s[-99:2]`:                              "Är",
		`s[first:first + 2]`:                    "rg",
		`raw[0:2] == hex("")`:                   "0",
		`indexOf(s, "g")`:                       "2",
		`indexOf(s, "x")`:                       "-1",
		`indexOf(s, "")`:                        "0",
		`lastIndexOf(s, "r")`:                   "4",
		`s[indexOf(s, "r"):]`:                   "rger",
		`padLeft(string(first), 4, "0")`:        "0001",
		`padLeft(s, 7)`:                         "  Ärger",
		`padRight(s, 7, "é") + "|"`:             "Ärgeréé|",
		`padLeft(s, 3, "0")`:                    "Ärger",
		`split(csv, ",")[0]`:                    "a",
		`split(csv, ",")[1]`:                    "bb",
		`split(csv, ",")[2]`:                    "",
		`split(csv, ",")[3]`:                    "d",
		`split(csv, ",")[4]`:                    "nil",
		`split(csv, ",")[-1] + "!"`:             "d!",
		`split(csv, ",")[-3]`:                   "bb",
		`split(csv, ",")[-4]`:                   "a",
		`split(csv, ",")[-5]`:                   "nil",
		`split(csv, ",")[first] ?? "x"`:         "bb",
		`split(csv, trim(" "))[0]`:              "a,bb,,d", // an empty separator splits nothing
		`split("", ",")[0] + "|"`:               "|",
		`"bb" in split(csv, ",")`:               "1",
		`"" in split(csv, ",")`:                 "1",
		`"b" in split(csv, ",")`:                "0",
		`"d" not in split(csv, ",")`:            "0",
		`len(split(csv, ","))`:                  "4",
		`len(split("", ","))`:                   "1",
		`regexFind(s, "r.")`:                    "rg",
		`regexFind(s, "(.)r")`:                  "Ä",
		`regexFind(s, "(.)r", 0)`:               "Är",
		`regexFind(s, "(x)?r")`:                 "nil",
		`regexFind(s, "x") ?? "none"`:           "none",
		`regexFind(s, "x*")`:                    "",
		`regexReplace(s, "r(.)", "<$1>")`:       "Ä<g>er",
		`regexReplace(s, "[^a-z]", "")`:         "rger",
		`regexReplace(s, "x", "y")`:             "Ärger",
		`regexReplace(s, "(?P<c>e)", "${c}$$")`: "Ärge$r",
		`regexReplace("abc", "", "-")`:          "-a-b-c-",
		`sha256("abc")`: "ba7816bf8f01cfea414140de5dae2223" +
			"b00361a396177a9cb410ff61f20015ad",
		`md5("")`:                                 "d41d8cd98f00b204e9800998ecf8427e",
		`crc32("123456789")`:                      "cbf43926",
		`sha256(first) == sha256("1")`:            "1",
		`md5(d) == md5("12.50")`:                  "1",
		`md5(at) == md5("2024-05-01 10:00:00")`:   "1",
		`md5(i < 0) == md5("1")`:                  "1",
		`hex(raw)`:                                "00112233445566778899aabbccddeeff",
		`toBase64(s)`:                             "w4RyZ2Vy",
		`uuid(raw)`:                               "00112233-4455-6677-8899-aabbccddeeff",
		`bitxor(6, 3)`:                            "5",
		`json(doc, "$.a[0].b")`:                   `x"y`,
		`decimal(json(doc, "$.a[1]") ?? "0") + 1`: "18446744073709551616",
		`decimal(json(doc, "$.a[2]") ?? "0") * 2`: "3.00",
		`json(doc, "$.a[last]")`:                  "1.50",
		`json(doc, "$.o")`:                        `{"p": true}`,
		`json(doc, "$.o.p") == "true"`:            "1",
		`json(doc, "$.n")`:                        "nil",
		`json(doc, "$.x.y")`:                      "nil",
		`json(ndoc, "$.a")`:                       "nil",
		`json(ndoc, "$.a") ?? "none"`:             "none",
		`json(json(doc, "$.o"), "$.p")`:           "true",
		`json(s + s, "$.a") ?? "x"`:               `error: "ÄrgerÄrger" is not JSON (at byte 0)`,
		`uuid(s)`:                                 "error: uuid() takes exactly 16 bytes, not 6",
		`"admin" in roles`:                        "1",
		`"staff" in roles`:                        "0",
		`"admin" in (nroles ?? "")`:               "0",
		`'it\'s'`:                                 "it's",
		"`a\\b`":                                  `a\b`,
	} {
		if got := evaluate(t, source); got != want {
			t.Errorf("%s: got %s, want %s", source, got, want)
		}
	}
}

func TestBadFunctions(t *testing.T) {
	for source, message := range map[string]string{
		`format(at, s)`:                 "the layout of format() must be written out as text",
		`format(at, "%Q")`:              "no specifier %Q",
		`format(at, "YYYY")`:            "as in %Y-%m-%d",
		`format(s, "%Y")`:               "format() needs a date and s is text",
		`format(clock, "%H")`:           "format() needs a date and clock is a time",
		`format("noon", "%H")`:          "is not a date like",
		`format(nat, "%Y")`:             `as in (nat ?? "1970-01-01")`,
		`format(at, "%W") + ""`:         "may be NULL",
		`unix(nat)`:                     `as in (nat ?? "1970-01-01")`,
		`s["a":]`:                       "[from:to] needs an integer",
		`i[0:1]`:                        "[from:to] needs text and i is an integer: write",
		`ns[0:1]`:                       "ns may be NULL",
		`s[0]`:                          "write s[0:1] for the first character",
		`doc.a`:                         `write json(s, "$.name")`,
		`padLeft(s, i)`:                 "1 to 1024",
		`padLeft(s, 5000)`:              "1 to 1024",
		`padLeft(s, 5, "ab")`:           "pads with one character",
		`padLeft(s, 5, s)`:              "must be written out",
		`split(s, ",")`:                 `split(s, ",")[0]`,
		`split(s, "")[0]`:               "the separator of split() is empty",
		`split(s, ",", 1)[0]`:           "split() takes 2 arguments",
		`split(s, ",")[1] + "x"`:        "may be NULL",
		`split(s, ",")["a"]`:            "[index] needs an integer",
		`regexFind(s, s)`:               "the pattern of regexFind() must be written out",
		`regexFind(s, "(")`:             "missing closing",
		`regexFind(s, "x", 1)`:          "0 to 0 for this pattern",
		`regexFind(s, "(x)", i)`:        "0 to 1 for this pattern",
		`regexReplace(s, "(x)", "$1y")`: "write ${1}y",
		`regexReplace(s, "x", "$1")`:    `the pattern has no group "1"`,
		`regexReplace(s, "x", "$")`:     "write $$ for a dollar sign",
		`regexReplace(s, "x", "${")`:    "${ without }",
		`hex(i)`:                        "hex() needs text and i is an integer",
		`sha256(ns)`:                    `as in (ns ?? "")`,
		`json(doc, s)`:                  "the path of json() must be written out as text",
		`json(doc, "a.b")`:              "does not begin with $",
		`json(doc, "$.*")`:              "wildcard",
		`json(i, "$")`:                  "json() needs a JSON column or text and i is an integer",
		`json(doc, "$.a") + "x"`:        "may be NULL",
		`len(split(ns, ","))`:           "ns may be NULL",
		`"a" in nroles`:                 "nroles may be NULL",
		`"a" in csv`:                    "in needs a list",
		"`status` == \"new\"":           "write status or $env[\"status\"] for the column",
		"status in [`S`]":               "write S or $env[\"S\"] for the column",
		`curdate() > day`:               "expressions have no clock",
		`NOW() > at`:                    "expressions have no clock",
		`old.s == s`: "only the setting where of a list, stream or publish output has; " +
			"write s for",
	} {
		_, err := expression.Compile(source, columns.New(table))
		var e *expression.CompileError
		if !errors.As(err, &e) || !strings.Contains(e.Message, message) {
			t.Errorf("%s: got %v, want %s", source, err, message)
		}
	}
}

// TestSQL checks that SQL is answered with the spelling of expressions.
func TestSQL(t *testing.T) {
	for source, message := range map[string]string{
		`s = "x" and i = 1`:                 `write == (not =)`,
		`i == 1 AND first == 2`:             `write and (not AND)`,
		`i == 1 OR first == 2`:              `write or (not OR)`,
		`NOT i == 1`:                        `write not (not NOT)`,
		`ns IS NULL`:                        `write == nil (not IS NULL)`,
		`ns IS NOT NULL`:                    `write != nil (not IS NOT NULL)`,
		`i <> 1`:                            `write != (not <>)`,
		`s LIKE '%x'`:                       `startsWith, endsWith or matches (not LIKE)`,
		`i BETWEEN 1 AND 2`:                 `x >= low and x <= high (not BETWEEN), and`,
		`i IN (1, 2)`:                       `write in with a list in brackets, as in [1, 2]`,
		`CONCAT(s, ns)`:                     `write + (not CONCAT())`,
		`IF(i > 1, 2, 3)`:                   `write condition ? value : other (not IF())`,
		`if(i > 1, 2, 3)`:                   `write condition ? value : other (not if())`,
		`IFNULL(ns, "")`:                    `write x ?? other (not IFNULL())`,
		`COALESCE(ns, "")`:                  `write x ?? other (not COALESCE())`,
		`i > 1 | first > 1`:                 `write or between conditions, bitor(x, y) be`,
		`i > 1 & first > 1`:                 `write and between conditions, bitand(x, y) be`,
		`i & 4`:                             `bitand(x, y) between integers (not &)`,
		`i ^ 4`:                             `write bitxor(x, y), or ** for a power (not ^)`,
		`s == 'it''s'`:                      `write \' for a quote inside a text (not '')`,
		`doc->"$.a" == "1"`:                 `write json(x, "$.name") (not ->)`,
		`doc->>'$.a' == "1"`:                `write json(x, "$.name") (not ->>)`,
		`JSON_EXTRACT(doc, "$.a")`:          `write json(x, "$.name") (not JSON_EXTRACT())`,
		`DATE_FORMAT(at, "%Y")`:             `write format(x, "%Y-%m-%d") (not DATE_FORMAT())`,
		`SUBSTRING(s, 1, 2)`:                `write x[from:to] (not SUBSTRING())`,
		`at + INTERVAL 1 DAY`:               `write unix(x) + seconds (not INTERVAL)`,
		`UPPER(s)`:                          `did you mean "upper"?`,
		`nope == 'a' || s == "'' -> = | &"`: `no column "nope"`, // text is no SQL
		`upper(s) | lower() | nope()`:       `there is no function nope()`,
	} {
		_, err := expression.Compile(source, columns.New(table))
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %s", source, err, message)
		}
	}
}

// The texts of one evaluation have a limit, because functions inside functions can multiply the
// length of a text.
func TestLengthOfTexts(t *testing.T) {
	expression.SetMaxComputed(t, 1<<16)
	for _, nest := range []func(string) string{
		func(x string) string { return "hex(" + x + ")" },
		func(x string) string { return "toBase64(hex(" + x + "))" },
		func(x string) string { return "replace(" + x + `, "r", "rrrr")` },
		func(x string) string { return "regexReplace(" + x + `, "^(.*)$", "$1$1$1")` },
	} {
		source := "s"
		for range 40 {
			source = nest(source)
		}
		if got := evaluate(t, source); !strings.Contains(got, "too long together") {
			t.Errorf("%.40s: got %.40s", source, got)
		}
	}
}
