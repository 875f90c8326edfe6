package ddl

import (
	"rowfall/binlog"
	"rowfall/binlog/sqltext"
)

// Options are the server and the session in which a statement was executed. A Query event carries
// all of them but the flavor, the version and LowerCaseNames.
type Options struct {
	// MariaDB is set for a MariaDB; MySQL, Percona and others are not set.
	MariaDB bool
	// Version is the server's version as a number: 80036 for 8.0.36, 101106 for 10.11.6.
	// 0 stands for the newest version.
	Version int
	SQLMode SQLMode
	// Database is the session's default database; empty without one.
	Database string
	// Server is the character set and collation of collation_server. A database that is created
	// without a character set has them.
	Server Charset
	// Timestamps is the session's explicit_defaults_for_timestamp.
	Timestamps TimestampDefaults
	// LowerCaseNames is the server's lower_case_table_names. With 1, names are returned in lower
	// case. With 2, a Catalog has to compare names without case.
	LowerCaseNames int
}

// InSession returns o with the session in which a statement was executed.
func (o Options) InSession(ev *binlog.Event) Options {
	o.SQLMode = SQLMode(ev.Session.SQLMode)
	o.Database = ev.Database
	o.Server = Charset{Name: ev.Session.ServerCharset}
	if ev.Session.KnowsExplicitTimestamps {
		o.Timestamps = TimestampsImplicit
		if ev.Session.ExplicitTimestamps {
			o.Timestamps = TimestampsExplicit
		}
	}
	return o
}

// SQLMode is the sql_mode of a session as a Query event contains it, a bit for each mode.
type SQLMode uint64

// The modes that change the meaning of a DDL statement.
const (
	ModeRealAsFloat        SQLMode = 1 << 0
	ModeANSIQuotes         SQLMode = 1 << 2
	ModeOracle             SQLMode = 1 << 9  // of MariaDB; MySQL has no such bit
	ModeMaxDB              SQLMode = 1 << 12 // MySQL 5.7 and MariaDB: TIMESTAMP is DATETIME
	ModeNoBackslashEscapes SQLMode = 1 << 20
	ModeStrictTransTables  SQLMode = 1 << 21
	ModeStrictAllTables    SQLMode = 1 << 22
)

// TimestampDefaults is the session's explicit_defaults_for_timestamp. With OFF, a TIMESTAMP without
// NULL or NOT NULL is NOT NULL.
type TimestampDefaults uint8

// The zero value is the default of the server's version: ON since MySQL 8.0.2 and MariaDB 10.10.
const (
	TimestampsByVersion TimestampDefaults = iota
	TimestampsExplicit
	TimestampsImplicit
)

// newestVersion stands for a version that is not known.
const newestVersion = 990000

func (o *Options) version() int {
	if o.Version == 0 {
		return newestVersion
	}
	return o.Version
}

// mysqlBefore reports whether the server is a MySQL before a version.
func (o *Options) mysqlBefore(version int) bool { return !o.MariaDB && o.version() < version }

// explicitTimestamps reports whether a TIMESTAMP is nullable unless it is declared NOT NULL.
func (o *Options) explicitTimestamps() bool {
	switch o.Timestamps {
	case TimestampsExplicit:
		return true
	case TimestampsImplicit:
		return false
	case TimestampsByVersion:
	}
	if o.MariaDB {
		return o.version() >= 101000
	}
	return o.version() >= 80002
}

// isStrict reports whether a value that does not fit a column's new type is an error.
func (o *Options) isStrict() bool {
	return o.SQLMode&(ModeStrictTransTables|ModeStrictAllTables) != 0
}

// Dialect returns how the text of a statement is to be cut into words.
func (o *Options) Dialect() sqltext.Dialect {
	return sqltext.Dialect{
		ANSIQuotes:         o.SQLMode&ModeANSIQuotes != 0,
		NoBackslashEscapes: o.SQLMode&ModeNoBackslashEscapes != 0,
		MariaDB:            o.MariaDB,
		Version:            o.Version,
	}
}
