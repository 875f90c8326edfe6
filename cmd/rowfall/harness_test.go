package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// waitLimit bounds every wait of a scenario; it is no expectation of speed.
const waitLimit = 2 * time.Minute

// waitFor waits until done holds.
func waitFor(t *testing.T, what string, done func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return
		}
		last = err
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s (last error: %v)", what, last)
		case <-tick.C:
		}
	}
}

func testAddr(t *testing.T) string {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// info returns a field of a server's INFO as a number.
func info(t *testing.T, addr, section, field string) int {
	t.Helper()
	r := sink.OpenRemote(addr, "")
	defer func() { _ = r.Close() }()
	text, err := r.Info(t.Context(), section)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s: INFO %s has no %s:\n%s", addr, section, field, text)
	return 0
}

// source is the database under test and the random traffic on it.
type source struct {
	t  *testing.T
	db *servers.Database
}

func startSource(t *testing.T, kind servers.Kind, o servers.DatabaseOptions) *source {
	t.Helper()
	s := &source{t: t, db: servertest.Database(t, kind, o)}
	s.exec(fiveTables...)
	return s
}

func (s *source) config() mysql.Config {
	return mysql.Config{Addresses: []string{s.db.Addr()}, User: "root"}
}

func (s *source) exec(statements ...string) {
	s.t.Helper()
	conn, err := mysql.Dial(s.t.Context(), s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, sql := range statements {
		if err := conn.Exec(s.t.Context(), sql); err != nil {
			s.t.Fatalf("%s: %v", sql, err)
		}
	}
}

func (s *source) end() binlog.Position {
	s.t.Helper()
	conn, err := mysql.Dial(s.t.Context(), s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	p, err := query.End(s.t.Context(), conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// fiveTables have one kind of key each: one column, several, a unique key without
// a primary one, a key that the traffic changes, and none of its own in Redis.
var fiveTables = []string{
	"CREATE DATABASE zoo CHARACTER SET utf8mb4",
	`CREATE TABLE zoo.plain (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(60), b DECIMAL(12,4),
		c DATETIME(3), d DOUBLE,
		e ENUM('x','y','z'), f SET('p','q','r'), g TEXT, h BIGINT UNSIGNED, i VARBINARY(20),
		j JSON)`,
	`CREATE TABLE zoo.pairs (k1 VARCHAR(20) NOT NULL, k2 INT NOT NULL, v FLOAT, ` +
		`w TIMESTAMP(6) NULL, PRIMARY KEY (k1, k2))`,
	`CREATE TABLE zoo.uniques (code CHAR(8) NOT NULL, v INT, UNIQUE KEY (code))`,
	`CREATE TABLE zoo.movers (id INT PRIMARY KEY, v VARCHAR(30))`,
	`CREATE TABLE zoo.people (id INT PRIMARY KEY, country CHAR(2), score INT NOT NULL, ` +
		`status VARCHAR(10) NOT NULL, secret VARCHAR(9) DEFAULT 'hush')`,
}

const zooMapping = `
tables:
  "zoo.*": {}
  zoo.people:
    where: status != "hidden"
    columns:
      exclude: [secret]
      rename: {country: land}
    write:
      - json: person:{id}
      - string: person:{id}:status
        value: "{status}"
      - set: people:by_country:{country}
        member: "{id}"
        when_null: skip
      - sorted_set: people:ranking
        member: "{id}"
        score: score
      - hash: people:statuses
        field: "{id}"
        value: "{status}"
`

// pipelineFile writes a pipeline for the source.
func (s *source) pipelineFile(t *testing.T, listen, dir string) string {
	t.Helper()
	text := fmt.Sprintf(
		"pipeline: zoo\nsource:\n  mysql:\n    addresses: [%q]\n    user: root\n  backfill: "+
			"{chunk_rows: 200}\n%s\nsink:\n  node:\n    listen: %q\n    dir: %q\n",
		s.db.Addr(), zooMapping, listen, dir,
	)
	path := filepath.Join(t.TempDir(), "zoo.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustEqual waits until every server has reached MySQL's position, then compares
// each with a fresh SELECT of everything.
func (s *source) mustEqual(t *testing.T, path string, addrs ...string) {
	t.Helper()
	config, err := file.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	end := s.end()
	conn, err := mysql.Dial(t.Context(), s.config())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	data, err := pipelines.ReadDataset(t.Context(), conn, &config.Mapping)
	if err != nil {
		t.Fatal(err)
	}
	if data.Rows == 0 {
		t.Fatal("no rows to compare")
	}
	for _, addr := range addrs {
		r := sink.OpenRemote(addr, "")
		waitFor(
			t, fmt.Sprintf("%s reaches %s", addr, end),
			func(ctx context.Context) (bool, error) {
				return isAt(ctx, r, end)
			},
		)
		diffs, err := data.Compare(t.Context(), r, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range diffs {
			t.Error(d)
		}
		_ = r.Close()
	}
	t.Logf("%d rows, %d keys equal on %d servers", data.Rows, data.Keys(), len(addrs))
}
