// Package transform turns changes of rows into Redis commands.
//
// A Mapping is what a pipeline file says; Compile makes a Plan of it for one
// version of one table; a Plan appends the commands of a change to a Unit. The
// package does no I/O, reads no clock and starts no goroutine: the same change
// always becomes the same bytes. Its callers are pipelines (which reads the
// file and runs the loop), and the checkers that compare MySQL with replicas.
//
// Start with mapping.go (what a user can say) and rule.go (which entry holds for a table), then
// validate.go and compile.go (what is refused, without a table and with one), plan.go and output.go
// (what a change becomes). transform/template and transform/expression are the two small languages
// of a mapping, transform/decimal the exact numbers of the latter.
//
// What a Plan promises:
//
//   - Commands of a unit never meet a key of another kind that the same mapping
//     wrote (no WRONGTYPE), provided Conflicts accepted its plans.
//   - Applying every change of a table from its creation, or a snapshot of its
//     rows and every change since, gives the same keys and values.
//   - In mode FullRow a row's commands depend on its two images only, so applying
//     them again, or onto a row that is partly there, mends it; applying a
//     stretch of history again onto later data ends at the later data.
//   - A row that gives an error adds nothing to the unit.
//
// What was chosen where there was a choice:
//
//   - include chooses fields only: a column left out by it may still be part of
//     keys and expressions. exclude is privacy: such a column may decide in
//     where, and may be named nowhere else.
//   - exclude, include and rename of a pattern pass over columns that a table
//     does not have (see UnknownNames); an entry for one table must name columns.
//   - An entry is more specific than another when it matches a true part of its
//     tables; two of which neither does are an error.
//   - Several set, sorted_set or field outputs, of one table or several, may
//     share keys when their members or fields cannot be equal. All else that
//     could write one key twice is a conflict.
//   - A condition as an added field prints 1 or 0, as MySQL prints it, and true
//     or false in JSON. A score that is NULL, or a date with a zero year, month
//     or day, follows when_null.
//
// The package is a little longer than most here, since what is refused when a mapping
// is compiled is what the plan then relies on.
//
// What it leaves out yet: ttl, mask, shared members, nested documents, lists and
// streams.
package transform
