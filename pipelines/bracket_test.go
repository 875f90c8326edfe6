package pipelines_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/sink"
)

// semiSync returns the options of a server that waits for acknowledgements between writing the
// binlog and committing in the engine. The test is skipped if the server lacks this.
func semiSync(t *testing.T, kind servers.Kind) []string {
	t.Helper()
	path := servertest.Need(t, kind).Path(kind)
	if kind == servers.MariaDB {
		return []string{
			"--rpl-semi-sync-master-wait-point=AFTER_SYNC",
			"--rpl-semi-sync-master-timeout=60000",
		}
	}
	plugins := filepath.Join(filepath.Dir(path), "..", "lib", "mysql", "plugin")
	if _, err := os.Stat(filepath.Join(plugins, "semisync_source.so")); err != nil {
		servertest.SkipOrFail(t,
			fmt.Errorf("this MySQL comes without its semi-synchronous plugin: %w", err))
	}
	return []string{
		"--plugin-dir=" + plugins, "--plugin-load-add=semisync_source.so",
		"--rpl-semi-sync-source-wait-point=AFTER_SYNC", "--rpl-semi-sync-source-timeout=60000",
	}
}

// TestFirstLoadWithLateCommits loads a table while every transaction is in the binlog long before
// it is visible. Without the wait for F, chunks overwrite rows with older versions, and the test
// fails.
func TestFirstLoadWithLateCommits(t *testing.T) {
	for _, set := range []struct {
		name string
		kind servers.Kind
		gtid bool
	}{
		{"mysql-gtid", servers.MySQL, true},
		{"mysql", servers.MySQL, false},
		{"mariadb", servers.MariaDB, false},
	} {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			args := semiSync(t, set.kind)
			db := servertest.Database(t, set.kind,
				servers.DatabaseOptions{GTID: set.gtid, Args: args})
			variable := "rpl_semi_sync_source_enabled"
			if set.kind == servers.MariaDB {
				variable = "rpl_semi_sync_master_enabled"
			}
			loadLate(t, newDatabase(t, db), variable, set.gtid)
		})
	}
}

const lateRows = 1200

func loadLate(t *testing.T, d *database, variable string, gtid bool) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "BEGIN")
	for id := range lateRows {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'old')", id))
	}
	d.exec("COMMIT")
	d.exec("SET GLOBAL " + variable + " = 1")
	defer d.exec("SET GLOBAL " + variable + " = 0")
	replica := startLateReplica(t, d, 25*time.Millisecond)
	var stopping atomic.Bool
	var writers sync.WaitGroup
	// Each ends with a transaction that is visible, else MySQL's rows would be
	// read behind the binlog here too.
	stop := func() { stopping.Store(true); writers.Wait() }
	defer stop()
	for w := range 6 {
		conn := d.dial()
		writers.Go(func() { writeBehind(t, &stopping, conn, d.name, w) })
	}
	waitFor(t, "commits wait for the replica", func() bool { return replica.acks.Load() > 3 })

	c := d.config("chunk_rows: 1000", "chunk_rows: 40, parallel: 1")
	load := func() (*memory, *running) {
		m := newMemory()
		r := start(t, c, m, "")
		waitFor(t, "the table is loaded",
			func() bool { return m.progress(t).Phase == sink.Streaming })
		return m, r
	}
	loads := make([]*memory, 0, 2)
	if gtid {
		// Once with no room for what is touched: chunks are read twice.
		restore := pipelines.SetDirtyKeyBytes(1)
		m, r := load()
		r.kill()
		restore()
		t.Logf("%d rows loaded, in %d units", r.pipeline.Stats().Loaded, len(m.Units(0)))
		start(t, c, m, "")
		loads = append(loads, m)
		c = d.config("chunk_rows: 1000", "chunk_rows: 40, parallel: 1") // another server_id
	}
	m, r := load()
	loads = append(loads, m)
	// A statement comes by before its table can be seen.
	d.exec("CREATE TABLE n (id INT PRIMARY KEY, v INT)", "INSERT INTO n VALUES (1, 1)")
	stop()
	for _, m := range loads {
		m.waitAt(t, d.end())
		mustBeEqual(t, m.rows("t"), d.rows("t"))
		mustBeEqual(t, m.rows("n"), d.rows("n"))
	}
	t.Logf("%d rows loaded, %d acknowledgements, %d units", r.pipeline.Stats().Loaded,
		replica.acks.Load(), len(m.Units(0)))
}

// writeBehind changes, moves, removes and restores rows, just ahead of the load and everywhere
// else. It changes each row rarely, so that a wrong row stays visible.
func writeBehind(t *testing.T, stopping *atomic.Bool, conn *mysql.Conn, name string, w int) {
	rng := rand.New(rand.NewPCG(uint64(w), 5))
	if err := conn.Exec(t.Context(), "USE `"+name+"`"); err != nil {
		t.Error(err)
	}
	for n := 0; !stopping.Load(); n++ {
		id := rng.IntN(lateRows/6)*6 + w // a writer's own rows: few deadlocks
		sql := fmt.Sprintf(
			"UPDATE t SET v = 'new %d %d' WHERE id BETWEEN %d AND %d AND id %% 6 = %d", w, n, id,
			id+60, w,
		)
		switch rng.IntN(6) {
		case 0:
			sql = fmt.Sprintf("DELETE FROM t WHERE id = %d", id)
		case 1:
			sql = fmt.Sprintf("REPLACE INTO t VALUES (%d, 'back %d')", id, n)
		case 2:
			sql = fmt.Sprintf("UPDATE IGNORE t SET id = %d WHERE id = %d", rng.IntN(lateRows/6)*6+w,
				id)
		}
		err := conn.Exec(t.Context(), sql)
		const deadlock = 1213 // of gaps between rows; the server has undone the statement
		if err != nil && !mysql.IsCode(err, deadlock) {
			t.Errorf("%s: %v", sql, err)
			return
		}
	}
}
