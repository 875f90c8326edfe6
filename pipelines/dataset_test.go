package pipelines

import (
	"context"
	"testing"

	"rowfall/sink"
)

// oneKey is a replica that holds one key.
type oneKey struct {
	key   string
	value sink.RemoteValue
}

func (oneKey) Addr() string { return "replica" }

func (k oneKey) Each(_ context.Context, visit func(string, sink.RemoteValue) error) error {
	return visit(k.key, k.value)
}

// A dataset whose rows share members of a set can be compared with several replicas.
func TestCompareTwice(t *testing.T) {
	d := Dataset{keys: map[string]sink.RemoteValue{
		"s": {Type: "set", Set: []string{"b", "a", "b", "a"}},
	}}
	for range 2 {
		held := oneKey{"s", sink.RemoteValue{Type: "set", Set: []string{"a", "b"}}}
		if diffs, err := d.Compare(t.Context(), held, 10); err != nil || len(diffs) > 0 {
			t.Errorf("%v, and the differences are %v", err, diffs)
		}
	}
}
