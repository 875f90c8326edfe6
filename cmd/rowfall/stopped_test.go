package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/pipelines"
)

// Every command works on the directory of a pipeline that does not run, and the next run continues
// from there.
func TestCommandsOfStoppedPipeline(t *testing.T) {
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	addr, dir := testAddr(t), filepath.Join(t.TempDir(), "node")
	path := s.pipelineFile(t, addr, dir)
	for _, args := range [][]string{
		{"status", path},
		{"jobs", path},
		{"jobs", path, "cancel", "1"},
		{"replay", path, "--from", "binlog.000001:4"},
	} {
		if _, err := command(t, args...); err == nil ||
			!strings.Contains(err.Error(), "holds no data of pipeline zoo") {
			t.Errorf("%q before the first run: %v", args, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a command has created the directory")
	}
	var values []string
	for id := range 300 {
		values = append(values, fmt.Sprintf("(%d, 'v')", id))
	}
	s.exec("INSERT INTO zoo.movers VALUES "+strings.Join(values, ","),
		"INSERT INTO zoo.people (id, country, score, status) VALUES (1, 'SE', 5, 'x')")
	p := startProcess(t, addr, "run", path)
	p.waitForLog("every table is complete")
	begin := s.end()
	s.exec("UPDATE zoo.people SET score = 6")
	s.mustEqual(t, path, addr)
	p.end(syscall.SIGTERM)

	unlogged := []string{
		"SET SESSION sql_log_bin = 0", "UPDATE zoo.people SET score = 7",
		"DELETE FROM zoo.movers WHERE id > 9",
	}
	s.exec(unlogged...)
	mustPrint(t, "job 1 is stored", "backfill", path, "--table", "zoo.movers")
	mustPrint(t, "job 2 is stored", "replay", path, "--from",
		fmt.Sprintf("%s:%d", begin.File, begin.Offset))
	mustPrint(t, "job 3 is stored", "backfill", path, "--table", "zoo.pairs")
	mustPrint(t, "job 3: cancel done", "jobs", path, "cancel", "3")
	list := mustPrint(t, "zoo.movers", "jobs", path)
	if strings.Contains(list, "zoo.pairs") || strings.Count(list, "\n") != 3 {
		t.Errorf("the jobs are\n%s", list)
	}
	for _, args := range [][]string{
		{"jobs", path, "confirm", "1"},
		{"jobs", path, "cancel", "9"},
		{"replay", path, "--from", "time:2199-01-01T00:00:00Z"},
	} {
		if out, err := command(t, args...); err == nil {
			t.Errorf("%q prints %q", args, out)
		}
	}

	p.start()
	isWaiting := func(context.Context) (bool, error) {
		list, err := command(t, "jobs", path)
		return strings.Contains(list, "waiting for confirm") &&
			strings.Count(list, "\n") == 2, err
	}
	waitFor(t, "one job is left, which waits", isWaiting)
	p.end(syscall.SIGTERM)
	list = mustPrint(t, "waiting for confirm", "jobs", path)
	id := strings.Fields(strings.Split(list, "\n")[1])[0]
	status := stoppedStatus(t, path)
	if len(status.Jobs) != 1 || len(status.Rebuilding) != 1 || status.File == "" {
		t.Errorf("the status is %+v", status)
	}
	mustPrint(t, "confirm done", "jobs", path, "confirm", id)
	p.start()
	waitForJobs(t, path)
	s.mustEqual(t, path, addr)

	// The directory is in use, although nothing listens at the address in the file.
	other := filepath.Join(t.TempDir(), "zoo.yaml")
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(other, []byte(strings.Replace(string(text), addr, testAddr(t), 1)), 0o600))
	for _, args := range [][]string{{"status", other}, {"jobs", other}} {
		if _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), "owns it") {
			t.Errorf("%q while the directory is in use: %v", args, err)
		}
	}
	p.end(syscall.SIGTERM)
}

// stoppedStatus returns the status of a pipeline that does not run.
func stoppedStatus(t *testing.T, path string) pipelines.PipelineStatus {
	t.Helper()
	var status pipelines.NodeStatus
	must(t, json.Unmarshal([]byte(mustPrint(t, "{", "status", path, "--json")), &status))
	if len(status.Pipelines) != 1 || status.Pipelines[0].State != pipelines.StateNotRunning {
		t.Fatalf("the status is %+v", status)
	}
	return status.Pipelines[0]
}

// A gap and a table in quarantine show in the status of a stopped pipeline, with the reason.
func TestHolesOfStoppedPipeline(t *testing.T) {
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	addr := testAddr(t)
	path := s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	p := startProcess(t, addr, "run", path)
	p.waitForLog("every table is complete")
	s.exec("ALTER TABLE zoo.people DROP COLUMN score")
	p.waitForLog("a table is in quarantine")
	reaches(t, s, addr) // the line is logged before the table's state is applied
	p.end(syscall.SIGTERM)
	status := stoppedStatus(t, path)
	if q := status.Quarantined; len(q) != 1 || q[0].Table != "zoo.people" || q[0].Reason == "" {
		t.Errorf("the status is %+v", status)
	}
	mustPrint(t, "lag: unknown", "status", path)
	if got := run(t.Context(), []string{"status", path, "--fail-on-gap"}); got != exitFailed {
		t.Errorf("status --fail-on-gap exits with %d, want %d", got, exitFailed)
	}
}

// lockedBuffer is a buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Where the output is no terminal, progress is log lines without escape codes.
func TestProgressAsLog(t *testing.T) {
	defer func(d time.Duration) { progressLogInterval = d }(progressLogInterval)
	progressLogInterval = time.Millisecond
	t.Setenv("NO_COLOR", "1")
	var out lockedBuffer
	text := func(time.Time) string { return "half done" }
	stop, _, err := showProgress(&logFlags{out: &out}, text)
	must(t, err)
	waitFor(t, "two lines are logged", func(context.Context) (bool, error) {
		return strings.Count(out.String(), "INF half done\n") >= 2, nil
	})
	stop()
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("the log contains escape codes: %q", out.String())
	}
}

// A command that waits for a job can be interrupted, and the job goes on.
func TestInterruptedWait(t *testing.T) {
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	s.exec("INSERT INTO zoo.movers VALUES (1, 'a')")
	addr := testAddr(t)
	path := s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	p := startProcess(t, addr, "run", path)
	p.waitForLog("every table is complete")
	lock, err := mysql.Dial(t.Context(), s.config())
	must(t, err)
	must(t, lock.Exec(t.Context(), "LOCK TABLES zoo.movers WRITE"))

	ctx, interrupt := context.WithCancel(t.Context())
	root, ended := newRoot(), make(chan error, 1)
	var out lockedBuffer
	root.SetArgs([]string{"backfill", path, "--table", "zoo.movers"})
	root.SetOut(&out)
	go func() { ended <- root.ExecuteContext(ctx) }()
	waitFor(t, "the job waits for the lock", func(context.Context) (bool, error) {
		list, err := command(t, "jobs", path)
		return strings.Contains(list, "zoo.movers"), err
	})
	interrupt()
	select {
	case err = <-ended:
	case <-time.After(waitLimit):
		err = errors.New("the command goes on")
	}
	if err == nil || !strings.Contains(err.Error(), "job 1 goes on") {
		t.Errorf("an interrupted command: %v", err)
	}
	must(t, lock.Close())
	waitForJobs(t, path)
	mustPrint(t, "job 2 has ended", "backfill", path, "--table", "zoo.movers")
	mustPrint(t, "job 3 reads zoo.movers", "backfill", path, "--table", "zoo.movers", "--no-wait")
	waitForJobs(t, path)
}
