package transform_test

import (
	"slices"
	"testing"

	"rowfall/transform"
)

const locationMapping = `
shop.users:
  where: n > 0
  write:
    - hash: user:{id}
    - set: by:{country}
      member: "{id}"
      when_null: skip
    - hash: all
      field: "u{id}"
      value: "{n}"
shop.carts:
  write:
    - hash: all
      field: "c{id}"
      value: "{id}"
    - string: cart:{id}
      value: "{id}"
`

const (
	locationUsers = "shop.users: id int unsigned pk; country varchar(2) null; n int"
	locationCarts = "shop.carts: id int unsigned pk"
)

// A location leads back to the key of its row, and Remove removes what Append wrote there.
func TestLocations(t *testing.T) {
	plan := compile(t, locationMapping, locationUsers)
	users := plan.Table()
	r := textRow(users, parseCells(t, users, "7 de 1"))
	var all, removals []string
	err := plan.Locations(r, func(at transform.Location) {
		all = append(all, string(at.Key)+"|"+string(at.Member))
		if !plan.OwnsKey(at.Output, at.Key) ||
			at.Member != nil && !plan.OwnsMember(at.Output, at.Member) {
			t.Errorf("output %d does not own its location %q %q", at.Output, at.Key, at.Member)
		}
		columns, ok := plan.Values(at)
		if i := len(columns) - 1; !ok || columns[i].Column != 0 || string(columns[i].Text) != "7" {
			t.Errorf("the values at %q %q are %v", at.Key, at.Member, columns)
		}
		var u transform.Commands
		plan.Remove(&u, at)
		for _, c := range commands(t, u.Bytes) {
			removals = append(removals, readable(c))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"user:7|", "by:de|7", "all|u7"}; !slices.Equal(all, want) {
		t.Errorf("locations %q, want %q", all, want)
	}
	want := []string{"DEL user:7", "SREM by:de 7", "HDEL all u7"}
	if !slices.Equal(removals, want) {
		t.Errorf("removals %q, want %q", removals, want)
	}
}

func TestOwnership(t *testing.T) {
	users := compile(t, locationMapping, locationUsers)
	carts := compile(t, locationMapping, locationCarts)
	for _, c := range []struct {
		plan   *transform.Plan
		output int
		key    string
		want   bool
	}{
		{users, 0, "user:7", true},
		{users, 0, "user:x", false},
		{users, 0, "users:7", false},
		{users, 0, "rowfall:position:shop", false},
		{users, 1, "by:", true},
		{users, 2, "all", true},
		{carts, 1, "cart:1", true},
		{carts, 1, "cart:", false},
	} {
		if got := c.plan.OwnsKey(c.output, []byte(c.key)); got != c.want {
			t.Errorf("output %d of %s owns %s: %v", c.output, c.plan.Table().Name, c.key, got)
		}
	}
	if users.OwnsMember(2, []byte("c7")) || !carts.OwnsMember(0, []byte("c7")) {
		t.Error("the field c7 is of carts, not of users")
	}
}

// A row that an output could never write, because a filter rejects a value, can be removed: there
// is nothing to remove in this output, and the others are not left out.
func TestLocationsOfUnwritableRow(t *testing.T) {
	plan := compile(t, `
shop.users:
  write:
    - hash: user:{bin|uuid}:{id}
    - string: cart:{id}
      value: "{id}"`, "shop.users: id int unsigned pk; bin varbinary(16)")
	users := plan.Table()
	r := textRow(users, parseCells(t, users, "7 short"))
	var all []string
	err := plan.Locations(r, func(at transform.Location) { all = append(all, string(at.Key)) })
	if err != nil || !slices.Equal(all, []string{"cart:7"}) {
		t.Errorf("locations %q, %v", all, err)
	}
	for _, mode := range []transform.Mode{transform.FullRow, transform.Delta, transform.Replace} {
		var u transform.Commands
		change := parseChange(t, users, "delete 7 short")
		if err := plan.Append(&u, change, mode, transform.Origin{}); err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if got := commands(t, u.Bytes); len(got) != 1 || readable(got[0]) != "DEL cart:7" {
			t.Errorf("%s: commands %q", mode, got)
		}
		short := parseChange(t, users, "insert 7 short")
		if err := plan.Append(&u, short, mode, transform.Origin{}); err == nil {
			t.Errorf("%s: the row can be written", mode)
		}
	}
}
