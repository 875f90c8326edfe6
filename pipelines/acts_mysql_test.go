package pipelines_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"rowfall/replication/resp"
	"rowfall/sink"
)

// actsMapping maps a table t, whose lists and streams get an entry for each change, and a table u
// that shares a list and a stream with it.
const actsMapping = `.t": {write: [{hash: "t:{id}"}, {list: changes, value: "{table}:{id}:{v}"},
    {list: loaded, value: "{id}", snapshot: true}, {stream: events},
    {stream: recent, max_len: 7}, {list: newest, value: "{id}", push: left, max_len: 5},
    {publish: "news:{table}", message: "{id}:{v}"}]}
  "%[1]s.u": {write: [{hash: "u:{id}"}, {list: changes, value: "{table}:{id}:{v}"},
    {stream: events}]}`

// actsEdits are the edits of database.config that map the tables.
func actsEdits(d *database) []string {
	return []string{
		`.*": {}`, fmt.Sprintf(actsMapping, d.name),
		"max_atomic_rows: 10000", "max_atomic_rows: 40",
	}
}

// changeScript executes random changes of the tables t and u, in one session, and records them.
type changeScript struct {
	*database
	rng    *rand.Rand
	tables map[string]map[int]int // v by id
	next   int                    // the id of the next row
	// changes are the changes of both tables as "op table:id:v", in the order of their commits.
	changes []string
}

// newChangeScript creates the tables, t with n rows.
func newChangeScript(d *database, seed uint64, n int) *changeScript {
	s := &changeScript{
		database: d, rng: rand.New(rand.NewPCG(seed, 11)), next: n + 1,
		tables: map[string]map[int]int{"t": {}, "u": {}},
	}
	d.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u LIKE t")
	for first := 1; first <= n; first += 200 {
		var rows []string
		for id := first; id < first+200 && id <= n; id++ {
			rows = append(rows, fmt.Sprintf("(%d, 0)", id))
			s.tables["t"][id] = 0
		}
		d.exec("INSERT INTO t VALUES " + strings.Join(rows, ", "))
	}
	return s
}

func (s *changeScript) record(op, table string, id, v int) {
	s.changes = append(s.changes, fmt.Sprintf("%s %s:%d:%d", op, table, id, v))
}

// step executes a transaction of 1 to 3 statements.
func (s *changeScript) step() {
	s.exec("BEGIN")
	for range 1 + s.rng.IntN(3) {
		table := []string{"t", "t", "u"}[s.rng.IntN(3)]
		rows := s.tables[table]
		ids := slices.Sorted(maps.Keys(rows))
		switch op := s.rng.IntN(8); {
		case op < 3 || len(ids) == 0:
			id, v := s.next, s.rng.IntN(1000)
			s.next++
			s.exec(fmt.Sprintf("INSERT INTO %s VALUES (%d, %d)", table, id, v))
			rows[id] = v
			s.record("insert", table, id, v)
		case op < 5:
			id := ids[s.rng.IntN(len(ids))]
			rows[id]++
			s.exec(fmt.Sprintf("UPDATE %s SET v = v + 1 WHERE id = %d", table, id))
			s.record("update", table, id, rows[id])
		case op < 7:
			id := ids[s.rng.IntN(len(ids))]
			s.exec(fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id))
			s.record("delete", table, id, rows[id])
			delete(rows, id)
		default: // more rows than a unit may have
			ids = ids[:min(len(ids), 100)]
			s.exec(fmt.Sprintf("UPDATE %s SET v = v + 1 WHERE id <= %d ORDER BY id", table,
				ids[len(ids)-1]))
			for _, id := range ids {
				rows[id]++
				s.record("update", table, id, rows[id])
			}
		}
	}
	s.exec("COMMIT")
}

// keyReader reads keys of a sink or of a server.
type keyReader func(command ...string) resp.Reply

func (m *memory) reader(t *testing.T) keyReader {
	return func(command ...string) resp.Reply {
		words := make([][]byte, len(command))
		for i, word := range command {
			words[i] = []byte(word)
		}
		reply, err := m.query(t.Context(), words...)
		must(t, err)
		return reply
	}
}

// list returns the values of a list.
func (read keyReader) list(key string) (values []string) {
	for _, e := range read("LRANGE", key, "0", "-1").Elements {
		values = append(values, string(e.Text))
	}
	return values
}

// streamEntry is an entry of a stream: its id, and its fields.
type streamEntry struct {
	id     string
	fields map[string]string
}

func (read keyReader) stream(key string) (entries []streamEntry) {
	for _, e := range read("XRANGE", key, "-", "+").Elements {
		fields := make(map[string]string)
		pairs := e.Elements[1].Elements
		for i := 0; i+1 < len(pairs); i += 2 {
			fields[string(pairs[i].Text)] = string(pairs[i+1].Text)
		}
		entries = append(entries, streamEntry{string(e.Elements[0].Text), fields})
	}
	return entries
}

// mustHaveActed checks that the lists and streams have exactly one entry for each change, in the
// order of the changes, and one for each row of the initial load, of which there are loaded.
func (s *changeScript) mustHaveActed(read keyReader, loaded int) {
	t := s.t
	t.Helper()
	var values, ofT []string
	changesOf := make(map[string]int)
	for _, c := range s.changes {
		_, value, _ := strings.Cut(c, " ")
		values = append(values, value)
		if id, ok := strings.CutPrefix(value, "t:"); ok {
			id, _, _ = strings.Cut(id, ":")
			ofT = append(ofT, id)
			changesOf[id]++
		}
	}
	mustBeList(t, "list changes", read.list("changes"), values)
	slices.Reverse(ofT)
	mustBeList(t, "list newest", read.list("newest"), ofT[:5])
	var events []string
	for _, e := range read.stream("events") {
		_, table, _ := strings.Cut(e.fields["table"], ".")
		image := e.fields["after"]
		if e.fields["op"] == "delete" {
			image = e.fields["before"]
		}
		var id, v int
		if _, err := fmt.Sscanf(image, `{"id":%d,"v":%d}`, &id, &v); err != nil ||
			e.fields["key"] != fmt.Sprint(id) || e.fields["position"] == "" {
			t.Fatalf("entry %+v: %v", e, err)
		}
		events = append(events, fmt.Sprintf("%s %s:%d:%d", e.fields["op"], table, id, v))
	}
	mustBeList(t, "stream events", events, s.changes)
	if n := len(read.stream("recent")); n != 7 {
		t.Errorf("the stream of 7 entries has %d", n)
	}
	entries := make(map[string]int)
	for _, id := range read.list("loaded") {
		entries[id]++
	}
	// A row that was changed while its chunk was read has no entry of the load, and a row that was
	// inserted before its chunk was read may have one.
	for id := 1; id <= loaded; id++ {
		id := fmt.Sprint(id)
		if n := entries[id] - changesOf[id]; n != 1 && (changesOf[id] == 0 || n != 0) {
			t.Errorf("row %s has %d entries of the load", id, n)
		}
	}
	for id, n := range entries {
		if n -= changesOf[id]; n < 0 || n > 1 {
			t.Errorf("row %s has %d entries of the load", id, n)
		}
	}
}

// mustBeList compares two lists and reports the first difference.
func mustBeList(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: entry %d is %s, want %s", what, i, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d entries, want %d", what, len(got), len(want))
	}
}

// Lists and streams get exactly one entry for each change, and for each row of the initial load,
// although the pipeline is killed before and after random units. A replay and a backfill make none.
func testActsKilled(t *testing.T, d *database) {
	const loaded = 1300
	s := newChangeScript(d, 3, loaded)
	c := d.config(actsEdits(d)...)
	m := newMemory()
	var mu sync.Mutex
	rng, isArmed, kills := rand.New(rand.NewPCG(3, 5)), true, 0
	crash := func(*sink.Unit) error {
		mu.Lock()
		defer mu.Unlock()
		if !isArmed || rng.IntN(4) > 0 {
			return nil
		}
		kills++
		return errCrash
	}
	r := start(t, c, m, "")
	waitFor(t, "the load begins", func() bool { return m.progress(t).Phase != sink.Empty })
	r.kill()
	m.Before, m.After = crash, crash
	r = start(t, c, m, "")
	var middle string
	for i := range 120 {
		if s.step(); i == 60 {
			middle = d.end().String()
		}
		if r.over() {
			if !errors.Is(r.err, errCrash) {
				t.Fatal(r.err)
			}
			r = start(t, c, m, "")
		}
	}
	for !m.isAt(t, d.end()) { // the rest of the load is killed, too
		waitFor(t, "all is applied or it crashes", func() bool {
			return r.over() || m.isAt(t, d.end())
		})
		if r.over() {
			if !errors.Is(r.err, errCrash) {
				t.Fatal(r.err)
			}
			r = start(t, c, m, "")
		}
	}
	r.kill()
	mu.Lock()
	isArmed = false
	mu.Unlock()
	r = start(t, c, m, "")
	r.mustEqual(d, &c, m, "the kills")
	t.Logf("%d kills, %d changes", kills, len(s.changes))
	s.mustHaveActed(m.reader(t), loaded)
	r.kill()

	// What a replay repeats makes no entries, and what follows it makes them.
	r = startFrom(t, c, m, middle)
	r.waitAt(m, d.end())
	s.mustHaveActed(m.reader(t), loaded)
	for range 20 {
		s.step()
	}
	if _, err := r.pipeline.Backfill(t.Context(), d.name+".t"); err != nil {
		t.Fatal(err)
	}
	r.mustEqual(d, &c, m, "a replay and a backfill")
	s.mustHaveActed(m.reader(t), loaded)
}
