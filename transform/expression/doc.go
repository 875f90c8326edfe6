// Package expression compiles the expressions of a pipeline file: where, add
// and score.
//
// The language is expr-lang's, read by its parser, over the columns of one
// table. Types are checked here and the checked tree becomes Go closures over
// typed values, not expr's virtual machine: columns keep MySQL's types (DECIMAL
// and BIGINT UNSIGNED stay exact, integers never wrap around), what could go
// wrong with a NULL is refused at start and with its place in the text, nothing
// can read a clock, and a row costs no boxed values. Whatever the checker does
// not know is refused, so a later version can only accept more.
//
// # Columns
//
//   - Integers up to 64 bits signed and BIT up to 63 bits are integers; DECIMAL,
//     BIGINT UNSIGNED, BIT(64) and literals with a point are exact; FLOAT and
//     DOUBLE are floats. Exact and float mix only by float(x).
//   - DATE, DATETIME and TIMESTAMP compare with each other and with literals
//     like "2024-05-01" or "2024-05-01 10:00:00" (UTC); TIME likewise.
//   - A SET column stands on the right of in: "admin" in roles.
//   - Everything else is text, compared byte by byte.
//   - A column whose name is no identifier is $env["its name"].
//   - A nullable column (or anything that may be nil) takes part in ==, !=, ??
//     and ?: only. nil != "x" is true.
//
// # Operators and functions
//
// == != < <= > >= and or not && || ! in not in contains startsWith endsWith
// matches (a literal pattern) + - * / % ** ?? ?: a..b (after in).
// / and ** give floats; a Bool prints as 1 or 0, as MySQL prints it.
// abs bitand bitor ceil decimal float floor hasPrefix hasSuffix int len lower
// max min replace round string trim trimPrefix trimSuffix unix upper.
// unix(x) is a date's seconds since 1970, exact, with its fraction.
//
// Programs are immutable and safe for concurrent use, each user with its own
// Scratch. The package does no I/O. Its caller is transform. It is a little longer
// than most here, being one language: every operator and function is both checked
// and compiled where it is defined.
package expression
