package pipelines

import (
	"fmt"
	"maps"
	"slices"

	"rowfall/transform"
)

// CompareFieldExpiry compares the members of the sorted set of fields that expire
// (Mapping.FieldExpiry) with the fields that the rows make, and returns one sentence for each
// difference.
func (d *Dataset) CompareFieldExpiry(members []string) (diffs []string) {
	held := make(map[string]bool, len(members))
	for _, m := range members {
		held[m] = true
		if d.fields[m] {
			continue
		}
		key, field, ok := transform.ParseFieldEntry([]byte(m))
		if !ok {
			diffs = append(diffs, fmt.Sprintf("%q is no field that expires", m))
		} else if !d.failed.mayHave(key, field) {
			diffs = append(diffs, fmt.Sprintf("the field %q of %q expires, but no row gives it an "+
				"expiry", field, key))
		}
	}
	for _, m := range slices.Sorted(maps.Keys(d.fields)) {
		if !held[m] {
			key, field, _ := transform.ParseFieldEntry([]byte(m))
			diffs = append(diffs, fmt.Sprintf("the field %q of %q does not expire", field, key))
		}
	}
	return diffs
}
