package transform_test

import (
	"strings"
	"testing"

	"rowfall/transform"
)

const maskedTable = "shop.users: id int pk; country char(2) null; name varchar(20); " +
	"status enum('new','old'); photo blob"

const masks = `mask: {country: sha256, name: "truncate:3", status: redact, id: "truncate:1", ` +
	`photo: "truncate:2"}`

// An expression that compares a masked column with a text that no masked value can be is most
// likely meant for the values before the mask.
func TestMaskedComparisons(t *testing.T) {
	hash := strings.Repeat("0f", 32)
	for source, want := range map[string]string{
		`country == "DE"`: `line 1: tables."shop.users".where: in "country == \"DE\"": "DE" is ` +
			`no value of shop.users.country: its mask sha256 makes every value 64 hexadecimal ` +
			`digits in lower case, so the comparison is always false; compare with a masked ` +
			`value, or with a column without a mask (at character 9 of the expression)`,
		`country != "DE"`:                            "the comparison is always true",
		`(country ?? "") == "DE"`:                    "is no value of shop.users.country",
		`(country ?? "") in ["DE", "` + hash + `"]`:  `"DE" is no value`,
		`country == "` + strings.ToUpper(hash) + `"`: "in lower case",
		`(country ?? "") == ""`:                      "",
		`country == "` + hash + `"`:                  "",
		`country == nil`:                             "",
		`name == "Anna"`:                             "mask truncate:3 makes no value longer",
		`name == "Äöü"`:                              "",
		`name != "Ann"`:                              "",
		`status == "new"`:                            `its mask redact makes every value "***"`,
		`status == "***"`:                            "",
		`photo == "abc"`:                             "mask truncate:2 makes no value longer",
		`"new" == status or id == "7"`:               "is no value of shop.users.status",
		`name startsWith "Anna"`:                     "",
		`id == "77"`:                                 "mask truncate:1 makes no value longer",
	} {
		m := parseMapping(t, "shop.users: {columns: {"+masks+"}, write: [{list: l, value: x}]}")
		m.Tables[0].Where = source
		p, err := transform.Compile(m, parseTable(t, maskedTable))
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		var got []string
		for _, w := range p.Warnings() {
			got = append(got, w.Error())
		}
		if (len(got) == 0) != (want == "") || len(got) > 1 ||
			want != "" && !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}

// A masked number is text, and the message names the mask.
func TestMaskedNumberInWhere(t *testing.T) {
	m := parseMapping(t, "shop.users: {where: id > 5, columns: {"+masks+"}}")
	_, err := transform.Compile(m, parseTable(t, maskedTable))
	if err == nil || !strings.Contains(err.Error(), "a masked column is text (columns.mask)") {
		t.Errorf("got %v", err)
	}
}

// A condition sees masked values that no limit has cut or omitted, because they do not leave.
func TestConditionIsNotLimited(t *testing.T) {
	m := parseMapping(t, `shop.users: {where: 'name == "Ann"', columns: {include: [id], `+
		`mask: {name: "truncate:3"}, max_bytes: {name: 1}, too_long: omit}}`)
	table := parseTable(t, maskedTable)
	p, err := transform.Compile(m, table)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"insert 7 DE Annabel new x": "HSET users:7 id 7\n", "insert 7 DE Bea new x": "",
	} {
		if got := runChangeIn(t, p, line, transform.Delta, resolveAlone); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}
