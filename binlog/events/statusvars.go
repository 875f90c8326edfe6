package events

import "rowfall/binlog"

// Codes of the status variables of a QUERY_EVENT, from Query_event::Query_event_status_vars in
// MySQL's libs/mysql/binlog/event/statement_events.h. MariaDB shares those below 128.
const (
	varFlags              = 0
	varSQLMode            = 1
	varCatalogZero        = 2 // with a zero byte behind it, as old servers write it
	varAutoIncrement      = 3
	varCharset            = 4
	varTimeZone           = 5
	varCatalog            = 6
	varTimeNames          = 7
	varDatabaseCollation  = 8
	varTableMapForUpdate  = 9
	varDataWritten        = 10
	varInvoker            = 11
	varUpdatedDatabases   = 12
	varMicroseconds       = 13
	varExplicitTimestamps = 16
	varDDLTransaction     = 17
	varUTF8MB4Collation   = 18
	varRequirePrimaryKey  = 19
	varTableEncryption    = 20

	// MariaDB's own, Q_HRNOW to Q_CHARACTER_SET_COLLATIONS in its sql/log_event.h. The last one is
	// written before varCharset.
	varMariaMicroseconds  = 128
	varMariaXID           = 129
	varMariaGTIDFlags     = 130
	varMariaCharsetChoice = 131
)

// Bits of varMariaGTIDFlags: with binlog_alter_two_phase=ON, an ALTER TABLE is logged when it
// starts, and again when it is committed or rolled back.
const (
	alterStarted    = 2
	alterCommitted  = 4
	alterRolledBack = 8
)

// statusVars are the status variables of a QUERY_EVENT that this package uses.
type statusVars struct {
	session binlog.Session
	// clientCollation is the id of the collation of character_set_client, in which the text is
	// logged; 0 if it is absent.
	clientCollation uint64
	// hasNoEffect is set for an ALTER TABLE that has started or was rolled back.
	hasNoEffect bool
}

// parseStatusVars reads the variables in the order in which servers write them, by their codes. It
// ends at the first code that it does not know, because that variable's length is unknown.
func parseStatusVars(vars []byte) (v statusVars) {
	c := cursor{b: vars}
	for len(c.b) > 0 && !c.truncated {
		switch c.byte() {
		case varFlags, varAutoIncrement, varDataWritten:
			c.bytes(4)
		case varSQLMode:
			v.session.SQLMode = c.uint64()
		case varCatalogZero:
			c.bytes(uint64(c.byte()) + 1)
		case varTimeZone, varCatalog:
			c.bytes(uint64(c.byte()))
		case varCharset: // client, connection, server
			v.clientCollation = uint64(c.uint16())
			c.uint16()
			v.session.ServerCollation = c.uint16()
			v.session.ServerCharset = charsetOf(uint64(v.session.ServerCollation))
		case varTimeNames, varDatabaseCollation, varUTF8MB4Collation:
			c.bytes(2)
		case varTableMapForUpdate, varDDLTransaction:
			c.bytes(8)
		case varInvoker:
			c.bytes(uint64(c.byte())) // user
			c.bytes(uint64(c.byte())) // host
		case varUpdatedDatabases:
			skipDatabases(&c)
		case varMicroseconds:
			c.bytes(3)
		case varExplicitTimestamps:
			v.session.ExplicitTimestamps = c.byte() != 0
			v.session.KnowsExplicitTimestamps = !c.truncated
		case varRequirePrimaryKey, varTableEncryption:
			c.bytes(1)
		case varMariaMicroseconds:
			c.bytes(3)
		case varMariaXID:
			c.bytes(8)
		case varMariaGTIDFlags:
			flags := c.byte()
			v.hasNoEffect = flags&(alterStarted|alterRolledBack) != 0
			if flags&(alterCommitted|alterRolledBack) != 0 {
				c.bytes(8) // the sequence number of the ALTER's start
			}
		case varMariaCharsetChoice:
			c.bytes(4 * uint64(c.byte()))
		default:
			return v
		}
	}
	return v
}

// skipDatabases skips the names of the databases that a statement changes, each with a zero byte
// at its end.
func skipDatabases(c *cursor) {
	const tooMany = 254 // no names follow
	n := c.byte()
	if n == tooMany {
		return
	}
	for range n {
		for c.byte() != 0 && !c.truncated {
		}
	}
}
