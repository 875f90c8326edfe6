package pipelines_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestSourceFailover follows a source whose servers fail, one after the other, under traffic.
func TestSourceFailover(t *testing.T) {
	t.Parallel()
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			testSourceFailover(t, kind)
		})
	}
}

// TestSourceSettings has one MySQL with settings that are not recommended.
func TestSourceSettings(t *testing.T) {
	t.Parallel()
	db := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true, Args: []string{
		"--binlog-ignore-db=scratch", "--binlog-expire-logs-seconds=3600", "--sync-binlog=0",
	}})
	for _, part := range []struct {
		name string
		run  func(t *testing.T, d *database)
	}{
		{"Warnings", testServerWarnings},
		{"Unlogged", testUnloggedDatabase},
		{"Silent", testSilentSource},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, newDatabase(t, db)) })
	}
}

// failoverPair are two servers, of which one is the source and the other its replica.
type failoverPair struct {
	t *testing.T
	// source takes the writes, and replica replicates from it.
	source, replica *failoverServer
	lastID          int
	stopWriter      func()
}

type failoverServer struct {
	*database
	db *servers.Database
}

func newFailoverPair(t *testing.T, kind servers.Kind) *failoverPair {
	o := servers.DatabaseOptions{GTID: true}
	if kind == servers.MariaDB {
		o.Args = []string{"--log-slave-updates"}
	}
	second := servertest.Database(t, kind, o)
	o.Args = append(o.Args, "--performance-schema=ON") // for mustHaveAttributes
	first := servertest.Database(t, kind, o)
	primary := newDatabase(t, first)
	primary.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	replica := &database{t: t, addr: second.Addr(), name: primary.name}
	replica.conn = replica.dial()
	replica.createUser()
	replica.follow(primary)
	replica.exec("USE `" + replica.name + "`")
	return &failoverPair{
		t: t, source: &failoverServer{primary, first}, replica: &failoverServer{replica, second},
	}
}

// mostWrites limits the rows that one writer inserts, so that a replica soon has them.
const mostWrites = 400

// write inserts rows at the source until stopWriter is called.
func (p *failoverPair) write() {
	conn := p.source.dial()
	must(p.t, conn.Exec(p.t.Context(), "USE `"+p.source.name+"`"))
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for range mostWrites {
			select {
			case <-stop:
				return
			default:
			}
			id := p.lastID + 1
			sql := fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, id)
			if err := conn.Exec(p.t.Context(), sql); err != nil {
				p.t.Error(err)
				return
			}
			p.lastID = id
		}
	})
	p.stopWriter = sync.OnceFunc(func() { close(stop); writer.Wait() })
	p.t.Cleanup(p.stopWriter)
}

// fail stops the writer, kills the source, and makes the replica the source, which is written to
// at once.
func (p *failoverPair) fail() {
	p.t.Helper()
	p.stopWriter()
	p.replica.waitFor(p.source.database)
	must(p.t, p.source.db.Kill())
	stop := []string{"STOP REPLICA", "RESET REPLICA ALL"}
	if p.replica.conn.Server().Flavor == mysql.MariaDB {
		stop = []string{"STOP SLAVE", "RESET SLAVE ALL"}
	}
	p.replica.exec(stop...)
	p.source, p.replica = p.replica, p.source
	p.write()
}

// recover starts the failed server as a replica of the source.
func (p *failoverPair) recover() {
	p.t.Helper()
	r := p.replica
	must(p.t, r.db.Restart(p.t.Context()))
	r.conn = r.dial()
	if r.conn.Server().Flavor == mysql.MariaDB {
		// What the server has committed itself is not part of the position of its replication.
		r.exec("SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos")
	}
	r.follow(p.source.database)
	r.exec("USE `" + r.name + "`")
}

func testSourceFailover(t *testing.T, kind servers.Kind) {
	p := newFailoverPair(t, kind)
	a, b := p.source, p.replica
	// A stream has an entry for each change, so that it shows a change that was applied twice.
	m := runInstance(t, a.config(
		fmt.Sprintf("addresses: [%q]", a.addr), fmt.Sprintf("addresses: [%q, %q]", a.addr, b.addr),
		`.*": {}`, `.*": {write: [{hash: "t:{id}"}, {stream: changes}]}`,
	))
	m.wait(a.database)
	mustHaveAttributes(t, a.database)
	p.write()
	status := func() string {
		text, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text()
		must(t, err)
		return text
	}
	mustStream := func(from *failoverServer) {
		t.Helper()
		waitFor(t, "the stream comes from "+from.addr, func() bool {
			return m.Pipeline.Stats().Streaming && hasDump(t, from.database)
		})
	}
	mustStream(a)

	// The second server has the history of the first, and takes over.
	p.fail()
	mustStream(b)
	// The first one comes back. The pipeline stays at the second until that fails.
	p.recover()
	p.fail()
	mustStream(a)

	m.stop() // a new process waits less before its first retries
	m = runInstance(t, m.Config)
	mustStream(a)

	// The data have transactions that the second server lacks. It is refused until it has them.
	p.stopWriter()
	p.recover()
	b.stopApplier()
	a.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", p.lastID+1))
	p.lastID++
	m.wait(a.database)
	has, want := b.end().GTID, a.end().GTID
	missing := want.Subtract(&has)
	must(t, a.db.Kill())
	waitFor(t, "status names the missing transactions", func() bool {
		text := status()
		return strings.Contains(text, ":state=retrying,") &&
			strings.Contains(text, "connect to mysql at "+a.addr) &&
			strings.Contains(text, "at "+b.addr+" has not executed all transactions") &&
			strings.Contains(text, "it lacks "+missing.String())
	})
	must(t, a.db.Restart(t.Context()))
	a.conn = a.dial()
	a.exec("USE `" + a.name + "`")
	mustStream(a)

	m.stop()
	m = runInstance(t, m.Config)

	// The other way round: the first server lacks transactions, and the second one is followed.
	b.startApplier()
	b.waitFor(a.database)
	p.fail()
	mustStream(b)
	p.stopWriter()
	m.wait(b.database)
	must(t, a.db.Restart(t.Context())) // as it was, without what the second one has got since
	a.conn = a.dial()
	m.stop()
	m = runInstance(t, m.Config)
	mustStream(b)

	b.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", p.lastID+1))
	p.lastID++
	m.wait(b.database)
	entries, err := m.client.XLen(t.Context(), "changes").Result()
	if err != nil || entries != int64(p.lastID) {
		t.Errorf("%d changes were applied, want %d (%v)", entries, p.lastID, err)
	}
	keys, err := m.client.Keys(t.Context(), "t:*").Result()
	if err != nil || len(keys) != p.lastID {
		t.Errorf("%d rows, want %d (%v)", len(keys), p.lastID, err)
	}
	if n := len(b.rows("t")); n != p.lastID {
		t.Errorf("the source has %d rows, want %d", n, p.lastID)
	}

	// The other server has what the data lack, but has purged it from its binlog.
	m.stop()
	a.conn, b.conn = a.dial(), b.dial()
	b.exec("USE `"+b.name+"`", fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", p.lastID+1))
	a.follow(b.database)
	a.exec("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	(&source{database: a.database}).purge()
	must(t, b.db.Kill())
	c := m.Config
	c.Source.StopAtPurge = true
	m = runInstance(t, c)
	waitFor(t, "status names both servers", func() bool {
		text := status()
		return strings.Contains(text, ":state=retrying,") &&
			strings.Contains(text, "connect to mysql at "+b.addr) &&
			strings.Contains(text, "read binlog of "+a.addr) && strings.Contains(text, "purged")
	})
	m.stop()
	c.Source.StopAtPurge = false
	m = runInstance(t, c)
	waitFor(t, "every table was read again", func() bool {
		v, err := m.client.HGet(t.Context(), fmt.Sprintf("t:%d", p.lastID+1), "id").Result()
		return err == nil && v == fmt.Sprint(p.lastID+1)
	})
}

// hasDump reports whether a pipeline follows the server.
func hasDump(t *testing.T, d *database) bool {
	t.Helper()
	r, err := d.conn.Query(t.Context(), "SHOW PROCESSLIST")
	must(t, err)
	for i := range r.Rows {
		if strings.HasPrefix(r.Text(i, "Command"), "Binlog Dump") &&
			r.Text(i, "User") == "rowfall" {
			return true
		}
	}
	return false
}

// mustHaveAttributes checks what the server shows of the pipeline's connections.
func mustHaveAttributes(t *testing.T, d *database) {
	t.Helper()
	const table = "performance_schema.session_connect_attrs"
	r, err := d.conn.Query(t.Context(), "SELECT COUNT(*) n FROM "+table+" a JOIN "+table+" b "+
		"ON a.processlist_id = b.processlist_id WHERE a.attr_name = 'program_name' AND "+
		"a.attr_value = 'rowfall' AND b.attr_name = 'pipeline' AND b.attr_value = 'test'")
	must(t, err)
	if n := r.Text(0, "n"); n == "0" {
		t.Error("no connection has the attributes of the pipeline")
	}
}

// A server whose settings cost data or time later is followed, and status has the warnings.
func testServerWarnings(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := runInstance(t, d.config())
	m.wait(d)
	text, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text()
	must(t, err)
	for n, want := range []string{
		"binlog_expire_logs_seconds is 3600", "sync_binlog is 0",
		"binlog_ignore_db keeps the databases scratch",
	} {
		line := fmt.Sprintf("\r\nrowfall_test_warning%d:warning=\"%s", n, want)
		if !strings.Contains(text, line) {
			t.Errorf("status lacks %q:\n%s", line, text)
		}
	}
}

// A mapped database whose changes are not in the binlog is rejected, until they are.
func testUnloggedDatabase(t *testing.T, d *database) {
	d.exec("CREATE DATABASE IF NOT EXISTS scratch",
		"CREATE TABLE IF NOT EXISTS scratch.t (id INT PRIMARY KEY, v INT)")
	for _, pattern := range []string{"scratch.t", "scr*.*", "*.*"} {
		r := start(t, d.config(d.name+".*", pattern), newMemory(), "")
		r.mustFail("binlog_ignore_db keeps the database scratch, which has mapped tables, "+
			"out of the binlog", `leave the database out of the mapping ("scratch.*": `)
	}
	m := newMemory()
	start(t, d.config(`"`+d.name+`.*": {}`, `"*.*": {}`+"\n  \"scratch.*\": {ignore: true}"), m, "")
	m.waitAt(t, d.end())
}

// A connection that goes dead without being closed is noticed, and another one takes its place.
func testSilentSource(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	link := newBlackHole(t, d.addr)
	m := runInstance(t, d.config(link.through(d)...))
	m.wait(d)
	link.silence()
	d.exec("INSERT INTO t VALUES (2, 2)")
	waitFor(t, "status says that the server is silent", func() bool {
		return strings.Contains(m.Pipeline.Stats().Retrying, "the server has been silent for 10s")
	})
	m.wait(d)
	m.mustHold("t:2", "v", "2")
}
