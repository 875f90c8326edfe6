// Package transform turns changes of rows into Redis commands.
//
// A Mapping is the tables section of a pipeline file. Compile combines it with one version of a
// table's schema into a Plan. Plan.Append then appends the commands of a change to Commands. The
// package does no I/O, reads no clock and starts no goroutine: the same change always becomes the
// same bytes. Appending does not allocate, except in a few functions of expressions.
//
// Its caller is pipelines, which reads the file, runs the stream and loads tables. Plan.Expect
// serves comparison: it returns what the sink must hold for a row.
//
// # Reading order
//
//   - mapping.go, rule.go: what a user can configure, and which settings a table gets.
//   - kinds.go: the registry of output kinds. A row has all that this package, the reader of
//     pipeline files and the sinks need to know of a kind: its keyword, its settings, the Redis
//     type of its keys, and the function that compiles it.
//   - validate.go, compile.go, compile_output.go: what is rejected, without and with a schema.
//   - conflicts.go: what is rejected because two outputs could write the same key.
//   - change.go, plan.go, output.go: from a change to the outputs, and from an output to the
//     location of a row. Each calls the next.
//   - change_condition.go: the condition that selects the changes of a list, stream or channel.
//   - hash.go, json.go, string.go, set.go, shared_set.go, sorted_set.go: the writer of each kind of
//     output. list.go, stream.go, publish.go: the emitters of the kinds that act once per change.
//     Both use fields.go for the fields of a row, and content.go for values. The writer of strings,
//     JSON and fields of shared hashes is in content.go, too.
//   - scratch.go: the buffers of a plan; errors.go: the errors of mappings and rows.
//   - column_history.go: columns that a table had before; stored_columns.go: where the sink holds
//     the texts of columns.
//   - commands.go, mark.go, deferred.go: the buffer of commands, how its parts are cut and moved,
//     and commands that need stored state to become bytes.
//   - expiry.go, duration.go: when keys and fields expire.
//   - expectation.go, location.go: what the sink must hold for a row, and which row a key is of.
//   - warnings.go: what compiles, but is most likely a mistake.
//
// The sub-package columns is the one place where values are read that may leave. template and
// expression are the two small languages of a mapping; decimal, dateformat and jsonpath have what
// the latter needs; suggest finds the name meant by a misspelt one.
//
// The package has more files than others, because each kind of output has its own. Each file is
// short and holds what its name states.
//
// # How to add a kind of output
//
// Add a number at the end of OutputKind, a row to kinds, and a file with a writer. A kind that acts
// once for each change, and keeps no value for a row, is an emitter instead of a writer. If the
// commands of a row depend on state in the sink, append a Deferred command, and add its resolver to
// package sink (deferred.go there).
//
// # Shared members
//
// Several rows may yield one member of a shared set, so that the location of a row there is key,
// member and a text that identifies the row among those of all tables. The sink stores these texts
// for each member: the rows themselves and never their number, so that a change may be applied
// twice. Writing and removing a row are deferred commands (DeferredReference).
//
// # What a Plan guarantees
//
//   - No command meets a key of another type that the same mapping wrote (WRONGTYPE), if Conflicts
//     accepted the plans of all tables.
//   - The keys and values depend on the rows alone: all changes since a table was created give the
//     same result as a snapshot of its rows and the changes after the snapshot.
//   - In mode FullRow the commands of a change depend on its two images only. Applied twice, or to
//     a row that is incomplete, they give the complete row. After a stretch of history is applied
//     to newer data, the result is the newer data again. The expiry of keys and fields depends on
//     the commit time, too.
//   - A change that fails leaves Commands as it was.
//   - A kind that acts once per change has one effect for each Append of a change that `where`
//     lets through, in every mode. It has none with Origin.Replay, and one with Origin.Load only
//     with `snapshot: true`. So the caller appends each change once.
//
// # Decisions
//
//   - include chooses fields only: keys and expressions may use a column that is not included.
//     exclude and mask are for privacy: only where may use an excluded column, and where sees the
//     masked values like every expression. Messages show neither. package columns is the one place
//     where values are read that may leave.
//
//   - Of several masks of a column the strongest applies: redact, sha256, truncate, and the shorter
//     truncate. The hash is HMAC-SHA256 with the salt as its key.
//
//   - A mask is not invertible, and neither is a value that is cut (too_long: truncate). A location
//     does not determine such a column, so that it must determine a key of the table by others.
//
//   - A masked or cut value is text. A value that is omitted (too_long: omit) is NULL.
//
//   - Names in exclude, include, rename, mask and max_bytes of a wildcard may be missing in some of
//     its tables (see UnknownNames). An entry for one table must name columns that exist, or that
//     the table had before (see ColumnHistory). A column that was excluded or masked must still be
//     so after a RENAME COLUMN.
//
//   - An entry is more specific than another if it matches only a part of the other's tables. If
//     two entries match a table and neither is more specific, that is an error.
//
//   - Outputs of kind set, sorted_set, or hash with a field may share keys with outputs of the same
//     kind, of the same or another table, if their members or fields cannot be equal. Any other two
//     outputs that could write the same key are a conflict. Shared sets may share keys and members
//     with each other, and with no other output.
//
//   - A condition as a computed field is 1 or 0, as MySQL prints it, and true or false in JSON.
//
//   - A score that is NULL, or a date with a zero year, month or day, follows when_null.
//
//   - Outputs of one kind that acts once per change (list, stream) may share keys with each other,
//     of the same or another table.
//
//   - An output with ttl or expire_at has no deltas: the stored row may have expired. The times are
//     absolute, so that all replicas agree. A row whose expire_at has passed (Origin.Now) is
//     removed alone, although its key may be shared.
//
//   - An output with a field has no expiry of its key: the field expires. The transform only keeps
//     the times in the sorted set Mapping.FieldExpiry; the caller removes the fields that are due.
//
// Not implemented yet: nested documents.
package transform
