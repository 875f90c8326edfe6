package pipelines_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"rowfall/binlog/mysql"
)

// charsetTable returns the definition of a table that has columns of every type in each of the
// character sets. The labels are those of candidates that the character set has.
func (d *database) charsetTable(name string, charsets []string) string {
	d.t.Helper()
	sql := "CREATE TABLE " + name + " (id INT PRIMARY KEY"
	for _, cs := range charsets {
		labels := []string{"'x'"}
		for _, label := range []string{"é", "ж", "漢", "한", "ש", "ก", "ა", "ż", "Ö"} {
			r, err := d.conn.Query(d.t.Context(), fmt.Sprintf(
				"SELECT CONVERT(CONVERT('%s' USING %s) USING utf8mb4)", label, cs))
			if err != nil {
				d.t.Fatal(err)
			}
			if string(r.Rows[0][0]) == label {
				labels = append(labels, "'"+label+"'", "'"+label+"\"z'")
			}
		}
		list := "(" + strings.Join(labels, ",") + ") CHARACTER SET " + cs
		sql += fmt.Sprintf(", v_%[1]s VARCHAR(20) CHARACTER SET %[1]s, "+
			"c_%[1]s CHAR(3) CHARACTER SET %[1]s, t_%[1]s TEXT CHARACTER SET %[1]s, "+
			"e_%[1]s ENUM%[2]s, s_%[1]s SET%[2]s", cs, list)
	}
	return sql + ")"
}

// charsetTexts are values of which each character set has a part. Some end in bytes that look like
// spaces in UTF-16 and UTF-32.
var charsetTexts = []string{
	"", " ", "a", "a b ", "éÖß€", "жЯ", "漢字", "한국", "שלום", "กข", "აბ", "Ġż", "𠮷😀", "†", "a†",
	"††", "a††", "†††", "Ġ", "aĠ", "aaĠ", "\u2000a\u2000", "？ｱ¥‾\\~", "[{|}]~@", "\x00\x7f",
}

// testCharsets writes texts in every character set of the server, well-formed bytes without a
// character included, before the load and while the pipeline runs.
func testCharsets(t *testing.T, d *database) {
	r, err := d.conn.Query(t.Context(), "SHOW CHARACTER SET WHERE Charset <> 'binary'")
	if err != nil || len(r.Rows) < 39 {
		t.Fatalf("%d character sets, %v", len(r.Rows), err)
	}
	var charsets []string
	for i := range r.Rows {
		charsets = append(charsets, r.Text(i, "Charset"))
	}
	d.exec("SET NAMES utf8mb4", "SET sql_mode = ''", d.charsetTable("t", charsets))
	keyed := []string{
		"big5", "cp1251", "gb2312", "gbk", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16",
		"utf16le", "utf32", "utf8mb3",
	}
	for _, cs := range keyed {
		d.exec("CREATE TABLE k_" + cs + " (id VARCHAR(9) CHARACTER SET " + cs +
			" PRIMARY KEY, v INT, e CHAR(2) CHARACTER SET " + cs + ")")
	}
	d.insertTexts("t", charsets, 1)
	for _, cs := range keyed {
		for i, id := range []string{"a", "b", "é", "ж", "漢", "한", "ש", "ก", "ა"} {
			d.exec(fmt.Sprintf("INSERT IGNORE INTO k_%s VALUES ('%s', %d, '%s')", cs, id, i, id))
		}
	}
	m := newMemory()
	c := d.config("chunk_rows: 1000", "chunk_rows: 3", `.*": {}`,
		`.*": {write: [{hash: "{table}:{pk...}"}, {json: "json:{table}:{pk...}"}]}`)
	run := start(t, c, m, "")
	run.mustEqual(d, &c, m, "the load")

	d.insertTexts("t", charsets, 1000)
	run.mustEqual(d, &c, m, "the INSERTs")
	var set []string
	for _, cs := range charsets {
		set = append(set, fmt.Sprintf("v_%[1]s = CONCAT('-', t_%[1]s), s_%[1]s = s_%[1]s + 1, "+
			"e_%[1]s = 2", cs))
	}
	d.exec("UPDATE t SET " + strings.Join(set, ", ") + " WHERE id % 2 = 0")
	for _, cs := range keyed {
		d.exec("UPDATE k_"+cs+" SET v = v + 10",
			"DELETE FROM k_"+cs+" WHERE v = 11", "UPDATE k_"+cs+" SET id = 'zz' WHERE v = 12")
	}
	run.mustEqual(d, &c, m, "the UPDATEs")
	d.exec(d.charsetTable("u", charsets), "INSERT INTO u SELECT * FROM t",
		"ALTER TABLE u ADD added ENUM('é', '漢') CHARACTER SET utf16, ADD text VARCHAR(5) "+
			"CHARACTER SET ucs2 DEFAULT '漢'", "UPDATE u SET added = 1 + id % 2")
	run.mustEqual(d, &c, m, "the new table")
	run.kill()
	d.exec("UPDATE t SET e_latin1 = 1", "INSERT INTO u (id, text, added) VALUES (99999, '†', '漢')")
	run = start(t, c, m, "")
	run.mustEqual(d, &c, m, "a restart")
}

// insertTexts inserts rows with ids from first on: texts that the server converts, and then bytes.
func (d *database) insertTexts(table string, charsets []string, first int) {
	d.t.Helper()
	random := rand.New(rand.NewPCG(uint64(first), 1))
	d.exec("BEGIN")
	defer d.exec("COMMIT")
	for i, text := range charsetTexts {
		columns, values := []string{"id"}, []string{fmt.Sprint(first + i)}
		for _, cs := range charsets {
			columns = append(columns, "v_"+cs, "c_"+cs, "t_"+cs, "e_"+cs, "s_"+cs)
			hex := fmt.Sprintf("_utf8mb4 x'%x'", text)
			values = append(values, hex, hex, hex, fmt.Sprint(random.IntN(3)),
				fmt.Sprint(random.IntN(8)))
		}
		d.exec("INSERT INTO " + table + " (" + strings.Join(columns, ",") + ") VALUES (" +
			strings.Join(values, ",") + ")")
	}
	id := first + 100
	for _, cs := range charsets {
		stored := 0
		for i := range 200 {
			bytes := make([]byte, 2+2*(i%2))
			for k := range bytes {
				bytes[k] = byte(random.Uint32()) | 0x80
			}
			if i%3 == 0 {
				bytes[1] &= 0x7f
			}
			err := d.conn.Exec(d.t.Context(), fmt.Sprintf("INSERT INTO %[1]s (id, v_%[2]s, "+
				"c_%[2]s, t_%[2]s) VALUES (%[3]d, _%[2]s x'%[4]x', _%[2]s x'%[4]x', "+
				"_%[2]s x'%[4]x%[4]x')", table, cs, id, bytes))
			var rejected *mysql.ServerError
			if err != nil && !errors.As(err, &rejected) {
				d.t.Fatal(err)
			}
			if err == nil {
				id, stored = id+1, stored+1
			}
			if stored == 4 {
				break
			}
		}
		if stored == 0 && cs != "ascii" && cs != "utf32" {
			d.t.Errorf("%s: the server has rejected all bytes", cs)
		}
	}
}
