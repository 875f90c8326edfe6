// Package jobs runs the jobs of a pipeline: it reads rows of tables again beside the stream of
// changes, writes what differs to the sink, and removes what no row writes. The initial load, a
// table after an ALTER, a backfill and a table that leaves quarantine are jobs.
//
// The package is longer than 2,500 lines because chunks, scans, keys jobs and sweeps of one table
// exclude each other in details, and all of them use the bracket that is described below.
//
// # Where to look
//
//   - table.go: Table, a mapped table with its Job; what the loop calls while it changes a table
//   - host.go, source.go: what the package needs: the loop, and a reader of the source's rows
//   - engine.go: Engine: which table is scheduled next, the workers, and when results are applied
//   - task.go: task, one query, and the positions that make its result safe
//   - ranges.go: the parts of a large table that are read at the same time
//   - extend.go: what a chunk reads while it waits for a stream that lags
//   - schema_task.go, chunk.go, sweep.go: the three kinds of task, in the order in which a job
//     needs them: for the table's columns, its rows, and the keys that no row writes
//   - scan.go: the task that takes the place of chunks for a table without a key
//   - row_buffer.go: rows between their SELECT and the sink
//   - keys.go, key_batch.go: AddKeys, and the task of a job that reads some rows by their keys
//   - repair.go: writes what differs in the sink, and handles keys of another type
//   - chunk_buffers.go: the buffers of applied chunks, which the next chunks fill
//   - dirty_keys.go: the rows that the stream changes while a chunk is read
//   - rate_limiter.go: rows_per_second; throttle.go: pause_above
//   - remove.go: Removal, which removes all of a table's keys without a query; references.go: the
//     locations of rows in shared sets
//   - letters.go: the dead letters of a table
//   - report.go: the log lines about the progress of jobs
//
// # Who calls what
//
// The goroutine of the loop owns the engine, the tables and the host. It calls Engine.Add when a
// table has a job, Table.MarkDirty for every change of the table, Table.Interrupt or Table.Restart
// when a statement changes the table, and Engine.Step between transactions. Step requests tasks and
// applies results. A worker only runs tasks: it calls the RowReader, which calls the task as
// Collector, with a clone of the table's plan. A task is handed over through channels, so the loop
// and the worker never use one field at a time; what markDirty needs meanwhile is the loop's. Only
// a scan passes a part of its result while it runs.
//
// # The bracket
//
// A task is requested at the stream's position F. The server returns rows as of a moment after
// F and before H, the fence, which is read after the SELECT. From the request on, the loop marks
// what the stream changes as dirty. When the stream has passed H, everything in the result that is
// not dirty is as the stream's data are, and is written. So the stream never waits for a SELECT,
// and nothing old overwrites anything new.
//
// If the rows are read from another server of the same history, F and H are GTID sets.
//
// A result waits for as long as the stream lags. A chunk that waits is extended by the rows that
// follow, up to its share of memory, so that a load does not wait once for each SELECT. A sweep and
// a keys job are not extended: they wait once for each batch.
//
// Three rules follow. A change that logs no rows interrupts the task (Table.Interrupt). While a
// table is in quarantine its changes are not marked dirty, so its job does not run. And a result
// that fails or is discarded is requested again from where the written data end.
//
// # Ranges
//
// Each table has one task at a time, with two exceptions. If a worker is idle and no other table
// waits, a large table is read in several ranges of its key: Table.ranges. Each range has its own
// position, row limit and chunk to repeat. Each chunk has its own bracket and dirty keys: a change
// is marked in all chunks of the table that are in flight, because it may move a row from one range
// to another. The ranges have no state in common, so the order in which their chunks are applied
// does not matter, and a row that two chunks read is written twice.
//
// If no range can be divided, an idle worker reads the next chunk of a range while the chunk before
// waits for its fence or is applied. The two are applied in their order, because each stores how
// far the range was read.
//
// The sweep begins when the last range was read. An interruption discards the chunks of all ranges.
//
// A range is divided in the middle between its position and its end, as numbers. So tables
// whose key begins with a column other than an integer have one range. So do tables whose rows are
// added to a list or a stream, in the order of the key.
//
// # Tables without a key
//
// A table without a unique NOT NULL index is read by one SELECT in a consistent snapshot. H is read
// after the snapshot was opened. The rows are written in batches while the SELECT runs, once the
// stream has passed H. Until the last batch, each row that the stream changes is dirty; after H,
// new rows are not, because the snapshot does not have them. If the dirty keys exceed
// Config.DirtyKeyBytes, or if the server has no GTIDs, the table is read in chunks, and each chunk
// costs a scan of the table. A scan that ends early begins again with the first row.
//
// # What is stored
//
// Table.Job is stored with the data, as JSON, in the unit that carries what it describes: the key
// of the last row that was written, the ranges that are left to read if there are several, and the
// output that is swept. With ranges, the key is one up to which every row was written, so that a
// version that does not know ranges can continue after it. The rest, such as the place within a
// sweep, is lost when a run ends. The next run reads or scans a part again, which changes nothing:
// a chunk writes only what differs (or writes rows in full), and a sweep counts an output only at
// its end. A list or a stream with `snapshot: true` gets an entry for each row of an initial load,
// and a repetition would add another. So such a chunk is written in one unit.
//
// # Keys jobs
//
// Besides its Job, a table may have a keys job: a set of keys whose rows are read again, because
// they changed without a row event, or because a user requested it. The set is stored in blocks.
// The unit that writes the rows of a block also removes the block. If the set becomes too large, or
// the table's columns change, a job that reads every row replaces the keys job.
//
// The table stays complete meanwhile, so the stream writes deltas. A delta relies on the row that
// the sink holds, so a row whose key is in the set is written in mode Replace (Table.MustReplace).
// So what the job has read of a dirty row can be discarded.
//
// Some outputs write a row to a location that the row's key does not determine, such as a set of
// the rows of a country. After the last key, a sweep of these outputs finds the keys and members
// that earlier versions of the rows wrote. Until then every row of the table is written in mode
// Replace. If each location determines the key of its row, the sweep looks up only the locations
// that belong to keys of the set. After a restart it looks up all locations, because the keys that
// were read are not stored.
//
// # Dead letters
//
// A row that cannot be turned into commands is a fault of its table, unless the mapping wants a
// dead letter of the row. Then a job keeps a letter (LetterStore) and goes on. The locations of the
// row stay as they are: a keys job does not remove them, and a sweep keeps all that the row may
// have written. A job that writes a row clears the letter of the row in the same unit. Some of the
// locations at which the old version of a row is stored may not follow from its key. The letter
// holds these, so that a sweep keeps them, and the next change or job that writes the row removes
// them.
//
// # Memory
//
// At most Config.Parallel tasks are read or wait for their fences, and as many are applied
// meanwhile. Each has a share of Config.ChunkBytes: 1 / (2 * Config.Parallel). A chunk, or the
// three batches of a scan, hold about twice their share, or one row each. Dirty keys of a task take
// Config.DirtyKeyBytes; if those of a chunk would take more, only the chunk's own keys are kept. A
// chunk is extended only if its own keys fit into the same memory. A sweep holds a bounded number
// of keys and members of bounded size together, or one scan of them, and marks only these dirty. A
// keys job holds one block, and a few bytes for each key of a set unless there are too many.
//
// The package has more than 12 files because each kind of task, with the state that makes its
// result safe, has its own.
package jobs
