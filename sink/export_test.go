package sink

import (
	"testing"

	"rowfall/transform"
)

// RegisterReferences makes kind, until the test ends, a deferred command that keeps the rows which
// refer to a member in a stored set. The member is in its key while any row refers to it.
func RegisterReferences(t *testing.T, kind transform.DeferredKind) {
	resolvers[kind] = func(r *resolution, d *transform.Deferred) error {
		rows := HiddenPrefix + r.pipeline + ":rows:" + string(d.Key) + ":" + string(d.Member)
		if d.Begins {
			size, added, err := r.addMember(rows, d.Row)
			if err == nil && added && size == 1 {
				r.out.Append([]byte("SADD"), d.Key, d.Member)
			}
			return err
		}
		size, had, err := r.removeMember(rows, d.Row)
		if err == nil && had && size == 0 {
			r.out.Append([]byte("SREM"), d.Key, d.Member)
		}
		return err
	}
	t.Cleanup(func() { delete(resolvers, kind) })
}
