package jobs

import (
	"testing"
	"testing/synctest"

	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// letterMapping cannot write rows of db.o with x from 600 on. The keys of the set do not follow
// from the key of a row.
const letterMapping = `
db.o:
  on_error: dead_letter
  columns: {add: {y: 'int((x ?? 0) >= 600 ? "bad" : "1")'}}
  write:
    - hash: h:{id}
    - set: by:{x}
      member: "{id}"
      when_null: skip`

// A job keeps letters of the rows that it cannot write, and the keys of these rows stay. It clears
// the letters of rows that it writes, and then removes the locations that the letters hold.
func TestJobsKeepLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := compile(t, letterMapping, tableO)
		w := newWorld(t, 1, Config{Parallel: 1, ChunkRows: 10}, plan)
		for _, c := range [][]string{
			{"HSET", "h:1", "id", "1", "x", "5", "y", "1"}, {"SADD", "by:5", "1"}, // failed since
			{"HSET", "h:2", "id", "2", "x", "6", "y", "1"}, {"SADD", "by:6", "2"}, // was corrected
			{"HSET", "h:3", "id", "3", "x", "7", "y", "1"}, {"SADD", "by:7", "3"}, // is gone
			{"SADD", "by:601", "1"}, // left by a fault, at a location that row 1 may have written
		} {
			w.execute(c...)
		}
		w.server.set(tableO, nil, cellsOf("1", "601"))
		w.server.set(tableO, nil, cellsOf("2", "66"))
		w.server.set(tableO, nil, cellsOf("4", "602"))
		w.storedPosition = at(3)
		w.stored["o"] = record{Job: tablestate.Job{Compare: true, Sweep: &tablestate.Sweep{}}}
		w.start()
		table := w.tables["o"]
		letter := func(id, location string) {
			key := Key{[]byte(id)}
			table.Letters.Set(key, &tablestate.Letter{
				ID: 9, Table: "db.o", Key: key, Locations: []tablestate.LetterLocation{{
					Output: 1, Key: []byte(location), Member: []byte(id), HasMember: true,
				}},
			})
		}
		letter("1", "by:5")
		letter("2", "by:6")
		w.run()
		want := sinktest.NewMemory("shop")
		for _, c := range [][]string{
			{"HSET", "h:1", "id", "1", "x", "5", "y", "1"},
			{"SADD", "by:5", "1"},
			{"SADD", "by:601", "1"},
			{"HSET", "h:2", "id", "2", "x", "66", "y", "1"},
			{"SADD", "by:66", "2"},
		} {
			execute(t, want, c...)
		}
		w.mustHold(want)
		if w.faults > 0 || !table.Job.Done {
			t.Errorf("%d faults, the job is %+v", w.faults, table.Job)
		}
		mustHaveLetters(t, table, "1", "4")

		// A keys job does the same, and clears the letter of a row that is gone.
		w.server.set(tableO, cellsOf("4", "602"), nil)
		w.server.set(tableO, cellsOf("2", "66"), cellsOf("2", "603"))
		w.position = at(5)
		err := w.engine.AddKeys(table, "test", []Key{{[]byte("1")}, {[]byte("2")}, {[]byte("4")}})
		if err != nil {
			t.Fatal(err)
		}
		w.run()
		mustHaveLetters(t, table, "1", "2")
		// The letter of row 2 does not know that the row was a member there.
		execute(t, want, "DEL", "by:66")
		w.mustHold(want)
	})
}

func mustHaveLetters(t *testing.T, table *Table, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if table.Letters.Of(Key{[]byte(id)}) == nil {
			t.Errorf("row %s has no letter", id)
		}
	}
	if n := len(table.Letters.All()); n != len(ids) {
		t.Errorf("%d letters, want %d", n, len(ids))
	}
}
