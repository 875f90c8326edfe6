package ddl

import (
	"strings"

	"rowfall/binlog/sqltext"
)

// Action is what a Statement does.
type Action uint8

// The actions. Unknown, the zero Action, is a statement that this package does not understand.
const (
	Unknown Action = iota
	// Other is a statement that changes no table's columns or rows: it is about views, routines,
	// triggers, events, sequences, users, grants or the server.
	Other
	CreateTable
	AlterTable // also CREATE INDEX and DROP INDEX
	RenameTable
	DropTable
	TruncateTable
	CreateDatabase
	AlterDatabase
	DropDatabase
)

var actionNames = [...]string{
	Unknown: "unknown", Other: "other", CreateTable: "create table", AlterTable: "alter table",
	RenameTable: "rename table", DropTable: "drop table", TruncateTable: "truncate table",
	CreateDatabase: "create database", AlterDatabase: "alter database",
	DropDatabase: "drop database",
}

// String returns the action's name: "alter table".
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return actionNames[Unknown]
}

// TableName is a table with its database.
type TableName struct{ Database, Table string }

// String returns "database.table".
func (n TableName) String() string { return n.Database + "." + n.Table }

// Statement is a DDL statement. Which fields are set depends on its Action.
type Statement struct {
	Action Action
	// Tables are the tables that the statement changes, in the order of the text. For RenameTable
	// these are pairs of an old and a new name. For Other these are the views or sequences that it
	// creates, alters or drops.
	Tables []TableName
	// Object is the kind of object of Other: "VIEW", "SEQUENCE", "PROCEDURE", "GRANT".
	Object string
	// Creates is set for Other if the statement is a CREATE. With OrReplace, it may replace the
	// object.
	Creates bool
	// Temporary is set for a table that only the session sees; its rows are never logged. A DROP
	// TABLE without TEMPORARY can drop such a table too, which its text does not show.
	Temporary             bool
	IfExists, IfNotExists bool
	OrReplace             bool
	Ignore                bool       // ALTER IGNORE TABLE removes rows that violate a new key
	Like                  *TableName // CREATE TABLE ... LIKE
	Select                bool       // CREATE TABLE ... SELECT
	Changes               []Change   // of AlterTable, and the definition of CreateTable
	Database              string     // of the actions on databases
	Reason                string     // why the Action is Unknown
	databaseCharset       charsetClause
	options               Options
	sql                   string
}

// Change is one clause of ALTER TABLE, or one column, key or option of CREATE TABLE.
type Change struct {
	Kind ChangeKind
	// Column is the new definition of AddColumn and ModifyColumn.
	Column *ColumnDef
	// Key is the key of AddKey.
	Key *KeyDef
	// Name is the column or key as it was named before the statement. NewName is the name that
	// RenameColumn and RenameKey give it.
	Name, NewName string
	// First and After are the new place of AddColumn and ModifyColumn.
	First bool
	After string
	// Table is the other table of RenameTo, ExchangePartition, AttachTable and DetachTable.
	Table TableName
	// IfExists and IfNotExists make the clause do nothing where the column or key is missing or
	// exists.
	IfExists, IfNotExists bool
	// Text is a short name of the clause for messages: "DROP PARTITION".
	Text      string
	charset   charsetClause
	invisible bool
	value     string // the new default, or the engine
}

// ChangeKind is the kind of a Change.
type ChangeKind uint8

// The kinds of Change.
const (
	// KeepsRows is a clause that changes neither columns, unique keys nor rows.
	KeepsRows ChangeKind = iota
	AddColumn
	DropColumn
	ModifyColumn // also CHANGE
	RenameColumn
	SetDefault // value is empty for DROP DEFAULT
	SetVisibility
	AddKey
	DropKey
	DropPrimaryKey
	RenameKey
	// DropConstraint drops a CHECK, a foreign key or a unique key.
	DropConstraint
	SetCharset
	ConvertCharset
	RenameTo
	SetEngine
	// RewritesRows is a clause that changes or removes rows without logging them.
	RewritesRows
	ExchangePartition
	AttachTable // MariaDB: CONVERT TABLE t TO PARTITION p
	DetachTable // MariaDB: CONVERT PARTITION p TO TABLE t
	// StopsFollowing makes the table one whose rows cannot be followed; Text is the reason.
	StopsFollowing

	// addPeriod makes the columns value and NewName the start and end of the period Name.
	addPeriod
	dropPeriod
)

// Mentions reports whether a table occurs in the statement's text for which match returns true. It
// is for a statement that is Unknown, so it may report a column or a string of that name.
func (s *Statement) Mentions(match func(TableName) bool) bool {
	// A name that is never found would be a table whose change is missed. So comments for other
	// servers count, and so do double quotes, whatever the session's sql_mode.
	d := sqltext.Dialect{NoBackslashEscapes: s.options.Dialect().NoBackslashEscapes}
	scanner := d.NewScanner([]byte(s.sql))
	var before, last token // the two tokens before the current one
	for t, ok := scanner.Next(); ok; t, ok = scanner.Next() {
		current := newToken(t, d)
		if current.kind != tokenMark {
			if match(s.options.TableName("", current.text)) {
				return true
			}
			if last.is(".") && match(s.options.TableName(before.text, current.text)) {
				return true
			}
		}
		before, last = last, current
	}
	return scanner.Unterminated()
}

// TableName returns a table's name as the server stores it.
func (o *Options) TableName(database, table string) TableName {
	if database == "" {
		database = o.Database
	}
	if o.LowerCaseNames == 1 {
		database, table = strings.ToLower(database), strings.ToLower(table)
	}
	return TableName{database, table}
}
