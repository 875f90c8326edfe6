package pipelines_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// TestDifferential executes scripts of changes of rows and tables, while the pipeline is killed,
// restarted, and reads tables. Whatever happens, the data equal a rebuild in the end, and every
// unit leaves keys as they were at some moment in MySQL.
//
// With ROWFALL_LONG, the seeds are random, and ROWFALL_SECONDS says how long scripts are made for
// each server. ROWFALL_SEED makes one script only; ROWFALL_SHRINK limits the seconds of shrinking.
func TestDifferential(t *testing.T) {
	kinds := []servers.Kind{servers.MySQL, servers.MariaDB}
	if os.Getenv("ROWFALL_LONG") != "" {
		kinds = append(kinds, servers.MariaDB118)
	}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			db := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true})
			e := &experiment{t: t, server: db}
			if seed, err := strconv.ParseUint(os.Getenv("ROWFALL_SEED"), 10, 64); err == nil {
				e.random(seed)
				return
			}
			e.seeds()
		})
	}
}

// TestDifferentialGolden executes scripts that have failed once.
func TestDifferentialGolden(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			db := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true})
			(&experiment{t: t, server: db}).golden()
		})
	}
}

// experiment executes scripts on one server.
type experiment struct {
	t      *testing.T
	server *servers.Database
	// isProcess makes the pipeline a process of its own, with a replica; see processSubject.
	isProcess bool
	runs      int
}

// golden executes the scripts in testdata.
func (e *experiment) golden() {
	files, err := filepath.Glob("testdata/differential/*.sql")
	must(e.t, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		must(e.t, err)
		s, err := parseScript(string(text))
		if err != nil {
			e.t.Fatalf("%s: %v", name, err)
		}
		if f := e.execute(s); f != nil {
			e.t.Errorf("%s: %s\n%s", name, f, f.log)
		}
	}
}

// seeds executes scripts that are made at random.
func (e *experiment) seeds() {
	if os.Getenv("ROWFALL_LONG") == "" {
		for seed := range uint64(6) {
			e.random(seed)
		}
		return
	}
	seconds := 300
	if n, err := strconv.Atoi(os.Getenv("ROWFALL_SECONDS")); err == nil {
		seconds = n
	}
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	for time.Now().Before(until) && !e.t.Failed() {
		e.random(rand.Uint64N(1 << 32))
	}
}

// random executes the script of a seed. A script that fails is shrunk.
func (e *experiment) random(seed uint64) {
	g := newGenerator(seed, e.server.Kind())
	g.hasRestarts = os.Getenv("ROWFALL_LONG") != ""
	s := g.script()
	e.t.Logf("seed %d begins", seed) // a failure may end the test at any step
	began := time.Now()
	f := e.execute(s)
	e.t.Logf("seed %d: %d steps in %v", seed, len(s), time.Since(began))
	if f == nil {
		return
	}
	e.t.Errorf("seed %d: %s\n%s\nshrinking:\n%s", seed, f, s, f.log)
	limit := time.Minute
	if os.Getenv("ROWFALL_LONG") != "" {
		limit = 5 * time.Minute
	}
	if n, err := strconv.Atoi(os.Getenv("ROWFALL_SHRINK")); err == nil {
		limit = time.Duration(n) * time.Second
	}
	last := f
	small := shrink(s, time.Now().Add(limit), func(s script) bool {
		again := e.execute(s)
		isSame := again != nil && again.kind == f.kind
		if isSame {
			last = again
		}
		return isSame
	})
	e.t.Errorf("seed %d, shrunk: %s\n%s\n%s", seed, last, small, last.log)
}

// failure is how a script fails.
type failure struct {
	kind, text string
	log        string // the end of the pipeline's log
}

func (f *failure) String() string { return f.kind + ": " + f.text }

// execution is one execution of a script.
type execution struct {
	*experiment
	db       string
	admin    *mysql.Conn
	sessions map[int]*session
	config   *file.Config
	subject  subject
	watches  []*watch
	// hasRecords is set after recordEntries.
	hasRecords bool
	// early is a fault that a step has found.
	early *failure
}

// subject is the pipeline that a script kills and starts.
type subject interface {
	// start begins a run, unless one is going on.
	start()
	// kill ends the run, if there is one.
	kill()
	// crash ends a run soon; when is "before" or "after", and n the number of units.
	crash(when string, n int)
	backfill(table string)
	// fault returns what is wrong at the moment. A run that has crashed is started again.
	fault() *failure
	// copies returns the data of the pipeline, and of its replicas.
	copies() []dataCopy
	// tail returns the last lines of the log.
	tail(lines int) string
	// close kills the run, and releases everything.
	close()
}

type session struct {
	*mysql.Conn
	charset string
}

// execute executes a script in databases of its own, and returns how it fails.
func (e *experiment) execute(s script) *failure {
	e.runs++
	x := &execution{
		experiment: e, db: fmt.Sprintf("d%d", e.runs), sessions: make(map[int]*session),
	}
	x.admin = x.dial()
	must(e.t, x.admin.Exec(e.t.Context(), "CREATE DATABASE "+x.db+" CHARACTER SET utf8mb4"))
	must(e.t, x.admin.Exec(e.t.Context(), "CREATE DATABASE "+x.db+"_two CHARACTER SET utf8mb4"))
	text := strings.NewReplacer(
		"{addr}", e.server.Addr(), "{db}", x.db, "{dir}", filepath.Join(e.t.TempDir(), "node"),
	).Replace(s.mapping())
	if e.isProcess {
		x.subject, x.config, x.watches = newProcessSubject(e.t, text)
	} else {
		x.subject, x.config, x.watches = newMemorySubject(e.t, text)
	}
	defer x.close()
	f := x.steps(s)
	if f != nil {
		f.log = x.subject.tail(60)
	}
	for _, w := range x.watches {
		if w.count() == 0 {
			e.t.Error("the data were never checked")
		}
	}
	return f
}

// steps executes the steps and compares in the end.
func (x *execution) steps(s script) *failure {
	x.subject.start()
	for i := range s {
		x.step(&s[i])
		if f := x.fault(); f != nil {
			return f
		}
		if len(s[i].action) > 0 && s[i].action[0] == "compare" {
			if f := x.compare(s); f != nil {
				return f
			}
		}
	}
	// The check of a restart finds what was not logged.
	for _, c := range x.sessions {
		_ = c.Exec(x.t.Context(), "COMMIT")
	}
	x.subject.kill()
	x.subject.start()
	return x.compare(s)
}

func (x *execution) step(s *step) {
	if s.sql != "" {
		x.statement(s)
		return
	}
	switch s.action[0] {
	case "kill":
		x.subject.kill()
	case "start":
		x.subject.start()
	case "crash":
		n, _ := strconv.Atoi(s.action[2])
		x.subject.crash(s.action[1], n)
	case "backfill":
		x.subject.backfill(x.db + "." + s.action[1])
	case "ready":
		x.waitForPosition()
	case "entries":
		x.recordEntries(strings.Join(s.action[1:], " "))
	case "restart":
		x.restartServer(len(s.action) > 1 && s.action[1] == "killed")
	}
}

// waitForPosition waits until the pipeline has a position, or a fault.
func (x *execution) waitForPosition() {
	x.subject.start()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(waitLimit); time.Now().Before(until); <-tick.C {
		if x.early = x.fault(); x.early != nil ||
			x.subject.copies()[0].progress().Phase != sink.Empty {
			return
		}
	}
}

// restartServer shuts the MySQL server down, or kills it, and starts it again. Open transactions
// are lost.
func (x *execution) restartServer(isKilled bool) {
	for n, c := range x.sessions {
		_ = c.Close()
		delete(x.sessions, n)
	}
	_ = x.admin.Close()
	if isKilled {
		must(x.t, x.server.Kill())
	}
	must(x.t, x.server.Restart(x.t.Context()))
	x.admin = x.dial()
}

// statement executes a statement in its session.
func (x *execution) statement(s *step) {
	c := x.sessions[s.session]
	if c == nil {
		c = &session{Conn: x.dial(), charset: "utf8mb4"}
		x.sessions[s.session] = c
		for _, sql := range []string{
			"SET NAMES utf8mb4", "SET sql_mode = ''", "SET lock_wait_timeout = 5",
			"SET innodb_lock_wait_timeout = 2", "USE " + x.db,
		} {
			must(x.t, c.Exec(x.t.Context(), sql))
		}
	}
	charset := s.charset
	if charset == "" {
		charset = "utf8mb4"
	}
	if charset != c.charset {
		must(x.t, c.Exec(x.t.Context(), "SET NAMES "+charset))
		c.charset = charset
	}
	for _, w := range x.watches {
		w.unpin(s.unpin, s.isUnordered)
	}
	err := c.Exec(x.t.Context(), s.encode(x.db))
	for i := 1; i < s.repeat && err == nil; i++ {
		err = c.Exec(x.t.Context(), s.encode(x.db))
	}
	var refused *mysql.ServerError
	switch {
	case err == nil:
		for _, w := range x.watches {
			w.pin(s.pin)
		}
	case !errors.As(err, &refused):
		x.t.Fatalf("%s: %v", s.sql, err)
	case os.Getenv("ROWFALL_VERBOSE") != "":
		x.t.Logf("%s: %v", s, err)
	}
}

func (x *execution) dial() *mysql.Conn {
	c, err := mysql.Dial(x.t.Context(),
		mysql.Config{Addresses: []string{x.server.Addr()}, User: "root", Silence: 10 * time.Minute})
	must(x.t, err)
	return c
}

// close ends the execution and removes its databases.
func (x *execution) close() {
	x.subject.close()
	for _, c := range x.sessions {
		_ = c.Close()
	}
	for _, db := range []string{x.db, x.db + "_two"} {
		_ = x.admin.Exec(x.t.Context(), "DROP DATABASE IF EXISTS "+db)
	}
	_ = x.admin.Close()
}

// fault returns what is wrong at the moment.
func (x *execution) fault() *failure {
	if x.early != nil {
		return x.early
	}
	for _, w := range x.watches {
		if text := w.found(); text != "" {
			return &failure{kind: "wrong data", text: text}
		}
	}
	return x.subject.fault()
}
