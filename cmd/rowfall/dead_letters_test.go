package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/internal/servers"
)

// Dead letters are listed, retried and dropped while the pipeline runs, and listed and dropped in
// the directory of a process that was killed. status shows their number, and the file's revision.
func TestDeadLettersCommand(t *testing.T) {
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	s.exec("CREATE TABLE zoo.codes (id INT PRIMARY KEY, v INT, code INT)")
	addr, dir := testAddr(t), t.TempDir()
	path := filepath.Join(t.TempDir(), "zoo.yaml")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "pipeline: zoo\nrevision: of May\nsource: {mysql: "+
		"{addresses: [%q], user: root}}\ntables:\n  zoo.codes: {on_error: dead_letter, write: "+
		"[{hash: \"codes:{id}\"}, {string: \"code:{code}:{id}\", value: \"{v}\"}]}\n"+
		"sink: {node: {listen: %q, dir: %q}}\n", s.db.Addr(), addr, dir), 0o600))
	p := startProcess(t, addr, "run", path)
	p.waitForLog("every table is complete")
	mustPrint(t, "no dead letters", "dead-letters", path)
	s.exec("INSERT INTO zoo.codes VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, 3)")
	waitFor(t, "two dead letters", func(context.Context) (bool, error) {
		out, err := command(t, "status", path)
		return strings.Contains(out, "dead letters: 2"), err
	})
	mustPrint(t, "revision: of May", "status", path)
	mustPrint(t, `zoo.codes  "2"`, "dead-letters", path)
	mustPrint(t, "column code: is NULL", "dead-letters", path, "show", "2")
	mustPrint(t, "2 rows are read again", "dead-letters", path, "retry")
	mustPrint(t, "1 row is read again", "dead-letters", path, "retry", "1")
	// A retry that fails after the letter was dropped would keep a letter again.
	waitFor(t, "the retries are over", func(context.Context) (bool, error) {
		out, err := command(t, "jobs", path)
		return strings.Contains(out, "no jobs"), err
	})
	mustPrint(t, "dead letter 1: dropped", "dead-letters", path, "drop", "1")
	if _, err := command(t, "dead-letters", path, "drop", "1"); err == nil ||
		!strings.Contains(err.Error(), "there is no dead letter 1") {
		t.Errorf("a letter is dropped twice: %v", err)
	}
	for _, args := range [][]string{{"show"}, {"drop"}, {"show", "x"}, {"other"}} {
		_, err := command(t, append([]string{"dead-letters", path}, args...)...)
		if !errors.As(err, new(usageError)) {
			t.Errorf("%v: %v", args, err)
		}
	}
	p.kill()
	out := mustPrint(t, `zoo.codes  "2"`, "dead-letters", path)
	if strings.Contains(out, `"1"`) {
		t.Errorf("the dropped letter is listed:\n%s", out)
	}
	mustPrint(t, "dead letters: 1", "status", path)
	if _, err := command(t, "dead-letters", path, "show", "1"); err == nil {
		t.Error("the dropped letter is shown")
	}
	mustPrint(t, "dead letter 2: dropped", "dead-letters", path, "drop", "2")
	mustPrint(t, "no dead letters", "dead-letters", path)
	p.start()
	s.exec("UPDATE zoo.codes SET code = id")
	waitFor(t, "the rows are written", func(context.Context) (bool, error) {
		_, err := askRunning(t.Context(), path, "PING")
		if err != nil {
			return false, nil // the node starts
		}
		n, err := askRunning(t.Context(), path, "EXISTS", "codes:1", "code:1:1", "codes:2",
			"code:2:2", "codes:3", "code:3:3")
		return fmt.Sprint(n) == "6", err
	})
}
