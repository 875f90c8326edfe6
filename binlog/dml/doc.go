// Package dml tells which tables a statement changes that was logged as text instead of rows
// (binlog_format=STATEMENT or MIXED): INSERT, REPLACE, UPDATE, DELETE and LOAD DATA, with their
// subqueries and common table expressions.
//
// It has no full grammar. Where it is not certain, Parse returns an error: a table that is not
// named would be a change that is missed. So a statement that calls a function that may be a stored
// one is an error, because a stored function can change any table.
//
// What triggers, foreign keys and views change is not in a statement's text. The caller has to ask
// the server about the tables that are read and written.
package dml
