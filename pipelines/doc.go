// Package pipelines runs pipelines: it reads a source, transforms its changes with a mapping, and
// applies them to a sink. Pipeline files are parsed in pipelines/file.
//
// # Where to look
//
//   - pipeline.go, supervise.go: one run of a pipeline, and the retries around runs
//   - failover.go: the choice of the server of a run, among source.mysql.addresses
//   - instance.go: a pipeline together with the replication node that it writes to
//   - source: what the loop needs of a source; mysqlsource: MySQL as a source; filesource: binlog
//     files as a source; sink.go: what the loop needs of a sink
//   - throttle.go, delay.go: pauses of jobs; holds: what a pipeline waits for
//   - progress.go, mysql_position.go: the position of the data, parsed and as the sink stores it
//   - start.go, start_tables.go: where a run starts, and with which definitions of tables;
//     history.go: whether the source still has the data's history
//   - loop.go: the loop: read an event, transform, apply; flush.go: the ends of transactions, and
//     when a unit is applied; package pacing: the pauses between units of a busy source
//   - statement.go, effects.go, catalog.go: statements that were logged as text, such as DDL, their
//     effects on tables, and the definitions that they are applied to
//   - row_statement.go: statements whose changes of rows were logged as text; write_checks.go:
//     checks whether such a statement may change other tables than those that it names
//   - schemas.go: comparison of the data's schemas with the server's
//   - tentative.go, schema_dump.go: starts before the recorded definitions, and --schema
//   - former.go, heirs.go, removal.go: keys that a table's former definitions or names wrote, and
//     the removal of keys
//   - field_expiry.go: the removal of fields whose time to live has ended
//   - warnings.go: warnings of the mapping
//   - key_types.go: keys that hold a value of another type than the mapping writes
//   - check_names.go, skipped.go: checks of the mapping against the server
//   - foreign_keys.go, cascades.go, cascade_jobs.go: foreign keys whose cascades are not logged,
//     the tables that depend on parents by these keys, and the jobs after a change of a parent;
//     cascade_deletes.go, reference_scan.go: the search for the rows that a cascade has changed
//   - column_history.go, dropped_tables.go: columns and tables that the mapping names and that were
//     dropped
//   - tables.go: the tables of a run; table_state.go, mapping_state.go: their state in the sink,
//     whose forms are in tablestate; table_lists.go: the lists of tables in the position hash
//   - rebuild.go, rebuild_all.go: what starts the jobs that read tables beside the stream, and what
//     the loop does for them; the jobs are in package jobs
//   - keys.go: what the loop does for jobs that read rows by their keys
//   - search.go, search_condition.go, replay.go, replay_cascades.go: searches for rows to read
//     again, by a condition or in a stretch of the binlog
//   - stopped.go, stored_request.go: the directory of a pipeline that does not run: its status and
//     jobs, and requests for the next run
//   - file_replay.go, file_tables.go: the literal replay of binlog files into an empty directory,
//     without a server
//   - replace.go, replace_progress.go: --from snapshot --replace, which builds all data anew while
//     the old data serve
//   - quarantine.go, requests.go: tables at fault, and what users ask of a running pipeline
//   - prepared.go, prepared_search.go: the rows of XA transactions that are not committed yet, and
//     the search for those that were prepared before the data began
//   - dead_letters.go, dead_letter_changes.go, dead_letter_command.go: rows that cannot be applied,
//     what the stream does with them, and what users ask about them
//   - gaps.go: stretches of the binlog that were left out, and how jobs close such gaps; skip.go,
//     leave_out.go: requests to skip a transaction, and their execution by the loop;
//     entry_gaps.go: changes without entries in lists and streams
//   - stats.go, status.go, status_gaps.go, commands.go, skip_command.go, known_tables.go:
//     what users see: Stats, INFO, ROWFALL
//   - dataset.go, dataset_fields.go, dataset_letters.go: what a replica must hold, for verification
//   - node.go: OpenNode, a node with the ROWFALL commands, with or without a pipeline
//   - shop: the example files
//
// A run is one loop in one goroutine. It loads the sink's state, decides where to start, opens the
// source there, then reads, transforms and applies. Data flow one way, and only return values flow
// back. The position is part of the unit that carries the rows, so a crash between any two
// instructions neither loses a row nor applies rows out of order. The sink holds all state: a
// restart knows only what it loads from there.
//
// The package is larger than others because start, loop, statements and initial load share the
// tables and the position. What does not need those is in packages of its own: file, filesource,
// holds, jobs, mysqlsource, shop, source and tablestate, and MySQL's SQL in binlog/query.
//
// # Behaviour that the contract leaves open
//
// History:
//
//   - At every connect, the last applied transaction is requested again and compared. If the server
//     has another one in its place, the pipeline stops. If the server has purged it, or the state
//     does not describe it, the pipeline continues as long as the server has the position, and
//     Stats.Unproved shows why. A first start has nothing to compare.
//   - An idle source is checked every 10 s for whether it still has the position, because a server
//     that was reset continues to send heartbeats.
//   - Nothing is written before the server has sent its first event. A position that the server
//     cannot serve therefore changes nothing.
//   - A split transaction is resumed with the same mapping and the same tables. On another server,
//     it is unknown whether the transaction exists, so the pipeline stops.
//   - After a move forward (--from), rows are always written in full, since the skipped rows may be
//     missing. After a move back, rows are written in full up to the old head.
//   - A skipped transaction is left out by the stream. If it cannot be read to its end, twice in
//     succession unless it is rejected, its GTID is added to the position, and the stream is opened
//     again.
//   - The tables of a skipped statement are read again with their present definitions.
//   - A gap of all tables concerns the tables that were mapped when the gap was made. A job closes
//     a gap for its table only if the job began after the gap: an earlier job may have read rows
//     before the gap.
//   - The rows of a prepared XA transaction are kept in the state until its XA COMMIT. If they are
//     not there, they are searched for in older binlog files, or the tables are read again.
//   - On a replica, --from is rejected and forgotten.
//   - Data from binlog files have an unknown server (mysql.UnknownServer), because the files do not
//     name the one that has written them. With GTIDs, a run continues on every server that has
//     them. Without GTIDs, a run continues if the server's last transaction at the position is that
//     of the data.
//
// Schemas:
//
//   - A statement is applied to the definitions as of the stream's position (package binlog/ddl).
//     If its effect on a table cannot be told, a job reads the table's definition and rows again.
//   - The data's schema is compared with each table map of the stream, and with the server's own
//     schema once per run, when the stream has reached the end of the binlog. A table with a
//     difference that no statement explains is read again.
//   - A run that begins before a table's definition was recorded reads the table's rows only with
//     columns that a table map with full metadata, --schema or a CREATE TABLE shows. A table
//     without these goes into quarantine.
//   - A revoked SELECT is not a difference: the run is retried until SELECT is granted again.
//   - A created table is empty, and mapped. A table that is renamed into the mapping is read by a
//     job.
//   - A table that a wildcard leaves out because it has no key stays unmapped until it gets one.
//   - The data record that the table of an entry without wildcards was dropped, and which columns
//     that an entry names were dropped or renamed: such names are warnings. New data must find all
//     of them.
//
// Data:
//
//   - The state holds the canonical form of the mapping that built the data, so that an error about
//     another mapping can name the places that differ.
//   - A node that holds keys but no position of the pipeline is not changed. Neither are data that
//     another mapping built. --from snapshot --replace replaces both: an ordinary run fills a
//     second keyspace by an initial load, and the next run continues on it. A run without
//     --replace that can follow the source discards a replacement that is not complete.
//   - After a load, the position's time is the server's clock before the position was read. The
//     data are at least as new as this time.
//   - A table without a key is read by one SELECT, in a consistent snapshot. Its key_columns must
//     be NOT NULL. On a MySQL without GTIDs, and if too many rows change meanwhile, the table is
//     read in the order of its key_columns, byte for byte. Then each chunk costs a scan of the
//     table, unless an index begins with these columns.
//
// # Departure from the contract
//
//   - `row` of a split transaction counts only the row changes of mapped tables, because rows of
//     other tables are not decoded. A resume skips the same number.
package pipelines
