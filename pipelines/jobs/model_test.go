package jobs

import (
	"maps"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// modelMappings are tables sections for db.t and db.o. unfiltered is the one that has written the
// keys of which the sink holds some at the beginning.
var modelMappings = []struct {
	main                *binlog.Table
	mapping, unfiltered string
}{
	{tableT, `"db.*": {}`, `"db.*": {}`},
	{tableT, modelTables("where: (x ?? 0) > 1"), modelTables("ignore: false")},
	{tableL, loose, loose},
	{
		tableL, modelTables("where: (x ?? 0) > 1\n  key_columns: [a, b]"),
		modelTables("key_columns: [a, b]"),
	},
}

// loose maps db.t without a key.
const loose = `
db.*: {}
db.t: {key_columns: [a, b]}`

// modelTables has outputs of every kind. The tables share the keys all and by:{x}, and the members
// of xs.
func modelTables(where string) string {
	return `
db.t:
  ` + where + `
  columns:
    add: {sum: "a + (x ?? 0)", maybe: "note == nil ? nil : len(note ?? '')"}
  write:
    - hash: h:{a}:{b}
    - json: j:{b}:{a}
    - string: s:{a}:{b}
      value: "{note}"
    - string: v:{a}:{b}
      value: "<{note}>"
    - set: t:{note}
      member: "{a}:{b}"
      when_null: skip
    - set: by:{x}
      member: "t{a}:{b}"
      when_null: skip
    - hash: all
      field: "t{a}:{b}"
      value: "{note}"
    - sorted_set: z
      member: "{b}:{a}"
      score: x
      when_null: skip
    - set: xs
      member: "{x}"
      shared: true
      when_null: skip
    - set: xs
      member: "{a}"
      shared: true
    - set: notes:{x}
      member: "{note}"
      shared: true
      when_null: skip
db.o:
  write:
    - hash: o:{id}
    - hash: all
      field: "o{id}"
      value: "{x}"
    - set: by:{x}
      member: "o{id}"
      when_null: skip
    - set: xs
      member: "{x}"
      shared: true
      when_null: skip`
}

// randomRow returns a row of db.t or db.o.
func (w *world) randomRow(table *binlog.Table) [][]byte {
	number := func(n int) []byte { return []byte(strconv.Itoa(w.rng.IntN(n))) }
	var x []byte
	if w.rng.IntN(4) > 0 {
		x = number(5)
	}
	if table == tableO {
		return [][]byte{number(12), x}
	}
	words := []string{"", "a", ":", "%3A", "b"}
	word := func() []byte { return []byte(words[w.rng.IntN(len(words))]) }
	cells := [][]byte{[]byte(strconv.Itoa(w.rng.IntN(8) - 1)), word(), x, nil}
	if w.rng.IntN(4) > 0 {
		cells[3] = word()
	}
	return cells
}

// change makes the server change a random row.
func (w *world) change() {
	table := w.main
	if w.rng.IntN(4) == 0 {
		table = tableO
	}
	rows := w.server.rows(table, len(w.server.log))
	keys := slices.Sorted(maps.Keys(rows))
	next := w.randomRow(table)
	var before [][]byte
	if len(keys) > 0 && w.rng.IntN(2) == 0 {
		before = rows[keys[w.rng.IntN(len(keys))]]
		if w.rng.IntN(3) > 0 { // the row keeps its key
			for _, k := range orderOf(table) {
				next[k] = before[k]
			}
		}
	}
	_, taken := rows[keyOf(table, next)]
	switch {
	case before != nil && w.rng.IntN(3) == 0:
		next = nil
	case taken && (before == nil || keyOf(table, before) != keyOf(table, next)):
		return
	}
	if w.hasUnlogged && w.rng.IntN(3) == 0 {
		w.server.setUnlogged(table, before, next)
		return
	}
	w.server.set(table, before, next)
}

// anotherType is the string of keys whose output writes hashes. A job replaces such a key if a row
// writes it, and leaves it otherwise, because the output has not written it. A later row at this
// key cannot be written, so a world with such keys has no events after which a key could be left.
const anotherType = "another type"

// fill makes the sink hold rows that are stale, rows that differ, keys that no output writes, and
// keys of another type. It returns what must stay in the sink.
func (w *world) fill(unfiltered string, isInitial bool) (foreign [][]string) {
	old := compile(w.t, unfiltered, w.main)
	rows := w.server.rows(w.main, len(w.server.log))
	if isInitial {
		clear(rows)
	}
	for i := 0; i < 20 && !isInitial; i++ {
		insert(w.t, w.sink, old, w.randomRow(w.main))
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		cells := rows[key]
		ofRow := old.KeyPrefix(0) + string(cells[0]) + ":"
		ofRow += map[string]string{":": "%3A", "%3A": "%253A"}[string(cells[1])]
		if !slices.Contains([]string{":", "%3A"}, string(cells[1])) {
			ofRow += string(cells[1])
		}
		switch w.rng.IntN(4) {
		case 0:
			insert(w.t, w.sink, old, cells)
		case 1:
			w.execute("DEL", ofRow)
			w.execute("HSET", ofRow, "gone", "1", "x", "7")
		case 2:
			if !w.hasOtherTypes || cells[2] == nil || cells[2][0] <= '1' { // `where` rejects it
				continue
			}
			w.execute("DEL", ofRow)
			w.execute("SET", ofRow, anotherType)
		}
	}
	if !isInitial && old.Outputs() > 1 { // a member of a shared set that no row yields
		w.execute("SADD", "xs", "77")
	}
	prefix := old.KeyPrefix(0)
	foreign = [][]string{
		{"SET", "other:1", "x"},
		{"HSET", prefix + "x:y", "a", "1"},
		{"SET", prefix + "99:a", "x"},
		{"SADD", "t:a", "zz"},
		{"SADD", "by:1", "p1:"},
		{"HSET", "all", "p1:", "1"},
		{"ZADD", "z", "1", "zz"},
		{"SADD", "by:x", "t1:a"},
	}
	for _, command := range foreign {
		w.execute(command...)
	}
	for _, cells := range w.server.rows(tableO, len(w.server.log)) {
		insert(w.t, w.sink, w.plans[tableO], cells)
	}
	return foreign
}

// After a job has ended, whatever the sink held before and whatever happened meanwhile, the sink
// holds what the plans make of the rows, and nothing else of the tables.
func TestJobsAgainstModel(t *testing.T) {
	seeds := 70
	if testing.Short() {
		seeds = 20
	}
	inRanges, resumed := 0, 0
	for i, m := range modelMappings {
		n := seeds
		if m.main == tableL {
			n /= 2
		}
		for seed := range uint64(n) {
			if !t.Run(strconv.Itoa(i)+"/"+strconv.FormatUint(seed, 10), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := testModel(t, seed, m.main, m.mapping, m.unfiltered)
					inRanges, resumed = inRanges+w.inRanges, resumed+w.resumedRanges
				})
			}) {
				return
			}
		}
	}
	t.Logf("%d steps with several ranges of a table in flight, %d jobs resumed in ranges",
		inRanges, resumed)
	if inRanges == 0 || resumed == 0 {
		t.Error("no table was read, or no job was resumed, in several ranges")
	}
}

func testModel(
	t *testing.T, seed uint64, main *binlog.Table, mapping, unfiltered string,
) *world {
	w := newWorld(t, seed, Config{}, compile(t, mapping, main), compile(t, mapping, tableO))
	w.main = main
	w.cannotScan = func() bool { return w.rng.IntN(5) == 0 }
	w.config = Config{
		Parallel: 1 + w.rng.IntN(4), ChunkRows: 1 + w.rng.IntN(7),
		ChunkBytes: 200 + w.rng.IntN(2000), DirtyKeyBytes: dirtyKeyCost * w.rng.IntN(6),
		RowsPerSecond: w.rng.IntN(2) * 50,
	}
	w.hasOtherTypes = w.rng.IntN(2) == 0
	w.splitChunks, w.estimate = 1, int64(w.rng.IntN(3)*100) // tables are split with few rows left
	for range 30 {
		w.change()
	}
	w.hasUnlogged = !w.hasOtherTypes && w.rng.IntN(4) > 0
	if w.rng.IntN(4) == 0 {
		w.maxSetKeys = 1 + w.rng.IntN(20)
	}
	job := tablestate.Job{Compare: true, Sweep: &tablestate.Sweep{}}
	isInitial := w.rng.IntN(3) == 0
	if isInitial { // the first load, into a sink without rows of the table
		job = tablestate.Job{}
		w.hasOtherTypes = false
	}
	foreign := w.fill(unfiltered, isInitial)
	w.storedPosition = at(len(w.server.log))
	w.stored["o"] = record{Job: tablestate.Job{Done: true}}
	w.stored["t"] = record{Job: job}
	w.corrupt = func(table *binlog.Table) { w.makeStale(table, unfiltered) }
	isDisturbed := true
	// A table that is read again hides what an earlier job has missed.
	isCalm := w.rng.IntN(2) == 0
	w.queryError = func() error {
		switch r := w.rng.IntN(40); {
		case !isDisturbed:
		case r == 0:
			return errInjected
		case r <= 2:
			return noSuchTable
		case r == 3 && !w.hasOtherTypes && !isCalm:
			return &transform.RowError{Reason: "injected"}
		}
		return nil
	}
	w.afterQuery = func() {
		for range w.rng.IntN(3) {
			if isDisturbed {
				w.change()
			}
		}
	}
	w.sink.Before = func(*sink.Unit) error {
		if isDisturbed && w.rng.IntN(60) == 0 {
			return errInjected
		}
		return nil
	}
	w.start()
	for n := 0; ; n++ {
		isDisturbed = n < 150
		if isDisturbed && !isCalm {
			w.disturb()
		}
		w.proceed(isDisturbed)
		if !isDisturbed && w.isSettled() {
			break
		}
		if n > 5000 {
			t.Fatal("the jobs do not end")
		}
	}
	w.engine.Close()
	w.sink.Before = nil
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := sinktest.NewMemory("shop")
	for _, command := range foreign {
		execute(t, want, command...)
	}
	for table, plan := range w.plans {
		for _, cells := range w.server.rows(table, len(w.server.log)) {
			insert(t, want, plan, cells)
		}
	}
	w.mustHold(want)
	return w
}

// makeStale puts commands into the unit after which the sink misses rows of a table and holds stale
// ones, as after a statement that changed rows without logging them.
func (w *world) makeStale(table *binlog.Table, mapping string) {
	if w.hasOtherTypes {
		return
	}
	plan := compile(w.t, mapping, table)
	for range 8 {
		r := row(table, w.randomRow(table))
		c := binlog.Change{Table: table, Op: binlog.Insert, After: r}
		mode := transform.FullRow
		if w.rng.IntN(2) == 0 {
			c, mode = binlog.Change{Table: table, Op: binlog.Delete, Before: r}, transform.Replace
		}
		if err := plan.Append(&w.unit.Commands, &c, mode, transform.Origin{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// disturb does something that is rare.
func (w *world) disturb() {
	add := func(kind eventKind) {
		table := w.main
		if w.rng.IntN(3) == 0 {
			table = tableO
		}
		w.server.log = append(w.server.log, event{kind: kind, table: table})
	}
	switch w.rng.IntN(100) {
	case 0:
		w.restart()
	case 1:
		add(altered)
	case 2:
		add(mustRebuild)
	case 3:
		if w.rng.IntN(3) == 0 && !w.hasOtherTypes {
			add(truncated)
		}
	}
}

// proceed makes the server, the stream and the workers proceed in a random order.
func (w *world) proceed(changes bool) {
	switch w.rng.IntN(6) {
	case 0, 1:
		if changes {
			w.change()
		}
	case 2:
		w.allowQuery()
		w.step()
	case 3:
		time.Sleep(time.Duration(w.rng.IntN(3)) * time.Second)
	default:
		w.advance()
	}
	for _, t := range w.tables {
		if s := t.Job.Sweep; s != nil && s.Waiting {
			t.Job.Sweep = &tablestate.Sweep{Reached: true, Remove: true, Confirmed: true}
			w.engine.Add(w.t.Context(), t)
		}
		if k := t.Keys; k != nil && k.Sweep != nil && k.Sweep.Waiting {
			t.ConfirmKeys()
			w.engine.Add(w.t.Context(), t)
		}
		if t.Fault != nil && w.rng.IntN(10) == 0 { // a user runs rowfall backfill
			w.rebuild(t, true)
		}
	}
}

// isSettled reports whether there is nothing left to do.
func (w *world) isSettled() bool {
	for _, t := range w.tables {
		if t.Fault != nil || !t.Job.Done || t.Keys != nil {
			return false
		}
	}
	return w.engine.IsIdle() && int(w.position.Offset) == len(w.server.log)
}
