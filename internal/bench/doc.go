// Package bench measures Rowfall with real servers, side by side with what a user
// would otherwise write: a go-mysql canal handler with a go-redis pipeline. It
// contains only tests, with the build tag bench; `make bench` runs them.
//
// Each contender runs in its own process, which is this test binary started again
// (main_test.go). So getrusage measures the contender's CPU without that of the
// servers, the load and the probes. All contenders read the same range of one
// binlog, which is written before, and take turns. The figures are medians over
// all rounds. The time of a stream runs from the contender's first row until the
// marker, which is the last row of the range, is visible at the destination. The
// benchmark asserts no figure, because absolute ones depend on the machine. Only
// ratios within one run are meaningful.
//
// Wherever there was a choice, it was made in favour of the canal handler. Its
// pipeline is flushed every 1,000 commands when throughput is measured and every
// millisecond when latency is measured, and it stores no position. Rowfall runs
// with its defaults, with everything below package pipelines and with the log on
// disk. For an update it sends the changed fields, as always once a table is
// complete. Neither side uses TLS.
//
// TestBenchDecode, which also has the tag, compares only the decoding of binlog files with
// go-mysql's parser: the CPU from the bytes of the file to the text of each value, in one thread.
//
// Environment variables:
//
//	ROWFALL_BENCH_ROWS           rows of the stream
//	ROWFALL_BENCH_ROUNDS         rounds, one after the other
//	ROWFALL_BENCH_TABLE_ROWS     rows of the table that is loaded with SELECT
//	ROWFALL_BENCH_SECONDS        duration of each latency run
//	ROWFALL_BENCH_DECODE_ROWS    rows of each binlog file that is decoded
//	ROWFALL_BENCH_DECODE_ROUNDS  rounds of decoding
//	ROWFALL_BENCH_PROFILE        folder for CPU profiles of Rowfall's processes
package bench
