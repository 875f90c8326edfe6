package pipelines_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// pair is a source with a replica.
type pair struct {
	*database
	replica *database
}

func newPair(t *testing.T, kind servers.Kind) pair {
	t.Helper()
	var args []string
	if kind == servers.MariaDB {
		args = []string{"--log-slave-updates"}
	}
	o := servers.DatabaseOptions{GTID: true, Args: args}
	primary := newDatabase(t, servertest.Database(t, kind, o))
	replica := &database{t: t, addr: servertest.Database(t, kind, o).Addr(), name: primary.name}
	replica.conn = replica.dial()
	replica.createUser()
	replica.follow(primary)
	replica.exec("USE `" + primary.name + "`")
	return pair{primary, replica}
}

// readFrom returns the configuration of a pipeline that reads rows from other servers.
func (p *pair) readFrom(addresses ...string) file.Config {
	return p.config("user: rowfall}",
		"user: rowfall, read_from: [\""+strings.Join(addresses, `", "`)+"\"]}",
		"chunk_rows: 1000", "chunk_rows: 100, rows_per_second: 4000",
		`.*": {}`, ".*\": {}\n  \""+p.name+".loose\": {key_columns: [id]}")
}

// stopApplier and startApplier stop and start the execution of what the replica has received.
func (d *database) stopApplier() { d.exec(d.replicaWords("STOP %s SQL_THREAD")) }

func (d *database) startApplier() { d.exec(d.replicaWords("START %s SQL_THREAD")) }

func (d *database) replicaWords(format string) string {
	if d.conn.Server().Flavor == mysql.MariaDB {
		return fmt.Sprintf(format, "SLAVE")
	}
	return fmt.Sprintf(format, "REPLICA")
}

// Rows are read from a replica of the source, and only there. Whatever is wrong with the replica,
// the stream continues.
func TestReadFrom(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, kind)
			for _, table := range []string{"t", "loose"} {
				key := " PRIMARY KEY"
				if table == "loose" {
					key = ""
				}
				p.exec("CREATE TABLE " + table + " (id INT NOT NULL" + key + ", v INT)")
				var values strings.Builder
				for id := range 3000 {
					fmt.Fprintf(&values, ", (%d, 0)", id)
				}
				p.exec("INSERT INTO " + table + " VALUES " + values.String()[2:])
			}
			t.Run("Load", func(t *testing.T) { testReadFromReplica(t, &p) })
			t.Run("Lag", func(t *testing.T) { testReadFromLagging(t, &p) })
			t.Run("Unrelated", func(t *testing.T) { testReadFromUnrelated(t, &p, kind) })
			t.Run("Blank", func(t *testing.T) { testReadFromBlank(t, &p, kind) })
			t.Run("Changed", func(t *testing.T) { testReadFromChanged(t, &p) })
		})
	}
}

func (p *pair) mustEqual(t *testing.T, m *memory) {
	t.Helper()
	m.waitAt(t, p.end())
	for _, table := range []string{"t", "loose"} {
		mustBeEqual(t, m.rows(table), p.rows(table))
	}
}

func isLoaded(t *testing.T, m *memory) func() bool {
	return func() bool { return m.progress(t).Phase == sink.Streaming }
}

// testReadFromReplica loads while rows change.
func testReadFromReplica(t *testing.T, p *pair) {
	var stopping atomic.Bool
	var writers sync.WaitGroup
	defer func() { stopping.Store(true); writers.Wait() }()
	conn := p.dial()
	writers.Go(func() {
		must(t, conn.Exec(t.Context(), "USE `"+p.name+"`"))
		// A limited number: the replica executes changes of a table without an index slowly.
		for n := 0; n < 150 && !stopping.Load(); n++ {
			for _, table := range []string{"t", "loose"} {
				id := n * 37 % 3000
				for _, sql := range []string{
					fmt.Sprintf("UPDATE %s SET v = v + 1 WHERE id BETWEEN %d AND %d", table,
						id, id+2),
					fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id+1),
					fmt.Sprintf("INSERT INTO %s VALUES (%d, 1)", table, 10_000+n),
				} {
					if err := conn.Exec(t.Context(), sql); err != nil {
						t.Error(err)
						return
					}
				}
			}
		}
	})
	atSource, atReplica := p.logQueries(), p.replica.logQueries()
	m := newMemory()
	start(t, p.readFrom(p.replica.addr), m, "")
	waitFor(t, "the tables are loaded", isLoaded(t, m))
	stopping.Store(true)
	writers.Wait()
	p.mustEqual(t, m)
	const form = "SELECT%` AS r%"
	if n := atSource(form); n != 0 {
		t.Errorf("%d SELECTs of rows at the source", n)
	}
	if n := atReplica(form); n < 30 {
		t.Errorf("%d SELECTs of rows at the replica, want one for 100 rows", n)
	}
}

// A job waits for a replica that lags, and shows that.
func testReadFromLagging(t *testing.T, p *pair) {
	m := newMemory()
	r := start(t, p.readFrom(p.replica.addr), m, "")
	waitFor(t, "the tables are loaded", isLoaded(t, m))
	p.mustEqual(t, m)
	p.replica.stopApplier()
	p.exec("INSERT INTO t VALUES (50001, 100)")
	m.waitAt(t, p.end())
	if _, err := r.pipeline.Backfill(t.Context(), p.name+".t"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the lag shows as a hold", func() bool {
		return held(r.pipeline, "a job waits for a server of source.mysql.read_from",
			"at "+p.replica.addr+" has not executed")
	})
	p.exec("INSERT INTO t VALUES (50002, 101)")
	waitFor(t, "the stream continues", func() bool { return m.rows("t")["50002"] == "101" })
	if r.over() || len(r.pipeline.Stats().Jobs) != 1 {
		t.Errorf("the jobs are %+v; the run has ended with %v", r.pipeline.Stats().Jobs, r.err)
	}
	p.replica.startApplier()
	waitFor(t, "the job ends", func() bool { return len(r.pipeline.Stats().Jobs) == 0 })
	waitFor(t, "no hold shows", func() bool { return len(r.pipeline.Stats().Held) == 0 })
	p.mustEqual(t, m)
}

// A server of another history is not read from. The next one is, if it has the source's.
func testReadFromUnrelated(t *testing.T, p *pair, kind servers.Kind) {
	other := newDatabase(t, servertest.Database(t, kind, servers.DatabaseOptions{
		GTID: true, Args: map[servers.Kind][]string{
			servers.MariaDB: {"--log-slave-updates", "--gtid-domain-id=7"},
		}[kind],
	}))
	other.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	r := start(t, p.readFrom(other.addr), m, "")
	waitFor(t, "the history shows as a hold", func() bool {
		return held(r.pipeline, "rows cannot be read from the server at "+other.addr+
			": it has transactions that the source lacks")
	})
	if n := r.pipeline.Stats().Loaded; n != 0 || r.over() {
		t.Errorf("%d rows were loaded; the run has ended with %v", n, r.err)
	}
	r.kill()
	start(t, p.readFrom("127.0.0.1:1", other.addr, p.replica.addr), m, "")
	waitFor(t, "the tables are loaded", isLoaded(t, m))
	p.mustEqual(t, m)
}

// A blank server is no replica that lags: the hold shows that it has no transaction of the source.
// When it is a replica, rows are read from it.
func testReadFromBlank(t *testing.T, p *pair, kind servers.Kind) {
	args := map[servers.Kind][]string{servers.MariaDB: {"--log-slave-updates"}}[kind]
	o := servers.DatabaseOptions{GTID: true, Args: args}
	blank := &database{t: t, addr: servertest.Database(t, kind, o).Addr(), name: p.name}
	blank.conn = blank.dial()
	blank.createUser()
	reset := "RESET MASTER"
	if kind == servers.MySQL {
		reset = "RESET BINARY LOGS AND GTIDS"
	}
	blank.exec(reset)
	m := newMemory()
	r := start(t, p.readFrom(blank.addr), m, "")
	waitFor(t, "the blank server shows as a hold", func() bool {
		return held(r.pipeline, "rows cannot be read from the server at "+blank.addr+
			": it has none of the source's transactions")
	})
	if n := r.pipeline.Stats().Loaded; n != 0 || r.over() {
		t.Errorf("%d rows were loaded; the run has ended with %v", n, r.err)
	}
	blank.follow(p.database)
	waitFor(t, "the tables are loaded", isLoaded(t, m))
	p.mustEqual(t, m)
}

// A replica that was changed itself is not read from, until the source has the transactions.
func testReadFromChanged(t *testing.T, p *pair) {
	before := p.replica.end().GTID
	p.replica.exec("CREATE TABLE elsewhere (id INT PRIMARY KEY)")
	after := p.replica.end().GTID
	m := newMemory()
	r := start(t, p.readFrom(p.replica.addr), m, "")
	extra := after.Subtract(&before)
	waitFor(t, "the transaction shows as a hold", func() bool {
		return held(r.pipeline, "transactions that the source lacks, "+extra.String())
	})
	if p.conn.Server().Flavor == mysql.MariaDB {
		return
	}
	p.exec("SET gtid_next = '"+extra.String()+"'", "BEGIN", "COMMIT", "SET gtid_next = AUTOMATIC")
	waitFor(t, "the tables are loaded", isLoaded(t, m))
	p.mustEqual(t, m)
}

// Without GTIDs rows cannot be read from another server.
func TestReadFromWithoutGTIDs(t *testing.T) {
	d := newDatabase(t, servertest.Database(t, servers.MySQL, servers.DatabaseOptions{}))
	c := d.config("user: rowfall}", "user: rowfall, read_from: [127.0.0.1:1]}")
	start(t, c, newMemory(), "").mustStop("test.yaml:3: source.mysql.read_from: ", "has no GTIDs",
		"set its gtid_mode to ON, or remove read_from")
}
