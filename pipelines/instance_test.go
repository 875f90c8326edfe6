package pipelines_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication"
)

// runningInstance is a pipeline with its node, as `rowfall run` runs it.
type runningInstance struct {
	*pipelines.Instance
	t      *testing.T
	client *redis.Client
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func runInstance(t *testing.T, c file.Config) *runningInstance {
	t.Helper()
	return runInstanceFrom(t, c, "")
}

// runInstanceFrom is runInstance with --from.
func runInstanceFrom(t *testing.T, c file.Config, from string) *runningInstance {
	t.Helper()
	opened, err := pipelines.Open(c, from, zerolog.New(zerolog.NewTestWriter(t)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := &runningInstance{
		Instance: opened, t: t, cancel: cancel,
		ended:  make(chan struct{}),
		client: redis.NewClient(&redis.Options{Addr: opened.Node.Addr(), MaxRetries: -1}),
	}
	go func() {
		defer close(m.ended)
		m.err = m.Run(ctx)
	}()
	t.Cleanup(m.stop)
	return m
}

func (m *runningInstance) stop() {
	m.cancel()
	<-m.ended
	_ = m.client.Close()
}

// wait uses ROWFALL WAIT for everything that the database has executed.
func (m *runningInstance) wait(d *database) {
	m.t.Helper()
	set := d.end().GTID
	waitFor(m.t, "ROWFALL WAIT "+set.String(), func() bool {
		n, err := m.client.Do(m.t.Context(), "ROWFALL", "WAIT", set.String(), 1000).Int()
		return err == nil && n == 1
	})
}

func (m *runningInstance) mustHold(key, field, want string) {
	m.t.Helper()
	if v, err := m.client.HGet(m.t.Context(), key, field).Result(); err != nil || v != want {
		m.t.Errorf("%s of %s is %q (%v), want %q", field, key, v, err, want)
	}
}

// TestInstances shares one MySQL.
func TestInstances(t *testing.T) {
	db := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	for _, part := range []struct {
		name string
		run  func(t *testing.T, d *database)
	}{
		{"Commands", testCommands},
		{"Promotion", testPromotion},
		{"PromotionOfOthers", testPromotionOfOthers},
		{"Held", testHeld},
		{"Replace", testReplace},
		{"ReplaceDemoted", testReplaceDemoted},
		{"ReplaceState", testReplaceState},
		{"ActsOnReplicas", testActsOnReplicas},
		{"TimesToLive", testTimesToLive},
		{"PasswordFile", testPasswordFile},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, newDatabase(t, db)) })
	}
}

func testCommands(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE no_key (v INT)", "CREATE TABLE no_key_too (v INT)",
		"CREATE TABLE _t_old (id INT PRIMARY KEY)")
	m := runInstance(t, d.config())
	m.wait(d)
	ctx := t.Context()

	// A WAIT for a transaction that is yet to come ends when it has come.
	now := d.end().GTID.String()
	i := strings.LastIndexAny(now, "-:")
	var last int
	if _, err := fmt.Sscan(now[i+1:], &last); err != nil {
		t.Fatal(err)
	}
	next := fmt.Sprintf("%s:%d", now[:strings.Index(now, ":")], last+1)
	began := make(chan struct{})
	answer := make(chan error, 1)
	go func() {
		close(began)
		n, err := m.client.Do(ctx, "ROWFALL", "WAIT", next, 30000, d.name+".t").Int()
		if err == nil && n != 1 {
			err = fmt.Errorf("WAIT answered %d", n)
		}
		answer <- err
	}()
	<-began
	if n, err := m.client.Do(ctx, "ROWFALL", "WAIT", next, 20).Int(); err != nil || n != 0 {
		t.Errorf("WAIT for what has not come: %d, %v", n, err)
	}
	d.exec("INSERT INTO t VALUES (2, 2)")
	if err := <-answer; err != nil {
		t.Error(err)
	}
	m.mustHold("t:2", "v", "2")

	for _, args := range [][]any{{"ROWFALL", "POSITION", "test"}, {"ROWFALL", "POSITION"}} {
		reply, err := m.client.Do(ctx, args...).Result()
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(reply); !strings.Contains(text, d.end().GTID.String()) ||
			!strings.Contains(text, "state:streaming") {
			t.Errorf("%v answers %v", args, reply)
		}
	}
	if n, err := m.client.Do(ctx, "ROWFALL", "WAIT", now, 20).Int(); err != nil || n != 1 {
		t.Errorf("WAIT for what is there: %d, %v", n, err)
	}
	for _, section := range []string{"everything", "rowfall"} {
		if text, err := m.client.Info(ctx, section).Result(); err != nil ||
			!strings.Contains(text, "rowfall_test:state=streaming") {
			t.Errorf("INFO %s: %v\n%s", section, err, text)
		}
	}
	if text, err := m.client.Do(ctx, "ROWFALL", "STATUS").Text(); err != nil ||
		!strings.Contains(text, "rowfall_pipelines:1") ||
		!strings.Contains(text,
			",unmapped="+d.name+"._t_old;"+d.name+".no_key;"+d.name+".no_key_too,") ||
		!strings.Contains(text, "\r\nrowfall_test_unmapped0:table="+d.name+"._t_old,"+
			"reason=\"its name matches _*_old, as ") ||
		!strings.Contains(text, "\r\nrowfall_test_unmapped2:table="+d.name+".no_key_too,"+
			"reason=\"it has no primary key") {
		t.Errorf("STATUS: %q, %v", text, err)
	}
	for _, args := range [][]any{
		{"ROWFALL"},
		{"ROWFALL", "NO"},
		{"ROWFALL", "POSITION", "other"},
		{"ROWFALL", "WAIT", "x", 1},
		{"ROWFALL", "WAIT", "", 1},
		{"ROWFALL", "WAIT", next, -1},
	} {
		if err := m.client.Do(ctx, args...).Err(); err == nil ||
			!strings.HasPrefix(err.Error(), "ERR ") {
			t.Errorf("%v: %v, want an error", args, err)
		}
	}
	keys, err := m.client.Keys(ctx, "*").Result()
	if err != nil || len(keys) != 3 {
		t.Errorf("KEYS shows %q, want two rows and the position (%v)", keys, err)
	}
}

// A stand-by resumes at the data's position when it is promoted, without a load. A demoted
// instance ends its reading.
func testPromotion(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	first := runInstance(t, d.config())
	first.wait(d)
	c := d.config()
	c.Sink.Node.ReplicaOf = first.Node.Addr()
	second := runInstance(t, c)
	second.wait(d)
	if s := second.Pipeline.Stats(); s.Units > 0 {
		t.Errorf("a replica's pipeline wrote %d units", s.Units)
	}
	first.stop()
	d.exec("INSERT INTO t VALUES (2, 2)", "UPDATE t SET v = 10 WHERE id = 1")
	if err := second.client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	second.wait(d)
	second.mustHold("t:1", "v", "10")
	second.mustHold("t:2", "v", "2")
	if s := second.Pipeline.Stats(); s.Loaded > 0 {
		t.Errorf("%d rows were loaded again", s.Loaded)
	}

	// The first comes back as a replica of the second, then the roles change.
	c = first.Config
	c.Sink.Node.ReplicaOf = ""
	first = runInstance(t, c)
	host, port, _ := strings.Cut(second.Node.Addr(), ":")
	if err := first.client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	first.wait(d)
	host, port, _ = strings.Cut(first.Node.Addr(), ":")
	if err := first.client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	if err := second.client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	// Nothing is written meanwhile: the demotion itself ends the reading.
	waitFor(t, "one reader is left", func() bool {
		r, err := d.conn.Query(t.Context(), "SHOW PROCESSLIST")
		if err != nil {
			t.Fatal(err)
		}
		readers := 0
		for i := range r.Rows {
			if strings.HasPrefix(r.Text(i, "Command"), "Binlog Dump") {
				readers++
			}
		}
		return readers == 1
	})
	d.exec("INSERT INTO t VALUES (3, 3)")
	first.wait(d)
	second.wait(d)
	second.mustHold("t:3", "v", "3")
	for _, m := range []*runningInstance{first, second} {
		if role, _ := m.Node.Role(); (role == replication.Master) != (m == first) {
			t.Errorf("%s is a %v", m.Node.Addr(), role)
		}
	}
}

// A promoted node whose data another mapping built is not changed and serves reads. The error is
// returned at the end of the process.
func testPromotionOfOthers(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	first := runInstance(t, d.config())
	first.wait(d)
	for _, test := range []struct{ old, new, want string }{
		{`.*": {}`, `.*": {columns: {rename: {v: w}}}`, "another mapping"},
		{"pipeline: test", "pipeline: other", "no position of pipeline other"},
	} {
		c := d.config(test.old, test.new)
		c.Sink.Node.ReplicaOf = first.Node.Addr()
		m := runInstance(t, c)
		m.wait(d)
		if err := m.client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			t.Fatal(err)
		}
		offset := m.Node.Offset()
		d.exec("UPDATE t SET v = v + 1")
		first.wait(d)
		m.mustHold("t:1", "v", "1")
		// What it ends with was found out before; wait for that.
		waitFor(t, "the pipeline has stopped",
			func() bool { return m.Pipeline.Stats().Stopped != "" })
		if at := m.Node.Offset(); at != offset {
			t.Errorf("%d bytes were written", at-offset)
		}
		if text, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text(); err != nil ||
			!strings.Contains(text, test.want) ||
			!strings.Contains(text, ",stopped=") {
			t.Errorf("STATUS after the stop: %q, %v", text, err)
		}
		m.stop()
		var stopped *pipelines.StopError
		if !errors.As(m.err, &stopped) || !strings.Contains(m.err.Error(), test.want) {
			t.Errorf("ended with %v, want %q", m.err, test.want)
		}
		d.exec("UPDATE t SET v = 1")
		first.wait(d)
	}
}

// If one of two pipelines in a process loses its MySQL, the other continues, and the first
// recovers by itself.
func TestInstancesAreIndependent(t *testing.T) {
	good := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	bad := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	one, two := newDatabase(t, good), newDatabase(t, bad)
	for _, d := range []*database{one, two} {
		d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	}
	log := zerolog.New(zerolog.NewTestWriter(t))
	var openers []pipelines.Opener
	var clients []*runningInstance
	var tries int // by the one goroutine that opens two
	for _, d := range []*database{one, two} {
		m, err := pipelines.Open(d.config(), "", log)
		if err != nil {
			t.Fatal(err)
		}
		open := func() (*pipelines.Instance, error) {
			// Another process still has the second one's port at the first try.
			if d == two {
				if tries++; tries < 2 {
					return nil, errCrash
				}
			}
			return m, nil
		}
		openers = append(openers, pipelines.Opener{Open: open, Log: log})
		clients = append(
			clients,
			&runningInstance{
				Instance: m, t: t,
				client: redis.NewClient(&redis.Options{Addr: m.Node.Addr(), MaxRetries: -1}),
			},
		)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pipelines.RunAll(ctx, openers...) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		for _, m := range clients {
			_ = m.client.Close()
		}
	}()
	clients[0].wait(one)
	clients[1].wait(two)
	must(t, bad.Kill())
	for id := 2; id < 6; id++ {
		one.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", id, id))
		clients[0].wait(one)
	}
	clients[1].mustHold("t:1", "v", "1")
	must(t, bad.Restart(t.Context()))
	two.conn = two.dial()
	two.exec("USE `"+two.name+"`", "INSERT INTO t VALUES (2, 20)")
	clients[1].wait(two)
	clients[1].mustHold("t:2", "v", "20")
	clients[0].mustHold("t:5", "v", "5")
}

// Replicas may copy what a node holds although MySQL is away.
func TestServesWithoutMySQL(t *testing.T) {
	db := servertest.Database(t, servers.MySQL, servers.DatabaseOptions{GTID: true})
	d := newDatabase(t, db)
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	c := d.config()
	m := runInstance(t, c)
	m.wait(d)
	m.stop()
	must(t, db.Kill())
	m = runInstance(t, c)
	// Its state says "streaming" in the data, but nothing streams.
	waitFor(t, "STATUS shows the retry", func() bool {
		text, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text()
		return err == nil && strings.Contains(text, "rowfall_test:state=retrying,") &&
			strings.Contains(text, "phase=streaming")
	})
	c = d.config()
	c.Sink.Node.ReplicaOf = m.Node.Addr()
	replica := runInstance(t, c)
	waitFor(t, "the replica has the row", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, err := replica.client.HGet(ctx, "t:1", "v").Result()
		return err == nil && v == "1"
	})
}

// A write stall of the node shows as a hold of its pipeline.
func testHeld(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	m := runInstance(t,
		d.config("max_atomic_rows: 10000", "max_atomic_rows: 10000, min_replicas: 1"))
	waitFor(t, "the load is over", func() bool { return m.Node.Status().Complete })
	d.exec("INSERT INTO t VALUES (2, 2)")
	status := func() string {
		text, err := m.client.Do(t.Context(), "ROWFALL", "STATUS").Text()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	waitFor(t, "the missing replica shows as a hold", func() bool {
		return strings.Contains(status(), "rowfall_test:state=held,") &&
			strings.Contains(status(), ",held=\"0 of 1 replicas have the data within 10s, since ")
	})
	// The state of the data is another thing, and stays.
	state, err := m.client.HGet(t.Context(), "rowfall:position:test", "state").Result()
	if err != nil || state != "streaming" {
		t.Errorf("the position's state is %q, %v", state, err)
	}
	if text := status(); !strings.Contains(text, ",phase=streaming,") {
		t.Errorf("STATUS does not tell the data's state: %q", text)
	}
	if err := m.client.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
	m.wait(d)
	waitFor(t, "no hold shows", func() bool {
		return strings.Contains(status(), "rowfall_test:state=streaming,") &&
			strings.Contains(status(), ",held=\r\n")
	})
}

// A pipeline that cannot be opened is reported by the logger of its own file. It was reported by
// the logger of the last file, with that file's level and format.
func TestOpenFailuresGoToTheirLogger(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var tries atomic.Int32
	logs := make([]bytes.Buffer, 2)
	var openers []pipelines.Opener
	for i, name := range []string{"first.yaml", "second.yaml"} {
		openers = append(openers, pipelines.Opener{
			Log: zerolog.New(&logs[i]),
			Open: func() (*pipelines.Instance, error) {
				if tries.Add(1) >= 2 {
					cancel()
				}
				return nil, errors.New(name)
			},
		})
	}
	if err := pipelines.RunAll(ctx, openers...); err == nil {
		t.Error("no error")
	}
	first, second := logs[0].String(), logs[1].String()
	if !strings.Contains(first, "first.yaml") || strings.Contains(first, "second.yaml") {
		t.Errorf("the first log has\n%s", first)
	}
	if !strings.Contains(second, "second.yaml") || strings.Contains(second, "first.yaml") {
		t.Errorf("the second log has\n%s", second)
	}
}
