// Package bench measures Rowfall against real servers, in one run and beside what a user would write today: a go-mysql
// canal handler with a go-redis pipeline. It is tests only, built with the tag bench; `make bench` runs it.
//
// A contender runs in a process of its own (main_test.go), which is this test binary started again, so that its CPU is
// counted by getrusage and holds nothing of the servers, the load or the probes. All contenders read the same stretch of
// one binlog, written beforehand, and take turns; their figures are medians over the rounds. The clock of a stream runs
// from the contender's first row to the moment when a marker, the last row of the stretch, is visible where the rows go.
// No figure is asserted: the machine decides about the absolute ones, and only ratios within one run mean anything.
//
// Where there was a choice the rival got the better part: its pipeline is flushed every 1,000 commands where throughput
// counts and every millisecond where latency does, and it keeps no position. Rowfall runs with its defaults, log on disk
// included, from `pipelines` down; an update is the fields that changed, as always once a table is complete. Neither side
// uses TLS.
//
// Environment: ROWFALL_BENCH_ROWS (rows of the stream), ROWFALL_BENCH_ROUNDS, ROWFALL_BENCH_TABLE_ROWS (rows of the table
// that is loaded by SELECT), ROWFALL_BENCH_SECONDS (of each latency run), ROWFALL_BENCH_PROFILE (a folder: CPU profiles of
// Rowfall's processes are written there).
package bench
