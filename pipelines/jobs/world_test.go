package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/file/filetest"
	"rowfall/pipelines/tablestate"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tables of tests. Rows of db.t have a composite key, rows of db.o a simple one.
var (
	tableT = &binlog.Table{
		Database: "db", Name: "t", Primary: []int{0, 1},
		Columns: []binlog.Column{
			{Name: "a", SQLType: "int", Type: binlog.TypeInt},
			{Name: "b", SQLType: "varchar(200)", Type: binlog.TypeVarchar, Length: 200},
			{Name: "x", SQLType: "int", Type: binlog.TypeInt, Nullable: true},
			{
				Name: "note", SQLType: "varchar(200)", Type: binlog.TypeVarchar, Length: 200,
				Nullable: true,
			},
		},
	}
	tableO = &binlog.Table{
		Database: "db", Name: "o", Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
			{Name: "x", SQLType: "int", Type: binlog.TypeInt, Nullable: true},
		},
	}
)

// compile returns the plan of a table under the tables section of a pipeline file.
func compile(t *testing.T, tables string, table *binlog.Table) *transform.Plan {
	t.Helper()
	config := filetest.Parse(t, "x.yaml", `pipeline: shop
source:
  mysql: {addresses: [127.0.0.1:3306], user: rowfall}
sink:
  node: {listen: 127.0.0.1:6400, dir: data/shop}
tables:
  `+strings.ReplaceAll(strings.TrimSpace(tables), "\n", "\n  "))
	plan, err := transform.Compile(&config.Mapping, table)
	if err != nil || plan == nil {
		t.Fatalf("plan %v, %v", plan, err)
	}
	return plan
}

// row returns a row with the given texts; nil is NULL.
func row(table *binlog.Table, cells [][]byte) *binlog.Row {
	if cells == nil {
		return nil
	}
	r := new(binlog.Row)
	r.SetText(binlog.NewTextLayout(table), cells)
	return r
}

// cellsOf returns the texts of a row; "NULL" is NULL.
func cellsOf(words ...string) [][]byte {
	cells := make([][]byte, len(words))
	for i, w := range words {
		if w != "NULL" {
			cells[i] = []byte(w)
		}
	}
	return cells
}

// eventKind is what a transaction of a server did.
type eventKind int

const (
	rowChanged  eventKind = iota
	altered               // a statement that changes nothing but interrupts the table's job
	mustRebuild           // a statement after which the table is read again
	truncated
)

// event is a transaction of a server.
type event struct {
	kind          eventKind
	table         *binlog.Table
	before, after [][]byte
}

// server is a server: its binlog, from which its rows at every position follow.
type server struct{ log []event }

// rows returns a table's rows after n events, by their keys.
func (s *server) rows(table *binlog.Table, n int) map[string][][]byte {
	rows := make(map[string][][]byte)
	for _, e := range s.log[:n] {
		switch {
		case e.table != table:
		case e.kind == truncated:
			clear(rows)
		case e.kind == rowChanged:
			if e.before != nil {
				delete(rows, keyOf(table, e.before))
			}
			if e.after != nil {
				rows[keyOf(table, e.after)] = e.after
			}
		}
	}
	return rows
}

// set inserts, updates or deletes a row; after is nil for the latter.
func (s *server) set(table *binlog.Table, before, after [][]byte) {
	s.log = append(s.log, event{rowChanged, table, before, after})
}

func keyOf(table *binlog.Table, cells [][]byte) string {
	var key []string
	for _, k := range table.Key() {
		key = append(key, string(cells[k]))
	}
	return strings.Join(key, "\x00")
}

// compareKeys orders the rows of a table, or a row and a key.
func compareKeys(table *binlog.Table, a, b [][]byte) int {
	for i, k := range table.Key() {
		x, y := string(a[i]), string(b[i])
		if table.Columns[k].Type == binlog.TypeInt {
			n, _ := strconv.Atoi(x)
			m, _ := strconv.Atoi(y)
			if n != m {
				return n - m
			}
		} else if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

func keyCells(table *binlog.Table, cells [][]byte) [][]byte {
	var key [][]byte
	for _, k := range table.Key() {
		key = append(key, cells[k])
	}
	return key
}

func at(n int) binlog.Position { return binlog.Position{File: "log.1", Offset: uint64(n)} }

// world is a server, a stream of its changes, a sink, and the engine between them. It is the Host
// of the engine and the source of its rows. Use it in a synctest bubble: a SELECT runs only while
// the test waits in allowQuery.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	server server
	plans  map[*binlog.Table]*transform.Plan
	config Config

	sink     *sinktest.Memory
	unit     sink.Unit
	position binlog.Position
	tables   map[string]*Table
	engine   *Engine

	// What the sink holds besides data, and what the unit will add to it.
	stored, unsaved map[string]record
	storedPosition  binlog.Position

	queryError       func() error // called before each SELECT; its error becomes the SELECT's
	afterQuery       func()       // called after each SELECT, before the fence is read
	queries          chan struct{}
	corrupt          func(*binlog.Table) // called before a table is read again
	faults, restarts int
	estimate         int64 // of the rows of each table
	rows, expected   int64 // what was reported last
	hasOtherTypes    bool  // see anotherType
}

// record is what the sink holds of a table besides its rows.
type record struct {
	Job   tablestate.Job
	Fault *tablestate.Fault
}

func newWorld(t *testing.T, seed uint64, config Config, plans ...*transform.Plan) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), config: config,
		plans: make(map[*binlog.Table]*transform.Plan),
		sink:  sinktest.NewMemory("shop"), tables: make(map[string]*Table),
		stored: make(map[string]record), unsaved: make(map[string]record),
		queries: make(chan struct{}), storedPosition: at(0),
	}
	for _, p := range plans {
		w.plans[p.Table()] = p
	}
	if _, err := w.sink.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// start begins a run at the stored position, with the stored jobs.
func (w *world) start() {
	w.position = w.storedPosition.Clone()
	w.unit.Reset()
	clear(w.unsaved)
	clear(w.tables)
	w.engine = New(w, w, w.config, zerolog.Nop())
	w.engine.sweepLocations = 3
	for _, table := range slices.SortedFunc(maps.Keys(w.plans), func(a, b *binlog.Table) int {
		return strings.Compare(a.Name, b.Name)
	}) {
		stored := w.stored[table.Name]
		t := &Table{Database: table.Database, Name: table.Name, Fault: stored.Fault}
		// A Job is stored as JSON.
		text, err := json.Marshal(stored.Job)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := json.Unmarshal(text, &t.Job); err != nil {
			w.t.Fatal(err)
		}
		if !t.Job.NeedsSchema {
			t.Schema, t.Plan = table, w.plans[table].Clone()
		}
		w.tables[table.Name] = t
		w.engine.Add(w.t.Context(), t)
	}
}

// restart ends the run, as a crash does, and begins another one.
func (w *world) restart() {
	w.restarts++
	w.engine.Close()
	if _, err := w.sink.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// step calls Step, and begins another run after an error.
func (w *world) step() {
	if err := w.engine.Step(w.t.Context()); err != nil {
		w.failed(err)
	}
}

func (w *world) failed(err error) {
	if !errors.Is(err, errInjected) {
		w.t.Fatal(err)
	}
	w.restart()
}

// errInjected is an error after which a run begins again.
var errInjected = errors.New("the connection is gone")

// advance makes the stream send the next event, and reports whether there was one.
func (w *world) advance() bool {
	n := int(w.position.Offset)
	if n == len(w.server.log) {
		w.step()
		return false
	}
	e := w.server.log[n]
	t := w.tables[e.table.Name]
	if err := w.apply(t, &e); err != nil {
		w.failed(err)
		return true
	}
	w.position.Offset++
	if w.rng.IntN(3) == 0 {
		if err := w.Flush(w.t.Context()); err != nil {
			w.failed(err)
			return true
		}
	}
	w.step()
	return true
}

// apply applies an event, as the loop of package pipelines does.
func (w *world) apply(t *Table, e *event) error {
	switch e.kind {
	case altered:
		t.Interrupt()
	case mustRebuild:
		if w.corrupt != nil {
			w.corrupt(e.table)
		}
		w.rebuild(t, !w.hasOtherTypes && w.rng.IntN(3) == 0)
	case truncated:
		if err := w.Flush(w.t.Context()); err != nil {
			return err
		}
		t.Interrupt()
		plan := w.plans[e.table].Clone()
		if _, err := RemoveRows(w.t.Context(), w, plan, 1+w.rng.IntN(4)); err != nil {
			return err
		}
		if t.Fault == nil && !t.Job.NeedsSchema && !t.Job.Done {
			t.Restart(tablestate.Job{Done: true})
			return w.SaveJob(t)
		}
	default:
		if t.Plan == nil || t.Fault != nil || t.Job.NeedsSchema {
			return nil
		}
		mode := transform.FullRow
		switch {
		case t.Job.Done:
			mode = transform.Delta
		case t.Job.Compare:
			mode = transform.Replace
		}
		c := binlog.Change{
			Table: e.table, Before: row(e.table, e.before), After: row(e.table, e.after),
		}
		if err := t.MarkDirty(&c); err != nil {
			return err
		}
		return t.Plan.Append(&w.unit.Commands, &c, mode)
	}
	return nil
}

// rebuild gives a table a job that reads it again. unknown makes the job read its columns first.
func (w *world) rebuild(t *Table, unknown bool) {
	t.Fault = nil
	t.Restart(tablestate.Job{ID: 1, Compare: true, Sweep: &tablestate.Sweep{}})
	if t.Job.NeedsSchema = unknown; unknown {
		t.Schema, t.Plan = nil, nil
	} else {
		t.Schema, t.Plan = w.schema(t), w.plans[w.schema(t)].Clone()
	}
	if err := w.SaveJob(t); err != nil {
		w.t.Fatal(err)
	}
	w.engine.Add(w.t.Context(), t)
}

func (w *world) schema(t *Table) *binlog.Table {
	for table := range w.plans {
		if table.Name == t.Name {
			return table
		}
	}
	return nil
}

// allowQuery lets one SELECT that waits run to its end, and reports whether there was one.
func (w *world) allowQuery() bool {
	synctest.Wait()
	select {
	case w.queries <- struct{}{}:
		synctest.Wait()
		return true
	default:
		return false
	}
}

// run lets everything proceed until the engine is idle, then closes the engine. It returns the
// number of SELECTs.
func (w *world) run() (queries int) {
	w.t.Helper()
	defer w.engine.Close()
	for range 10_000 {
		w.step()
		if w.engine.IsIdle() {
			return queries
		}
		if w.allowQuery() {
			queries++
		} else if !w.advance() {
			time.Sleep(time.Second)
		}
	}
	w.t.Fatal("the jobs do not end")
	return 0
}

// EstimateRows implements RowSource.
func (w *world) EstimateRows(_ context.Context, t []*binlog.Table) ([]int64, error) {
	all := make([]int64, len(t))
	for i := range all {
		all[i] = w.estimate
	}
	return all, nil
}

// OpenRows implements RowSource.
func (w *world) OpenRows() RowReader { return &reader{w} }

// reader implements RowReader.
type reader struct{ w *world }

func (r *reader) Close() {}

// query waits for allowQuery, and calls read with the number of events that the SELECT sees. It
// returns the fence.
func (r *reader) query(
	ctx context.Context, from binlog.Position, read func(n int) error,
) (binlog.Position, error) {
	select {
	case <-r.w.queries:
	case <-ctx.Done():
		return binlog.Position{}, ctx.Err()
	}
	if r.w.queryError != nil {
		if err := r.w.queryError(); err != nil {
			return binlog.Position{}, err
		}
	}
	// A transaction is in the binlog before it is visible.
	n := int(from.Offset) + r.w.rng.IntN(len(r.w.server.log)-int(from.Offset)+1)
	if err := read(n); err != nil {
		return binlog.Position{}, err
	}
	if r.w.afterQuery != nil {
		r.w.afterQuery()
	}
	return at(len(r.w.server.log)), nil
}

func (r *reader) ReadRows(
	ctx context.Context, request query.ChunkRequest, from binlog.Position, to Collector,
) (result query.ChunkResult, err error) {
	table := request.Table
	result.Last = request.After
	result.Fence, err = r.query(ctx, from, func(n int) error {
		to.Reset()
		all := slices.SortedFunc(maps.Values(r.w.server.rows(table, n)),
			func(a, b [][]byte) int {
				return compareKeys(table, keyCells(table, a), keyCells(table, b))
			})
		for _, cells := range all {
			key := keyCells(table, cells)
			switch {
			case request.After != nil && compareKeys(table, key, request.After) <= 0:
				continue
			case request.Until != nil && compareKeys(table, key, request.Until) > 0:
				continue
			case result.Rows == request.Limit:
				return nil
			}
			if err := to.Add(row(table, cells)); err != nil {
				return err
			}
			result.Rows++
			result.Last = key
		}
		return nil
	})
	if err != nil {
		return query.ChunkResult{}, err
	}
	if result.Rows < request.Limit {
		if result.Done = request.Until == nil; !result.Done {
			result.Last = request.Until
		}
	}
	return result, nil
}

func (r *reader) ReadMatching(
	ctx context.Context, request query.MatchRequest, from binlog.Position, to Collector,
) (binlog.Position, error) {
	return r.query(ctx, from, func(n int) error {
		to.Reset()
		for _, cells := range r.w.server.rows(request.Table, n) {
			matches := func(texts [][]byte) bool {
				for i, k := range request.Columns {
					if cells[k] == nil || string(cells[k]) != string(texts[i]) {
						return false
					}
				}
				return true
			}
			if slices.ContainsFunc(request.Values, matches) {
				if err := to.Add(row(request.Table, cells)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (r *reader) ReadSchema(
	ctx context.Context, _, table string,
) (schema *ddl.Schema, fence binlog.Position, err error) {
	// The definition never changes, so any position will do.
	fence, err = r.query(ctx, at(0), func(int) error {
		schema = ddl.FromTable(r.w.schema(&Table{Name: table}))
		return nil
	})
	return schema, fence, err
}

// Position implements Stream.
func (w *world) Position() *binlog.Position { return &w.position }

// Wake implements Stream. The test calls Step all the time.
func (w *world) Wake() {}

// Commands implements Writer.
func (w *world) Commands() *transform.Commands { return &w.unit.Commands }

// Flush implements Writer.
func (w *world) Flush(ctx context.Context) error {
	w.unit.Progress.Phase = sink.Streaming
	if err := w.sink.Apply(ctx, &w.unit); err != nil {
		return err
	}
	w.unit.Reset()
	maps.Copy(w.stored, w.unsaved)
	clear(w.unsaved)
	w.storedPosition = w.position.Clone()
	return nil
}

// FlushIfLarge implements Writer. Some units are applied early.
func (w *world) FlushIfLarge(ctx context.Context, n, limit int) (bool, error) {
	if n < limit && w.rng.IntN(4) > 0 {
		return false, nil
	}
	return true, w.Flush(ctx)
}

// Sink implements Writer.
func (w *world) Sink() sink.Reader { return w.sink }

// SaveJob implements Tables.
func (w *world) SaveJob(t *Table) error {
	if w.tables[t.Name] != t {
		return nil
	}
	job := t.Job
	if job.Sweep != nil {
		s := *job.Sweep
		job.Sweep = &s
	}
	w.unsaved[t.Name] = record{job, t.Fault}
	return nil
}

// AdoptSchema implements Tables.
func (w *world) AdoptSchema(ctx context.Context, t *Table, _ *ddl.Schema) error {
	t.Schema = w.schema(t)
	t.Plan = w.plans[t.Schema].Clone()
	t.Job.NeedsSchema = false
	if err := w.SaveJob(t); err != nil {
		return err
	}
	return w.Flush(ctx)
}

// Fault implements Tables.
func (w *world) Fault(t *Table, err error) error {
	if !errors.As(err, new(*transform.RowError)) && !errors.As(err, new(*UnreadableError)) {
		return err
	}
	w.faults++
	t.Fault = &tablestate.Fault{Reason: err.Error()}
	t.Interrupt()
	return w.SaveJob(t)
}

// Report implements Tables.
func (w *world) Report(rows, expected int64) {
	w.rows, w.expected = rows, expected
	if rows > expected {
		w.t.Errorf("%d rows were read, of %d", rows, expected)
	}
}

// execute executes a command on the sink.
func (w *world) execute(command ...string) {
	w.t.Helper()
	execute(w.t, w.sink, command...)
}

func execute(t *testing.T, m *sinktest.Memory, command ...string) {
	t.Helper()
	if err := m.Execute(resp.AppendCommand(nil, command...)); err != nil {
		t.Fatalf("%q: %v", command, err)
	}
}

// insert writes rows to a sink as the stream does.
func insert(
	t *testing.T, m *sinktest.Memory, p *transform.Plan, rows ...[][]byte,
) {
	t.Helper()
	var u transform.Commands
	for _, cells := range rows {
		c := binlog.Change{Table: p.Table(), Op: binlog.Insert, After: row(p.Table(), cells)}
		if err := p.Append(&u, &c, transform.FullRow); err != nil {
			t.Fatal(err)
		}
	}
	for rest := u.Bytes; len(rest) > 0; {
		_, n, err := resp.ParseCommand(rest, nil)
		if err == nil {
			err = m.Execute(rest[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
}

// dump returns everything that a sink holds, a line for each key.
func dump(t *testing.T, m *sinktest.Memory) string {
	t.Helper()
	read := func(command ...string) resp.Reply {
		args := make([][]byte, len(command))
		for i, a := range command {
			args[i] = []byte(a)
		}
		reply, err := m.Read(context.Background(), args...)
		if err != nil {
			t.Fatalf("%q: %v", command, err)
		}
		return reply
	}
	var keys []string
	for _, e := range read("KEYS", "*").Elements {
		if key := string(e.Text); !strings.HasPrefix(key, "rowfall:") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, key := range keys {
		kind := string(read("TYPE", key).Text)
		var content []string
		texts := func(step int, reply resp.Reply) {
			for i := 0; i < len(reply.Elements); i += step {
				entry := string(reply.Elements[i].Text)
				if step == 2 {
					entry += "=" + string(reply.Elements[i+1].Text)
				}
				content = append(content, strconv.Quote(entry))
			}
		}
		switch kind {
		case "hash":
			texts(2, read("HGETALL", key))
		case "set":
			texts(1, read("SMEMBERS", key))
		case "zset":
			texts(2, read("ZRANGE", key, "0", "-1", "WITHSCORES"))
		default:
			content = []string{strconv.Quote(string(read("GET", key).Text))}
		}
		slices.Sort(content)
		fmt.Fprintf(&b, "%q %s %s\n", key, kind, strings.Join(content, " "))
	}
	return b.String()
}

// mustHold compares the sink with another one.
func (w *world) mustHold(want *sinktest.Memory) {
	w.t.Helper()
	if got, want := dump(w.t, w.sink), dump(w.t, want); got != want {
		w.t.Fatalf("the sink holds:\n%s\nwant:\n%s", got, want)
	}
}

// noSuchTable is the error of a SELECT of a table that was dropped.
var noSuchTable = &mysql.ServerError{Code: mysql.CodeNoSuchTable, Message: "no such table"}
