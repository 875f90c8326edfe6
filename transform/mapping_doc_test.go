package transform_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"rowfall/transform"
)

// TestMappingPage checks the examples of docs/mapping.md: the commands behind each block of YAML
// are those that the outputs make of the changes.
func TestMappingPage(t *testing.T) {
	page, err := os.ReadFile("../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	const table = "shop.orders: id int pk; customer_id int; status varchar(20) null; " +
		"total decimal(9,2) null"
	form := regexp.MustCompile("(?s)\n## ([^\n]*)\n\n```yaml\n(.*?)```\n\n```\n(.*?)```\n")
	examples := form.FindAllStringSubmatch(string(page), -1)
	if n := strings.Count(string(page), "```yaml"); n == 0 || len(examples) != n {
		t.Errorf("%d of %d blocks of YAML have the form of an example", len(examples), n)
	}
	for _, e := range examples {
		title, mapping, want := e[1], e[2], e[3]
		p := compile(t, mapping, table)
		var got strings.Builder
		for _, line := range strings.Split(want, "\n") {
			change, ok := strings.CutPrefix(line, "# ")
			if !ok {
				continue
			}
			got.WriteString(line + "\n" + runChange(t, p, change, transform.Delta))
		}
		if got.String() != want {
			t.Errorf("%s: the page has\n%s\nand the commands are\n%s", title, want, got.String())
		}
	}
}
