// Package dml finds the tables that a statement reads and changes: INSERT, REPLACE, UPDATE, DELETE
// and LOAD DATA, with their subqueries and common table expressions. It is for statements that were
// logged as text instead of rows (binlog_format=STATEMENT or MIXED).
//
// Parse does not know the full grammar. It returns an error for a statement that it does not
// certainly understand, because a table that it overlooked would have changes that nobody applies.
// For example, it rejects a statement that calls a function that may be a stored one, because a
// stored function can change any table.
//
// What triggers, foreign keys and views change is not in a statement's text. The caller has to ask
// the server about the tables that are read and written.
//
//   - dml.go: Parse, the kinds of statement, and the tables that they change
//   - body.go: the rest of a statement: its tables, subqueries and function calls
//   - functions.go: the built-in functions, and the words that may precede a parenthesis
//   - scanner.go: the words of a statement
package dml
