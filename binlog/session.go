package binlog

// Session is what a Statement's meaning depends on besides its text and default database: settings
// of the session that executed it. Servers log them with each statement.
type Session struct {
	// SQLMode is the sql_mode, a bit for each mode. The bits are those of sql/system_variables.h in
	// MySQL and sql/sql_class.h in MariaDB.
	SQLMode uint64
	// ServerCollation is the id of collation_server; 0 if it is not logged.
	ServerCollation uint16
	// ServerCharset is the character set of ServerCollation; empty if it is not known.
	ServerCharset string
	// ExplicitTimestamps is explicit_defaults_for_timestamp. It is valid if
	// KnowsExplicitTimestamps is set; otherwise the default of the server's version holds.
	ExplicitTimestamps, KnowsExplicitTimestamps bool
	// IsTextInexact is set if characters of the statement could not be converted to UTF-8. Each of
	// their bytes is U+FFFD in the text.
	IsTextInexact bool
}
