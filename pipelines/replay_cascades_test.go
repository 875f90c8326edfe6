package pipelines

import (
	"maps"
	"slices"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
	"rowfall/sink/sinktest"
)

// childSource returns a source with the tables shop.t, shop.c and shop.u. Foreign keys of c and u
// refer to t; c changes with every DELETE and UPDATE of t, u only with an UPDATE.
func childSource() (src *scriptedSource, parent *binlog.Table) {
	src = selfReferring(intTable())
	refer := func(child, onDelete string) source.UnloggedCascade {
		k := src.cascades[0]
		k.Table, k.Key.OnDelete = ddl.TableName{Database: "shop", Table: child}, onDelete
		return k
	}
	src.cascades = []source.UnloggedCascade{refer("c", "SET NULL"), refer("u", "RESTRICT")}
	for _, name := range []string{"c", "u"} {
		child := intTable()
		child.Name = name
		src.tables = append(src.tables, child)
	}
	return src, src.tables[0]
}

// A replay reads the tables as a whole whose rows foreign keys have changed without logging them.
func TestReplayCascades(t *testing.T) {
	src, parent := childSource()
	l := reconcilingLoop(t, sinktest.NewMemory("test"), src)
	defer l.jobs.Close()
	commit := &binlog.Event{Kind: binlog.Commit}
	remove := func(isOff bool) *binlog.Event {
		ev := rowsEvent(t, parent, binlog.Delete, [2]uint32{1, 1})
		ev.ForeignKeysOff = isOff
		return ev
	}
	update := func(after uint32) *binlog.Event {
		return rowsEvent(t, parent, binlog.Update, [2]uint32{1, 1}, [2]uint32{after, 2})
	}
	for _, test := range []struct {
		what   string
		script []*binlog.Event
		want   []string
	}{
		{"a DELETE", []*binlog.Event{remove(false), commit}, []string{"shop.c"}},
		{"foreign_key_checks=0", []*binlog.Event{remove(true), commit}, nil},
		{"an UPDATE of the key", []*binlog.Event{update(2), commit}, []string{"shop.c", "shop.u"}},
		{"another UPDATE", []*binlog.Event{update(1), commit}, nil},
		{"a later DELETE", []*binlog.Event{commit, commit, remove(false), commit}, nil},
	} {
		src.again = test.script
		r := replayOf(t, l, uint64(len(test.script)))
		whole := make(map[string]string)
		err := r.find(t.Context(), func(p page) error {
			maps.Copy(whole, p.whole)
			return nil
		})
		if got := slices.Sorted(maps.Keys(whole)); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: the tables %v are read as a whole, %v; want %v", test.what, got, err,
				test.want)
		}
	}
	// The stream does not send rows of a parent that the replay does not read.
	r := replayOf(t, l, 2)
	r.reset()
	r.RowsSkipped("shop", "t", binlog.Delete, false)
	if got := slices.Sorted(maps.Keys(r.whole)); !slices.Equal(got, []string{"shop.c"}) {
		t.Errorf("after skipped rows the tables %v are read as a whole", got)
	}
}

// replayOf returns a replay of the first two events of a binlog, that reads statements until the
// position until.
func replayOf(t *testing.T, l *loop, until uint64) *replay {
	t.Helper()
	s := &tablestate.Search{Server: "scripted"}
	for _, p := range []struct {
		offset uint64
		to     *[]byte
	}{{0, (*[]byte)(&s.At)}, {2, (*[]byte)(&s.To)}, {until, (*[]byte)(&s.Until)}} {
		text, err := tablestate.EncodePosition(&binlog.Position{File: "log", Offset: p.offset})
		if err != nil {
			t.Fatal(err)
		}
		*p.to = text
	}
	r, err := l.newReplay(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
