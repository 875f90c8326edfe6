package events

import (
	"slices"
	"testing"

	"rowfall/binlog"
)

// The variables behind those that are used are skipped by their lengths.
func TestParseStatusVars(t *testing.T) {
	all := slices.Concat(
		[]byte{varFlags, 1, 2, 3, 4},
		[]byte{varSQLMode, 4, 0, 0, 0, 0, 0, 0, 0},
		[]byte{varCatalog, 3}, []byte("std"),
		[]byte{varAutoIncrement, 1, 0, 1, 0},
		[]byte{varMariaCharsetChoice, 2, 33, 0, 0, 9, 45, 0, 1, 9},
		[]byte{varCharset, 45, 0, 46, 0, 255, 0},
		[]byte{varTimeZone, 6}, []byte("SYSTEM"),
		[]byte{varTimeNames, 1, 0},
		[]byte{varDatabaseCollation, 8, 0},
		[]byte{varTableMapForUpdate, 1, 2, 3, 4, 5, 6, 7, 8},
		[]byte{varDataWritten, 1, 2, 3, 4},
		[]byte{varInvoker, 1, 'u', 2, 'h', 'o'},
		[]byte{varUpdatedDatabases, 2, 'a', 0, 'b', 'c', 0},
		[]byte{varMicroseconds, 1, 2, 3},
		[]byte{varDDLTransaction, 1, 2, 3, 4, 5, 6, 7, 8},
		[]byte{varUTF8MB4Collation, 255, 0},
		[]byte{varRequirePrimaryKey, 1},
		[]byte{varTableEncryption, 1},
		[]byte{varMariaMicroseconds, 1, 2, 3},
		[]byte{varMariaXID, 1, 2, 3, 4, 5, 6, 7, 8},
		[]byte{varMariaGTIDFlags, alterCommitted, 1, 2, 3, 4, 5, 6, 7, 8},
		[]byte{varExplicitTimestamps, 1},
	)
	want := statusVars{clientCollation: 45, session: binlog.Session{
		SQLMode: 4, ServerCollation: 255, ServerCharset: "utf8mb4",
		ExplicitTimestamps: true, KnowsExplicitTimestamps: true,
	}}
	if got := parseStatusVars(all); got != want {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
	for i := range all { // a damaged event ends anywhere
		parseStatusVars(all[:i])
	}
	if got := parseStatusVars(append([]byte{250}, all...)); got != (statusVars{}) {
		t.Errorf("behind an unknown variable: %+v", got)
	}
}

// An ALTER TABLE of MariaDB that has only started, or was rolled back, has no effect.
func TestAlterPhases(t *testing.T) {
	for flags, want := range map[byte]bool{
		alterStarted: true, alterCommitted: false, alterRolledBack: true, alterStarted | 16: true,
		alterCommitted | 16: false, 0: false,
	} {
		vars := append([]byte{varMariaGTIDFlags, flags}, make([]byte, 8)...)
		if got := parseStatusVars(vars).hasNoEffect; got != want {
			t.Errorf("with the flags %d: %v", flags, got)
		}
	}
}
