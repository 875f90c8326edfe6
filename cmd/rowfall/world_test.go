package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
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
const waitLimit = 60 * time.Second

// process is a rowfall of its own, which a test may kill and start again.
type process struct {
	t    *testing.T
	args []string
	log  string
	addr string
	cmd  *exec.Cmd
}

// startProcess starts rowfall with args; it must listen on addr.
func startProcess(t *testing.T, addr string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, addr: addr, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("log of rowfall %s:\n%s", strings.Join(args, " "), text[max(0, len(text)-6000):])
		}
	})
	p.start()
	return p
}

func (p *process) start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(self, p.args...)
	p.cmd.Env = append(os.Environ(), beRowfall+"=1")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	waitFor(p.t, "rowfall listens on "+p.addr, func(context.Context) (bool, error) {
		c, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

// end sends a signal and waits for the process.
func (p *process) end(s syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// kill ends the process as a power cut of the process alone would.
func (p *process) kill() { p.end(syscall.SIGKILL) }

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

// link is a TCP proxy whose connections a test can cut.
type link struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	l, err := net.Listen("tcp", testAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	k.done.Go(k.accept)
	t.Cleanup(func() {
		_ = l.Close()
		k.cut()
		k.done.Wait()
	})
	return k
}

func (k *link) addr() string { return k.listener.Addr().String() }

func (k *link) accept() {
	for {
		in, err := k.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", k.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		k.mu.Lock()
		k.conns[in], k.conns[out] = struct{}{}, struct{}{}
		k.mu.Unlock()
		k.done.Go(func() { k.pass(in, out) })
		k.done.Go(func() { k.pass(out, in) })
	}
}

func (k *link) pass(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_, _ = dst.Close(), src.Close()
	k.mu.Lock()
	delete(k.conns, dst)
	delete(k.conns, src)
	k.mu.Unlock()
}

// cut closes every connection, wherever in the stream it is.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		_ = c.Close()
	}
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

// traffic writes random transactions over the five tables from several
// connections, through restarts of the server, until stop.
type traffic struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (s *source) traffic(writers int) *traffic {
	ctx, cancel := context.WithCancel(s.t.Context())
	tr := &traffic{cancel: cancel}
	for i := range writers {
		tr.done.Go(func() { s.write(ctx, uint64(i)) })
	}
	return tr
}

func (tr *traffic) stop() {
	tr.cancel()
	tr.done.Wait()
}

func (s *source) write(ctx context.Context, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	var conn *mysql.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	pause := time.NewTicker(3 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		var err error
		if conn == nil {
			if conn, err = mysql.Dial(ctx, s.config()); err != nil {
				conn = nil
				continue
			}
		}
		statements := append([]string{"BEGIN"}, randomStatements(rng)...)
		end := "COMMIT"
		if rng.IntN(12) == 0 {
			end = "ROLLBACK"
		}
		for _, sql := range append(statements, end) {
			// Not with ctx: a COMMIT that is cut off on our side may still be carried
			// out after the rows were read for the comparison.
			err = conn.Exec(s.t.Context(), sql)
			var refused *mysql.ServerError
			if errors.As(err, &refused) &&
				(refused.Code == 1062 || refused.Code == 1213 || refused.Code == 1205) {
				err = conn.Exec(s.t.Context(), "ROLLBACK")
				break
			}
			if err != nil {
				break
			}
		}
		if err != nil {
			_ = conn.Close() // the server was killed, or the test is over
			conn = nil
			if !errors.As(err, new(*mysql.ServerError)) {
				continue
			}
			if ctx.Err() == nil {
				var refused *mysql.ServerError
				errors.As(err, &refused)
				// 1053, 1927: the server is going down.
				if refused.Code != 1053 && refused.Code != 1927 {
					s.t.Errorf("random traffic: %v", err)
					return
				}
			}
		}
	}
}

func randomStatements(rng *rand.Rand) []string {
	maybe := func(s string) string {
		if rng.IntN(5) == 0 {
			return "NULL"
		}
		return s
	}
	text := func() string {
		return fmt.Sprintf(
			"'%s-%d'",
			[]string{"ä", "b ", "日本", "", `\\n`}[rng.IntN(5)],
			rng.IntN(100),
		)
	}
	plain := func() string {
		return strings.Join([]string{
			maybe(text()), maybe(fmt.Sprintf("%d.%04d", rng.IntN(2000)-1000, rng.IntN(10000))),
			maybe(
				fmt.Sprintf("'20%02d-03-04 05:06:%02d.%03d'", rng.IntN(90), rng.IntN(60),
					rng.IntN(1000)),
			),
			maybe(
				fmt.Sprintf("%g", rng.NormFloat64()*1e6),
			), maybe("'y'"), maybe("'p,r'"), maybe("REPEAT('long ', 40)"),
			maybe(
				fmt.Sprintf("%d", rng.Uint64()),
			), maybe(fmt.Sprintf("X'%08x00'", rng.Uint32())),
			maybe(fmt.Sprintf(`'{"n": %d, "t": [1, 2.5, "x"]}'`, rng.IntN(9))),
		}, ",")
	}
	var out []string
	for range 1 + rng.IntN(4) {
		id := 1 + rng.IntN(400)
		switch rng.IntN(12) {
		case 0, 1:
			out = append(out,
				"INSERT INTO zoo.plain (a,b,c,d,e,f,g,h,i,j) VALUES ("+plain()+"),("+plain()+")")
		case 2:
			out = append(
				out,
				fmt.Sprintf(
					"UPDATE zoo.plain SET a = %s, b = b + 1, g = IF(g IS NULL, 'new', "+
						"NULL) WHERE id = %d",
					maybe(text()), id,
				),
			)
		case 3:
			out = append(out, fmt.Sprintf("DELETE FROM zoo.plain WHERE id = %d", id))
		case 4:
			out = append(
				out,
				fmt.Sprintf(
					"REPLACE INTO zoo.pairs VALUES (%s, %d, %s, '2026-01-02 03:04:05.%06d')",
					text(), rng.IntN(20), maybe("1.25"), rng.IntN(1e6),
				),
			)
		case 5:
			out = append(out, fmt.Sprintf("DELETE FROM zoo.pairs WHERE k2 = %d", rng.IntN(20)))
		case 6:
			out = append(out,
				fmt.Sprintf("REPLACE INTO zoo.uniques VALUES ('c%d', %s)", id, maybe("7")))
		case 7:
			out = append(out, fmt.Sprintf("DELETE FROM zoo.uniques WHERE code = 'c%d'", id))
		case 8:
			out = append(out,
				fmt.Sprintf("INSERT IGNORE INTO zoo.movers VALUES (%d, %s)", id, text()))
		case 9:
			out = append(
				out, fmt.Sprintf("UPDATE IGNORE zoo.movers SET id = %d, v = %s WHERE id = %d",
					1+rng.IntN(400), text(), id),
			)
		default:
			out = append(
				out,
				fmt.Sprintf(
					"REPLACE INTO zoo.people (id, country, score, status) VALUES (%d, %s, %d, "+
						"'%s')",
					id, maybe([]string{"'DE'", "'FR'"}[rng.IntN(2)]), rng.IntN(1000),
					[]string{"new", "old", "hidden"}[rng.IntN(3)],
				),
			)
		}
	}
	return out
}

// fill writes rows before the pipeline begins, so that there is something to load.
func (s *source) fill(transactions int) {
	rng := rand.New(rand.NewPCG(99, 99))
	var statements []string
	for range transactions {
		statements = append(statements, randomStatements(rng)...)
	}
	s.exec(statements...)
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
				p, err := r.Progress(ctx, "zoo")
				return p.Phase == sink.Streaming && p.Position.CompareFile(end) >= 0, err
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
