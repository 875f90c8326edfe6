package transform

import (
	"fmt"
	"slices"
	"testing"
)

// An output is compared only with outputs whose keys may have its prefix. With 2,000 tables,
// comparing every pair at each DDL statement of a mapped table took a second on a busy machine.
func TestPrefixIndex(t *testing.T) {
	x := prefixIndex{byPrefix: make(map[string][]int)}
	const tables = 300
	for n := range tables {
		x.add(fmt.Sprintf("table%d:", n), n)
	}
	for n, prefix := range []string{"tab", "table7:x", "", "table7:"} {
		x.add(prefix, tables+n)
	}
	slices.Sort(x.sorted)
	for n := range tables {
		if found := x.candidates(fmt.Sprintf("table%d:", n), n); len(found) > 0 {
			t.Fatalf("table %d is compared with %v", n, found)
		}
	}
	for _, c := range []struct {
		prefix string
		end    int
		want   []int
	}{
		{"table7:", tables + 4, []int{7, tables, tables + 1, tables + 2, tables + 3}},
		{"table7:x", tables + 1, []int{7, tables}},
		{"other", tables + 4, []int{tables + 2}},
		{"table29", tables, []int{29, 290, 291, 292, 293, 294, 295, 296, 297, 298, 299}},
	} {
		if found := x.candidates(c.prefix, c.end); !slices.Equal(found, c.want) {
			t.Errorf("%q is compared with %v, want %v", c.prefix, found, c.want)
		}
	}
	if found := x.candidates("", tables); len(found) != tables {
		t.Errorf("a key without a prefix is compared with %d outputs, want %d", len(found), tables)
	}
}
