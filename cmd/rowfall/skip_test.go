package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/pipelines"
	"rowfall/sink"
)

// command runs rowfall in this process, and returns what it prints and its error.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// mustPrint runs rowfall and checks that it prints a text.
func mustPrint(t *testing.T, want string, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil || !strings.Contains(out, want) {
		t.Errorf("%q: %v, and prints\n%s\nwant %q", args, err, out, want)
	}
	return out
}

// A request to skip a transaction is stored in the directory of a process that was killed, and
// survives a start that is killed as well before it reaches the transaction.
func TestSkipOfStoppedProcess(t *testing.T) {
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	s.exec("CREATE TABLE zoo.codes (id INT PRIMARY KEY, v INT, code INT)",
		"CREATE TABLE zoo.calm (id INT PRIMARY KEY)")
	addr, dir := testAddr(t), t.TempDir()
	path := filepath.Join(t.TempDir(), "zoo.yaml")
	write := func(mysql string) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "pipeline: zoo\nsource: {mysql: "+
			"{addresses: [%q], user: root}}\ntables:\n  zoo.codes: {on_error: stop, write: "+
			"[{hash: \"codes:{id}\"}, {string: \"code:{code}:{id}\", value: \"{v}\"}]}\n"+
			"  zoo.calm: {}\n"+
			"sink: {node: {listen: %q, dir: %q}}\n", mysql, addr, dir), 0o600))
	}
	write(s.db.Addr())
	p := startProcess(t, addr, "run", path)
	p.waitForLog("every table is complete")
	mustPrint(t, "pipeline zoo: streaming, on a master", "status", path, "--fail-on-gap")
	s.exec("INSERT INTO zoo.codes VALUES (1, 1, NULL)", "INSERT INTO zoo.codes VALUES (2, 2, 2)")
	p.waitForLog("rowfall skip " + path)
	log, err := os.ReadFile(p.log)
	must(t, err)
	at := regexp.MustCompile(`--at (\S+)`).FindStringSubmatch(string(log))[1]
	mustPrint(t, "pipeline zoo: stopped, on a master", "status", path)
	p.kill()

	mustPrint(t, "pipeline zoo: not running, on a master\n", "status", path)
	_, err = command(t, "skip", path, "--at", at, "--table", "zoo.codes", "--table", "zoo.other")
	if err == nil || !strings.Contains(err.Error(), "not mapped") {
		t.Errorf("a table that is not mapped is skipped: %v", err)
	}
	if out := mustPrint(t, "not running", "status", path); strings.Contains(out, "skipped") {
		t.Errorf("the rejected request is stored:\n%s", out)
	}
	mustPrint(t, "changes of zoo.codes, zoo.calm in the transaction", "skip", path, "--at", at,
		"--table", "zoo.codes", "--table", "zoo.calm")
	mustPrint(t, "will be skipped: "+at+" in zoo.codes, zoo.calm", "status", path)
	mustPrint(t, "after the next start", "skip", path, "--at", at)
	write("127.0.0.1:1") // MySQL is not reached
	p.start()
	p.waitForLog("it will retry")
	p.kill()
	write(s.db.Addr())
	p.start()
	waitFor(t, "the transaction is skipped", func(context.Context) (bool, error) {
		out, err := command(t, "status", path)
		return strings.Contains(out, "gap 1: skip "+at+", tables zoo.codes"), err
	})
	waitFor(t, "the next one is applied", func(ctx context.Context) (bool, error) {
		return hasKey(ctx, addr, "codes:2")
	})

	if got := run(t.Context(), []string{"status", path, "--fail-on-gap"}); got != exitFailed {
		t.Errorf("status --fail-on-gap exits with %d, want %d", got, exitFailed)
	}
	var status pipelines.NodeStatus
	must(t, json.Unmarshal([]byte(mustPrint(t, "{", "status", path, "--json")), &status))
	if list := status.Pipelines; len(list) != 1 || list[0].State != "streaming" ||
		len(list[0].Skips) != 0 || len(list[0].Gaps) != 1 || list[0].Gaps[0].At != at {
		t.Errorf("the status is %+v", status)
	}
	_, err = command(t, "skip", path, "--at", at)
	if err == nil || !strings.Contains(err.Error(), "include this transaction already") {
		t.Errorf("the transaction is skipped again: %v", err)
	}

	s.exec("DELETE FROM zoo.codes WHERE code IS NULL")
	mustPrint(t, "job 1", "backfill", path, "--table", "zoo.codes")
	waitFor(t, "the gap is closed", func(context.Context) (bool, error) {
		out, err := command(t, "status", path)
		return !strings.Contains(out, "gap"), err
	})
	mustPrint(t, "pipeline zoo: streaming", "status", path, "--fail-on-gap")
}

// hasKey reports whether a server has a key.
func hasKey(ctx context.Context, addr, key string) (bool, error) {
	r := sink.OpenRemote(addr, "")
	defer func() { _ = r.Close() }()
	reply, err := r.Do(ctx, "EXISTS", key)
	return reply == int64(1), err
}

// Every part of the status is printed.
func TestStatusText(t *testing.T) {
	var s pipelines.NodeStatus
	must(t, json.Unmarshal([]byte(`{"role": "replica", "pipelines": [{"name": "shop",
		"state": "stopped", "gtid": "0-1-7", "file": "log.000001", "offset": "99", "server": "s",
		"time": "1700000000123456", "rebuilding": ["shop.a", "shop.b"], "stopped": "no disk",
		"quarantined": [{"table": "shop.q", "reason": "odd", "position": "gtid:0-1-6"}],
		"gaps": [{"id": 4, "cause": "--from", "from": "gtid:0-1-2", "to": "gtid:0-1-5",
			"tables": [], "reason": "because", "time": 1700000000000000},
			{"id": 5, "cause": "skip", "at": "gtid:0-1-7", "from": "gtid:0-1-6",
			"to": "gtid:0-1-7", "tables": ["shop.t", "shop.u"], "time": 0}],
		"skips": [{"at": "gtid:0-1-9", "tables": ["shop.t"]}],
		"held": [{"reason": "a lock", "since": "2026-11-28T10:00:00Z"}],
		"jobs": [{"id": 3, "table": "shop.a", "state": "reading", "rows": 5, "estimate": 9,
			"reason": "backfill"}],
		"unmapped": [{"table": "shop.x", "reason": "no key"}]}]}`), &s))
	want := `pipeline shop: stopped, on a replica
  position: log.000001:99 of server s, committed 2023-11-14T22:13:20Z
  gtid: 0-1-7
  stopped: no disk
  held: a lock, since 2026-11-28T10:00:00Z
  in quarantine: shop.q after gtid:0-1-6: odd
  rebuilding: shop.a, shop.b
  job 3: shop.a, reading, 5 rows of about 9: backfill
  not mapped: shop.x: no key
  gap 4: --from, all tables (because), made 2023-11-14T22:13:20Z, after gtid:0-1-2 until gtid:0-1-5
  gap 5: skip gtid:0-1-7, tables shop.t, shop.u, made unknown, after gtid:0-1-6 until gtid:0-1-7
  will be skipped: gtid:0-1-9 in shop.t
`
	if got := statusText(&s); got != want {
		t.Errorf("the status is\n%s", got)
	}
	if gaps, quarantined := s.CountHoles(); gaps != 2 || quarantined != 1 {
		t.Errorf("it counts %d gaps and %d tables in quarantine", gaps, quarantined)
	}
	s.Pipelines = []pipelines.PipelineStatus{{Name: "new", State: "snapshot"}}
	want = "pipeline new: snapshot, on a replica\n  position: none yet\n"
	if got := statusText(&s); got != want {
		t.Errorf("the status of a new pipeline is\n%s", got)
	}
}
