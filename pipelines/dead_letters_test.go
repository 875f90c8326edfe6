package pipelines

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// badFrom is the smallest v of a row that letterMapping cannot write.
const badFrom = 600

// letterMapping cannot write rows with v from badFrom on. The keys of two outputs do not follow
// from the key of a row.
func letterMapping() transform.TableRule {
	return transform.TableRule{
		Pattern: "shop.t", OnError: transform.DeadLetter,
		Columns: transform.Columns{Add: []transform.Addition{
			{Name: "x", Expr: `int(v >= 600 ? "bad" : "1")`},
			{Name: "even", Expr: `id % 2 == 0 ? "yes" : nil`},
		}},
		Write: []transform.Output{
			{Kind: transform.Hash, Key: "t:{id}"},
			{Kind: transform.Hash, Key: "u:{v}"},
			{Kind: transform.Set, Key: "by:{v}", Member: "{id}"},
			{Kind: transform.Set, Key: "all", Member: "{v}:{id}"},
			{Kind: transform.Set, Key: "shared", Member: "{v}", Shared: true},
		},
	}
}

// letterTable returns an intTable in which v is unique.
func letterTable() *binlog.Table {
	t := intTable()
	t.Unique = [][]int{{1}}
	return t
}

// letterLoop returns a loop that continues with the data of a sink, and its source.
func letterLoop(
	t *testing.T, to *sinktest.Memory, table *binlog.Table, script ...*binlog.Event,
) (*Pipeline, *loop) {
	t.Helper()
	source := &scriptedSource{tables: []*binlog.Table{table}, script: script}
	p, l := scriptedPipeline(t, to, source)
	l.config.Mapping.Tables = []transform.TableRule{letterMapping()}
	l.tables = newTableSet(&l.config.Mapping)
	if _, err := l.tables.add(ddl.FromTable(table)); err != nil {
		t.Fatal(err)
	}
	m := l.tables.all["shop.t"]
	l.tables.define(m, m.definition, table, m.Plan)
	m.Job = tablestate.Job{Done: true}
	state, err := to.Load(t.Context())
	if err == nil {
		err = l.tables.loadLetters(state.Pieces)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p, l
}

// runLetters applies transactions, each a list of events.
func runLetters(
	t *testing.T, to *sinktest.Memory, table *binlog.Table, transactions ...[]*binlog.Event,
) (*Pipeline, *loop) {
	t.Helper()
	var script []*binlog.Event
	for i, events := range transactions {
		script = append(script, events...)
		script = append(script, &binlog.Event{Kind: binlog.Commit, Time: int64(i+1) * 1e6})
	}
	p, l := letterLoop(t, to, table, script...)
	if err := l.run(t.Context()); !errors.Is(err, errEndOfScript) {
		t.Fatal(err)
	}
	return p, l
}

// rowKeys returns all keys of rows that a sink holds, with their values as text.
func rowKeys(t *testing.T, to *sinktest.Memory) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, pattern := range []string{"t:", "u:", "by:", "all", "shared"} {
		for key, value := range memoryKeys(t, to, pattern) {
			all[key] = value
		}
	}
	return all
}

// memoryKeys returns the keys with a prefix and their values.
func memoryKeys(t *testing.T, to *sinktest.Memory, prefix string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	_, err := sink.ScanKeys(t.Context(), to, "0", sink.KeyFilter{Prefix: prefix}, 100000,
		func(key []byte) { found[string(key)] = "" })
	if err != nil {
		t.Fatal(err)
	}
	for key := range found {
		if fields, ok := to.Keys.HashFields(key); ok {
			found[key] = fmt.Sprint(fields)
			continue
		}
		var members []string
		_, err := sink.ScanMembers(t.Context(), to, transform.Set, []byte(key), "0", 100000,
			func(m []byte) { members = append(members, string(m)) })
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(members)
		found[key] = strings.Join(members, ",")
	}
	return found
}

// wantKeys returns the keys of rows, which are pairs of id and v.
func wantKeys(rows map[uint32]uint32) map[string]string {
	want := make(map[string]string)
	var all, shared []string
	for id, v := range rows {
		row := map[string]string{"id": fmt.Sprint(id), "v": fmt.Sprint(v), "x": "1"}
		if id%2 == 0 {
			row["even"] = "yes"
		}
		fields := fmt.Sprint(row)
		want[fmt.Sprintf("t:%d", id)], want[fmt.Sprintf("u:%d", v)] = fields, fields
		want[fmt.Sprintf("by:%d", v)] = fmt.Sprint(id)
		all = append(all, fmt.Sprintf("%d:%d", v, id))
		shared = append(shared, fmt.Sprint(v))
	}
	if slices.Sort(shared); len(shared) > 0 {
		want["shared"] = strings.Join(shared, ",")
	}
	if slices.Sort(all); len(all) > 0 {
		want["all"] = strings.Join(all, ",")
	}
	return want
}

// A row that cannot be applied keeps its keys and gets a letter. The next change that can be
// applied writes the row in full and clears the letter, in one unit. A restart between keeps both.
func TestDeadLetter(t *testing.T) {
	table, to := letterTable(), sinktest.NewMemory("test")
	event := func(op binlog.Op, images ...[2]uint32) []*binlog.Event {
		return []*binlog.Event{rowsEvent(t, table, op, images...)}
	}
	p, l := runLetters(t, to, table,
		event(binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 20}),
		event(binlog.Update, [2]uint32{1, 10}, [2]uint32{1, 601}),
		event(binlog.Update, [2]uint32{1, 601}, [2]uint32{1, 602}),
	)
	got, want := rowKeys(t, to), wantKeys(map[uint32]uint32{1: 10, 2: 20})
	if !maps.Equal(got, want) {
		t.Errorf("with a letter the keys are\n%v, want\n%v", got, want)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := lettersIn(state.Pieces)
	if err != nil || len(list) != 1 || list[0].ID != 1 || list[0].Table != "shop.t" ||
		list[0].Row != `"1"` || !strings.Contains(list[0].Reason, "columns.add.x") ||
		list[0].Time != "1970-01-01T00:00:02Z" || list[0].Position == "" {
		t.Errorf("the letters are %+v, %v", list, err)
	}
	if n := p.Stats().DeadLetters; n != 1 || l.tables.all["shop.t"].Fault != nil {
		t.Errorf("%d letters are counted", n)
	}
	runLetters(t, to, table, event(binlog.Update, [2]uint32{1, 602}, [2]uint32{1, 11}))
	got, want = rowKeys(t, to), wantKeys(map[uint32]uint32{1: 11, 2: 20})
	if !maps.Equal(got, want) {
		t.Errorf("after the letter the keys are\n%v, want\n%v", got, want)
	}
	if state, err = to.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, _ := lettersIn(state.Pieces); len(list) != 0 {
		t.Errorf("letters %v", list)
	}
	units := to.Units(0)
	last := units[len(units)-1].Commands
	if !strings.Contains(last, "\r\nu:11\r\n") { // no later unit clears the letter
		t.Errorf("the last unit does not write the row: %q", last)
	}
}

// After any sequence of changes, rows without a letter are as in a fresh build. Once every row can
// be applied, the sink holds exactly the rows, and no letter.
func TestDeadLettersRandomly(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 11))
		table, to := letterTable(), sinktest.NewMemory("test")
		rows := make(map[uint32]uint32)
		var transactions [][]*binlog.Event
		var script strings.Builder
		value := func() uint32 {
			for {
				v := 1 + rng.Uint32N(8)
				if rng.IntN(3) == 0 {
					v += badFrom
				}
				if !slices.Contains(slices.Collect(maps.Values(rows)), v) {
					return v
				}
			}
		}
		change := func(events *[]*binlog.Event, id, newID, v uint32) {
			old, exists := rows[id]
			switch _, taken := rows[newID]; {
			case id != newID && taken:
				return
			case !exists:
				rows[id] = v
				fmt.Fprintf(&script, "insert %d %d\n", id, v)
				*events = append(*events, rowsEvent(t, table, binlog.Insert, [2]uint32{id, v}))
				return
			case v == 0:
				delete(rows, id)
				fmt.Fprintf(&script, "delete %d %d\n", id, old)
				*events = append(*events, rowsEvent(t, table, binlog.Delete, [2]uint32{id, old}))
				return
			}
			delete(rows, id)
			rows[newID] = v
			fmt.Fprintf(&script, "update %d %d -> %d %d\n", id, old, newID, v)
			*events = append(*events, rowsEvent(t, table, binlog.Update,
				[2]uint32{id, old}, [2]uint32{newID, v}))
		}
		flush := func() {
			runLetters(t, to, table, transactions...)
			transactions = nil
			script.WriteString("restart\n")
		}
		for range 12 {
			var events []*binlog.Event
			for range 1 + rng.IntN(3) {
				id, newID, v := 1+rng.Uint32N(4), uint32(0), value()
				if newID = id; rng.IntN(4) == 0 {
					newID = 1 + rng.Uint32N(4)
				}
				if _, exists := rows[id]; exists && rng.IntN(5) == 0 {
					v = 0
				}
				change(&events, id, newID, v)
			}
			transactions = append(transactions, events)
			if rng.IntN(3) == 0 {
				flush()
				mustHoldGoodRows(t, to, rows, script.String())
			}
		}
		var events []*binlog.Event
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			if rows[id] >= badFrom {
				change(&events, id, id, 100+id)
			}
		}
		transactions = append(transactions, events)
		flush()
		got, want := rowKeys(t, to), wantKeys(rows)
		state, err := to.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list, err := lettersIn(state.Pieces)
		if !maps.Equal(got, want) || len(list) != 0 || err != nil {
			t.Fatalf("seed %d:\n%sgot\n%v, want\n%v\nletters %v, %v",
				seed, script.String(), got, want, list, err)
		}
	}
}

// mustHoldGoodRows checks the keys of rows that can be written.
func mustHoldGoodRows(
	t *testing.T, to *sinktest.Memory, rows map[uint32]uint32, script string,
) {
	t.Helper()
	good := maps.Clone(rows)
	maps.DeleteFunc(good, func(_, v uint32) bool { return v >= badFrom })
	got := rowKeys(t, to)
	for key, want := range wantKeys(good) {
		isHeld := got[key] == want
		if strings.HasPrefix(key, "by:") { // a stale row may be a member, too
			isHeld = slices.Contains(strings.Split(got[key], ","), want)
		}
		if key != "all" && key != "shared" && !isHeld {
			t.Fatalf("%s\n%s is %q, want %q; all keys are %v", script, key, got[key], want, got)
		}
	}
}

// If there are too many letters, the table goes into quarantine, and what the open transaction has
// done to letters is undone.
func TestTooManyLetters(t *testing.T) {
	table, to := letterTable(), sinktest.NewMemory("test")
	images := make([][2]uint32, maxLetters)
	for i := range images {
		images[i] = [2]uint32{uint32(i) + 1, badFrom + uint32(i)}
	}
	good := rowsEvent(t, table, binlog.Update, images[0], [2]uint32{1, 1})
	more := rowsEvent(t, table, binlog.Insert,
		[2]uint32{maxLetters + 1, 9001}, [2]uint32{maxLetters + 2, 9002})
	_, l := runLetters(t, to, table,
		[]*binlog.Event{rowsEvent(t, table, binlog.Insert, images...)},
		[]*binlog.Event{good, more},
	)
	m := l.tables.all["shop.t"]
	if m.Fault == nil || !strings.Contains(m.Fault.Reason, "1000 dead letters already") {
		t.Errorf("the fault is %+v", m.Fault)
	}
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := lettersIn(state.Pieces)
	if len(list) != maxLetters || err != nil || list[0].ID != 1 ||
		len(m.Letters.All()) != maxLetters {
		t.Errorf("%d letters, %v", len(list), err)
	}
}

// TRUNCATE and DROP clear letters. A dropped letter is not shown, and its row is still written in
// full.
func TestLettersAreCleared(t *testing.T) {
	table, to := letterTable(), sinktest.NewMemory("test")
	bad := []*binlog.Event{
		rowsEvent(t, table, binlog.Insert, [2]uint32{1, 10}, [2]uint32{2, 602}),
		rowsEvent(t, table, binlog.Update, [2]uint32{1, 10}, [2]uint32{1, 601}),
	}
	_, l := runLetters(t, to, table, bad)
	if err := l.dropLetter(2); err != nil {
		t.Fatal(err)
	}
	if err := l.dropLetter(2); err == nil {
		t.Error("a letter was dropped twice")
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, l = runLetters(t, to, table,
		[]*binlog.Event{rowsEvent(t, table, binlog.Update, [2]uint32{1, 601}, [2]uint32{1, 11})})
	if got, want := rowKeys(t, to), wantKeys(map[uint32]uint32{1: 11}); !maps.Equal(got, want) {
		t.Errorf("after a dropped letter the keys are\n%v, want\n%v", got, want)
	}
	if n := l.tables.letters.count; n != 1 || l.stats.letters.Load() != 1 {
		t.Errorf("%d letters", n)
	}
	m := l.tables.all["shop.t"]
	if err := l.rowsRemoved(t.Context(), m, "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, err := to.Load(t.Context())
	if list, _ := lettersIn(state.Pieces); err != nil || len(list) != 0 || !m.Letters.IsEmpty() {
		t.Errorf("after TRUNCATE: %v, %v", list, err)
	}
}
