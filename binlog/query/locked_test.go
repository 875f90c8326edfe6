package query_test

import (
	"context"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
)

// A MariaDB leaves a table that is locked exclusively out of information_schema, with a warning;
// MySQL puts a number of its own in the place of the table's statistics. Such a result must not
// be taken for a schema without the table.
func testLocked(t *testing.T, s server) {
	reader, renamer := s.dial(t), s.dial(t)
	exec(t, reader, "CREATE DATABASE locked", "CREATE TABLE locked.a (id INT PRIMARY KEY)",
		"CREATE TABLE locked.b (id INT PRIMARY KEY)")
	// RENAME holds its exclusive lock of a while it waits for b.
	exec(t, reader, "BEGIN", "SELECT * FROM locked.b")
	renamed := make(chan error, 1)
	go func() {
		renamed <- renamer.Exec(context.Background(),
			"RENAME TABLE locked.a TO locked.a2, locked.b TO locked.b2")
	}()
	watcher := s.dial(t)
	waitFor(t, "RENAME waits", func() bool {
		r, err := watcher.Query(t.Context(), "SHOW PROCESSLIST")
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Rows {
			if r.Text(i, "State") == "Waiting for table metadata lock" {
				return true
			}
		}
		return false
	})

	c, err := mysql.Dial(t.Context(),
		mysql.Config{Addresses: []string{s.addr}, User: "root", LockWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	tables, err := query.Tables(t.Context(), c,
		func(database, _ string) bool { return database == "locked" })
	switch {
	case s.kind.IsMariaDB() && !mysql.IsCode(err, mysql.CodeLockTimeout):
		t.Errorf("%d of 2 tables are listed while one is locked, error %v", len(tables), err)
	case s.kind == servers.MySQL && (err != nil || len(tables) != 2):
		t.Errorf("%d of 2 tables are listed, error %v", len(tables), err)
	case s.kind == servers.MySQL:
		if n, err := query.EstimateRows(t.Context(), c, tables); !mysql.IsCode(err,
			mysql.CodeLockTimeout) {
			t.Errorf("rows of a locked table are estimated at %d, %v", n, err)
		}
	}
	if err := c.Exec(t.Context(), "SELECT 1 FROM locked.a"); !mysql.IsCode(err,
		mysql.CodeLockTimeout) {
		t.Errorf("a SELECT of a locked table ends with %v", err)
	}
	exec(t, reader, "COMMIT")
	if err := <-renamed; err != nil {
		t.Fatal(err)
	}
	tables, err = query.Tables(t.Context(), c,
		func(database, _ string) bool { return database == "locked" })
	if err != nil || len(tables) != 2 {
		t.Errorf("%d of 2 tables are listed when the lock is gone, error %v", len(tables), err)
	}
}

func testNow(t *testing.T, s server) {
	before := time.Now().Add(-time.Minute)
	at, err := query.Now(t.Context(), s.dial(t))
	if now := time.UnixMicro(at); err != nil || now.Before(before) ||
		now.After(time.Now().Add(time.Minute)) {
		t.Errorf("the server's clock is at %v, %v", now, err)
	}
}

// waitFor waits until done holds.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
