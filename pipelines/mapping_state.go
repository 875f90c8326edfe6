package pipelines

import (
	"bytes"
	"fmt"
	"strings"

	"rowfall/pipelines/file"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// saveMapping puts the mapping's fingerprint and canonical form into a unit.
func saveMapping(u *sink.Unit, pipeline string, m *transform.Mapping) error {
	text, err := tablestate.Canonical(m)
	if err != nil {
		return err
	}
	u.SetState(pipeline, tablestate.MappingPiece, tablestate.Fingerprint(text))
	u.SetState(pipeline, tablestate.MeaningPiece, text)
	return nil
}

// checkMapping returns a StopError if another mapping than the file's built the data. The error
// names the first place that differs, if the data hold the canonical form of their mapping. The
// first versions stored only the fingerprint.
func checkMapping(c *file.Config, pieces map[string][]byte) error {
	current, err := tablestate.Canonical(&c.Mapping)
	if err != nil {
		return err
	}
	stored := pieces[tablestate.MappingPiece]
	if bytes.Equal(stored, tablestate.Fingerprint(current)) {
		return nil
	}
	const (
		what   = "the data was built with another mapping than this file's"
		remedy = "put the old mapping back, or build the data again with --from snapshot --replace"
	)
	old := pieces[tablestate.MeaningPiece]
	var found []tablestate.Difference
	if bytes.Equal(stored, tablestate.Fingerprint(old)) {
		found = tablestate.Compare(old, current)
	}
	if len(found) == 0 {
		return stop("%s: %s; %s", c.Path, what, remedy)
	}
	first := found[0]
	return &StopError{Err: c.Fault(first.Path, "%s, which %s; %s%s",
		what, first.What, remedy, listOthers(found[1:]))}
}

// listOthers returns the paths of further differences in parentheses, at most nine of them.
func listOthers(others []tablestate.Difference) string {
	if len(others) == 0 {
		return ""
	}
	const most = 9
	paths := make([]string, 0, most)
	for _, d := range others[:min(len(others), most)] {
		paths = append(paths, d.Path)
	}
	more := ""
	if len(others) > most {
		more = fmt.Sprintf(" and %d more", len(others)-most)
	}
	return " (other places that differ: " + strings.Join(paths, ", ") + more + ")"
}
