package query

import "testing"

// A condition that could end the parentheses around it, or hold a second statement, is rejected.
func TestCheckCondition(t *testing.T) {
	for _, c := range []struct {
		condition string
		want      bool
	}{
		{"id > 5", true},
		{"country = 'S)E' AND (a OR b)", true},
		{"note LIKE ';%'", true},
		{"id IN (SELECT id FROM shop.u)", true},
		{"id = 1 -- all", true},
		{"id = 1 # )", true},
		{"`)` = 1", true},
		{"note = \")\"", true},
		{"note = 'it''s'", true},
		{`a = '\''`, true},
		{"id = 1 /* ) */", true},
		{"", false},
		{"  -- nothing", false},
		{"1) OR (1", false},
		{"1; DROP TABLE t", false},
		{"(1", false},
		{"1)", false},
		{"note = '", false},
		{"1 /*", false},
		{"`a", false},
		{"1 /*!99999 ( */ )", false},
		{"1 /*M! ( */", false},
		{"1)\x00(", false},
		{`note = '\'); DELETE FROM t -- `, false},
	} {
		if err := CheckCondition(c.condition); (err == nil) != c.want {
			t.Errorf("%q: %v", c.condition, err)
		}
	}
}
