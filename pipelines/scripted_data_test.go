package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/sink/sinktest"
)

// scriptedData are the data of an intTable, and the pipeline that runs on them without a server.
type scriptedData struct {
	t  *testing.T
	p  *Pipeline
	to *sinktest.Memory
}

// loadScripted returns data after a load of the row 1, 10, at log:0.
func loadScripted(t *testing.T) *scriptedData {
	t.Helper()
	to := sinktest.NewMemory("test")
	p, _ := scriptedPipeline(t, to, new(scriptedSource))
	d := &scriptedData{t, p, to}
	d.runUntil(&scriptedSource{images: [][2]uint32{{1, 10}}}, func(u *sink.Unit) bool {
		return u.Progress.Phase == sink.Streaming
	})
	return d
}

// run runs a source until its script ends.
func (d *scriptedData) run(ctx context.Context, source *scriptedSource) error {
	d.t.Helper()
	source.tables = []*binlog.Table{intTable()}
	source.position = binlog.Position{File: "log", GTID: source.position.GTID}
	state, err := d.to.Load(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	stored, err := parseProgress("test", &state.Progress)
	if err != nil {
		d.t.Fatal(err)
	}
	d.p.acceptSkips(ctx, &state, &stored, nil)
	return d.p.runSource(ctx, source, state, stored)
}

// runUntil runs a source that waits after its script, until isLast reports true for a unit.
func (d *scriptedData) runUntil(source *scriptedSource, isLast func(u *sink.Unit) bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	source.woken = make(chan struct{}, 1)
	source.Wake() // the first event
	d.to.After = func(u *sink.Unit) error {
		if isLast(u) {
			cancel()
		}
		return nil
	}
	if err := d.run(ctx, source); !errors.Is(err, context.Canceled) {
		d.t.Fatalf("the run ended with %v", err)
	}
	d.to.After = nil
}

// skip stores a request, as a pipeline does that is stopped.
func (d *scriptedData) skip(at string, tables ...string) error {
	d.t.Helper()
	id, err := binlog.ParseTransactionID(at)
	if err != nil {
		d.t.Fatal(err)
	}
	state, err := d.to.Load(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	stored, err := parseProgress("test", &state.Progress)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.p.storeSkip(d.t.Context(), &skipCall{at: id, tables: tables}, &state, &stored)
}

// gaps returns the gaps in the position hash.
func (d *scriptedData) gaps() (list []tablestate.Gap) {
	d.t.Helper()
	at, err := d.to.Progress("test")
	if err == nil && at.Gaps != "" {
		err = json.Unmarshal([]byte(at.Gaps), &list)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// row returns the fields of a row's key as text.
func (d *scriptedData) row(id string) string {
	fields, found := d.to.Keys.HashFields("t:" + id)
	if !found {
		return "none"
	}
	return fmt.Sprint(fields)
}

// piece returns a stored piece of state.
func (d *scriptedData) piece(name string) string {
	d.t.Helper()
	state, err := d.to.Load(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return string(state.Pieces[name])
}

// script returns a source of three transactions, at log:40, log:50 and log:60.
func (d *scriptedData) script() *scriptedSource {
	s := &scriptedSource{transactions: make(map[int]binlog.Evidence)}
	s.write = func(table *binlog.Table) []*binlog.Event {
		script := []*binlog.Event{
			rowsEvent(d.t, table, binlog.Insert, [2]uint32{2, 20}),
			{Kind: binlog.Commit, Time: 1000},
			rowsEvent(d.t, table, binlog.Insert, [2]uint32{3, 30}, [2]uint32{4, 40}),
			{Kind: binlog.Commit, Time: 2000},
			rowsEvent(d.t, table, binlog.Update, [2]uint32{3, 30}, [2]uint32{3, 31}),
			{Kind: binlog.Commit, Time: 3000},
		}
		for i := range script {
			s.transactions[i] = binlog.Evidence{File: "log", Start: uint64(40 + i/2*10)}
		}
		return script
	}
	return s
}
