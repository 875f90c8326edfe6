package transform

import (
	"errors"
	"fmt"

	"rowfall/transform/template"
)

// Conflicts returns an error if two outputs could write the same key, or the same field or member
// of a shared key. The error joins a *MappingError for each output that collides with an earlier
// one. plans holds one plan for each table.
//
// Templates are compared by the texts that they can print: {id} of an integer prints digits, {name}
// of a text prints anything. Outputs of one kind that write fields or members may share a key if
// their fields or members cannot be equal.
func Conflicts(plans []*Plan) error {
	var earlier []ownedOutput
	var faults []error
	for _, p := range plans {
		for i := range p.outputs {
			b := ownedOutput{&p.outputs[i], p.table.Name, p.table.FullName()}
			for _, a := range earlier {
				if collide(a.output, b.output) {
					faults = append(faults, &MappingError{
						Path: b.path, Line: b.line, Message: conflictMessage(a, b),
					})
					break // one fault for each output
				}
			}
			earlier = append(earlier, b)
		}
	}
	return errors.Join(faults...)
}

// ownedOutput is an output with the names of its table.
type ownedOutput struct {
	*output
	table, fullName string
}

// collide reports whether two outputs could write the same key, field or member.
func collide(a, b *output) bool {
	if !template.Overlap(a.key, b.key) {
		return false
	}
	return !shareKey(a, b) || template.Overlap(a.member, b.member)
}

// shareKey reports whether two outputs may write one key, because each row of theirs is a field or
// member of the key.
func shareKey(a, b *output) bool {
	return a.kind == b.kind && a.member != nil && b.member != nil
}

func conflictMessage(a, b ownedOutput) string {
	what := fmt.Sprintf("the key %q of %s could equal the key %q of %s (%s)",
		b.key.Source, b.fullName, a.key.Source, a.fullName, a.path)
	switch {
	case shareKey(a.output, b.output):
		return what + fmt.Sprintf(", and %q could equal %q in it; "+
			"put different literal text in front of one of them", b.member.Source, a.member.Source)
	case a.fullName != b.fullName && a.table == b.table && a.key.Source == b.key.Source:
		return what + "; put {database} into the key, as in {database}:{table}:{pk...}"
	}
	return what + "; give one of them its own prefix"
}
