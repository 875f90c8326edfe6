package transform_test

import (
	"strings"
	"testing"

	"rowfall/transform"
)

// A condition that compares an ENUM with a text that is no label compiles with a warning, which
// names the place in the file.
func TestWarnings(t *testing.T) {
	table := parseTable(t, "shop.orders: id int pk; status enum('new','paid'); total int")
	p, err := transform.Compile(parseMapping(t, `shop.orders:
  where: status != "padi"
  columns:
    add:
      isnew: status == "New"
      big: total > 5
  write: [{sorted_set: o, member: "{id}", score: 'status == "x" ? 1 : 2'}]
`), table)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range p.Warnings() {
		got = append(got, w.Error())
	}
	want := []string{
		`columns.add.isnew: in "status == \"New\"": "New" is no label of shop.orders.status, so ` +
			`the comparison is always false; did you mean "new"? (at character 8 of the`,
		`where: in "status != \"padi\"": "padi" is no label of shop.orders.status, so the ` +
			`comparison is always true; did you mean "paid"?`,
		`"x" is no label of shop.orders.status`,
	}
	if len(got) != len(want) {
		t.Fatalf("got %d warnings: %q", len(got), got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) || !strings.Contains(got[i], `tables."shop.orders"`) {
			t.Errorf("got\n%s, want\n%s", got[i], want[i])
		}
	}
}
