// Package bench measures Rowfall with real servers, side by side with what a user
// would otherwise write, a go-mysql canal handler with a go-redis pipeline, and
// with redis-server. It contains only tests, with the build tag bench; `make bench`
// runs them. docs/performance.md describes the figures, their goals and how to
// reproduce them.
//
// Each contender runs in its own process, which is this test binary started again
// (main_test.go). So getrusage measures the contender's CPU without that of the
// servers, the load and the probes. The CPU and the memory of redis-server come
// from /proc, as do those of a node that is compared to it. The benchmark asserts
// no figure, because absolute ones depend on the machine. Only ratios within one
// run are meaningful.
//
// # The parts
//
//   - stream (stream_test.go): all contenders read the same range of one binlog,
//     which is written before, and take turns. The figures are medians over all
//     rounds. The time runs from the contender's first row until the marker, which
//     is the last row of the range, is visible at the destination.
//   - live (live_test.go): a load of a fixed rate. CPU is measured in a run without
//     the latency probe. The node itself would answer the probe's reads, but for
//     canal redis-server answers them.
//   - table (table_test.go): the initial load of a table, the full resync of a
//     replica that joins afterwards, and the memory of node and replica after
//     updates of all rows.
//   - memory (memory_test.go): the memory of more rows, which are fed to a node and
//     to redis-server without MySQL.
//   - reads (reads_test.go): the CPU of GET and HGETALL beside redis-server, and the
//     latency of GET while the node writes rows.
//
// Wherever there was a choice, it was made in favour of the canal handler. Its
// pipeline is flushed every 1,000 commands when throughput is measured and every
// millisecond under a live load, and it stores no position. Rowfall runs with its
// defaults, with everything below package pipelines and with the log on disk. For
// an update it sends the changed fields, as always once a table is complete.
// Neither side uses TLS.
//
// TestBenchDecode, which also has the tag, compares only the decoding of binlog files with
// go-mysql's parser: the CPU from the bytes of the file to the text of each value, in one thread.
//
// Environment variables:
//
//	ROWFALL_BENCH_PARTS          parts to run, separated by commas; default: all
//	ROWFALL_BENCH_ROWS           rows of the stream
//	ROWFALL_BENCH_ROUNDS         rounds, one after the other
//	ROWFALL_BENCH_SECONDS        duration of each run under a live load
//	ROWFALL_BENCH_TABLE_ROWS     rows of the table that is loaded with SELECT
//	ROWFALL_BENCH_UPDATES        updates of these rows before memory is compared
//	ROWFALL_BENCH_BIG_ROWS       rows of the part memory
//	ROWFALL_BENCH_READ_ROWS      rows of the part reads
//	ROWFALL_BENCH_DECODE_ROWS    rows of each binlog file that is decoded
//	ROWFALL_BENCH_DECODE_ROUNDS  rounds of decoding
//	ROWFALL_BENCH_PROFILE        folder for CPU profiles of Rowfall's processes
//	ROWFALL_BENCH_BEFORE         path of an older version's binary, see below
//
// ROWFALL_BENCH_BEFORE compares two versions in one run, in the parts stream, live and table. Its
// value is the path of this package's test binary, built from the older version with
//
//	go test -c -tags bench -o PATH ./internal/bench
//
// Of the older binary only the contender "rowfall" is used, which all versions have.
package bench
