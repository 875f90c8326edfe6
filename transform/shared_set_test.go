package transform_test

import (
	"strings"
	"testing"

	"rowfall/transform"
)

const sharedMapping = `
"shop.*":
  write:
    - set: names:{a}{b}
      member: "{b|lower}"
      shared: true
`

// The location of a shared output leads back to the key of its row, even if key and member do not.
func TestSharedLocations(t *testing.T) {
	users := "shop.users: id int pk; code varchar(9) pk; a varchar(9); b varchar(9)"
	plan := compile(t, sharedMapping, users)
	other := compile(t, sharedMapping, strings.Replace(users, "users", "users\xff0", 1))
	var want transform.Location
	r := textRow(plan.Table(), parseCells(t, plan.Table(), `7 "x:%y" p Q`))
	if err := plan.Locations(r, func(at transform.Location) { want = at }); err != nil {
		t.Fatal(err)
	}
	if string(want.Key) != "names:pQ" || string(want.Member) != "q" ||
		string(want.Row) != "shop\xffusers\xff0:7:x%3A%25y" || !plan.IsShared(0) {
		t.Errorf("the location is %+v", want)
	}
	if !plan.OwnsRow(0, want.Row) || other.OwnsRow(0, want.Row) || plan.OwnsRow(0, nil) {
		t.Error("the row belongs to another table")
	}
	values, ok := plan.Values(want)
	if !ok || len(values) != 2 || string(values[0].Text) != "7" ||
		string(values[1].Text) != "x:%y" {
		t.Errorf("the values are %v, %v", values, ok)
	}
	want.Row = []byte{}
	if values, ok := plan.Values(want); ok {
		t.Errorf("a member without rows has the values %v", values)
	}
	if plan.IsLocatedBy(0, []int{0, 1}) || !plan.IsLocatedBy(0, []int{0, 1, 2, 3}) {
		t.Error("the key determines the location")
	}
	err := plan.Expect(r, func(e transform.Expectation) error {
		var parsed transform.Expectation
		rest := transform.ParseExpectation(&parsed, e.AppendTo(nil))
		at := parsed.Location()
		if len(rest) > 0 || string(at.Key) != "names:pQ" || string(at.Member) != "q" ||
			string(at.Row) != "shop\xffusers\xff0:7:x%3A%25y" {
			t.Errorf("the expected location is %+v", at)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// After a RENAME, the references of the new name take the place of the old ones.
func TestInherit(t *testing.T) {
	const columns = ": id int pk; a varchar(9); b varchar(9)"
	from := compile(t, sharedMapping, "shop.users"+columns)
	to := compile(t, sharedMapping, "shop.people"+columns)
	at := transform.Location{
		Key: []byte("names:x"), Member: []byte("y"), Row: []byte("shop\xffusers\xff0:7"),
	}
	inherited := func(at transform.Location) string {
		var u transform.Commands
		to.Inherit(&u, from, at)
		if err := u.Resolve(resolveAlone); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(u.Bytes), "\r\n", " ")
	}
	if got := inherited(at); !strings.HasSuffix(got, "$5 REFER $7 names:x $1 y "+
		"$15 shop\xffpeople\xff0:7 ") {
		t.Errorf("the commands are %q", got)
	}
	at.Row = []byte("shop\xffusers\xff0:x")
	if got := inherited(at); got != "" {
		t.Errorf("a key of other columns: the commands are %q", got)
	}
	at.Key = []byte("other")
	if got := inherited(at); got != "" {
		t.Errorf("another key: the commands are %q", got)
	}
}
