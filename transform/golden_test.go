package transform_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// TestGolden runs the scripts of testdata. Each holds a table, a mapping, changes, and the commands
// that the changes must become in the two modes.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, want, _ := strings.Cut(string(text), "-- commands --\n")
			got := runScript(t, head)
			if *update {
				if err := os.WriteFile(file, []byte(head+"-- commands --\n"+got),
					0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func runScript(t *testing.T, script string) string {
	_, rest, _ := strings.Cut(script, "-- table --\n")
	table, rest, _ := strings.Cut(rest, "-- mapping --\n")
	mapping, changes, _ := strings.Cut(rest, "-- changes --\n")
	p := compile(t, mapping, strings.ReplaceAll(strings.TrimSpace(table), "\n", " "))
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(changes), "\n") {
		out.WriteString(line + "\n")
		full := runChange(t, p, line, transform.FullRow)
		delta := runChange(t, p, line, transform.Delta)
		if full == delta {
			out.WriteString(indent("both", full))
			continue
		}
		out.WriteString(indent("full row", full) + indent("delta", delta))
	}
	return out.String()
}

func indent(mode, commands string) string {
	if commands == "" {
		return "  " + mode + ": nothing\n"
	}
	lines := strings.ReplaceAll(strings.TrimSpace(commands), "\n", "\n    ")
	return "  " + mode + ":\n    " + lines + "\n"
}

func runChange(t *testing.T, p *transform.Plan, line string, m transform.Mode) string {
	t.Helper()
	return runChangeIn(t, p, line, m, resolveAlone)
}

// runChangeIn returns the commands of a change. resolve resolves the deferred ones.
func runChangeIn(
	t *testing.T, p *transform.Plan, line string, m transform.Mode,
	resolve func(*transform.Deferred, *transform.Commands) error,
) string {
	var u transform.Commands
	id, err := binlog.ParseTransactionID("gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:23")
	if err != nil {
		t.Fatal(err)
	}
	origin := transform.Origin{Time: 1764396072000123, Transaction: &id}
	if load, ok := strings.CutPrefix(line, "load "); ok {
		line, origin = "insert "+load, transform.Origin{Load: true}
	}
	err = p.Append(&u, parseChange(t, p.Table(), line), m, origin)
	var re *transform.RowError
	if errors.As(err, &re) {
		if len(u.Bytes) != 0 || u.Count != 0 || u.Rows != 0 {
			t.Errorf("an error left %d commands in the buffer", u.Count)
		}
		return "error: " + err.Error() + "\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Resolve(resolve); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	all := commands(t, u.Bytes)
	for _, c := range all {
		out.WriteString(readable(c) + "\n")
	}
	if len(all) != u.Count || u.Rows != 1 {
		t.Errorf("counted %d commands and %d rows for %d commands", u.Count, u.Rows, len(all))
	}
	return out.String()
}

// resolveAlone resolves the deferred commands of a change as a sink without data does. It prints
// REFER if the row begins to yield a shared member, and UNREFER if the row ceases to.
func resolveAlone(d *transform.Deferred, out *transform.Commands) error {
	switch d.Kind {
	case transform.DeferredStreamID:
		out.Bytes = resp.AppendBulkString(out.Bytes, fmt.Sprintf("%d-0", d.Number))
		out.Count++
	case transform.DeferredPublish:
		out.Append([]byte("PUBLISH"), d.Key, d.Member)
	case transform.DeferredReference:
		verb := "UNREFER"
		if d.Begins {
			verb = "REFER"
		}
		out.Append([]byte(verb), d.Key, d.Member, d.Row)
	}
	return nil
}
