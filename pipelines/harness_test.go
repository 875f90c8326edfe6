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
	"sync"
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
	"rowfall/replication/keyspace"
	"rowfall/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitLimit bounds every wait; it is no expectation of speed.
const waitLimit = 40 * time.Second

// waitFor waits until done holds.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
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

// database is a schema of its own on a running server.
type database struct {
	t    *testing.T
	addr string
	name string
	conn *mysql.Conn
}

// newDatabase makes an empty schema named after the test.
func newDatabase(t *testing.T, db *servers.Database) *database {
	t.Helper()
	d := &database{t: t, addr: db.Addr()}
	d.name = strings.ToLower(strings.NewReplacer("/", "_", "-", "_", "#", "_").Replace(t.Name()))
	d.name = d.name[max(0, len(d.name)-50):]
	d.conn = d.dial()
	d.exec("CREATE DATABASE `"+d.name+"`", "USE `"+d.name+"`")
	return d
}

func (d *database) dial() *mysql.Conn {
	d.t.Helper()
	c, err := mysql.Dial(d.t.Context(), mysql.Config{Addresses: []string{d.addr}, User: "root", Silence: 10 * time.Minute})
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

// waitForLock waits until a statement waits for LOCK TABLES.
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

// rows returns `id, v` of a table, as text.
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

// config makes a pipeline of all tables of the database; edits are replaced in
// its text, old and new in turn.
func (d *database) config(edits ...string) file.Config {
	d.t.Helper()
	text := fmt.Sprintf(`pipeline: test
source:
  mysql: {addresses: [%q], user: root}
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
	c, err := file.Parse("test.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		d.t.Fatal(err)
	}
	return *c
}

// memory is a sink without a node: a keyspace, and every unit that it took.
type memory struct {
	// before and after are called around each Apply; an error of theirs is what
	// a crash at that instant would leave: the unit not applied, or applied.
	before, after func(u *sink.Unit) error

	mu       sync.Mutex
	keys     *keyspace.Keyspace
	encoder  *sink.Encoder
	units    []appliedUnit
	complete []bool
}

type appliedUnit struct {
	commands string
	progress sink.Progress
}

func newMemory() *memory {
	return &memory{keys: keyspace.New(keyspace.Options{HiddenPrefix: sink.HiddenPrefix}), encoder: sink.NewEncoder("test")}
}

func (m *memory) Load(context.Context) (sink.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.encoder.Load(m.keys)
}

func (m *memory) Apply(_ context.Context, u *sink.Unit) error {
	if m.before != nil {
		if err := m.before(u); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := m.keys.Stage(m.encoder.Encode(nil, u))
	if err == nil {
		m.keys.Publish()
		p := u.Progress
		p.Position = p.Position.Clone()
		m.units = append(m.units, appliedUnit{string(u.Commands.Bytes), p})
	}
	m.mu.Unlock()
	if err == nil && m.after != nil {
		err = m.after(u)
	}
	return err
}

func (m *memory) SetComplete(c bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.complete = append(m.complete, c)
}

func (m *memory) Held() (string, time.Time) { return "", time.Time{} }

// set writes a key behind the pipeline's back.
func (m *memory) set(t *testing.T, command []byte) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.keys.Stage(command); err != nil {
		t.Fatal(err)
	}
	m.keys.Publish()
}

func (m *memory) progress(t *testing.T) sink.Progress {
	t.Helper()
	fields, ok := m.keys.HashFields(sink.PositionKey("test"))
	if !ok {
		return sink.Progress{}
	}
	p, err := sink.ParseProgress(fields)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// taken returns the units since the n-th.
func (m *memory) taken(n int) []appliedUnit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.units[n:])
}

// waitAt waits until the data streams and is at p or beyond.
func (m *memory) waitAt(t *testing.T, p binlog.Position) {
	t.Helper()
	waitFor(t, "the data is at "+p.String(), func() bool {
		at := m.progress(t)
		if at.Phase != sink.Streaming || at.Partial > 0 {
			return false
		}
		if !p.GTID.IsZero() {
			return at.Position.GTID.Contains(p.GTID)
		}
		return at.Position.CompareFile(p) >= 0
	})
}

// rows returns the keys "table:id" as id and v.
func (m *memory) rows(table string) map[string]string {
	rows := make(map[string]string)
	m.keys.Each(table+":", func(key string) {
		fields, _ := m.keys.HashFields(key)
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

// running is a pipeline on its way.
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
	r := &running{t: t, cancel: cancel, ended: make(chan struct{}), pipeline: pipelines.New(c, s, from, zerolog.New(zerolog.NewTestWriter(t)))}
	go func() {
		defer close(r.ended)
		r.err = r.pipeline.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	return r
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

// mustStop waits for the run to end by itself with a StopError that says want.
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
