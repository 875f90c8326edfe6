package transform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rowfall/transform/template"
)

// Conflicts returns an error if two outputs could write the same key, or the same field or member
// of a shared key. The error joins a *MappingError for each output that collides with an earlier
// one. plans holds one plan for each table.
//
// Templates are compared by the texts that they can print: {id} of an integer prints digits, {name}
// of a text prints anything. Outputs of one kind that write fields or members may share a key if
// their fields or members cannot be equal. Outputs of one kind that acts once per change may share
// a key: its entries belong to no row. A channel is no key. Shared outputs may
// share keys and members.
func Conflicts(plans []*Plan) error {
	var all []ownedOutput
	index := prefixIndex{byPrefix: make(map[string][]int)}
	for _, p := range plans {
		for i := range p.outputs {
			if p.outputs[i].kind.RedisType() == "" {
				continue
			}
			index.add(p.outputs[i].key.Prefix(), len(all))
			all = append(all, ownedOutput{&p.outputs[i], p.table.Name, p.table.FullName()})
		}
	}
	slices.Sort(index.sorted)
	var faults []error
	for n, b := range all {
		for _, i := range index.candidates(b.key.Prefix(), n) {
			if collide(all[i].output, b.output) {
				faults = append(faults, &MappingError{
					Path: b.path, Line: b.line, Message: conflictMessage(all[i], b),
				})
				break // one fault for each output
			}
		}
	}
	return errors.Join(faults...)
}

// prefixIndex finds outputs by the literal texts with which their keys begin. It exists because
// every DDL statement of a mapped table checks the outputs of all tables, of which there may be
// thousands.
type prefixIndex struct {
	byPrefix map[string][]int // the numbers of outputs, ascending
	sorted   []string         // the prefixes
	found    []int            // buffer of candidates
}

func (x *prefixIndex) add(prefix string, n int) {
	if x.byPrefix[prefix] == nil {
		x.sorted = append(x.sorted, prefix)
	}
	x.byPrefix[prefix] = append(x.byPrefix[prefix], n)
}

// candidates returns the numbers below end of the outputs whose prefix begins with prefix, or with
// which prefix begins, in ascending order. Other outputs cannot write the same keys. The result is
// valid until the next call.
func (x *prefixIndex) candidates(prefix string, end int) []int {
	x.found = x.found[:0]
	for size := range len(prefix) {
		x.found = append(x.found, x.byPrefix[prefix[:size]]...)
	}
	first, _ := slices.BinarySearch(x.sorted, prefix)
	for _, longer := range x.sorted[first:] {
		if !strings.HasPrefix(longer, prefix) {
			break
		}
		x.found = append(x.found, x.byPrefix[longer]...)
	}
	x.found = slices.DeleteFunc(x.found, func(n int) bool { return n >= end })
	slices.Sort(x.found)
	return x.found
}

// ownedOutput is an output with the names of its table.
type ownedOutput struct {
	*output
	table, fullName string
}

// Overlap reports whether two plans could write the same key, field or member. Unlike Conflicts, it
// makes no exception for shared outputs.
func Overlap(a, b *Plan) bool {
	for i := range a.outputs {
		for j := range b.outputs {
			if coincide(&a.outputs[i], &b.outputs[j]) {
				return true
			}
		}
	}
	return false
}

// coincide reports whether two outputs could write the same key, field or member.
func coincide(a, b *output) bool {
	switch {
	case !template.Overlap(a.key, b.key):
		return false
	case a.emitter != nil && a.kind == b.kind:
		return false // several tables may write to one key, change by change
	}
	return !shareKey(a, b) || !sameKeyExpiry(a, b) || template.Overlap(a.member, b.member)
}

// collide reports whether coincide is a fault. The members of shared outputs may be equal.
func collide(a, b *output) bool {
	return (a.row == nil || b.row == nil) && coincide(a, b)
}

// shareKey reports whether two outputs may write one key, because each row of theirs is a field or
// member of the key.
func shareKey(a, b *output) bool {
	return a.kind == b.kind && a.member != nil && b.member != nil &&
		(a.row == nil) == (b.row == nil)
}

func conflictMessage(a, b ownedOutput) string {
	what := fmt.Sprintf("the key %q of %s could equal the key %q of %s (%s)",
		b.key.Source, b.fullName, a.key.Source, a.fullName, a.path)
	switch {
	case a.kind == b.kind && (a.row == nil) != (b.row == nil):
		return what + ", and only one of the two is shared; set shared: true for both"
	case shareKey(a.output, b.output) && !sameKeyExpiry(a.output, b.output):
		return what + fmt.Sprintf(", and a key has one expiry, but the outputs have %s and %s; "+
			"give both the same, or different keys",
			a.keyExpiry().describe(), b.keyExpiry().describe())
	case shareKey(a.output, b.output):
		return what + fmt.Sprintf(", and %q could equal %q in it; "+
			"put different literal text in front of one of them", b.member.Source, a.member.Source)
	case a.fullName != b.fullName && a.table == b.table && a.key.Source == b.key.Source:
		return what + "; put {database} into the key, as in {database}:{table}:{pk...}"
	}
	return what + "; give one of them its own prefix"
}
