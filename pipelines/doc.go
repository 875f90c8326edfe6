// Package pipelines runs pipelines: it opens source, mapping and sink, and moves
// transactions from one to the other. Their files are read in pipelines/file.
//
// A Pipeline (pipeline.go) is one loop (loop.go): ask the sink where the data
// stands and decide where to begin (begin.go), open the source there, then read,
// transform, apply. Data flows one way and only return values go back. Rows that
// must be read again (the first load) go through the Reconciler, which lives in
// the same loop and shares its order. Statements that are logged as text are
// judged in statement.go. What a pipeline waits for although nothing has failed (a
// lock in MySQL, a query without an answer, its sink) is gathered in holds.go and
// shown by ROWFALL STATUS (status.go). A Instance (runner.go) is a pipeline with a node of its
// own; it follows the node's role and retries what can pass.
//
// The package is larger than others: beginning, loop, statements and first load share
// the tables and the place in the stream, and a border between them would be as wide
// as they are.
//
// What it promises: a row is never lost and never applied out of order; a crash
// between any two instructions keeps this true, since the position is part of
// the unit that carries the rows. It is no second place for state: everything it
// knows after a restart it read from the sink.
//
// What was chosen where the contract is silent:
//
//   - At every connect the last applied transaction is read again and compared
//     (history.go). Another one in its place stops the pipeline. Where the server no
//     longer has it, or the state does not describe it, the pipeline continues if the
//     server has the position, and Stats.Unproved says why until the next comparison.
//     A first start has nothing to compare and reports nothing.
//   - A source that is idle is asked every 10 s whether it still has the position: a
//     MySQL or MariaDB that was reset goes on sending heartbeats.
//   - Nothing is written before the server has sent its first event, so that a
//     position it cannot serve costs nothing.
//   - A split transaction is gone on with under the same mapping and the same
//     tables, which are state too. On another server than the one that was read,
//     whether the transaction is there cannot be told: the pipeline stops.
//   - After a move forth (--from) rows are written whole for ever, since what was
//     passed over may be missing. After a move back they are until the old head.
//   - An ALTER of a mapped table passes if each of its clauses is known to leave
//     rows and columns alone (alter.go), and the columns compare equal too. So the
//     schema that the data knows is the one of every row that is read.
//   - The schema that the data know is compared with each table map, as it comes, and with
//     the server's own where the stream has reached the end of the binlog: once per run,
//     and after each statement. A difference that no statement tells of stops the
//     pipeline. A SELECT that was revoked is no difference; the run is retried until it
//     is granted again.
//   - A table that is created begins empty. One that is renamed into the mapping
//     stops the pipeline; one that is gone again when its CREATE comes by is left
//     out. A table that a wildcard leaves out for want of a key stays out.
//   - The state holds the meaning of the mapping that built the data (meaning.go) beside its
//     fingerprint, so that another mapping is named by the places that differ.
//   - A node that holds keys, but no position of the pipeline, is left alone; so
//     is data that another mapping built. --from snapshot replaces both.
//   - A table whose key cannot be compared exactly (DOUBLE) cannot be loaded. Under
//     a wildcard the first load leaves it out; where nothing is loaded (start: now,
//     a table that is created later) it is mapped.
//   - The position's time after a load is the server's clock before the position was
//     read, so that the data are at least as new as that.
//   - A table without any key is loaded in the order of its key_columns, byte for
//     byte, and they must be NOT NULL. Each chunk costs a scan of the table, unless
//     an index begins with them.
//   - --from is for a master: on a replica it is refused, and forgotten.
//
// Where it departs from the contract:
//
//   - `row` of a split transaction counts the row images of mapped tables only, not
//     of all: rows of other tables are passed over without being decoded, so
//     nobody knows their number. A resume passes over as many as it says.
package pipelines
