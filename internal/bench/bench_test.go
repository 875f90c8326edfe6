//go:build bench

package bench_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// bench is one run.
type bench struct {
	*testing.T
	source *source
	report report

	rows, rounds, tableRows int
	updates                 int // updates of rows of the table, before memory is measured
	bigRows                 int // rows that are fed to servers without MySQL, for their memory
	readRows                int // rows of the servers that reads are measured of
	seconds                 time.Duration
	profiles                string // folder for CPU profiles; "": no profiles
	before                  bool   // an older version of Rowfall is measured, too
}

// parts are the parts of the benchmark, in their order. Each can run without the others.
var parts = []struct {
	name    string
	measure func(*bench)
}{
	{"stream", (*bench).measureStream},
	{"live", (*bench).measureLive},
	{"table", (*bench).measureTable},
	{"memory", (*bench).measureBigMemory},
	{"reads", (*bench).measureReads},
}

func TestBench(t *testing.T) {
	began := time.Now()
	in := servertest.Need(t, servers.MySQL, servers.Redis)
	b := &bench{
		T: t, rows: envNumber(t, "ROWS", 500_000), rounds: envNumber(t, "ROUNDS", 3),
		tableRows: envNumber(t, "TABLE_ROWS", 1_000_000),
		updates:   envNumber(t, "UPDATES", 5_000_000),
		bigRows:   envNumber(t, "BIG_ROWS", 10_000_000),
		readRows:  envNumber(t, "READ_ROWS", 100_000),
		seconds:   time.Duration(envNumber(t, "SECONDS", 8)) * time.Second,
		profiles:  os.Getenv("ROWFALL_BENCH_PROFILE"),
		before:    os.Getenv(beforeEnv) != "",
	}
	b.report.addHeader(
		"%d cores, %s %s/%s, %s, %s",
		runtime.NumCPU(),
		runtime.Version(),
		runtime.GOOS,
		runtime.GOARCH,
		in.Version(servers.MySQL),
		in.Version(servers.Redis),
	)
	b.report.addHeader("Load average before: %s", loadAverage())
	b.source = newSource(t)
	selected := selectedParts(t)
	for _, part := range parts {
		if slices.Contains(selected, part.name) {
			part.measure(b)
		}
	}
	b.report.addNote(
		"Servers, load and contenders share the cores: only ratios within one run are " +
			"meaningful. " +
			"CPU is that of the contender's process alone. " +
			"Figures are medians of the rounds, and a ratio is the median of their ratios.",
	)
	b.report.addNote("The run took %s.", time.Since(began).Round(time.Second))
	fmt.Println(&b.report)
}

// selectedParts returns the names in ROWFALL_BENCH_PARTS, separated by commas; all if it is empty.
func selectedParts(t *testing.T) []string {
	var all []string
	for _, part := range parts {
		all = append(all, part.name)
	}
	text := os.Getenv("ROWFALL_BENCH_PARTS")
	if text == "" {
		return all
	}
	selected := strings.Split(text, ",")
	for _, name := range selected {
		if !slices.Contains(all, name) {
			t.Fatalf("ROWFALL_BENCH_PARTS=%q: want names among %q, separated by commas", text, all)
		}
	}
	return selected
}

// loadAverage returns the load average, which shows whether the machine is busy with other work.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// envNumber returns the number in an environment variable ROWFALL_BENCH_name, or a default value.
func envNumber(t *testing.T, name string, value int) int {
	text := os.Getenv("ROWFALL_BENCH_" + name)
	if text == "" {
		return value
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ROWFALL_BENCH_%s=%q: want a number of at least 1", name, text)
	}
	return n
}
