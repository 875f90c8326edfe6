package expression_test

import (
	"strings"
	"testing"

	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// A comparison of an ENUM or SET column with a text that is no label compiles with a warning.
func TestLabelWarnings(t *testing.T) {
	for source, warning := range map[string]string{
		`status == "padi"`: `"padi" is no label of shop.t.status, so the comparison is always ` +
			`false; did you mean "paid"? (at character 8 of the expression)`,
		`status != "Paid"`:                 `the comparison is always true; did you mean "paid"?`,
		`"xyzzy" == status`:                `its labels are "new", "paid", "sent"`,
		`status in ["new", "pad"]`:         `"pad" is no label of shop.t.status`,
		`not (status in ["nwe"])`:          `did you mean "new"?`,
		`(nstatus ?? "none") == "sent"`:    `"sent" is no label of shop.t.nstatus`,
		`nstatus == "sent"`:                `"sent" is no label`,
		`roles == "admin,gest"`:            `"gest" is no label of shop.t.roles`,
		`roles == "guest,admin"`:           `order of its definition, so it is never "guest,`,
		`"gest" in roles`:                  `"gest" is no label of shop.t.roles, so the c`,
		`"root" in (nroles ?? "nobody")`:   `"root" is no label of shop.t.nroles`,
		`old.status == "padi"`:             `did you mean "paid"?`,
		`i > 1 ? status == "x" : s == "x"`: `"x" is no label`,

		`status == "paid"`:                  "",
		`status == ""`:                      "", // the text of a value that was no label
		`status == s`:                       "",
		`status in ["new", "paid"]`:         "",
		`(nstatus ?? "none") == "none"`:     "",
		`(nstatus ?? "none") == "new"`:      "",
		`nstatus == nil`:                    "",
		`roles == "admin,guest"`:            "",
		`"admin" in roles`:                  "",
		`"nobody" in (nroles ?? "nobody")`:  "",
		`s == "padi"`:                       "",
		`lower(status) == "padi"`:           "",
		`flags == "any" and "any" in flags`: "", // the labels of this column are not known
	} {
		p, err := expression.Compile(source, columns.New(table), expression.AllowOld)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got := strings.Join(p.Warnings(), "; ")
		if !strings.Contains(got, warning) || (warning == "") != (got == "") {
			t.Errorf("%s: got %q, want %q", source, got, warning)
		}
		if n := len(p.Warnings()); n > 1 {
			t.Errorf("%s: %d warnings", source, n)
		}
	}
}
