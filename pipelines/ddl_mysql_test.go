package pipelines_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// Addr and Each make a memory a pipelines.KeyReader.
func (m *memory) Addr() string { return "the sink" }

func (m *memory) Each(ctx context.Context, visit func(string, sink.RemoteValue) error) error {
	var keys []string
	m.Keys.Each("", func(key string) { keys = append(keys, key) })
	for _, key := range keys {
		v, err := m.value(ctx, key)
		if err == nil {
			var at resp.Reply
			at, err = m.query(ctx, []byte("PEXPIRETIME"), []byte(key))
			v.Expires = at.Int > 0
		}
		if err == nil && v.Type != "" {
			err = visit(key, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// value returns the value of a key. Its Type is empty if the key is gone.
func (m *memory) value(ctx context.Context, key string) (v sink.RemoteValue, err error) {
	if fields, ok := m.Keys.HashFields(key); ok {
		return sink.RemoteValue{Type: "hash", Hash: fields}, nil
	}
	if text, ok := m.Keys.Get(key); ok {
		return sink.RemoteValue{Type: "string", String: string(text)}, nil
	}
	reply, err := m.query(ctx, []byte("TYPE"), []byte(key))
	if err != nil {
		return v, err
	}
	switch string(reply.Text) {
	case "set":
		v.Type = "set"
		reply, err = m.query(ctx, []byte("SMEMBERS"), []byte(key))
		for _, e := range reply.Elements {
			v.Set = append(v.Set, string(e.Text))
		}
	case "zset":
		v.Type, v.ZSet = "zset", make(map[string]float64)
		reply, err = m.query(ctx, []byte("ZRANGE"), []byte(key), []byte("0"), []byte("-1"),
			[]byte("WITHSCORES"))
		for i := 0; i+1 < len(reply.Elements); i += 2 {
			member, score := string(reply.Elements[i].Text), string(reply.Elements[i+1].Text)
			if v.ZSet[member], err = strconv.ParseFloat(score, 64); err != nil {
				return v, err
			}
		}
	}
	return v, err
}

// mustEqual waits until no job is left and the data have reached the server's position, and
// compares them with what the mapping makes of the rows in MySQL.
func (r *running) mustEqual(d *database, c *file.Config, m *memory, what string) {
	r.t.Helper()
	r.waitAt(m, d.end())
	waitFor(r.t, "no job is left after "+what, func() bool {
		if r.over() {
			r.t.Fatalf("%s: the run has ended: %v", what, r.err)
		}
		p := m.progress(r.t)
		return p.Rebuilding == "" && p.Quarantined == ""
	})
	data, err := pipelines.ReadDataset(r.t.Context(), d.conn, &c.Mapping)
	if err != nil {
		r.t.Fatal(err)
	}
	diffs, err := data.Compare(r.t.Context(), m, 10)
	if err != nil || len(diffs) > 0 {
		r.t.Errorf("after %s: %v\n%s", what, err, strings.Join(diffs, "\n"))
	}
}

// schemaChanges are statements after each of which the data must equal a rebuild.
var schemaChanges = []string{
	"ALTER TABLE t ADD COLUMN w INT",
	"UPDATE t SET w = 5 WHERE id = 2",
	"ALTER TABLE t ADD COLUMN x VARCHAR(20) NOT NULL DEFAULT 'new' FIRST",
	"INSERT INTO t (id, v) VALUES (100, 7)",
	"ALTER TABLE t DROP COLUMN w",
	"ALTER TABLE t MODIFY v DECIMAL(10,2)",
	"ALTER TABLE t CHANGE v amount DECIMAL(12,1), ADD INDEX (amount)",
	"UPDATE t SET amount = 3 WHERE id < 3",
	"ALTER TABLE t RENAME COLUMN amount TO v",
	"ALTER TABLE t MODIFY x VARCHAR(20) AFTER v",
	"ALTER TABLE t ADD COLUMN e ENUM('a', 'b') DEFAULT 'b'",
	"ALTER TABLE t MODIFY e ENUM('z', 'a', 'b')",
	"ALTER TABLE t MODIFY id BIGINT",
	"ALTER TABLE t ADD COLUMN g INT AS (id + 1) STORED",
	"TRUNCATE TABLE t",
	"INSERT INTO t (id, v) VALUES (1, 1), (2, 2)",
	"CREATE TABLE n (id INT PRIMARY KEY, v INT)",
	"INSERT INTO n VALUES (1, 1), (2, 2)",
	"RENAME TABLE n TO m",
	"INSERT INTO m VALUES (3, 3)",
	"DROP TABLE m",
	"CREATE TABLE `_t_gho` (id INT PRIMARY KEY, v VARCHAR(9), more INT)",
	"INSERT INTO `_t_gho` VALUES (1, 'one', 1), (9, 'nine', 9)",
	"RENAME TABLE t TO `_t_del`, `_t_gho` TO t",
	"UPDATE t SET v = 'changed' WHERE id = 9",
	"DROP TABLE `_t_del`",
	"CREATE TABLE keyless (id INT NOT NULL, v INT)",
	"INSERT INTO keyless VALUES (1, 1), (2, 2)",
	"ALTER TABLE keyless ADD PRIMARY KEY (id)",
	"INSERT INTO keyless VALUES (3, 3)",
	"CREATE TABLE copy AS SELECT * FROM t",
	"ALTER TABLE copy ADD PRIMARY KEY (id)",
	"CREATE TABLE liked LIKE t",
	"INSERT INTO liked SELECT * FROM t",
	"ALTER TABLE liked PARTITION BY RANGE (id) " +
		"(PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS THAN MAXVALUE)",
	"ALTER TABLE liked TRUNCATE PARTITION p0",
	"ALTER TABLE liked CONVERT TO CHARACTER SET latin1",
}

// After each schema change the data equal a rebuild, while the pipeline runs.
func testSchemaChanges(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 50)
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 20")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	for _, sql := range schemaChanges {
		d.exec(sql)
		r.mustEqual(d, &c, m, sql)
	}
}

// Schema changes that came while the pipeline was stopped are followed with the schemas of then.
func testLaggingSchemaChanges(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	insertRows(d, 50)
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 20")
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	r.kill()
	for i, sql := range schemaChanges {
		d.exec(sql)
		d.exec(fmt.Sprintf("CREATE TABLE lag%d (id INT PRIMARY KEY, x INT, y INT)", i),
			fmt.Sprintf("INSERT INTO lag%d VALUES (1, 10, 20)", i),
			fmt.Sprintf("ALTER TABLE lag%d MODIFY x INT AFTER y", i))
	}
	r = start(t, c, m, "")
	r.mustEqual(d, &c, m, "all statements at once")
}

// With `ignore`, keys of removed rows stay, and a new row over an old key is written in full.
func testIgnoredRemovals(t *testing.T, d *database) {
	create := "CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT)"
	d.exec(create, "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)")
	m := newMemory()
	c := d.config(`.*": {}`, `.*": {on_truncate: ignore, on_drop: ignore}`)
	start(t, c, m, "")
	m.waitAt(t, d.end())
	for _, statements := range [][]string{{"TRUNCATE TABLE t"}, {"DROP TABLE t", create}} {
		d.exec(statements...)
		d.exec("INSERT INTO t VALUES (1, NULL, 7)")
		m.waitAt(t, d.end())
		if row, _ := m.Keys.HashFields("t:1"); len(row) != 2 || row["w"] != "7" {
			t.Errorf("after %s the row is %v", statements, row)
		}
		if row, _ := m.Keys.HashFields("t:2"); row["v"] != "2" {
			t.Errorf("after %s the key of a removed row is %v", statements, row)
		}
		d.exec("UPDATE t SET v = 1 WHERE id = 1")
		m.waitAt(t, d.end())
	}
}

// A table whose engine is changed to one that is not followed goes into quarantine, once, and a
// restart keeps that.
func testUnfollowedEngine(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)",
		"CREATE TABLE u (id INT PRIMARY KEY, v INT)")
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	d.exec("ALTER TABLE t ENGINE=MEMORY", "INSERT INTO u VALUES (1, 1)")
	for range 2 {
		m.waitAt(t, d.end())
		waitFor(t, "the table is in quarantine", func() bool {
			faults := r.pipeline.Stats().Quarantined
			return len(faults) == 1 && strings.Contains(faults[0].Reason, "MEMORY")
		})
		mustBeEqual(t, m.rows("u"), d.rows("u"))
		r.kill()
		r = start(t, c, m, "")
		d.exec("INSERT INTO u SELECT MAX(id) + 1, 0 FROM u")
	}
	d.exec("ALTER TABLE t ENGINE=InnoDB")
	r.mustEqual(d, &c, m, "an engine that is followed")
}
