package pipelines_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// enlargeLastRows changes the size of the last rows event in a binlog file that the server has
// closed, so that the event is larger than the server can send. at is the event's offset.
func enlargeLastRows(t *testing.T, d *database, file string) (at uint64) {
	t.Helper()
	list, err := d.conn.Query(t.Context(), "SHOW BINLOG EVENTS IN '"+file+"'")
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Rows {
		if strings.HasPrefix(list.Text(i, "Event_type"), "Write_rows") {
			if at, err = strconv.ParseUint(list.Text(i, "Pos"), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir, err := d.conn.Query(t.Context(), "SELECT @@log_bin_basename AS name")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(dir.Text(0, "name")), file)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const sizeInHeader = 9
	size := binary.LittleEndian.AppendUint32(nil, 1<<30+1<<29)
	if _, err := f.WriteAt(size, int64(at)+sizeInHeader); err != nil {
		t.Fatal(err)
	}
	return at
}

// writeUnsent executes a transaction with an event that the server cannot send. It is the last one
// of its file, like each transaction that is larger than max_binlog_size. It returns where the
// transaction begins, and where the event does.
func writeUnsent(t *testing.T, d *database) (transaction, event binlog.Position) {
	t.Helper()
	transaction = d.end()
	d.exec("BEGIN", "INSERT INTO calm VALUES (2, 2)", "INSERT INTO t VALUES (2, 2), (3, 3)",
		"INSERT INTO t VALUES (4, 4)", "COMMIT", "FLUSH BINARY LOGS")
	event = binlog.Position{File: transaction.File}
	event.Offset = enlargeLastRows(t, d, event.File)
	d.exec("INSERT INTO t VALUES (5, 5)")
	return transaction, event
}

// An event that the server cannot send stops the pipeline, which names the table and the place in
// the transaction. `rowfall skip` continues after the transaction.
func testUnsent(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE calm (id INT PRIMARY KEY, v INT)")
	c := d.config()
	m := runInstance(t, c)
	m.wait(d)
	d.exec("INSERT INTO t VALUES (9, 9)") // the last transaction that is applied before
	m.wait(d)
	m.stop()
	transaction, event := writeUnsent(t, d)
	m = runInstance(t, c)
	at := m.stoppedAt("exceeded max_allowed_packet")
	checkUnsent(t, d, m, event)
	m.mustSkip(at)
	m.wait(d)
	m.mustHold("t:5", "v", "5")
	// What follows the event in the transaction is unknown, so the gap concerns all tables.
	g := waitForGaps(t, m.client, 1)[0]
	if g.At != at || g.From != transaction.String() || len(g.Tables) > 0 {
		t.Errorf("the gap is %+v", g)
	}
	for _, table := range []string{"t", "calm"} {
		err := m.client.Do(t.Context(), "ROWFALL", "BACKFILL", d.name+"."+table).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	waitForGaps(t, m.client, 0)
	m.mustHold("t:4", "v", "4")
}

// checkUnsent checks what the error of an event that the server cannot send names.
func checkUnsent(t *testing.T, d *database, m *runningInstance, event binlog.Position) {
	t.Helper()
	stopped := m.Pipeline.Stats().Stopped
	for _, want := range []string{
		d.name + ".t", fmt.Sprintf("after %s:%d", event.File, event.Offset), "after row 3 ",
	} {
		if !strings.Contains(stopped, want) {
			t.Errorf("the error lacks %q: %s", want, stopped)
		}
	}
}

// The same with an event that is really too large: the old and the new image of one row have 600 MB
// each. The columns are excluded, so that the test takes little memory.
func TestUnsentUpdate(t *testing.T) {
	if os.Getenv("ROWFALL_LONG") == "" {
		t.Skip("set ROWFALL_LONG to write an event of 1.2 GB")
	}
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			d := newDatabase(t, servertest.Database(t, kind, servers.DatabaseOptions{
				GTID: true, Args: []string{"--max-allowed-packet=1G"},
			}))
			d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT, a LONGBLOB, b LONGBLOB)")
			m := runInstance(t, d.config(`.*": {}`, `.*": {columns: {exclude: [a, b]}}`))
			m.wait(d)
			const values = "a = REPEAT('%[1]s', 300000000), b = REPEAT('%[1]s', 300000000)"
			d.exec("INSERT INTO t SET id = 1, v = 1, "+fmt.Sprintf(values, "x"),
				"UPDATE t SET v = 2, "+fmt.Sprintf(values, "y"), "INSERT INTO t SET id = 2, v = 2")
			at := m.stoppedAt("exceeded max_allowed_packet")
			m.mustHold("t:1", "v", "1")
			if stopped := m.Pipeline.Stats().Stopped; !strings.Contains(stopped, d.name+".t") ||
				!strings.Contains(stopped, "after row 0 ") {
				t.Errorf("the error lacks the table or the row: %s", stopped)
			}
			m.mustSkip(at)
			m.wait(d)
			m.mustHold("t:2", "v", "2")
			waitForGaps(t, m.client, 1)
		})
	}
}
