package pipelines_test

import (
	"fmt"
	"net"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// TestHistoryFailover continues at a replica, which has the same transactions at other offsets,
// and some of its own before them.
func TestHistoryFailover(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			args := []string(nil)
			if kind == servers.MariaDB {
				args = []string{"--log-slave-updates"}
			}
			primary := newDatabase(t,
				servertest.Database(t, kind, servers.DatabaseOptions{GTID: true, Args: args}))
			second := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true, Args: args})
			replica := &database{t: t, addr: second.Addr(), name: primary.name}
			replica.conn = replica.dial()
			replica.createUser()
			primary.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
			replica.follow(primary)
			m := newMemory()
			r := start(t, primary.config(), m, "")
			// A commit that comes later than the rows; a statement; a transaction without mapped
			// rows.
			primary.exec("INSERT INTO t VALUES (1, 1)")
			p := &source{database: primary}
			for n, last := range []func(){
				func() {
					primary.exec("BEGIN", "INSERT INTO t VALUES (2, 2)")
					p.nextSecond()
					primary.exec("COMMIT")
				},
				func() { primary.exec("CREATE INDEX v ON t (v)") },
				func() { primary.exec("CREATE DATABASE IF NOT EXISTS elsewhere") },
				func() {
					primary.exec("SET SESSION binlog_row_image = 'FULL'", "BEGIN",
						"INSERT INTO t VALUES (3, 3)")
					p.nextSecond()
					primary.exec("UPDATE t SET v = 4 WHERE id = 3", "DELETE FROM t WHERE id = 2")
					p.nextSecond()
					primary.exec("COMMIT")
				},
			} {
				last()
				m.waitAt(t, primary.end())
				r.kill()
				replica.waitFor(primary)
				r = start(t, replica.config(), m, "")
				waitFor(
					t, "it goes on or ends",
					func() bool {
						return r.over() || m.progress(t).Server == replica.conn.Server().UUID
					},
				)
				if r.over() {
					t.Fatalf("after %d: %v", n, r.err)
				}
				if why := r.pipeline.Stats().Unproved; why != "" {
					t.Errorf("after %d: not proved: %s", n, why)
				}
				r.kill()
				r = start(t, primary.config(), m, "")
				primary.exec("INSERT INTO t VALUES (" + fmt.Sprint(10+n) + ", 0)")
				m.waitAt(t, primary.end())
				mustBeEqual(t, m.rows("t"), primary.rows("t"))
			}
			// The replica has committed a transaction before it got the last one.
			r.kill()
			if kind == servers.MariaDB {
				replica.exec("SET SESSION gtid_domain_id = 7")
			}
			replica.exec("USE `"+replica.name+"`", "INSERT INTO t VALUES (100, 100)")
			r = start(t, primary.config(), m, "")
			primary.exec("INSERT INTO t VALUES (101, 101)")
			m.waitAt(t, primary.end())
			r.kill()
			replica.waitFor(primary)
			for range 2 {
				r = start(t, replica.config(), m, "")
				m.waitAt(t, replica.end())
				mustBeEqual(t, m.rows("t"), replica.rows("t"))
				if why := r.pipeline.Stats().Unproved; why != "" {
					t.Errorf("not proved: %s", why)
				}
				r.kill()
			}
		})
	}
}

// follow makes the server a replica of another.
func (d *database) follow(of *database) {
	d.t.Helper()
	host, port, err := net.SplitHostPort(of.addr)
	must(d.t, err)
	if d.conn.Server().Flavor == mysql.MariaDB {
		d.exec(
			fmt.Sprintf(
				"CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%s, MASTER_USER='root', "+
					"MASTER_USE_GTID=slave_pos",
				host, port,
			),
			"START SLAVE",
		)
	} else {
		d.exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_PORT=%s, "+
			"SOURCE_USER='root', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1", host, port),
			"START REPLICA")
	}
	d.waitFor(of)
}

// waitFor waits until the server holds everything that the other one has.
func (d *database) waitFor(other *database) {
	d.t.Helper()
	want := other.end().GTID
	waitFor(d.t, "the replica has "+want.String(), func() bool {
		has := d.end().GTID
		return has.Contains(want)
	})
}
