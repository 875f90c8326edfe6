package pipelines_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/pipelines/file"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// jobCase leads to a job, or to a removal of keys, on tables t and u of jobRows rows.
type jobCase struct {
	name string
	// sql is executed while the pipeline does not run.
	sql []string
	// keys are rows of t that a keys job reads again.
	keys []string
	// removes is the table whose keys may be missing for a while.
	removes string
}

const jobRows = 300

// unloggedChanges make the data of t differ from its rows: a job has to insert, to correct and to
// remove.
var unloggedChanges = []string{
	"SET SESSION sql_log_bin=0", "DELETE FROM t WHERE id % 10 = 3",
	"UPDATE t SET v = v + 1, grp = grp + 1 WHERE id % 7 = 0",
	"INSERT INTO t (id, v, grp, code) SELECT id + 1000, v, grp, code + 1000 FROM u WHERE id < 20",
	"SET SESSION sql_log_bin=1",
}

func jobCases() []jobCase {
	insert := "INSERT INTO t (id, v, grp, code) SELECT id, -v, grp, code FROM u WHERE id <= 70"
	cases := []jobCase{
		{name: "InitialLoad"},
		{name: "Values", sql: append(unloggedChanges[:len(unloggedChanges):len(unloggedChanges)],
			"ALTER TABLE t MODIFY v DECIMAL(10,2)")},
		{name: "Definition", sql: append([]string{
			"SET SESSION sql_log_bin=0", "ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 5 FIRST",
		}, append(unloggedChanges[1:len(unloggedChanges):len(unloggedChanges)],
			"UPDATE t SET v = v + 1 WHERE id < 5")...)},
		{name: "CutOver", sql: []string{
			"CREATE TABLE _t_new LIKE t", "INSERT INTO _t_new SELECT * FROM t WHERE id <> 8",
			"UPDATE _t_new SET v = v + 1, grp = grp + 1 WHERE id % 7 = 0",
			"RENAME TABLE t TO _t_old, _t_new TO t", "DROP TABLE _t_old",
		}},
		{name: "PrimaryKey", sql: []string{
			"ALTER TABLE u DROP PRIMARY KEY, ADD PRIMARY KEY (code)",
		}},
		{name: "Truncate", removes: "t", sql: []string{"TRUNCATE TABLE t", insert}},
		{name: "Drop", removes: "t", sql: []string{
			"CREATE TABLE _t_new LIKE t", "DROP TABLE t", "RENAME TABLE _t_new TO t", insert,
		}},
		{name: "Keys", sql: unloggedChanges},
	}
	keys := &cases[len(cases)-1].keys
	for id := range jobRows + 20 {
		*keys = append(*keys, fmt.Sprint(id))
		if id < 20 {
			*keys = append(*keys, fmt.Sprint(id+1000))
		}
	}
	return cases
}

// A pipeline that is killed at every unit of a job, or of a removal of keys, ends with the data of
// MySQL, and no key of a row that MySQL has all the time is ever missing.
func testJobsKilledAtEveryStep(t *testing.T, d *database) {
	kills := []killing{{after: 1}}
	if os.Getenv("ROWFALL_LONG") != "" {
		kills = append(kills, killing{after: 2}, killing{before: 2}, killing{before: 3})
	}
	for _, k := range kills {
		for _, c := range jobCases() {
			name := fmt.Sprintf("%s/after%dbefore%d", c.name, k.after, k.before)
			t.Run(name, func(t *testing.T) { testKilledJob(t, d, &c, k) })
		}
	}
}

// killing makes each run fail around its n-th Apply: before it has an effect, or after it.
type killing struct{ before, after int }

// killedJob is a test of one jobCase.
type killedJob struct {
	*database
	config *file.Config
	memory *memory
	killing

	mu      sync.Mutex
	isArmed bool
	applies int // of the present run
	// present are rows that MySQL has all the time: the keys under which each row may be found.
	present [][]string
	wrong   string
}

func testKilledJob(t *testing.T, shared *database, c *jobCase, k killing) {
	d := &database{t: t, addr: shared.addr, name: shared.name, conn: shared.conn}
	d.exec("DROP TABLE IF EXISTS t, u",
		"CREATE TABLE t (id INT PRIMARY KEY, v INT, grp INT, code INT NOT NULL)",
		"CREATE TABLE u LIKE t",
		fmt.Sprintf("INSERT INTO u WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL "+
			"SELECT n + 1 FROM r WHERE n < %d) SELECT n, n, n %% 9, n + 5000 FROM r", jobRows),
		"INSERT INTO t SELECT * FROM u")
	config := d.config("chunk_rows: 1000", "chunk_rows: 60", "max_atomic_rows: 10000",
		"max_atomic_rows: 40", `.*": {}`, `.*": {}`+"\n  \""+d.name+
			`.t": {write: [{hash: "t:{id}"}, {set: "group:{grp}", member: "{id}"}]}`)
	j := &killedJob{database: d, config: &config, memory: newMemory(), killing: k}
	if c.name != "InitialLoad" {
		r := start(t, config, j.memory, "")
		j.memory.waitAt(t, d.end())
		r.kill()
	}
	d.exec(c.sql...)
	if c.name != "InitialLoad" {
		j.rememberPresent(c.removes)
	}
	j.memory.Before = func(*sink.Unit) error { return j.apply() }
	j.memory.After = func(*sink.Unit) error { return j.applied() }
	j.run(c.keys)
}

// rememberPresent sets present to the rows that the sink has and MySQL keeps, of all tables but
// one.
func (j *killedJob) rememberPresent(except string) {
	for _, table := range []string{"t", "u"} {
		if table == except {
			continue
		}
		r, err := j.conn.Query(j.t.Context(), "SELECT id, code FROM "+table)
		must(j.t, err)
		for i := range r.Rows {
			id, code := table+":"+r.Text(i, "id"), table+":"+r.Text(i, "code")
			if _, ok := j.memory.Keys.HashFields(id); ok {
				j.present = append(j.present, []string{id, code})
			}
		}
	}
	if len(j.present) < jobRows/2 {
		j.t.Fatalf("%d rows are there before the job", len(j.present))
	}
}

// apply counts an Apply, and fails if it is the one before which the run is killed.
func (j *killedJob) apply() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.isArmed {
		return nil
	}
	if j.applies++; j.before > 0 && j.applies >= j.before {
		return errCrash
	}
	return nil
}

// applied checks the data after a unit, and fails if it is the one after which the run is killed.
func (j *killedJob) applied() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, keys := range j.present {
		isMissing := !slices.ContainsFunc(keys, func(key string) bool {
			_, ok := j.memory.Keys.HashFields(key)
			return ok
		})
		if isMissing && j.wrong == "" {
			j.wrong = fmt.Sprintf("%s is missing, and MySQL has the row all the time",
				strings.Join(keys, " or "))
		}
	}
	if j.isArmed && j.after > 0 && j.applies >= j.after {
		return errCrash
	}
	return nil
}

// run starts runs until no work is left, and compares the data with MySQL.
func (j *killedJob) run(keys []string) {
	t := j.t
	if len(keys) > 0 {
		r := start(t, *j.config, j.memory, "")
		waitFor(t, "the run streams", func() bool { return r.pipeline.Stats().Streaming })
		j.arm(true)
		must(t, r.pipeline.AddKeys(t.Context(), j.name+".t", keys))
		waitFor(t, "the run is killed", r.over)
	}
	killed := 0
	for done := false; !done; killed++ {
		if killed > 500 {
			t.Fatal("the job does not end")
		}
		j.arm(true)
		r := start(t, *j.config, j.memory, "")
		waitUpTo(t, time.Minute, "the run is killed or has no work left", func() bool {
			done = j.isDone()
			return done || r.over()
		})
		if r.over() && !errors.Is(r.err, errCrash) {
			t.Fatalf("the run has ended: %v", r.err)
		}
		r.kill()
	}
	t.Logf("%d runs were killed", killed-1)
	j.arm(false)
	r := start(t, *j.config, j.memory, "")
	r.mustEqual(j.database, j.config, j.memory, "the job")
	r.kill()
	if j.wrong != "" {
		t.Error(j.wrong)
	}
}

func (j *killedJob) arm(isArmed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.isArmed, j.applies = isArmed, 0
}

// isDone reports whether the data are at the server's position, without a job.
func (j *killedJob) isDone() bool {
	at := j.memory.progress(j.t)
	if at.Phase != sink.Streaming || at.Partial > 0 || at.Rebuilding != "" ||
		at.Position.CompareFile(j.end()) < 0 {
		return false
	}
	pieces, _ := j.memory.Keys.HashFields(sink.StateKey("test"))
	_, hasKeys := pieces[tablestate.KeysPrefix+j.name+".t"]
	return !hasKeys
}
