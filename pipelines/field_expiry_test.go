package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// expiringPipeline returns the loop of a pipeline that writes rows of an intTable as fields of the
// hash "all", which expire after ten seconds.
func expiringPipeline(t *testing.T, to *sinktest.Memory, source *scriptedSource) *loop {
	t.Helper()
	p, l := scriptedPipeline(t, to, source)
	p.config.Mapping.Tables[0].Write = []transform.Output{{
		Kind: transform.Hash, Key: "all", Field: "{id}", Value: "{v}",
		TTL: transform.Duration(10 * time.Second),
	}}
	table := l.tables.all["shop.t"]
	plan, err := transform.Compile(&p.config.Mapping, table.Schema)
	if err != nil {
		t.Fatal(err)
	}
	table.Plan = plan
	return l
}

// runInBackground runs a loop in the background until stop is called.
func runInBackground(t *testing.T, l *loop) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func fieldsOf(to *sinktest.Memory) []string {
	fields, _ := to.Keys.HashFields("all")
	return slices.Sorted(maps.Keys(fields))
}

// entries returns the number of fields that expire.
func entries(t *testing.T, to *sinktest.Memory) int {
	t.Helper()
	reply, err := to.Read(t.Context(), []byte("ZCARD"), []byte(sink.FieldExpiryKey("test")))
	if err != nil {
		t.Fatal(err)
	}
	return int(reply.Int)
}

// Fields leave within a second of their time, also from an idle source, in units of at most 500. A
// field that was written again stays until the later time. A run that begins later, as after a
// promotion, removes what is due.
func TestFieldsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := intTable()
		var images [][2]uint32
		for id := range uint32(1200) {
			images = append(images, [2]uint32{id, id})
		}
		committed := time.Now().UnixMicro()
		event := func(at time.Duration, op binlog.Op, images ...[2]uint32) []*binlog.Event {
			rows := rowsEvent(t, table, op, images...)
			rows.Time = committed + at.Microseconds()
			return []*binlog.Event{rows, {Kind: binlog.Commit, Time: rows.Time}}
		}
		source := &scriptedSource{
			tables: []*binlog.Table{table}, woken: make(chan struct{}, 1),
			script: slices.Concat(
				event(0, binlog.Insert, images...),
				event(5*time.Second, binlog.Update, [2]uint32{7, 7}, [2]uint32{7, 7}),
				event(5*time.Second, binlog.Delete, [2]uint32{8, 8}),
				event(20*time.Second, binlog.Insert, [2]uint32{9999, 1}),
			),
		}
		to := sinktest.NewMemory("test")
		stop := runInBackground(t, expiringPipeline(t, to, source))
		time.Sleep(9900 * time.Millisecond)
		if n := len(fieldsOf(to)); n != 1200 || entries(t, to) != 1200 {
			t.Fatalf("%d fields, %d of them expire", n, entries(t, to))
		}
		before := len(to.Units(0))
		time.Sleep(1200 * time.Millisecond)
		synctest.Wait()
		if got := fieldsOf(to); !slices.Equal(got, []string{"7", "9999"}) {
			t.Errorf("after 11 s, %d fields are left: %.100q", len(got), got)
		}
		for _, u := range to.Units(before) {
			if n := strings.Count(u.Commands, "HDEL"); n > 500 {
				t.Errorf("a unit removes %d fields", n)
			}
		}
		if n := len(to.Units(before)); n != 3 {
			t.Errorf("%d units, want 3", n)
		}
		stop()

		time.Sleep(10 * time.Second)
		if got := fieldsOf(to); len(got) != 2 {
			t.Errorf("without a run, the fields are %q", got)
		}
		source = &scriptedSource{tables: []*binlog.Table{table}, woken: make(chan struct{}, 1)}
		l := expiringPipeline(t, to, source)
		source.position.Offset = 8 // where the first run has ended
		source.Wake()
		stop = runInBackground(t, l)
		synctest.Wait()
		if got := fieldsOf(to); !slices.Equal(got, []string{"9999"}) || entries(t, to) != 1 {
			t.Errorf("after the start, the fields are %q, and %d expire", got, entries(t, to))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := fieldsOf(to); len(got) > 0 || entries(t, to) > 0 {
			t.Errorf("in the end, the fields are %q", got)
		}
		stop()
	})
}

// Entries that are left over are dropped, and the field that has their place stays.
func TestLeftoverEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &scriptedSource{
			tables: []*binlog.Table{intTable()}, woken: make(chan struct{}, 1),
		}
		to := sinktest.NewMemory("test")
		l := expiringPipeline(t, to, source)
		// This output's fields do not expire.
		l.config.Mapping.Tables[0].Write = append(l.config.Mapping.Tables[0].Write,
			transform.Output{Kind: transform.Hash, Key: "kept", Field: "{id}", Value: "{v}"})
		plan, err := transform.Compile(&l.config.Mapping, source.tables[0])
		if err != nil {
			t.Fatal(err)
		}
		l.tables.all["shop.t"].Plan = plan
		key := sink.FieldExpiryKey("test")
		for _, c := range [][]string{
			{"HSET", "kept", "1", "x"},
			{"SET", "text", "x"},
			{"HSET", "all", "1", "x", "2", "x"},
			{"ZADD", key, "1", "\x04kept1"},
			{"ZADD", key, "1", "\x04text1"},
			{"ZADD", key, "1", "\x04gone1"},
			{"ZADD", key, "1", "\xff"},
			{"ZADD", key, "1", "\x03all1"},
			{"ZADD", key, "1e15", "\x03all2"},
		} {
			if err := to.Execute(resp.AppendCommand(nil, c...)); err != nil {
				t.Fatal(err)
			}
		}
		source.Wake()
		stop := runInBackground(t, l)
		synctest.Wait()
		stop()
		if got := fieldsOf(to); !slices.Equal(got, []string{"2"}) {
			t.Errorf("the fields are %q", got)
		}
		if kept, _ := to.Keys.HashFields("kept"); kept["1"] != "x" {
			t.Error("a field that does not expire is gone")
		}
		if n := entries(t, to); n != 1 {
			t.Errorf("%d entries are left, want 1", n)
		}
	})
}

// A pipeline whose fields do not expire is not woken.
func TestNoWakeWithoutExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &scriptedSource{
			tables: []*binlog.Table{intTable()}, woken: make(chan struct{}, 1),
		}
		_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
		source.Wake()
		stop := runInBackground(t, l)
		time.Sleep(time.Hour)
		if l.fields.timer != nil {
			t.Error("a timer wakes the stream")
		}
		stop()
	})
}

// A load gives the full time to live from the present time on, and the clock is the sink's.
func TestLoadedRowsExpire(t *testing.T) {
	table := intTable()
	to := sinktest.NewMemory("test")
	to.Clock = func() int64 { return 5_000_000 }
	source := &scriptedSource{
		tables: []*binlog.Table{table}, images: [][2]uint32{{1, 10}, {2, 20}},
		woken: make(chan struct{}, 1),
	}
	l := expiringPipeline(t, to, source)
	m := l.tables.all["shop.t"]
	m.Job.Done = false
	source.Wake()
	runUntil(t, l, to, func() bool { return m.Job.Done })
	for id := range 2 {
		entry := transform.AppendFieldEntry(nil, []byte("all"), fmt.Append(nil, id+1))
		reply, err := to.Read(t.Context(), []byte("ZSCORE"), l.Expiry().FieldsKey, entry)
		if err != nil || string(reply.Text) != strconv.Itoa(5_010_000) {
			t.Errorf("field %d is due at %q, %v", id+1, reply.Text, err)
		}
	}
}
