// Package template compiles and renders the templates of a pipeline file: keys,
// fields, members and values.
//
// A template is literal text with {column}, {table}, {database} and {pk...};
// {{ and }} are braces. Filters follow a bar and apply from left to right:
// urlencode (RFC 3986), lower, upper, hex (lower case), base64 (with padding)
// and uuid (16 bytes of BINARY). In keys, fields and members of several parts,
// % and : inside a part become %25 and %3A wherever the part could hold a :, so
// {a}:{b} and a {pk...} of two columns print alike.
//
// The package also knows what a template can print: whether a key tells two
// rows apart (Determines), and whether two templates can print one text
// (Overlap). It does no I/O. Its caller is transform.
package template
