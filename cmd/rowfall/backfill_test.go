package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rowfall/internal/servers"
)

// rowfall runs a command in this process and returns what it prints.
func rowfall(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// waitForJobs waits until the pipeline of a file lists no job.
func waitForJobs(t *testing.T, path string) {
	t.Helper()
	waitFor(t, "no job is left", func(context.Context) (bool, error) {
		list, err := rowfall(t, "jobs", path)
		if strings.Contains(list, "failed:") {
			t.Fatalf("a job has failed:\n%s", list)
		}
		return list == "no jobs\n", err
	})
}

// backfill and replay correct rows that changed without being logged, in a running pipeline. A
// stopped one keeps the request for its next run.
func TestBackfillAndReplay(t *testing.T) {
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	addr, dir := testAddr(t), filepath.Join(t.TempDir(), "node")
	path := s.pipelineFile(t, addr, dir)
	if _, err := rowfall(t, "backfill", path, "--table", "zoo.movers"); err == nil ||
		!strings.Contains(err.Error(), "holds no data") {
		t.Errorf("a backfill before the first run: %v", err)
	}
	s.exec("INSERT INTO zoo.movers VALUES (1,'a'), (2,'b'), (3,'c'), (4,'d'), (5,'e')",
		"INSERT INTO zoo.people (id, country, score, status) VALUES (1,'SE',5,'x'), (2,'FI',6,'y')")
	p := startProcess(t, addr, "run", path)
	s.mustEqual(t, path, addr)
	unlogged := func(statements ...string) {
		t.Helper()
		s.exec(append([]string{"SET SESSION sql_log_bin = 0"}, statements...)...)
	}
	must := func(want string, args ...string) {
		t.Helper()
		if out, err := rowfall(t, args...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("%q: %q, %v, want %q", args, out, err, want)
		}
	}
	unlogged("UPDATE zoo.movers SET v = 'z' WHERE id IN (2, 3)",
		"INSERT INTO zoo.movers VALUES (6, 'f')",
		"UPDATE zoo.people SET country = 'NO', status = 'hidden' WHERE id = 2")
	for condition, want := range map[string]string{
		"nothing = 1": "Unknown column 'nothing'", "1) OR (1": "parentheses", " ": "is empty",
	} {
		_, err := rowfall(t, "backfill", path, "--table", "zoo.movers", "--where-sql", condition)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the condition %q: %v, want %q", condition, err, want)
		}
	}
	must("job ", "backfill", path, "--table", "zoo.movers", "--where-sql", "v = 'z' OR id > 5")
	must("job ", "backfill", path, "--table", "zoo.people", "--where-sql", "country = 'NO'")
	waitForJobs(t, path)
	s.mustEqual(t, path, addr)

	begin := s.end()
	s.exec("UPDATE zoo.movers SET v = 'logged' WHERE id < 4", "DELETE FROM zoo.movers WHERE id = 5")
	unlogged("UPDATE zoo.movers SET v = 'unlogged' WHERE id = 1",
		"DELETE FROM zoo.movers WHERE id = 2", "INSERT INTO zoo.movers VALUES (5, 'again')")
	must("job ", "replay", path, "--from", fmt.Sprintf("%s:%d", begin.File, begin.Offset))
	waitForJobs(t, path)
	s.mustEqual(t, path, addr)
	for _, args := range [][]string{
		{"replay", path},
		{"replay", path, "--from", "yesterday"},
		{"replay", path, "--from", "time:2199-01-01T00:00:00Z"},
		{"backfill", path},
	} {
		if out, err := rowfall(t, args...); err == nil {
			t.Errorf("%q: %q", args, out)
		}
	}

	p.end(syscall.SIGTERM)
	unlogged("UPDATE zoo.movers SET v = 'stopped' WHERE id = 1", "DELETE FROM zoo.people")
	if _, err := rowfall(t, "backfill", path, "--table", "zoo.mover"); err == nil ||
		!strings.Contains(err.Error(), "did you mean") {
		t.Errorf("a table that is not mapped: %v", err)
	}
	must("is stored", "backfill", path, "--table", "zoo.movers", "--where-sql", "id = 1")
	must("is stored", "backfill", path, "--table", "zoo.people")
	p.start()
	waitFor(t, "the pipeline streams again", func(context.Context) (bool, error) {
		log, err := os.ReadFile(p.log)
		return bytes.Count(log, []byte("streaming pipeline=zoo")) == 2, err
	})
	waitForJobs(t, path)
	s.mustEqual(t, path, addr)
}
