package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/file/filetest"
	"rowfall/pipelines/tablestate"
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
	// tableL is tableT without a key.
	tableL = func() *binlog.Table {
		t := *tableT
		t.Primary = nil
		return &t
	}()
	tableO = &binlog.Table{
		Database: "db", Name: "o", Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
			{Name: "x", SQLType: "int", Type: binlog.TypeInt, Nullable: true},
		},
	}
)

// compile returns the plan of a table under the tables section of a pipeline file.
func compile(t testing.TB, tables string, table *binlog.Table) *transform.Plan {
	t.Helper()
	config := filetest.Parse(t, "x.yaml", `pipeline: shop
source:
  mysql: {addresses: [127.0.0.1:3306], user: rowfall}
sink:
  node: {listen: 127.0.0.1:6400, dir: data/shop}
tables:
  `+strings.ReplaceAll(strings.TrimSpace(tables), "\n", "\n  "))
	config.Mapping.FieldExpiry = sink.FieldExpiryKey("shop")
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

// world is a server, a stream of its changes, a sink, and the engine between them. It is the Host
// of the engine and the source of its rows. Use it in a synctest bubble: a SELECT runs only while
// the test waits in allowQuery.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	server server
	main   *binlog.Table // db.t: tableT or tableL
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
	cannotScan       func() bool  // nil: scans are possible
	queries          chan struct{}
	corrupt          func(*binlog.Table) // called before a table is read again
	faults, restarts int
	inRanges         int // steps after which a table had chunks of several ranges in flight
	ahead            int // steps after which a chunk was read ahead of another one
	resumedRanges    int // restarts of a job that was stored with several ranges
	besides          int // units that were applied while a worker had a task
	extended         int // steps after which an extended chunk waited for its fence
	reconciled       int
	estimate         int64 // of the rows of each table
	rows, expected   int64 // what was reported last
	hasOtherTypes    bool  // see anotherType
	hasUnlogged      bool  // some rows change without a change in the stream
	maxSetKeys       int   // of the engine; 0 is the default
	letters          int   // that were kept
	splitChunks      int   // of the engine; 0 is the default
	hasReplicas      bool  // SELECTs read from replicas, which lag differently
	keepsOtherTypes  bool  // no former definition explains values of other types
}

// record is what the sink holds of a table besides its rows.
type record struct {
	Job   tablestate.Job
	Fault *tablestate.Fault
	Keys  *tablestate.Keys
}

// clone returns a copy of v, by way of the JSON that is stored.
func clone[T any](t *testing.T, v T) (c T) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newWorld(t *testing.T, seed uint64, config Config, plans ...*transform.Plan) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), config: config,
		plans: make(map[*binlog.Table]*transform.Plan),
		sink:  sinktest.NewMemory("shop"), tables: make(map[string]*Table),
		stored: make(map[string]record), unsaved: make(map[string]record),
		queries: make(chan struct{}), storedPosition: at(0), main: tableT,
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
	w.position = w.storedPosition
	w.unit.Reset()
	clear(w.unsaved)
	clear(w.tables)
	w.engine = New(w, w, w.config, zerolog.Nop())
	w.engine.sweepLocations, w.engine.blockKeys = 3, 3
	if w.maxSetKeys > 0 {
		w.engine.maxSetKeys = w.maxSetKeys
	}
	if w.splitChunks > 0 {
		w.engine.splitChunks = w.splitChunks
	}
	for _, table := range slices.SortedFunc(maps.Keys(w.plans), func(a, b *binlog.Table) int {
		return strings.Compare(a.Name, b.Name)
	}) {
		stored := w.stored[table.Name]
		t := &Table{Database: table.Database, Name: table.Name, Fault: stored.Fault}
		t.Job = clone(w.t, stored.Job)
		if stored.Keys != nil {
			t.RestoreKeys(clone(w.t, stored.Keys))
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
	for _, r := range w.stored {
		if len(r.Job.Ranges) > 1 {
			w.resumedRanges++
		}
	}
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
	for _, t := range w.engine.running {
		ranges := make(map[*keyRange]int)
		for _, other := range t.tasks {
			if c, ok := other.(*chunk); ok && !c.discarded {
				ranges[c.of]++
			}
		}
		if len(ranges) > 1 {
			w.inRanges++
		}
		for _, chunks := range ranges {
			if chunks > 2 {
				w.t.Fatalf("a range has %d chunks in flight", chunks)
			}
			w.ahead += chunks - 1
		}
	}
	for _, task := range w.engine.pending {
		if c, ok := task.(*chunk); ok && c.isExtended() {
			w.extended++
		}
	}
	if len(w.engine.scans) > 0 {
		synctest.Wait() // the worker of a scan fills a batch meanwhile
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
		r := Removal{Plan: plan, Limit: 1 + w.rng.IntN(4)}
		if _, err := r.Run(w.t.Context(), w); err != nil {
			return err
		}
		if t.Fault == nil && !t.Job.NeedsSchema && !t.Job.Done {
			t.Restart(tablestate.Job{Done: true})
			return w.SaveJob(t)
		}
	case unlogged:
		return w.addKeys(t, e)
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
		if must, err := t.MustReplace(&c); err != nil || must {
			if mode = transform.Replace; err != nil {
				return err
			}
		}
		return t.Plan.Append(&w.unit.Commands, &c, mode, transform.Origin{})
	}
	return nil
}

// addKeys adds the keys of an event's rows to the table's keys job.
func (w *world) addKeys(t *Table, e *event) error {
	var keys []Key
	for _, cells := range [][][]byte{e.before, e.after} {
		if cells != nil && t.Plan != nil {
			key, err := KeyOf(t, row(e.table, cells))
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
	}
	return w.engine.AddKeys(t, "test", keys)
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

// Position implements Stream.
func (w *world) Position() *binlog.Position {
	if w.hasReplicas {
		w.position.GTID = gtids(int(w.position.Offset))
	}
	return &w.position
}

// Wake implements Stream. The test calls Step all the time.
func (w *world) Wake() {}

// Commands implements Writer.
func (w *world) Commands() *transform.Commands { return &w.unit.Commands }

// Flush implements Writer.
func (w *world) Flush(ctx context.Context) error {
	if w.engine != nil && w.engine.active > len(w.engine.pending) {
		w.besides++
	}
	w.unit.Progress.Phase = sink.Streaming
	if err := w.sink.Apply(ctx, &w.unit); err != nil {
		return err
	}
	w.unit.Reset()
	maps.Copy(w.stored, w.unsaved)
	clear(w.unsaved)
	w.storedPosition = w.position
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

func (w *world) Now() int64 { return w.sink.Now() }

func (w *world) Expiry() sink.Expiry {
	return sink.Expiry{Now: w.Now(), FieldsKey: []byte(sink.FieldExpiryKey("shop"))}
}

// Pipeline implements Writer.
func (w *world) Pipeline() string { return "shop" }

// SaveJob implements Tables.
func (w *world) SaveJob(t *Table) error {
	if w.tables[t.Name] != t {
		return nil
	}
	changed, first, next := t.TakeKeyChanges()
	keys := w.stored[t.Name].Keys
	if r, ok := w.unsaved[t.Name]; ok {
		keys = r.Keys
	}
	if changed {
		keys = clone(w.t, t.Keys)
	}
	for n := first; n < next; n++ {
		w.unit.DropBlock("shop", tablestate.KeyBlock(t.FullName(), n))
	}
	w.unsaved[t.Name] = record{clone(w.t, t.Job), t.Fault, keys}
	return nil
}

// NewJob implements KeyStore.
func (w *world) NewJob() int { return 2 }

// SaveKeys implements KeyStore.
func (w *world) SaveKeys(t *Table) error { return w.SaveJob(t) }

// SetKeyBlock implements KeyStore.
func (w *world) SetKeyBlock(t *Table, n int, block []byte) {
	w.unit.SetBlock("shop", tablestate.KeyBlock(t.FullName(), n), block)
}

// KeyBlock implements KeyStore.
func (w *world) KeyBlock(ctx context.Context, t *Table, n int) ([]byte, error) {
	return sink.ReadBlock(ctx, w.sink, "shop", tablestate.KeyBlock(t.FullName(), n))
}

// Reconcile implements KeyStore.
func (w *world) RowsGone(*Table, []Key) error { return nil }

func (w *world) Reconcile(t *Table, _ string) error {
	w.reconciled++
	t.Restart(compareJob())
	return w.SaveJob(t)
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
	if !errors.As(err, new(*transform.RowError)) && !errors.As(err, new(*UnreadableError)) &&
		!errors.As(err, new(*sink.KeyTypeError)) {
		return err
	}
	w.faults++
	t.Fault = &tablestate.Fault{Reason: err.Error()}
	t.Interrupt()
	return w.SaveJob(t)
}

// KeepLetter implements LetterStore. Letters are not stored.
func (w *world) KeepLetter(t *Table, key Key, fault *transform.RowError) error {
	w.letters++
	letter := tablestate.Letter{ID: w.letters, Table: t.FullName(), Key: key, ByJob: true}
	if old := t.Letters.Of(key); old != nil {
		letter = *old
	}
	letter.Reason = fault.Reason
	t.Letters.Set(key, &letter)
	return nil
}

// ClearLetter implements LetterStore.
func (w *world) ClearLetter(t *Table, key Key, written map[string]bool) {
	letter := t.Letters.Set(key, nil)
	for i := range letter.Locations {
		if at := LocationOf(&letter.Locations[i]); !written[string(AppendLocation(nil, at))] {
			t.Plan.Remove(&w.unit.Commands, at)
		}
	}
}

// LoseLocation implements LetterStore.
func (w *world) LoseLocation(t *Table, at transform.Location) {
	old := t.Letters.At(at)
	letter := *old
	letter.Locations = nil
	t.Letters.Set(letter.Key, &letter)
}

// IsFormer implements Tables.
func (w *world) IsFormer([]byte, string) bool { return !w.keepsOtherTypes }

// Report implements Tables.
func (w *world) Report(rows, expected int64) {
	w.rows, w.expected = rows, expected
	if rows > expected {
		w.t.Errorf("%d rows were read, of %d", rows, expected)
	}
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
