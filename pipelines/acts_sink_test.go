package pipelines_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// rowChanges turns inserted rows of a table shop.NAME (id int) into commands.
type rowChanges struct {
	t    *testing.T
	plan *transform.Plan
}

func newRowChanges(t *testing.T, table string, write ...transform.Output) *rowChanges {
	t.Helper()
	m := &transform.Mapping{Tables: []transform.TableRule{{Pattern: "shop.*", Write: write}}}
	p, err := transform.Compile(m, &binlog.Table{
		Database: "shop", Name: table, Primary: []int{0},
		Columns: []binlog.Column{
			{Name: "id", SQLType: "int", Type: binlog.TypeInt},
			{Name: "v", SQLType: "varchar(9)", Type: binlog.TypeVarchar, Charset: "utf8mb4"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &rowChanges{t, p}
}

// insert appends the commands of an inserted row that was committed at a time in milliseconds.
func (c *rowChanges) insert(u *transform.Commands, ms int64, id, v string) {
	c.t.Helper()
	row := new(binlog.Row)
	row.SetText(binlog.NewTextLayout(c.plan.Table()), [][]byte{[]byte(id), []byte(v)})
	change := &binlog.Change{Table: c.plan.Table(), Op: binlog.Insert, After: row}
	origin := transform.Origin{Time: ms * 1000}
	if err := c.plan.Append(u, change, transform.Delta, origin); err != nil {
		c.t.Fatal(err)
	}
}

// applier is a sink.
type applier interface {
	Load(ctx context.Context) (sink.State, error)
	Apply(ctx context.Context, u *sink.Unit) error
	sink.Reader
}

// openNodeSink runs a node and returns the node as a sink.
func openNodeSink(t *testing.T) applier {
	t.Helper()
	c := file.Defaults().Sink.Node
	c.Listen, c.Dir = "127.0.0.1:0", t.TempDir()
	n, _, err := pipelines.OpenNode(c, zerolog.Nop())
	must(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.Run(context.Background())
	}()
	t.Cleanup(func() { _ = n.Close(); <-ended })
	return sink.NewNode(n, "shop")
}

// eachSink runs a test on a sink in memory and on a node.
func eachSink(t *testing.T, test func(t *testing.T, s applier)) {
	t.Helper()
	for name, open := range map[string]func(t *testing.T) applier{
		"memory": func(*testing.T) applier { return sinktest.NewMemory("shop") },
		"node":   openNodeSink,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if _, err := s.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// streamIDs returns the ids of the entries of a stream.
func streamIDs(t *testing.T, r sink.Reader, key string) string {
	t.Helper()
	reply, err := r.Read(t.Context(), []byte("XRANGE"), []byte(key), []byte("-"), []byte("+"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range reply.Elements {
		all = append(all, string(e.Elements[0].Text))
	}
	return strings.Join(all, " ")
}

// The id of an entry is its commit time, unless an entry of the stream has this id or a later one.
// That holds within a unit and between units, and for streams of several tables.
func TestStreamIDs(t *testing.T) {
	eachSink(t, func(t *testing.T, s applier) {
		stream := transform.Output{Kind: transform.Stream, Key: "all", MaxLen: 6}
		ofRow := transform.Output{Kind: transform.Stream, Key: "{table}:{id}"}
		a := newRowChanges(t, "a", stream, ofRow)
		b := newRowChanges(t, "b", stream)
		var u sink.Unit
		apply := func() {
			t.Helper()
			if err := s.Apply(t.Context(), &u); err != nil {
				t.Fatal(err)
			}
			u.Reset()
		}
		u.Progress.Phase = sink.Streaming
		a.insert(&u.Commands, 0, "1", "x")
		a.insert(&u.Commands, 0, "1", "x")
		a.insert(&u.Commands, 500, "1", "x")
		b.insert(&u.Commands, 500, "1", "x")
		if n := u.Commands.Count; n != 7 {
			t.Errorf("%d commands are counted, want 7", n)
		}
		apply()
		b.insert(&u.Commands, 400, "1", "x") // the clock was set back
		a.insert(&u.Commands, 600, "2", "x")
		apply()
		a.insert(&u.Commands, 600, "2", "x")
		apply()
		for key, want := range map[string]string{
			"all": "0-2 500-0 500-1 500-2 600-0 600-1",
			"a:1": "0-1 0-2 500-0", "a:2": "600-0 600-1",
		} {
			if got := streamIDs(t, s, key); got != want {
				t.Errorf("stream %s has the entries %s, want %s", key, got, want)
			}
		}
	})
}

// An entry that cannot be added because the key holds a value of another type is an error that
// names the key, so that the table goes into quarantine.
func TestStreamOfOtherType(t *testing.T) {
	eachSink(t, func(t *testing.T, s applier) {
		var u sink.Unit
		u.Progress.Phase = sink.Streaming
		u.Commands.Append([]byte("SET"), []byte("all"), []byte("x"))
		if err := s.Apply(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
		u.Reset()
		a := newRowChanges(t, "a", transform.Output{Kind: transform.Stream, Key: "all"})
		a.insert(&u.Commands, 500, "1", "x")
		var other *sink.KeyTypeError
		if err := s.Apply(t.Context(), &u); !errors.As(err, &other) || other.Key != "all" ||
			other.Held != "string" {
			t.Errorf("applied with %v, want a KeyTypeError", err)
		}
	})
}

// Of several messages about one row in a unit, only the last is sent.
func TestPublishLast(t *testing.T) {
	s := sinktest.NewMemory("shop")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	output := transform.Output{Kind: transform.Publish, Key: "c{v}", Message: "{table} {id} {v}"}
	fixed := transform.Output{Kind: transform.Publish, Key: "fixed", Message: "{table} {id} {v}"}
	a, b := newRowChanges(t, "a", output, fixed), newRowChanges(t, "b", fixed)
	var u sink.Unit
	u.Progress.Phase = sink.Streaming
	for _, v := range []string{"1", "2", "1"} {
		a.insert(&u.Commands, 5, "7", v)
		b.insert(&u.Commands, 5, "7", v)
	}
	a.insert(&u.Commands, 5, "8", "1")
	if err := s.Apply(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
	var got []string
	for b := []byte(s.Units(0)[0].Commands); len(b) > 0; {
		args, n, err := resp.ParseCommand(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
		got = append(got, string(args[0])+" "+string(args[1])+" "+string(args[2]))
	}
	want := []string{
		"PUBLISH c2 a 7 2", "PUBLISH c1 a 7 1", "PUBLISH fixed a 7 1", "PUBLISH fixed b 7 1",
		"PUBLISH c1 a 8 1", "PUBLISH fixed a 8 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}
