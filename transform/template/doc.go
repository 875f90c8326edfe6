// Package template compiles and prints the templates of a pipeline file: those of keys, fields,
// members and values.
//
// A template is literal text with references in braces; {{ and }} print a brace.
//
//   - {column} prints the value of a column.
//   - {pk...} prints the columns that identify a row, with : between them.
//   - {table} and {database} print the names of the table and of its database.
//   - {column|filter|filter} prints a column through filters, from left to right. The filters are
//     urlencode (RFC 3986), lower, upper, hex (lower case), base64 (with padding) and uuid (of
//     16 bytes of BINARY).
//
// In a key, field or member with several parts, a part that can contain : prints % and : as %25 and
// %3A. Therefore {a}:{b} is unambiguous, and prints the same as {pk...} of the columns a and b.
//
// Two questions about templates are answered without a row. Determines returns the columns whose
// values a text determines, which shows whether a key is unique per row. Overlap reports whether
// two templates can print the same text, which shows whether two outputs can write the same key.
//
// The section Templates of docs/expressions.md is the reference for users. A test of package
// transform prints its examples. The package does no I/O. transform imports it.
package template
