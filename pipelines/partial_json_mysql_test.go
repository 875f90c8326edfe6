package pipelines_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// partialUpdates are updates that MySQL logs as changes of the JSON value doc, if the value is
// long.
var partialUpdates = []string{
	`JSON_SET(doc, '$.a', 'longer than before, so that the value moves')`,
	`JSON_SET(doc, '$.new', JSON_OBJECT('x', 1, 'y', JSON_ARRAY(1, 2.5, NULL, true)))`,
	`JSON_REPLACE(doc, '$.number', 7)`,
	`JSON_REPLACE(doc, '$.number', 5000000000)`,
	`JSON_REPLACE(doc, '$.number', 1.0)`,
	`JSON_SET(doc, '$.date', CAST('2024-02-29' AS DATE))`,
	`JSON_SET(doc, '$.at', CAST('2024-02-29 01:02:03.456' AS DATETIME(3)))`,
	`JSON_SET(doc, '$.dec', CAST(12345.678 AS DECIMAL(10,3)))`,
	`JSON_SET(doc, '$.blob', CAST(x'00ff' AS BINARY))`,
	`JSON_REMOVE(doc, '$.a')`,
	`JSON_REMOVE(doc, '$.list[0]', '$.list[2]')`,
	`JSON_REMOVE(doc, '$.missing')`,
	`JSON_SET(doc, '$.list[1]', 'in the middle')`,
	`JSON_SET(doc, '$.list[1000]', 'at the end')`,
	`JSON_SET(doc, '$.list[last]', JSON_ARRAY())`,
	`JSON_REPLACE(doc, '$.list[last-1]', JSON_OBJECT())`,
	`JSON_SET(doc, '$.nested.deep.deeper[0].x', '"quoted" \\ back')`,
	`JSON_SET(doc, '$.nested.deep."a key"', 1, '$.nested.deep."a \\"key\\""', 2)`,
	`JSON_SET(doc, '$.nested.deep."ключ"', 'значение', '$.nested."a.b[0]"', 3)`,
	`JSON_SET(doc, '$.nested.deep.deeper[0].x', NULL, '$.a', 1, '$.list[0]', false)`,
	`JSON_REMOVE(JSON_SET(doc, '$.tmp', 1, '$.b', 2), '$.tmp')`,
	`JSON_SET(doc, '$.a[0]', 'a scalar is its own first element')`,
	`JSON_SET(doc, '$.a[1]', 'which makes an array of it')`,
	`JSON_SET(doc, '$.big', REPEAT('y', 70000))`,
	`JSON_SET(doc, '$.big', 'short again')`,
	`JSON_SET(doc, '$', JSON_OBJECT('whole', 1, 'pad', REPEAT('x', 500)))`,
	`JSON_ARRAY_APPEND(doc, '$.list', 'appended')`,
	`JSON_SET(doc, '$.pad', REPEAT('p', 200))`,
}

// An update that is logged as changes of a JSON value gives the text that the server selects.
func testPartialJSON(t *testing.T, d *database) {
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, before_ JSON, v INT, doc JSON, other JSON)",
		"CREATE TABLE small (id INT PRIMARY KEY, doc JSON)")
	document := `JSON_OBJECT('a', 'text', 'b', JSON_ARRAY(), 'number', 1, 'list', ` +
		`JSON_ARRAY(1, 'two', JSON_OBJECT('three', 3), 4, 5.5, NULL), 'nested', ` +
		`JSON_OBJECT('deep', JSON_OBJECT('deeper', JSON_ARRAY(JSON_OBJECT('x', 'y')))), ` +
		`'pad', REPEAT('x', %d))`
	for id, size := range []int{300, 3000, 66000, 200000} {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, '[1]', 0, "+document+", '{\"k\": 1}')",
			id, size))
	}
	d.exec("INSERT INTO t VALUES (100, NULL, 0, NULL, NULL)",
		"INSERT INTO t VALUES (101, '{}', 0, JSON_ARRAY(1, 2, REPEAT('z', 400)), NULL)")
	m := newMemory()
	c := d.config()
	r := start(t, c, m, "")
	m.waitAt(t, d.end())
	from := d.end()
	d.exec("SET SESSION binlog_row_value_options = PARTIAL_JSON")
	for _, update := range partialUpdates {
		d.exec("UPDATE t SET v = v + 1, doc = " + update)
	}
	r.mustEqual(d, &c, m, "every update")
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		other := ""
		if random.IntN(3) == 0 {
			other = fmt.Sprintf(", other = JSON_SET(other, '$.n', %d)", random.IntN(100))
		}
		d.exec(fmt.Sprintf("UPDATE t SET doc = %s%s WHERE id %% 4 = %d",
			partialUpdates[random.IntN(len(partialUpdates))], other, random.IntN(4)))
	}
	r.mustEqual(d, &c, m, "updates in a random order")
	if types := d.eventTypes(from); types["Update_rows_partial"] < 50 {
		t.Errorf("the types of events are %v", types)
	}

	// Without the old value, the table goes into quarantine, and the other one does not.
	d.exec("SET SESSION binlog_row_image = MINIMAL", "BEGIN",
		"UPDATE t SET doc = JSON_SET(doc, '$.pad', 'x') WHERE id = 3",
		"SET SESSION binlog_row_image = FULL", "INSERT INTO small VALUES (1, '[1, 2]')", "COMMIT",
		"SET SESSION binlog_row_value_options = ''")
	m.waitAt(t, d.end())
	if got := r.quarantined(d, "binlog_row_image=FULL"); got != "t" {
		t.Errorf("the tables in quarantine are %q", got)
	}
	r.backfill(d, &c, m, "t")
}
