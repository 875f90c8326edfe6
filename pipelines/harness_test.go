package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/pipelines/file/filetest"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := runChild(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// waitLimit bounds every wait. It is generous, since the machine may be loaded.
const waitLimit = 2 * time.Minute

// waitFor waits until done returns true.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	waitUpTo(t, waitLimit, what, done)
}

// waitUpTo is waitFor with another limit.
func waitUpTo(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// database is a schema on a running server, for one test.
type database struct {
	t    *testing.T
	addr string
	name string
	conn *mysql.Conn
}

// newDatabase creates an empty schema named after the test.
func newDatabase(t *testing.T, db *servers.Database) *database {
	t.Helper()
	d := &database{t: t, addr: db.Addr()}
	d.name = strings.ToLower(strings.NewReplacer("/", "_", "-", "_", "#", "_").Replace(t.Name()))
	d.name = d.name[max(0, len(d.name)-50):]
	d.conn = d.dial()
	d.exec("CREATE DATABASE `"+d.name+"`", "USE `"+d.name+"`")
	d.createUser()
	return d
}

// privileges are those that the README names.
const privileges = "SELECT, REPLICATION SLAVE, REPLICATION CLIENT"

// createUser creates the user of config, with the privileges that the README names and no others.
func (d *database) createUser() {
	d.exec("SET sql_log_bin = 0", "CREATE USER IF NOT EXISTS rowfall@'%'",
		"GRANT "+privileges+" ON *.* TO rowfall@'%'", "SET sql_log_bin = 1")
}

// The tests of pipelines run with exactly the privileges that the README names.
func TestPrivilegesOfReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	must(t, err)
	if n := strings.Count(string(text), "GRANT "); n != 1 ||
		!strings.Contains(string(text), "GRANT "+privileges+" ON *.* TO rowfall;") {
		t.Errorf("README.md has %d GRANTs, want one with %s", n, privileges)
	}
}

func (d *database) dial() *mysql.Conn {
	d.t.Helper()
	c, err := mysql.Dial(d.t.Context(),
		mysql.Config{Addresses: []string{d.addr}, User: "root", Silence: 10 * time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (d *database) exec(statements ...string) {
	d.t.Helper()
	for _, sql := range statements {
		if err := d.conn.Exec(d.t.Context(), sql); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// waitForLock waits until a statement waits for a metadata lock.
func (d *database) waitForLock() {
	d.t.Helper()
	waitFor(d.t, "a SELECT waits for the lock", func() bool {
		list, err := d.conn.Query(d.t.Context(), "SHOW PROCESSLIST")
		if err != nil {
			d.t.Fatal(err)
		}
		for i := range list.Rows {
			if list.Text(i, "State") == "Waiting for table metadata lock" {
				return true
			}
		}
		return false
	})
}

func (d *database) end() binlog.Position {
	d.t.Helper()
	p, err := query.End(d.t.Context(), d.conn)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// purge removes all binlog files but the last. The server skips files that are still being read,
// so purge repeats the statement.
func (d *database) purge() {
	d.t.Helper()
	waitFor(d.t, "old binlog files are gone", func() bool {
		d.exec(fmt.Sprintf("PURGE BINARY LOGS TO '%s'", d.end().File))
		r, err := d.conn.Query(d.t.Context(), "SHOW BINARY LOGS")
		if err != nil {
			d.t.Fatal(err)
		}
		return len(r.Rows) == 1
	})
}

// rows returns the columns id and v of a table, as text.
func (d *database) rows(table string) map[string]string {
	d.t.Helper()
	r, err := d.conn.Query(d.t.Context(), "SELECT id, v FROM "+table)
	if err != nil {
		d.t.Fatal(err)
	}
	rows := make(map[string]string, len(r.Rows))
	for _, row := range r.Rows {
		rows[string(row[0])] = string(row[1])
	}
	return rows
}

// config returns a pipeline of all tables of the database. edits are pairs of an old and a new
// text, which are replaced in the file.
func (d *database) config(edits ...string) file.Config {
	d.t.Helper()
	return *filetest.Parse(d.t, "test.yaml", d.configText(edits...))
}

// configText returns the text of the pipeline file that config parses.
func (d *database) configText(edits ...string) string {
	d.t.Helper()
	text := fmt.Sprintf(`pipeline: test
source:
  mysql: {addresses: [%q], user: rowfall}
  backfill: {chunk_rows: 1000}
tables:
  "%s.*": {}
sink:
  node: {listen: "127.0.0.1:0", dir: %q, max_atomic_rows: 10000}
`, d.addr, d.name, filepath.Join(d.t.TempDir(), "node"))
	for i := 0; i+1 < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			d.t.Fatalf("the file has no %q", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	return text
}

// memory is the sink in memory of the pipeline "test".
type memory struct{ *sinktest.Memory }

func newMemory() *memory { return &memory{sinktest.NewMemory("test")} }

// set executes a command that the pipeline has not sent.
func (m *memory) set(t *testing.T, command []byte) {
	t.Helper()
	if err := m.Execute(command); err != nil {
		t.Fatal(err)
	}
}

// stored is the progress that a sink holds, with its position parsed.
type stored struct {
	sink.Progress
	Position binlog.Position
}

func (m *memory) progress(t *testing.T) stored {
	t.Helper()
	p, err := m.Progress("test")
	if err != nil {
		t.Fatal(err)
	}
	if p.Phase == sink.Empty {
		return stored{}
	}
	at, err := pipelines.ParsePosition(p.Position)
	if err != nil {
		t.Fatal(err)
	}
	return stored{p, at}
}

// query executes a read command while a pipeline runs, which alone may use the buffer of m.Read.
func (m *memory) query(ctx context.Context, command ...[]byte) (resp.Reply, error) {
	return (&sink.KeyspaceReader{Keys: m.Keys}).Read(ctx, command...)
}

// waitAt waits until the data are streaming and have reached p.
func (m *memory) waitAt(t *testing.T, p binlog.Position) {
	t.Helper()
	waitFor(t, "the data are at "+p.String(), func() bool { return m.isAt(t, p) })
}

// isAt reports whether the data are complete at a position.
func (m *memory) isAt(t *testing.T, p binlog.Position) bool {
	t.Helper()
	at := m.progress(t)
	if at.Phase != sink.Streaming || at.Partial > 0 {
		return false
	}
	if !p.GTID.IsZero() {
		return at.Position.GTID.Contains(p.GTID)
	}
	return at.Position.CompareFile(p) >= 0
}

// waitAt waits until the data of a run are at a position. It fails if the run ends before.
func (r *running) waitAt(m *memory, p binlog.Position) {
	r.t.Helper()
	waitFor(r.t, "the data are at "+p.String(), func() bool {
		if r.over() {
			r.t.Fatalf("the run has ended: %v", r.err)
		}
		return m.isAt(r.t, p)
	})
}

// rows returns the field v of the keys "table:id", by id.
func (m *memory) rows(table string) map[string]string {
	rows := make(map[string]string)
	m.Keys.Each(table+":", func(key string) {
		fields, _ := m.Keys.HashFields(key)
		rows[strings.TrimPrefix(key, table+":")] = fields["v"]
	})
	return rows
}

func mustBeEqual(t *testing.T, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	bad := 0
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[id]; (!ok || v != want[id]) && bad < 10 {
			t.Errorf("row %s is %q (there: %v), want %q", id, v, ok, want[id])
			bad++
		}
	}
	t.Errorf("%d rows, want %d; they differ", len(got), len(want))
}

// running is a pipeline that was started.
type running struct {
	t        *testing.T
	cancel   context.CancelFunc
	pipeline *pipelines.Pipeline
	ended    chan struct{}
	err      error
}

func start(t *testing.T, c file.Config, s pipelines.Sink, from string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{
		t: t, cancel: cancel, ended: make(chan struct{}),
		pipeline: pipelines.New(c, s, from, zerolog.New(zerolog.NewTestWriter(t))),
	}
	go func() {
		defer close(r.ended)
		r.err = r.pipeline.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

// startFrom starts a run and waits until it has written the position from. Without that wait the
// data may still be at a later position, which a test takes for the end of the replay.
func startFrom(t *testing.T, c file.Config, m *memory, from string) *running {
	t.Helper()
	n := len(m.Units(0))
	r := start(t, c, m, from)
	waitFor(t, "the data are moved to "+from, func() bool {
		if r.over() {
			t.Fatalf("the run has ended: %v", r.err)
		}
		return len(m.Units(n)) > 0
	})
	return r
}

// again runs the pipeline of a run that has ended once more.
func (r *running) again() *running {
	ctx, cancel := context.WithCancel(r.t.Context())
	next := &running{
		t: r.t, cancel: cancel, ended: make(chan struct{}), pipeline: r.pipeline,
	}
	go func() {
		defer close(next.ended)
		next.err = next.pipeline.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-next.ended })
	return next
}

// over reports whether the run has ended.
func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// kill ends the run as a crash would: nothing more is written.
func (r *running) kill() { r.cancel(); <-r.ended }

// mustStop waits until the run ends by itself, with a StopError that contains every text of want.
func (r *running) mustStop(want ...string) {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(waitLimit):
		r.t.Fatalf("the pipeline goes on, although it should stop: %q", want)
	}
	var stopped *pipelines.StopError
	if !errors.As(r.err, &stopped) {
		r.t.Fatalf("ended with %v, want a StopError with %q", r.err, want)
	}
	for _, w := range want {
		if !strings.Contains(r.err.Error(), w) {
			r.t.Errorf("error %q lacks %q", r.err, w)
		}
	}
}

var errCrash = errors.New("crash")

// insertRows inserts rows 1 to n in one transaction of several statements.
func insertRows(d *database, n int) {
	d.t.Helper()
	d.exec("BEGIN")
	for id := 1; id <= n; id++ {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, id*id))
	}
	d.exec("COMMIT")
}

// mustFail waits until the run ends by itself, with an error that a retry may mend.
func (r *running) mustFail(want ...string) {
	r.t.Helper()
	waitFor(r.t, "the run fails", r.over)
	if r.err == nil || errors.As(r.err, new(*pipelines.StopError)) {
		r.t.Errorf("ended with %v, want an error that a retry may mend", r.err)
		return
	}
	for _, w := range want {
		if !strings.Contains(r.err.Error(), w) {
			r.t.Errorf("error %q lacks %q", r.err, w)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quarantined returns the names of the tables in quarantine, without the database, and checks that
// all reasons contain a text.
func (r *running) quarantined(d *database, reason string) string {
	r.t.Helper()
	var names []string
	for _, f := range r.pipeline.Stats().Quarantined {
		names = append(names, strings.TrimPrefix(f.Table, d.name+"."))
		if !strings.Contains(f.Reason, reason) {
			r.t.Errorf("%s is in quarantine because %s", f.Table, f.Reason)
		}
	}
	return strings.Join(names, " ")
}

// backfill reads tables again, which ends their quarantine, and compares all data. The names of the
// tables are separated by spaces.
func (r *running) backfill(d *database, c *file.Config, m *memory, tables string) {
	r.t.Helper()
	for _, table := range strings.Fields(tables) {
		if _, err := r.pipeline.Backfill(r.t.Context(), d.name+"."+table); err != nil {
			r.t.Fatal(err)
		}
	}
	r.mustEqual(d, c, m, fmt.Sprintf("the quarantine of %q", tables))
}
