package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/pipelines"
)

// binlogFiles copies the binlog files of a server, in their order, to a folder of their own.
func binlogFiles(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "data", "binlog.[0-9]*"))
	must(t, err)
	found = slices.DeleteFunc(found, func(path string) bool { // MariaDB's indexes of GTIDs
		return filepath.Ext(path) == ".idx"
	})
	if slices.Sort(found); len(found) == 0 {
		t.Fatal("the server has no binlog files")
	}
	copies := t.TempDir()
	for i, path := range found {
		from, err := os.Open(path)
		must(t, err)
		found[i] = filepath.Join(copies, filepath.Base(path))
		to, err := os.Create(found[i])
		must(t, err)
		_, err = io.Copy(to, from)
		must(t, err)
		must(t, from.Close())
		must(t, to.Close())
	}
	return found
}

// literal returns the arguments of a replay of binlog files.
func literal(path string, files []string, more ...string) []string {
	args := append([]string{"replay", path}, more...)
	return append(append(args, "--binlog"), files...)
}

// Binlog files of several servers are replayed into an empty directory, without a server. Then the
// pipeline continues on the server, and the data equal the server's rows.
func TestReplayFiles(t *testing.T) {
	for _, test := range []struct {
		name string
		kind servers.Kind
		gtid bool
		args []string
	}{
		{"mysql", servers.MySQL, true, nil},
		{"mysql-without-gtid", servers.MySQL, false, []string{"--binlog-checksum=NONE"}},
		{"mysql-compressed", servers.MySQL, true, []string{"--binlog-transaction-compression=ON"}},
		{"mariadb", servers.MariaDB, false, nil},
		{
			"mariadb-compressed", servers.MariaDB, false,
			[]string{"--log-bin-compress=ON", "--log-bin-compress-min-len=10"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := t.TempDir()
			s := startSource(t, test.kind, servers.DatabaseOptions{
				Dir: data, GTID: test.gtid, Args: test.args,
			})
			s.fill(200)
			s.exec("FLUSH BINARY LOGS", "ALTER TABLE zoo.movers MODIFY v VARCHAR(50), ADD KEY (v)",
				"UPDATE zoo.movers SET v = REPEAT('v', 50) WHERE id > 3", "FLUSH BINARY LOGS",
				"DELETE FROM zoo.pairs WHERE k2 % 5 = 0")
			files := binlogFiles(t, data)
			addr, dir := testAddr(t), filepath.Join(t.TempDir(), "node")
			path := s.pipelineFile(t, addr, dir)

			must(t, s.db.Shutdown())
			mustPrint(t, "are applied, up to", literal(path, files)...)
			mustPrint(t, "pipeline zoo: not running, on a master\n", "status", path)
			_, err := command(t, literal(path, files)...)
			if err == nil || !strings.Contains(err.Error(), "holds data already") {
				t.Errorf("a replay into data: %v", err)
			}
			if got := run(t.Context(), literal(path, files)); got != exitFailed {
				t.Errorf("it exits with %d, want %d", got, exitFailed)
			}

			must(t, s.db.Restart(t.Context()))
			p := startProcess(t, addr, "run", path)
			s.mustEqual(t, path, addr)
			s.exec("INSERT INTO zoo.movers VALUES (100001, 'later')")
			s.mustEqual(t, path, addr)
			waitForJobs(t, path)
			p.mustNotLog("reading tables", "table read", "compare histories")
		})
	}
}

// mustNotLog checks that the log of the process contains none of some texts.
func (p *process) mustNotLog(texts ...string) {
	p.t.Helper()
	log, err := os.ReadFile(p.log)
	must(p.t, err)
	for _, text := range texts {
		if strings.Contains(string(log), text) {
			p.t.Errorf("the log contains %q", text)
		}
	}
}

// The ends of the stretch are any POSITIONs. Tables that were created before the first file need
// --schema, unless the binlog has full metadata.
func TestReplayFilesStretch(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			data := t.TempDir()
			s := startSource(t, kind, servers.DatabaseOptions{Dir: data, GTID: true})
			begin := s.end()
			s.exec("INSERT INTO zoo.movers VALUES (1, 'a')",
				"INSERT INTO zoo.movers VALUES (2, 'b')")
			s.exec("XA START 'x'", "INSERT INTO zoo.movers VALUES (3, 'c')", "XA END 'x'",
				"XA PREPARE 'x'")
			middle := s.end()
			s.exec("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
			s.exec("UPDATE zoo.movers SET v = 'x' WHERE id = 1",
				"UPDATE zoo.movers SET v = 'x' WHERE id = 2")
			s.commitXA("x")
			all := binlogFiles(t, data)
			last := all[len(all)-1:]
			dump := filepath.Join(t.TempDir(), "dump.sql")
			must(t, os.WriteFile(dump, []byte("CREATE DATABASE zoo CHARACTER SET utf8mb4;\n"+
				"USE zoo;\n"+
				"CREATE TABLE movers (id INT PRIMARY KEY, v VARCHAR(30));\n"), 0o600))
			at := func(file string, offset uint64) string {
				return fmt.Sprintf("%s:%d", file, offset)
			}
			for _, test := range []struct {
				files  []string
				args   []string
				movers string
			}{
				{all, []string{"--to", at(middle.File, middle.Offset)}, "1=a 2=b"},
				{all, []string{"--to", "gtid:" + middle.GTID.String()}, "1=a 2=b"},
				{all, []string{
					"--from", "gtid:" + begin.GTID.String(), "--to",
					"gtid:" + middle.GTID.String(),
				}, "1=a 2=b"},
				{all, nil, "1=x 2=x 3=c"},
				{all, []string{"--from", at(middle.File, middle.Offset)}, "1=x 2=x 3=c"},
				// The rows of the XA transaction are in a file before.
				{last, []string{"--schema", dump}, "1=x 2=x"},
			} {
				path := s.pipelineFile(t, testAddr(t), filepath.Join(t.TempDir(), "node"))
				out, err := command(t, literal(path, test.files, test.args...)...)
				isLost := err != nil && strings.Contains(err.Error(), "rows that were not kept")
				if isLost != (len(test.files) == 1) || err != nil && !isLost ||
					!strings.Contains(out, "are applied") {
					t.Errorf("%q: %v, and prints\n%s", test.args, err, out)
				}
				if got := moversOf(t, path); got != test.movers {
					t.Errorf("%q: %q, want %q", test.args, got, test.movers)
				}
			}
			path := s.pipelineFile(t, testAddr(t), filepath.Join(t.TempDir(), "node"))
			for want, args := range map[string][]string{
				"add --schema dump.sql": literal(path, last),
				"is missing":            literal(path, []string{all[0], all[2]}),
				"within a transaction": literal(path, all, "--to",
					at(middle.File, middle.Offset-1)),
				"no such file is among": literal(path, last, "--from", at("other.000001", 4)),
				"not before --to": literal(path, all, "--from", at(middle.File, middle.Offset),
					"--to", at(begin.File, begin.Offset)),
				"before the first file": literal(path, all, "--from", "time:2001-01-01T00:00:00Z"),
			} {
				_, err := command(t, args...)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q: %v, want %q", args, err, want)
				}
			}
		})
	}
}

// commitXA commits a prepared XA transaction, once its session has ended.
func (s *source) commitXA(xid string) {
	s.t.Helper()
	waitFor(s.t, "XA COMMIT of "+xid, func(ctx context.Context) (bool, error) {
		conn, err := mysql.Dial(ctx, s.config())
		if err != nil {
			return false, err
		}
		defer func() { _ = conn.Close() }()
		err = conn.Exec(ctx, "XA COMMIT '"+xid+"'")
		return err == nil, err
	})
}

// moversOf returns the rows of zoo.movers in the directory of a pipeline that does not run.
func moversOf(t *testing.T, path string) string {
	t.Helper()
	c, err := loadAll([]string{path})
	must(t, err)
	config := c[0].Sink.Node
	config.Listen = "127.0.0.1:0"
	n, _, err := pipelines.OpenNode(config, zerolog.Nop())
	must(t, err)
	defer func() { must(t, n.Close()) }()
	var rows []string
	for _, id := range []string{"1", "2", "3"} {
		if f, ok := n.Keyspace().HashFields("movers:" + id); ok {
			rows = append(rows, id+"="+f["v"])
		}
	}
	return strings.Join(rows, " ")
}

// Full metadata supply the columns of a table that was created before the first file.
func TestReplayFilesMetadata(t *testing.T) {
	data := t.TempDir()
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{
		Dir: data, GTID: true, Args: []string{"--binlog-row-metadata=FULL"},
	})
	s.fill(50)
	s.exec("FLUSH BINARY LOGS")
	before := binlogFiles(t, data)
	s.exec("UPDATE zoo.plain SET g = 'again'", "UPDATE zoo.people SET score = score + 1",
		"UPDATE zoo.movers SET v = 'moved'", "UPDATE zoo.pairs SET v = 3",
		"UPDATE zoo.uniques SET v = 5")
	files := binlogFiles(t, data)[len(before)-1:]
	addr := testAddr(t)
	path := s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	mustPrint(t, "are applied", literal(path, files)...)
	startProcess(t, addr, "run", path)
	s.mustEqual(t, path, addr)
}

// What is whole in files that were cut off is applied, and the error says so. Files that cannot be
// read at all are rejected before the directory is opened.
func TestReplayFilesDamaged(t *testing.T) {
	data := t.TempDir()
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{Dir: data, GTID: true})
	s.exec("INSERT INTO zoo.movers VALUES (1, 'a')", "INSERT INTO zoo.movers VALUES (2, 'b')")
	files := binlogFiles(t, data)
	last := files[len(files)-1]
	text, err := os.ReadFile(last)
	must(t, err)
	broken := func(change func(b []byte) []byte) (path string, err error) {
		must(t, os.WriteFile(last, change(slices.Clone(text)), 0o600))
		path = s.pipelineFile(t, testAddr(t), filepath.Join(t.TempDir(), "node"))
		_, err = command(t, literal(path, files)...)
		return path, err
	}
	for _, cut := range []int{1, 20, 40} {
		path, err := broken(func(b []byte) []byte { return b[:len(b)-cut] })
		if err == nil || !strings.Contains(err.Error(), "cut off") ||
			!strings.Contains(err.Error(), "are applied") {
			t.Errorf("a file without %d bytes: %v", cut, err)
			continue
		}
		if got := moversOf(t, path); got != "1=a" {
			t.Errorf("a file without %d bytes: %q", cut, got)
		}
	}
	path, err := broken(func(b []byte) []byte { b[len(b)-8] ^= 1; return b })
	if err == nil || !strings.Contains(err.Error(), "checksum") || moversOf(t, path) != "1=a" {
		t.Errorf("a wrong checksum: %v", err)
	}
	for want, change := range map[string]func(b []byte) []byte{
		"is encrypted":         func(b []byte) []byte { b[0] = 0xfd; return b },
		"is not a binlog file": func(b []byte) []byte { b[0] = 0; return b },
		"within the event at":  func(b []byte) []byte { return b[:30] },
		"FORMAT_DESCRIPTION":   func(b []byte) []byte { b[8] = 3; return b },
	} {
		path, err := broken(change)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if c, err := loadAll([]string{path}); err != nil {
			t.Error(err)
		} else if _, err := os.Stat(c[0].Sink.Node.Dir); err == nil {
			t.Errorf("%s: the directory was created", want)
		}
	}
}

// Changes of values that the files do not contain are read from the server by the next run.
func TestReplayFilesUnloggedValues(t *testing.T) {
	data := t.TempDir()
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{Dir: data, GTID: true})
	s.fill(20)
	s.exec("ALTER TABLE zoo.movers ADD w INT NOT NULL DEFAULT 4")
	addr := testAddr(t)
	path := s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	out, err := command(t, literal(path, binlogFiles(t, data))...)
	if err == nil || !strings.Contains(err.Error(), "zoo.movers: ") ||
		!strings.Contains(out, "are applied") {
		t.Errorf("the replay prints %q, and returns %v", out, err)
	}
	var status pipelines.NodeStatus
	must(t, json.Unmarshal([]byte(mustPrint(t, "{", "status", path, "--json")), &status))
	if p := status.Pipelines[0]; len(p.Rebuilding) != 1 || p.Phase != "streaming" ||
		p.State != "not running" || !mysql.IsUnknownServer(p.Server) || len(p.Jobs) != 1 {
		t.Errorf("the status is %+v", p)
	}
	p := startProcess(t, addr, "run", path)
	p.waitForLog("INF table read")
	waitForJobs(t, path)
	s.mustEqual(t, path, addr)
	p.end(syscall.SIGTERM)
}

// Without GTIDs, the comparison of the last transaction decides whether a server is the one that
// has written the files.
func TestReplayFilesOfAnotherServer(t *testing.T) {
	data := t.TempDir()
	s := startSource(t, servers.MySQL, servers.DatabaseOptions{Dir: data})
	s.exec("INSERT INTO zoo.movers VALUES (1, 'a')")
	files := binlogFiles(t, data)
	other := startSource(t, servers.MySQL, servers.DatabaseOptions{})
	other.exec("INSERT INTO zoo.movers VALUES (1, 'b')")
	addr := testAddr(t)
	path := other.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	mustPrint(t, "are applied", literal(path, files)...)
	p := startProcess(t, addr, "run", path)
	p.waitForLog("compare histories")
	p.end(syscall.SIGTERM)
	if got := moversOf(t, path); got != "1=a" {
		t.Errorf("the rows are %q", got)
	}
}

// Cascades that the server has not logged stop the replay, or leave the table to the next run.
func TestReplayFilesCascades(t *testing.T) {
	data := t.TempDir()
	s := startSource(t, servers.MariaDB, servers.DatabaseOptions{Dir: data})
	s.exec("CREATE TABLE zoo.stalls (id INT PRIMARY KEY)", "CREATE TABLE zoo.animals "+
		"(id INT PRIMARY KEY, stall INT, FOREIGN KEY (stall) REFERENCES zoo.stalls (id) "+
		"ON DELETE CASCADE)", "INSERT INTO zoo.stalls VALUES (1), (2)",
		"INSERT INTO zoo.animals VALUES (1, 1), (2, 2)", "DELETE FROM zoo.stalls WHERE id = 1")
	files := binlogFiles(t, data)
	addr := testAddr(t)
	path := s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	_, err := command(t, literal(path, files)...)
	if err == nil || !strings.Contains(err.Error(), "cascades: reconcile") {
		t.Errorf("a cascade: %v", err)
	}
	path = s.pipelineFile(t, addr, filepath.Join(t.TempDir(), "node"))
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"zoo.*": {}`,
		`"zoo.*": {cascades: reconcile}`, 1)), 0o600))
	_, err = command(t, literal(path, files)...)
	if err == nil || !strings.Contains(err.Error(), "zoo.animals: ") {
		t.Errorf("a cascade that is reconciled: %v", err)
	}
	p := startProcess(t, addr, "run", path)
	p.waitForLog("INF table read")
	waitForJobs(t, path)
	s.mustEqual(t, path, addr)
}
