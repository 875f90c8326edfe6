package transform_test

import (
	"fmt"
	"strings"
	"testing"

	"rowfall/transform"
)

// Tables may write one list or one stream. A list or a stream cannot have the key of an output of
// another kind. A channel is no key.
func TestConflictsOfActs(t *testing.T) {
	const (
		list    = "{list: events, value: v}"
		stream  = "{stream: events}"
		channel = "{publish: events, message: m}"
		value   = "{string: 'events{id}', value: v}"
	)
	for _, c := range []struct {
		a, b string
		want string
	}{
		{list, list, ""},
		{stream, stream, ""},
		{channel, channel, ""},
		{list, channel, ""},
		{channel, value, ""},
		{list, stream, "give one of them its own prefix"},
		{"{list: 'events{id}', value: v}", value, "give one of them its own prefix"},
		{value, "{stream: 'events{id}'}", "give one of them its own prefix"},
	} {
		var plans []*transform.Plan
		for i, w := range []string{c.a, c.b} {
			m := parseMapping(t, fmt.Sprintf("{shop.t%d: {write: [%s]}}", i, w))
			p, err := transform.Compile(m, parseTable(t, fmt.Sprintf("shop.t%d: id int pk", i)))
			if err != nil {
				t.Fatal(err)
			}
			plans = append(plans, p)
		}
		err := transform.Conflicts(plans)
		if (err != nil) != (c.want != "") ||
			err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s and %s: %v, want %q", c.a, c.b, err, c.want)
		}
	}
}
