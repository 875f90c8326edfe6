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
// docs/expressions.md is the reference for users: all types, operators and functions, and the rules
// for NULL. A test of package transform evaluates its examples.
//
// # Reading order
//
//   - program.go: Compile, and the methods that evaluate a Program.
//   - syntax.go: what is checked when a pipeline file is read, without a table.
//   - checker.go, operators.go: from the syntax tree to typed closures. value.go has the values.
//   - functions.go has the table of all functions, functions_*.go those of one field.
//   - old.go: old.column, the row before a change.
//   - labels.go: warnings about texts that are no label of an ENUM or SET.
//   - sql.go: SQL in an expression is answered with the accepted spelling.
//
// Packages dateformat and jsonpath implement layouts of dates and paths into JSON documents.
//
// # Decisions
//
//   - A nullable column, and any expression that may be nil, is an operand of ==, !=, ?? and ?:
//     only. nil != "x" is true. json() takes a nil document, because its result may be nil anyway.
//   - An exact number and a float combine only through float(x).
//   - json() gives text, and int(), decimal() and float() convert it. So there is one function and
//     one rule for nil, and a number keeps its digits.
//   - A layout, a pattern or a path must be a literal, so that it is parsed once and its faults are
//     found before any row.
//   - Positions in a text count characters, as in MySQL, and begin at 0, as in expr-lang.
//   - The length of computed texts and the number of compiled nodes have limits, so that no
//     expression occupies a pipeline for ever or uses all memory.
//
// A Program is immutable and safe for concurrent use; each goroutine passes its own Scratch. The
// package does no I/O. transform imports it.
//
// The package has three files more than most. Each function of the language is short, and they are
// more easily found in files by field.
package expression
