// Package expression compiles and evaluates the expressions of a pipeline file: where, add and
// score.
//
// The syntax is that of expr-lang, parsed by its parser; the names are the columns of one table.
// This package checks the types, and turns the checked tree into Go closures over typed values. It
// does not use expr-lang's virtual machine, for these reasons:
//
//   - Columns keep the precision of MySQL: DECIMAL and BIGINT UNSIGNED are exact, and an integer
//     that overflows is an error.
//   - A NULL that an operator cannot take is rejected when the expression is compiled, with its
//     place in the text.
//   - No expression can read a clock, so the same row always gives the same value.
//   - Values are not boxed, so most expressions do not allocate per row.
//
// Every form that the checker does not support is rejected. A later version can therefore accept
// more without a change to expressions that exist.
//
// # Columns
//
//   - Signed integers, unsigned ones below 64 bits, and BIT up to 63 bits are integers. DECIMAL,
//     BIGINT UNSIGNED, BIT(64) and literals with a decimal point are exact numbers. FLOAT and
//     DOUBLE are floats. An exact number and a float combine only through float(x).
//   - DATE, DATETIME and TIMESTAMP compare with each other, and with literals such as "2024-05-01"
//     or "2024-05-01 10:00:00" (UTC). TIME compares with literals such as "10:30:00".
//   - A SET column may be the right side of in: "admin" in roles.
//   - Every other column is text, compared byte by byte.
//   - A column whose name is not an identifier is written $env["its name"].
//   - A nullable column, and any expression that may be nil, is an operand of ==, !=, ?? and ?:
//     only. nil != "x" is true.
//
// # Operators and functions
//
//	== != < <= > >= and or not && || ! in, not in contains startsWith endsWith
//	matches (a literal pattern) + - * / % ** ?? ?: a..b (after in)
//
//	abs bitand bitor ceil decimal float floor hasPrefix hasSuffix int len lower
//	max min replace round string trim trimPrefix trimSuffix unix upper
//
// / and ** give floats. A condition prints as 1 or 0, as MySQL prints it. unix(x) is the number of
// seconds from 1970 to a date, an exact number with the fraction of the date.
//
// A Program is immutable and safe for concurrent use; each goroutine passes its own Scratch. The
// package does no I/O. transform imports it.
package expression
