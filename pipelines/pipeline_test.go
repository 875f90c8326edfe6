package pipelines_test

import (
	"slices"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

type part struct {
	name string
	run  func(t *testing.T, d *database)
}

// TestPipeline shares one server of each kind. Each part has its own schema.
func TestPipeline(t *testing.T) {
	// What depends on how a server logs and counts.
	parts := []part{
		{"Split", testSplit},
		{"XA", testXA},
		{"LargeXA", testLargeXA},
		{"XABeforeStart", testXABeforeStart},
		{"Ranges", testRanges},
		{"Followed", testFollowed},
		{"SchemaChanges", testSchemaChanges},
		{"LaggingSchemaChanges", testLaggingSchemaChanges},
		{"SchemaChangesPage", testSchemaChangesPage},
		{"Rewind", testRewind},
		{"RebuildAll", testRebuildAll},
		{"IgnoredRemovals", testIgnoredRemovals},
		{"UnfollowedEngine", testUnfollowedEngine},
		{"Quarantine", testQuarantine},
		{"QuarantineInSplit", testQuarantineInSplit},
		{"QuarantineByDDL", testQuarantineByDDL},
		{"QuarantineAtStart", testQuarantineAtStart},
		{"Skip", testSkip},
		{"SkipStatement", testSkipStatement},
		{"RowStatements", testRowStatements},
		{"RowStatementStops", testRowStatementStops},
		{"RowImages", testRowImages},
		{"RowEvents", testRowEvents},
		{"SkipCut", testSkipCut},
		{"GapOfMove", testGapOfMove},
		{"Charsets", testCharsets},
		{"UnreadableColumn", testUnreadableColumn},
		{"PastMetadata", testPastMetadata},
		{"PastSchema", testPastSchema},
		{"MissedStatements", testMissedStatements},
		{"RenameWithSameKeys", testRenameWithSameKeys},
		{"SwapWithSharedSet", testSwapWithSharedSet},
		{"BackfillWhere", testBackfillWhere},
		{"DeadLetters", testDeadLetters},
		{"Replay", testReplay},
		{"PositionTime", testPositionTime},
		{"Purged", testPurged},
		{"PositionOfDDL", testPositionOfDDL},
		{"NoKey", testNoKey},
		{"Scan", testScan},
		{"ScanOverflow", testScanOverflow},
		{"DoubleKey", testDoubleKey},
		{"NotFollowed", testNotFollowed},
		{"Revoked", testRevoked},
		{"SchemasOfTheServer", testSchemasOfTheServer},
		{"LockedDefinition", testLockedDefinition},
		{"PauseAboveThreads", testPauseAboveThreads},
		{"PauseAboveLag", testPauseAboveLag},
		{"DroppedTable", testDroppedTable},
		{"DroppedColumns", testDroppedColumns},
		{"TimeOfLoad", testTimeOfLoad},
		{"ManyTables", testManyTables},
		{"NewTablesWhileCut", testNewTablesWhileCut},
		{"JobsKilledAtEveryStep", testJobsKilledAtEveryStep},
		{"ActsKilled", testActsKilled},
	}
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		runParts(
			t, servers.MariaDB, append(slices.Clone(parts), part{"Statements", testMariaStatements},
				part{"QuarantineAtRestart", testQuarantineAtRestart},
				part{"RolledBack", testRolledBack},
				part{"Cascades", testCascades},
				part{"ReconcileCascades", testReconcileCascades},
				part{"CascadesByRows", testCascadesByRows},
				part{"LaterCascades", testLaterCascades},
				part{"CascadeSettings", testCascadeSettings},
				part{"Unsent", testUnsent}), // a binlog file cannot be read afterwards
		)
	})
	t.Run("MariaDB118", func(t *testing.T) {
		t.Parallel()
		runParts(t, servers.MariaDB118, []part{
			{"NewTypes", testNewTypes},
			{"Domains", testDomains},
			{"AlterPhases", testAlterPhases},
			{"GeneratedColumns", testGeneratedColumns},
			{"UnfollowedTables", testUnfollowedTables},
			{"Statements", testMariaStatements},
		})
	})
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		runParts(t, servers.MySQL, append(
			slices.Clone(parts),
			part{"Stops", testStops},
			part{"StopAtError", testStopAtError},
			part{"SkipTables", testSkipTables},
			part{"RemovalShows", testRemovalShows},
			part{"KeyTypes", testKeyTypes},
			part{"NullableUnique", testNullableUnique},
			part{"DeadLettersWithTTL", testDeadLettersWithTTL},
			part{"PartialJSON", testPartialJSON},
			part{"CorruptState", testCorruptState},
			part{"Blackhole", testBlackhole},
			part{"CreateOfKnown", testCreateOfKnown},
			part{"Cascades", testCascadesLogged},
			part{"LostWhileBeginning", testLostWhileBeginning},
			part{"Misspelt", testMisspelt},
			part{"BadRewind", testBadRewind},
			part{"OtherData", testOtherData},
			part{"Quiet", testQuiet},
			part{"CloseWhileReading", testCloseWhileReading},
			part{"LargeRows", testLargeRows},
			part{"LargeTransaction", testLargeTransaction},
			part{"ManyDirtyKeys", testManyDirtyKeys},
			part{"Unmapped", testUnmapped},
			part{"Skipped", testSkipped},
			part{"DottedDatabase", testDottedDatabase},
			part{"OlderState", testOlderState},
			part{"EveryFault", testEveryFault},
			part{"SlowTransaction", testSlowTransaction},
			part{"LockedChunk", testLockedChunk},
			part{"SilentQuery", testSilentQuery},
			part{"SilentChunk", testSilentChunk},
			part{"Unsent", testUnsent}, // a binlog file cannot be read afterwards
		))
	})
}

func runParts(t *testing.T, kind servers.Kind, parts []part) {
	db := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true})
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.run(t, newDatabase(t, db)) })
	}
}
