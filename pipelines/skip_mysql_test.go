package pipelines_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/tablestate"
)

// startReplica starts a node that follows another one, and returns its client.
func startReplica(t *testing.T, m *runningInstance) *redis.Client {
	t.Helper()
	c := m.Config.Sink.Node
	c.Dir, c.Listen = filepath.Join(t.TempDir(), "replica"), "127.0.0.1:0"
	c.ReplicaOf = m.Node.Addr()
	node, _, err := pipelines.OpenNode(c, zerolog.New(zerolog.NewTestWriter(t)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	client := redis.NewClient(&redis.Options{Addr: node.Addr(), MaxRetries: -1})
	t.Cleanup(func() {
		_ = client.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client
}

// waitForGaps waits until a server's position hash has n gaps, and returns them.
func waitForGaps(t *testing.T, c *redis.Client, n int) (gaps []tablestate.Gap) {
	t.Helper()
	waitFor(t, "the position has the gaps", func() bool {
		text, err := c.HGet(t.Context(), "rowfall:position:test", "gaps").Result()
		gaps = nil
		if err == nil {
			err = json.Unmarshal([]byte(text), &gaps)
		}
		return len(gaps) == n && (err == nil || n == 0)
	})
	return gaps
}

var skipCommand = regexp.MustCompile(`rowfall skip test\.yaml --at (\S+)`)

// stoppedAt waits until the pipeline stops with an error that contains want, and returns the
// position that it names for rowfall skip.
func (m *runningInstance) stoppedAt(want string) (at string) {
	m.t.Helper()
	waitFor(m.t, "the pipeline stops", func() bool {
		found := skipCommand.FindStringSubmatch(m.Pipeline.Stats().Stopped)
		if found == nil {
			return false
		}
		at = found[1]
		return strings.Contains(m.Pipeline.Stats().Stopped, want)
	})
	return at
}

func (m *runningInstance) mustSkip(args ...any) {
	m.t.Helper()
	args = append([]any{"ROWFALL", "SKIP"}, args...)
	if reply, err := m.client.Do(m.t.Context(), args...).Text(); err != nil || reply != "OK" {
		m.t.Fatalf("%v: %q, %v", args, reply, err)
	}
}

// A transaction that cannot be applied is stepped over as its error says. The gap is in the
// position of every replica, until each table concerned was read again.
func testSkip(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE bad (id INT PRIMARY KEY, v INT, code INT)",
		"INSERT INTO bad VALUES (1, 1, 1)", "CREATE TABLE calm (id INT PRIMARY KEY, v INT)")
	c := d.config("sink:", `  "`+d.name+`.bad": {on_error: stop, write: [{hash: "bad:{id}"}, `+
		`{string: "code:{code}:{id}", value: "{v}"}]}`+"\nsink:")
	m := runInstance(t, c)
	m.wait(d)
	replica := startReplica(t, m)
	d.exec("BEGIN", "INSERT INTO t VALUES (2, 2)", "INSERT INTO bad VALUES (2, 2, NULL)", "COMMIT")
	faulty := d.end()
	d.exec("INSERT INTO t VALUES (3, 3)", "UPDATE t SET v = 20 WHERE id = 2")

	at := m.stoppedAt(d.name + ".bad")
	for _, wrong := range []string{"gtid:x", "binlog.000001:1", at + ",1-1-1", "binlog.000001:5"} {
		if err := m.client.Do(t.Context(), "ROWFALL", "SKIP", wrong).Err(); err == nil ||
			!strings.HasPrefix(err.Error(), "ERR ") {
			t.Errorf("SKIP %s: %v, want ERR", wrong, err)
		}
	}
	if err := replica.Do(t.Context(), "ROWFALL", "SKIP", at).Err(); err == nil {
		t.Error("a replica skips a transaction")
	}
	m.mustSkip(at)
	m.wait(d)
	gaps := waitForGaps(t, replica, 1)
	if g := gaps[0]; g.Cause != "skip" || g.At != at || g.To != faulty.String() ||
		strings.Join(g.Tables, " ") != d.name+".bad "+d.name+".t" {
		t.Errorf("the gap is %+v", g)
	}
	// The skipped row is written in full by the next change of it.
	m.mustHold("t:2", "id", "2")
	m.mustHold("t:3", "v", "3")
	if err := m.client.Do(t.Context(), "ROWFALL", "SKIP", at).Err(); err == nil ||
		!strings.Contains(err.Error(), "include this transaction already") {
		t.Errorf("the transaction is skipped again: %v", err)
	}
	for _, client := range []*redis.Client{m.client, replica} {
		text, err := client.Do(t.Context(), "ROWFALL", "STATUS").Text()
		if err != nil || !strings.Contains(text, "rowfall_test_gap0:id=1,") {
			t.Errorf("STATUS: %v\n%s", err, text)
		}
	}

	// Only the changes of one table are left out.
	d.exec("BEGIN", "INSERT INTO calm VALUES (1, 1)", "INSERT INTO bad VALUES (5, 5, NULL)",
		"INSERT INTO calm VALUES (2, 2)", "COMMIT", "DELETE FROM bad WHERE code IS NULL")
	m.mustSkip(m.stoppedAt(d.name+".bad"), d.name+".bad")
	m.wait(d)
	m.mustHold("calm:2", "v", "2")
	gaps = waitForGaps(t, replica, 2)
	if tables := gaps[1].Tables; strings.Join(tables, " ") != d.name+".bad" {
		t.Errorf("the gap concerns %v", tables)
	}

	for i, table := range []string{"t", "bad"} {
		err := m.client.Do(t.Context(), "ROWFALL", "BACKFILL", d.name+"."+table).Err()
		if err != nil {
			t.Fatal(err)
		}
		if gaps := waitForGaps(t, replica, 2-2*i); i == 0 {
			waitFor(t, "the table has left the gap", func() bool {
				gaps = waitForGaps(t, replica, 2)
				return len(gaps[0].Tables) == 1
			})
		}
	}
	m.mustHold("t:2", "v", "20")
	if s := m.Pipeline.Stats(); len(s.Gaps) > 0 || len(s.Skips) > 0 || len(s.Quarantined) > 0 {
		t.Errorf("status shows %+v", s)
	}
}

// Changes that were logged as a statement can be skipped, where the statement does not show which
// tables they concern (it reads a view). They make a gap of all tables. The tables
// that a skipped statement concerns, also by a new name, are read again, which closes their gap.
func testSkipStatement(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)", "INSERT INTO u VALUES (1, 1)",
		"CREATE VIEW two AS SELECT 2 AS id")
	m := runInstance(t, d.config(`.*": {}`, `.*": {on_truncate: stop, on_drop: stop}`))
	m.wait(d)
	d.exec("SET SESSION binlog_format = 'STATEMENT'", "INSERT INTO t SELECT id, 2 FROM two",
		"SET SESSION binlog_format = 'ROW'", "INSERT INTO t VALUES (3, 3)")
	m.mustSkip(m.stoppedAt("logged as a statement"))
	m.wait(d)
	m.mustHold("t:3", "v", "3")
	if gaps := waitForGaps(t, m.client, 1); len(gaps[0].Tables) > 0 {
		t.Errorf("the gap is %+v, want all tables", gaps[0])
	}
	d.exec("TRUNCATE TABLE u", "INSERT INTO u VALUES (2, 2)")
	m.mustSkip(m.stoppedAt("on_truncate"))
	m.wait(d)
	waitForGaps(t, m.client, 1)
	m.mustHold("u:2", "v", "2")
	if n, err := m.client.Exists(t.Context(), "u:1").Result(); n > 0 || err != nil {
		t.Errorf("the truncated row is there: %d, %v", n, err)
	}
	d.exec("RENAME TABLE u TO w")
	m.mustSkip(m.stoppedAt("on_drop"))
	waitFor(t, "the renamed table is read", func() bool {
		v, err := m.client.HGet(t.Context(), "w:2", "v").Result()
		return err == nil && v == "2"
	})
	waitFor(t, "the old name is in quarantine", func() bool {
		s := m.Pipeline.Stats()
		return len(s.Quarantined) == 1 && strings.Contains(s.Quarantined[0].Reason, "no such table")
	})
	m.mustHold("u:2", "v", "2")
}

// One request names all tables that a stored function has changed. While their gap is open, a
// further request adds a table.
func testSkipTables(t *testing.T, d *database) {
	d.exec("SET GLOBAL log_bin_trust_function_creators = 1")
	for _, table := range []string{"t", "u", "w", "calm"} {
		d.exec("CREATE TABLE "+table+" (id INT PRIMARY KEY, v INT)",
			"INSERT INTO "+table+" VALUES (1, 1)")
	}
	d.exec("CREATE TABLE log (id INT PRIMARY KEY, v INT)",
		"CREATE FUNCTION f(x INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (x, x);"+
			" INSERT INTO u VALUES (x, x); INSERT INTO w VALUES (x, x); RETURN x; END")
	d.grantTrigger()
	m := runInstance(t, d.config("sink:", "  \""+d.name+".log\": {ignore: true}\nsink:"))
	m.wait(d)
	d.inFormat("STATEMENT", "INSERT INTO log VALUES (f(2), 2)")
	d.exec("INSERT INTO calm VALUES (2, 2)")
	at := m.stoppedAt("--table DATABASE.TABLE --table DATABASE.TABLE")
	tt, u, w := d.name+".t", d.name+".u", d.name+".w"
	err := m.client.Do(t.Context(), "ROWFALL", "SKIP", at, tt, d.name+".log").Err()
	if err == nil || !strings.Contains(err.Error(), "is not mapped") {
		t.Errorf("a table that is not mapped is skipped: %v", err)
	}
	m.mustSkip(at, tt, u, tt)
	m.wait(d)
	m.mustHold("calm:2", "v", "2")
	if g := waitForGaps(t, m.client, 1)[0]; g.At != at || !slices.Equal(g.Tables, []string{tt, u}) {
		t.Errorf("the gap is %+v", g)
	}
	m.mustSkip(at, u, w)
	gaps := waitForGaps(t, m.client, 2)
	if g := gaps[1]; g.At != at || g.From != gaps[0].From || g.To != gaps[0].To ||
		!slices.Equal(g.Tables, []string{w}) {
		t.Errorf("the later gap is %+v, the first %+v", g, gaps[0])
	}
	for _, table := range []string{tt, u, w} {
		if err := m.client.Do(t.Context(), "ROWFALL", "BACKFILL", table).Err(); err != nil {
			t.Fatal(err)
		}
	}
	waitForGaps(t, m.client, 0)
	for _, table := range []string{"t", "u", "w"} {
		m.mustHold(table+":2", "v", "2")
	}
	err = m.client.Do(t.Context(), "ROWFALL", "SKIP", at, w).Err()
	if err == nil || !strings.Contains(err.Error(), "rowfall backfill FILE --table "+w) {
		t.Errorf("after the backfills, a request for the transaction: %v", err)
	}
	d.exec("SET GLOBAL log_bin_trust_function_creators = DEFAULT")
}

// --from a later position makes a gap of all tables, which --from snapshot closes.
func testGapOfMove(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := newMemory()
	r := start(t, d.config(), m, "")
	was := d.end()
	m.waitAt(t, was)
	r.kill()
	d.exec("INSERT INTO t VALUES (2, 2)")
	r = start(t, d.config(), m, "now")
	at := d.end()
	m.waitAt(t, at)
	r.kill()
	var gaps []tablestate.Gap
	if err := json.Unmarshal([]byte(m.progress(t).Gaps), &gaps); err != nil || len(gaps) != 1 {
		t.Fatalf("the gaps are %s, %v", m.progress(t).Gaps, err)
	}
	if g := gaps[0]; g.Cause != "--from" || g.From != was.String() || g.To != at.String() ||
		len(g.Tables) != 0 || g.Reason != "" {
		t.Errorf("the gap is %+v", g)
	}
	r = start(t, d.config(), m, "gtid:"+was.GTID.String()) // it replays
	m.waitAt(t, at)
	r.kill()
	got := m.progress(t).Gaps
	if !strings.Contains(got, `"id":1,`) || strings.Contains(got, `"id":2`) {
		t.Errorf("after a move back the gaps are %s", got)
	}
	r = start(t, d.config(), m, "snapshot")
	waitFor(t, "the gap is closed", func() bool { return m.progress(t).Gaps == "" })
	m.waitAt(t, at)
	r.kill()
	mustBeEqual(t, m.rows("t"), d.rows("t"))
}

// Without GTIDs, a transaction is named by the place where it begins.
func TestSkipWithoutGTIDs(t *testing.T) {
	db := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{})
	d := newDatabase(t, db)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	c := d.config(`.*": {}`,
		`.*": {on_error: stop, write: [{hash: "{table}:{id}"}, `+
			`{string: "v:{table}:{v}:{id}", value: "{v}"}]}`)
	m := runInstance(t, c)
	reached := func() {
		waitFor(t, "the data reach the server's end", func() bool {
			fields, err := m.client.HGetAll(t.Context(), "rowfall:position:test").Result()
			end := d.end()
			return err == nil && fields["state"] == "streaming" && fields["file"] == end.File &&
				fields["offset"] == end.String()[len(end.File)+1:]
		})
	}
	reached()
	begins := d.end()
	d.exec("INSERT INTO t VALUES (2, NULL)", "INSERT INTO t VALUES (3, 3)")
	at := m.stoppedAt(d.name + ".t")
	if at != begins.String() {
		t.Errorf("the transaction is named %s, want %s", at, begins)
	}
	m.mustSkip(at)
	reached()
	m.mustHold("t:3", "v", "3")
	if gaps := waitForGaps(t, m.client, 1); gaps[0].From != begins.String() {
		t.Errorf("the gap is %+v", gaps[0])
	}

	// The end of a transaction that cannot be read follows from its length.
	m.stop()
	d.exec("CREATE TABLE calm (id INT PRIMARY KEY, v INT)", "DELETE FROM t")
	transaction, event := writeUnsent(t, d)
	m = runInstance(t, c)
	at = m.stoppedAt("exceeded max_allowed_packet")
	checkUnsent(t, d, m, event)
	if at != transaction.String() {
		t.Errorf("the transaction is named %s, want %s", at, transaction)
	}
	m.mustSkip(at)
	reached()
	m.mustHold("t:5", "v", "5")
	waitForGaps(t, m.client, 2)
}
