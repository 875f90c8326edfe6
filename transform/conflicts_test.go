package transform_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"rowfall/transform"
)

// prefixedPlans returns the plans of tables t0, t1 and so on, whose keys begin with prefixes.
func prefixedPlans(t *testing.T, prefixes []string) []*transform.Plan {
	t.Helper()
	plans := make([]*transform.Plan, len(prefixes))
	for i, prefix := range prefixes {
		m := parseMapping(t, fmt.Sprintf(`{shop.t%d: {write: [{hash: "%s{id}"}]}}`, i, prefix))
		p, err := transform.Compile(m, parseTable(t, fmt.Sprintf("shop.t%d: id int pk", i)))
		if err != nil {
			t.Fatal(err)
		}
		plans[i] = p
	}
	return plans
}

// The conflicts among many outputs are those of their pairs: each output is reported with the first
// one that it collides with.
func TestConflictsOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		prefixes := make([]string, 12)
		for i := range prefixes {
			for range r.IntN(4) {
				prefixes[i] += string("ab1"[r.IntN(3)])
			}
		}
		plans := prefixedPlans(t, prefixes)
		var want []string
		for n := range plans {
			for i := range n {
				if err := transform.Conflicts([]*transform.Plan{plans[i], plans[n]}); err != nil {
					want = append(want, err.Error())
					break
				}
			}
		}
		got := ""
		if err := transform.Conflicts(plans); err != nil {
			got = err.Error()
		}
		if got != strings.Join(want, "\n") {
			t.Errorf("prefixes %q: got %s\nwant %s", prefixes, got, strings.Join(want, "\n"))
		}
	}
}
