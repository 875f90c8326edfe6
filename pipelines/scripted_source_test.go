package pipelines

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/events"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// errEndOfScript is returned by a scriptedSource after its last event.
var errEndOfScript = errors.New("end of the script")

// scriptedSource is a source without a server: it sends the events of a script, and its tables
// never change. Its position is the number of events sent.
type scriptedSource struct {
	// warnings are about the server.
	warnings []query.Problem
	why      string // the result of CheckWritten
	// checked counts the calls of CheckWritten.
	checked int
	tables  []*binlog.Table
	script  []*binlog.Event
	// write returns the script once the run has loaded its tables; nil if script is set already.
	write func(*binlog.Table) []*binlog.Event
	// images are the rows of the first table, which is an intTable, for a load.
	images   [][2]uint32
	position binlog.Position
	// woken makes Next return a Progress event after the last event of the script, each time that
	// it receives something. If woken is nil, Next returns errEndOfScript.
	woken chan struct{}
	// again is the script of a replay.
	again []*binlog.Event
	// cascades are what UnloggedCascades returns, of the tables that are asked for.
	cascades []source.UnloggedCascade
	// parents are what TableSchema returns.
	parents map[ddl.TableName]*binlog.Table
	// denied is what CheckGrants returns.
	denied error
	// transactions identifies, by their index, the transactions that events of the script belong
	// to. skips is what Skip was given last.
	transactions map[int]binlog.Evidence
	skips        []binlog.Skip
	// unreadable is the error in place of the end of a transaction that is left out.
	unreadable error
}

var (
	_ source.Stream = (*scriptedSource)(nil)
	_ source.Source = (*scriptedSource)(nil)
)

func (s *scriptedSource) Next(ctx context.Context) (*binlog.Event, error) {
	for int(s.position.Offset) < len(s.script) {
		if ev, err := s.leaveOut(); ev != nil || err != nil {
			return ev, err
		}
	}
	if s.woken == nil {
		return nil, errEndOfScript
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.woken:
		return &binlog.Event{Kind: binlog.Progress}, nil
	}
}

func (s *scriptedSource) Position() *binlog.Position   { return &s.position }
func (s *scriptedSource) Fill() bool                   { return false }
func (s *scriptedSource) Close() error                 { return nil }
func (s *scriptedSource) Forget()                      {}
func (s *scriptedSource) Skip(skips []binlog.Skip)     { s.skips = skips }
func (s *scriptedSource) Last() binlog.Evidence        { return s.Transaction() }
func (s *scriptedSource) Transaction() binlog.Evidence { return s.transactions[s.sent()] }
func (s *scriptedSource) sent() int                    { return int(s.position.Offset) - 1 }

// Present returns nil, so that each transaction becomes a unit.
func (s *scriptedSource) Present(context.Context) (*binlog.Event, error) { return nil, nil }

func (s *scriptedSource) InTransaction() bool {
	return s.script[s.sent()].Kind == binlog.Changes
}

// leaveOut does to the next event of the script what a request to skip its transaction does.
func (s *scriptedSource) leaveOut() (*binlog.Event, error) {
	s.position.Offset++
	ev := s.script[s.sent()]
	t := s.Transaction()
	for _, skip := range s.skips {
		switch {
		case !skip.At.Names(&t) || len(skip.Tables) > 0:
		case ev.Kind == binlog.Changes && s.unreadable != nil:
			return nil, s.unreadable
		case ev.Kind == binlog.Changes:
			return nil, nil
		default:
			ev.Skipped = &binlog.Skipped{Tables: []string{"shop.t"}}
		}
	}
	return ev, nil
}

func (s *scriptedSource) PositionEvidence(binlog.Position) binlog.Evidence {
	return binlog.Evidence{}
}
func (s *scriptedSource) Unproved() string { return "" }

func (s *scriptedSource) Wake() {
	select {
	case s.woken <- struct{}{}:
	default: // no script that waits, or woken already
	}
}

func (s *scriptedSource) Now(context.Context) (int64, error) { return 1, nil }

func (s *scriptedSource) End(context.Context) (binlog.Position, bool, error) {
	return s.position, true, nil
}

func (s *scriptedSource) ResolvePosition(_ context.Context, p string) (binlog.Position, error) {
	return binlog.ParsePosition(p)
}

func (s *scriptedSource) Identity() source.Identity {
	return source.Identity{UUID: "scripted", Addr: "script"}
}

func (s *scriptedSource) CheckOrigin(string) error { return nil }

func (s *scriptedSource) CheckSettings(context.Context) ([]query.Problem, error) {
	return nil, nil
}

func (s *scriptedSource) Warnings(context.Context) ([]query.Problem, error) {
	return s.warnings, nil
}

func (s *scriptedSource) MissingGTIDs(
	context.Context, *binlog.GTIDSet,
) (binlog.GTIDSet, error) {
	return binlog.GTIDSet{}, nil
}

func (s *scriptedSource) IsPurged(context.Context, binlog.Position, string) (bool, error) {
	return false, nil
}

func (s *scriptedSource) OpenStream(
	_ context.Context, start source.StreamStart,
) (source.Stream, error) {
	s.position = start.Position
	if s.write != nil {
		table, err := start.Tables.Table("shop", "t")
		if err != nil {
			return nil, err
		}
		s.script = s.write(table)
	}
	return s, nil
}

func (s *scriptedSource) EstimateRows(_ context.Context, t []*binlog.Table) ([]int64, error) {
	return make([]int64, len(t)), nil
}

func (s *scriptedSource) OpenKeys() source.KeyReader { return scriptedRows(s.images) }

// OpenReplay sends the whole script again.
func (s *scriptedSource) OpenReplay(context.Context, source.ReplayStart) (source.Stream, error) {
	return &scriptedSource{
		script: s.again, position: binlog.Position{File: "log"}, woken: make(chan struct{}),
	}, nil
}

func (s *scriptedSource) LogFiles(context.Context) ([]string, error) { return nil, nil }

func (s *scriptedSource) OpenPrepared(
	context.Context, string, events.Tables,
) (source.Stream, error) {
	return nil, nil
}

func (s *scriptedSource) OpenRows() jobs.RowReader { return scriptedRows(s.images) }

// scriptedRows are the rows of an intTable, in the order of their ids. Their fence is the present
// position of any stream.
type scriptedRows [][2]uint32

func (scriptedRows) Close() {}

func (s scriptedRows) ReadRows(
	_ context.Context, request query.ChunkRequest, from binlog.Position, to jobs.Collector,
) (query.ChunkResult, error) {
	to.Reset()
	result := query.ChunkResult{Fence: from, Last: request.After}
	layout := binlog.NewTextLayout(request.Table)
	for _, image := range s {
		id, v := strconv.Itoa(int(image[0])), strconv.Itoa(int(image[1]))
		if request.After != nil && !isAfter(image[0], request.After) {
			continue
		}
		if result.Rows == request.Limit {
			return result, nil
		}
		row := new(binlog.Row)
		row.SetText(layout, [][]byte{[]byte(id), []byte(v)})
		if err := to.Add(row); err != nil {
			return result, err
		}
		result.Rows++
		result.Last = [][]byte{[]byte(id)}
	}
	result.Done = true
	return result, nil
}

// ScanRows cannot scan: the tables of scripts have keys.
func (scriptedRows) ScanRows(
	context.Context, query.ScanRequest, binlog.Position, jobs.Scanner,
) error {
	return query.ErrNoSnapshot
}

// ReadMatching finds rows by their ids.
func (s scriptedRows) ReadMatching(
	_ context.Context, request query.MatchRequest, from binlog.Position, to jobs.Collector,
) (binlog.Position, error) {
	to.Reset()
	layout := binlog.NewTextLayout(request.Table)
	for _, image := range s {
		id, v := strconv.Itoa(int(image[0])), strconv.Itoa(int(image[1]))
		matches := func(texts [][]byte) bool { return string(texts[0]) == id }
		if !slices.ContainsFunc(request.Values, matches) {
			continue
		}
		row := new(binlog.Row)
		row.SetText(layout, [][]byte{[]byte(id), []byte(v)})
		if err := to.Add(row); err != nil {
			return from, err
		}
	}
	return from, nil
}

// ReadKeys finds the rows whose v is the condition.
func (s scriptedRows) ReadKeys(
	_ context.Context, request query.KeysRequest, reset func(), key func(texts [][]byte) error,
) (result query.KeysResult, err error) {
	reset()
	result.Last = request.After
	for _, image := range s {
		if strconv.Itoa(int(image[1])) != request.Condition ||
			request.After != nil && !isAfter(image[0], request.After) {
			continue
		}
		result.Last = [][]byte{[]byte(strconv.Itoa(int(image[0])))}
		if err := key(result.Last); err != nil {
			return result, err
		}
	}
	result.Done = true
	return result, nil
}

// ReadSchema finds no table: no script needs it.
func (s scriptedRows) ReadSchema(
	context.Context, string, string,
) (*ddl.Schema, binlog.Position, error) {
	return nil, binlog.Position{}, nil
}

// isAfter reports whether a row follows the row with a key.
func isAfter(id uint32, key [][]byte) bool {
	last, err := strconv.ParseUint(string(key[0]), 10, 32)
	return err == nil && uint64(id) > last
}

func (s *scriptedSource) Schemas(
	_ context.Context, only map[string]bool,
) (map[string]*binlog.Table, error) {
	byName := make(map[string]*binlog.Table)
	for _, t := range s.tables {
		if only == nil || only[t.FullName()] {
			byName[t.FullName()] = t
		}
	}
	return byName, nil
}

func (s *scriptedSource) AllTables(context.Context) ([]*binlog.Table, error) {
	return s.tables, nil
}
func (s *scriptedSource) AwaitDDL(context.Context, ddl.TableName) error { return nil }
func (s *scriptedSource) CheckGrants(context.Context) error             { return s.denied }

func (s *scriptedSource) EndOfLog(context.Context) (binlog.Position, error) {
	return s.position, nil
}
func (s *scriptedSource) Dialect() ddl.Options { return ddl.Options{} }

func (s *scriptedSource) Databases(context.Context) (map[string]ddl.Charset, error) {
	return map[string]ddl.Charset{"shop": {Name: "utf8mb4"}}, nil
}

func (s *scriptedSource) Definitions(
	_ context.Context, tables []*binlog.Table,
) ([]*ddl.Schema, error) {
	all := make([]*ddl.Schema, len(tables))
	for i, t := range tables {
		all[i] = ddl.FromTable(t)
	}
	return all, nil
}

func (s *scriptedSource) UnloggedCascades(
	_ context.Context, tables []ddl.TableName,
) ([]source.UnloggedCascade, error) {
	var found []source.UnloggedCascade
	for _, k := range s.cascades {
		if slices.Contains(tables, k.Table) {
			found = append(found, k)
		}
	}
	return found, nil
}

func (s *scriptedSource) CheckWritten(context.Context, ddl.TableName) (string, error) {
	s.checked++
	return s.why, nil
}

func (s *scriptedSource) CheckRead(context.Context, ddl.TableName) (string, error) {
	return "", nil
}

func (s *scriptedSource) Cascades(
	ctx context.Context, tables []ddl.TableName,
) ([]source.UnloggedCascade, error) {
	return s.UnloggedCascades(ctx, tables)
}

func (s *scriptedSource) TableSchema(_ context.Context, t ddl.TableName) (*binlog.Table, error) {
	return s.parents[t], nil
}

// intTable returns a table shop.t with the columns id, its key, and v.
func intTable() *binlog.Table {
	return &binlog.Table{Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
		{Name: "id", SQLType: "int", Type: binlog.TypeInt},
		{Name: "v", SQLType: "int", Type: binlog.TypeInt},
	}}
}

// rowsEvent returns the event of row changes of intTable. Images are pairs of id and v; an update
// has two images for each row.
func rowsEvent(t *testing.T, table *binlog.Table, op binlog.Op, images ...[2]uint32) *binlog.Event {
	t.Helper()
	const typeLong = 3 // MYSQL_TYPE_LONG
	layout, err := binlog.NewImageLayout(table, []byte{typeLong, typeLong}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, image := range images {
		b = append(b, 0) // no column is NULL
		b = binary.LittleEndian.AppendUint32(b, image[0])
		b = binary.LittleEndian.AppendUint32(b, image[1])
	}
	ev := &binlog.Event{Kind: binlog.Changes}
	both := []byte{0b11}
	ev.Rows.Reset(layout, op, both, both, b)
	return ev
}

// scriptedPipeline returns a pipeline without a server, and the loop of a run that has all rows of
// the source's tables and is about to read the script.
func scriptedPipeline(
	t testing.TB, to *sinktest.Memory, source *scriptedSource,
) (*Pipeline, *loop) {
	t.Helper()
	config := file.Defaults()
	config.Path, config.Name = "test.yaml", "test"
	config.Mapping = transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.*"}}}
	p := New(config, to, "", zerolog.New(zerolog.NewTestWriter(t)))
	state, err := to.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := p.newLoop(source)
	l.stream = source
	if l.progress, err = parseProgress("test", &state.Progress); err != nil {
		t.Fatal(err)
	}
	l.progress.Phase = sink.Streaming
	l.tables = newTableSet(&p.config.Mapping)
	l.tables.databases, _ = source.Databases(t.Context())
	for _, table := range source.tables {
		m, err := l.tables.add(ddl.FromTable(table))
		if err != nil {
			t.Fatal(err)
		}
		l.tables.define(m, m.definition, table, m.Plan) // the schema of the script's events
		m.Job = tablestate.Job{Done: true}
		if err := m.save(&l.unit, "test"); err != nil {
			t.Fatal(err)
		}
	}
	source.position.File = "log"
	return p, l
}
