package pipelines_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/pipelines"
)

// A password in a file may change while the pipeline runs: the next connect reads the file again.
// While the file is missing, the error names the file. No password is logged, nor shown in status.
func testPasswordFile(t *testing.T, d *database) {
	const first, second = "first-secret", "second-secret"
	path := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.exec("DROP USER IF EXISTS rotated", "CREATE USER rotated IDENTIFIED BY '"+first+"'",
		"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO rotated",
		"CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	write(first)
	c := d.config("user: rowfall", fmt.Sprintf("user: rotated, password: %q", "${file:"+path+"}"))
	log := new(syncedBuffer)
	opened, err := pipelines.Open(c, "", zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := &runningInstance{
		Instance: opened, t: t, cancel: cancel, ended: make(chan struct{}),
		client: redis.NewClient(&redis.Options{Addr: opened.Node.Addr(), MaxRetries: -1}),
	}
	go func() { defer close(m.ended); m.err = m.Run(ctx) }()
	defer m.stop()
	m.wait(d)

	cut := func() {
		t.Helper()
		list, err := d.conn.Query(t.Context(), "SHOW PROCESSLIST")
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Rows {
			if list.Text(i, "User") == "rotated" {
				_ = d.conn.Exec(t.Context(), "KILL "+list.Text(i, "Id")) // it may be gone
			}
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	cut()
	waitFor(t, "the error names the file", func() bool {
		return strings.Contains(m.Pipeline.Stats().Retrying, "${file:"+path+"}")
	})
	d.exec("ALTER USER rotated IDENTIFIED BY '" + second + "'")
	write(second)
	d.exec("INSERT INTO t VALUES (2, 2)")
	m.wait(d)
	m.mustHold("t:2", "v", "2")
	if _, err := m.Pipeline.Backfill(t.Context(), d.name+".t"); err != nil { // another connection
		t.Fatal(err)
	}
	waitFor(t, "the table is read again", func() bool { return len(m.Pipeline.Stats().Jobs) == 0 })
	cut()
	d.exec("INSERT INTO t VALUES (3, 3)")
	m.wait(d)
	m.mustHold("t:3", "v", "3")

	status, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Result()
	if err != nil {
		t.Fatal(err)
	}
	info := m.client.Info(t.Context()).Val()
	shown := fmt.Sprint(status, m.Pipeline.Stats(), info, log.tail(1<<20))
	for _, password := range []string{first, second} {
		if strings.Contains(shown, password) {
			t.Errorf("the password %s is shown", password)
		}
	}
}
