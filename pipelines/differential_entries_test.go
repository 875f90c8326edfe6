package pipelines_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Triggers record every change of the table x9 in a table that the pipeline does not follow. The
// list and the stream of x9 must have exactly one entry for each recorded change. Sessions commit
// changes of different rows in any order, so the order is compared for each row.
//
// The action `entries`, after x9 was created and before it has rows, creates the table of records.

// entriesTable is the table whose changes become entries, and recordsTable the one of the records.
const entriesTable, recordsTable = "x9", "_vt_records"

// createEntries adds the table whose changes become entries. `where` is what its mapping has, or
// empty, and wants the condition in SQL that a row matches.
func (g *generator) createEntries() {
	g.act(`map x9 write list: "x:9:list", value: "{id}:{n}"`)
	g.act(`map x9 write stream: "x:9:stream"`)
	for _, output := range []string{
		`hash: "x:9:h:{id}"`, `publish: "x:9:{grp}", message: "{n}", when_null: skip`,
		`list: "x:9:newest", value: "{n}", push: left, max_len: 5`,
		`stream: "x:9:old:{grp}", max_len: 9, when_null: skip`,
		`hash: "x:9:f", field: "{id}", ttl: 20d`,
	} {
		if g.IntN(2) == 0 {
			g.act("map x9 write " + output)
		}
	}
	records := "entries"
	if g.IntN(2) == 0 {
		g.act("map x9 where: grp != 3")
		records = "entries NOT (row.grp <=> 3)"
	}
	g.act("kill") // a table that is created while the pipeline starts may have a gap
	t := &randomTable{name: entriesTable, key: "id", fixed: []randomColumn{{name: "grp"}}}
	g.sql(0, "CREATE TABLE x9 (id INT NOT NULL PRIMARY KEY, grp INT, n BIGINT, fixed VARCHAR(20))")
	g.act(records)
	g.act("ready") // the position is before the first row
	g.tables = append(g.tables, t)
	g.ddl(t, g.insertText("INSERT IGNORE", t, []int{1, 2, 3, 5, 8, 13, 21, 34}))
}

// recordEntries creates the table of records and the triggers that fill it. condition is true for
// rows that the mapping accepts; "row" is the row.
func (x *execution) recordEntries(condition string) {
	if condition == "" {
		condition = "1 = 1"
	}
	of := func(row string) string { return strings.ReplaceAll(condition, "row.", row+".") }
	value := func(row string) string { return "CONCAT(" + row + ".id, ':', " + row + ".n)" }
	trigger := func(name, event, op, condition, before, after string) string {
		return fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON x9 FOR EACH ROW INSERT INTO "+
			recordsTable+" (op, was, now) SELECT %s, %s, %s FROM DUAL WHERE %s",
			name, event, op, before, after, condition)
	}
	op := fmt.Sprintf("CASE WHEN %s AND %s THEN 'update' WHEN %s THEN 'delete' ELSE 'insert' END",
		of("OLD"), of("NEW"), of("OLD"))
	for _, sql := range []string{
		"USE " + x.db,
		"CREATE TABLE " + recordsTable + " (seq INT NOT NULL AUTO_INCREMENT PRIMARY KEY, " +
			"op VARCHAR(9), was VARCHAR(50), now VARCHAR(50))",
		trigger("record_insert", "INSERT", "'insert'", of("NEW"), "NULL", value("NEW")),
		trigger("record_delete", "DELETE", "'delete'", of("OLD"), value("OLD"), "NULL"),
		trigger("record_update", "UPDATE", op, of("OLD")+" OR "+of("NEW"),
			"IF("+of("OLD")+", "+value("OLD")+", NULL)",
			"IF("+of("NEW")+", "+value("NEW")+", NULL)"),
	} {
		if err := x.admin.Exec(x.t.Context(), sql); err != nil {
			return // x9 does not exist, in a script that is being shrunk
		}
	}
	x.hasRecords = true
}

// record is a change: the rows before and after it as id:n, empty where there is none.
type record struct{ op, before, after string }

// value is what a list gets of the change.
func (r record) value() string {
	if r.after != "" {
		return r.after
	}
	return r.before
}

// readRecords reads the records from MySQL, in their order.
func (x *execution) readRecords() (records []record) {
	result, err := x.admin.Query(x.t.Context(), "SELECT op, was, now FROM "+x.db+"."+
		recordsTable+" ORDER BY seq")
	must(x.t, err)
	for _, row := range result.Rows {
		records = append(records, record{string(row[0]), string(row[1]), string(row[2])})
	}
	return records
}

// checkEntries compares the entries of a copy with the records, unless a gap says that entries are
// missing.
func (x *execution) checkEntries(s script, c dataCopy) string {
	if !x.hasRecords || strings.Contains(c.progress().Gaps, "."+entriesTable) {
		return ""
	}
	read := c.read
	want := x.readRecords()
	text := s.mapping()
	if strings.Contains(text, `"x:9:list"`) {
		var values []string
		for _, r := range want {
			values = append(values, r.value())
		}
		if diff := compareEntries(read.list("x:9:list"), values); diff != "" {
			return "the list: " + diff
		}
	}
	if !strings.Contains(text, `"x:9:stream"`) {
		return ""
	}
	var values, got []string
	for _, r := range want {
		values = append(values, r.op+" "+r.before+" "+r.after)
	}
	for _, e := range read.stream("x:9:stream") {
		got = append(got, e.fields["op"]+" "+entryRow(e.fields["before"])+" "+
			entryRow(e.fields["after"]))
		if _, position, ok := strings.Cut(e.fields["position"], ":"); !ok || position == "" {
			return fmt.Sprintf("the stream: entry %v has no position", e)
		}
	}
	if diff := compareEntries(got, values); diff != "" {
		return "the stream: " + diff
	}
	return ""
}

// entryRow returns id:n of a row in an entry.
func entryRow(text string) string {
	if text == "" {
		return ""
	}
	var row struct{ ID, N json.Number }
	if err := json.Unmarshal([]byte(text), &row); err != nil {
		return err.Error()
	}
	return string(row.ID) + ":" + string(row.N)
}

// compareEntries returns how the entries differ from the wanted ones, in the order of each row.
func compareEntries(got, want []string) string {
	rows := func(entries []string) map[string][]string {
		of := make(map[string][]string)
		for _, e := range entries {
			var ids []string
			for _, word := range strings.Fields(e) {
				if id, _, ok := strings.Cut(word, ":"); ok && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			for _, id := range ids {
				of[id] = append(of[id], e)
			}
		}
		return of
	}
	gotRows, wantRows := rows(got), rows(want)
	for _, id := range slices.Sorted(maps.Keys(wantRows)) {
		got, want := gotRows[id], wantRows[id]
		if slices.Equal(got, want) {
			continue
		}
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		return fmt.Sprintf("row %s has %d entries and had %d changes; from the %d-th on these are "+
			"%q, and the changes were %q", id, len(got), len(want), i, got[i:min(i+5, len(got))],
			want[i:min(i+5, len(want))])
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d entries of %d changes", len(got), len(want))
	}
	return ""
}
