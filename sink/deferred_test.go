package sink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/resp"
	"rowfall/sink"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// applier is a sink.
type applier interface {
	Load(ctx context.Context) (sink.State, error)
	Apply(ctx context.Context, u *sink.Unit) error
	sink.Reader
}

// openNode runs a node and returns the node as a sink.
func openNode(t *testing.T) applier {
	t.Helper()
	node, err := replication.Open(replication.Config{
		Listen: "127.0.0.1:0", Dir: filepath.Join(t.TempDir(), "node"),
		HiddenPrefix: sink.HiddenPrefix, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return sink.NewNode(node, "shop")
}

// deferReference appends a deferred command: text is "+row member" or "-row member".
func deferReference(u *transform.Commands, text string) {
	row, member, _ := strings.Cut(text[1:], " ")
	u.Defer(&transform.Deferred{
		Kind: transform.DeferredReference, Begins: text[0] == '+',
		Key: []byte("countries"), Member: []byte(member), Row: []byte(row),
	})
}

// members returns the members of a set in a sink, sorted.
func members(t *testing.T, r sink.Reader, key string) []string {
	t.Helper()
	reply, err := r.Read(t.Context(), []byte("SMEMBERS"), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range reply.Elements {
		all = append(all, string(e.Text))
	}
	slices.Sort(all)
	return all
}

// Random deferred commands leave a member exactly while a row refers to it, however the commands
// are divided into units. Units of more than 1 MiB are encoded in the buffer of their commands.
func TestDeferredCommands(t *testing.T) {
	for name, open := range map[string]func() applier{
		"memory": func() applier { return sinktest.NewMemory("shop") },
		"node":   func() applier { return openNode(t) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, s, r := t.Context(), open(), rand.New(rand.NewPCG(11, 3))
			if _, err := s.Load(ctx); err != nil {
				t.Fatal(err)
			}
			rows := make(map[string]map[string]bool) // by member
			u := sink.Unit{Progress: sink.Progress{Phase: sink.Streaming}}
			for unit := range 60 {
				for i := range r.IntN(12) {
					row, member := fmt.Sprint(r.IntN(3)), fmt.Sprint("m", r.IntN(4))
					if rows[member] == nil {
						rows[member] = make(map[string]bool)
					}
					begins := r.IntN(2) == 0
					rows[member][row] = begins
					deferReference(&u.Commands, "-+"[btoi(begins):][:1]+row+" "+member)
					value := fmt.Appendf(nil, "%d.%d", unit, i)
					if unit%20 == 0 {
						value = append(value, make([]byte, 300<<10)...)
					}
					u.Commands.Append([]byte("SET"), []byte("last"), value)
				}
				if err := s.Apply(ctx, &u); err != nil {
					t.Fatal(err)
				}
				u.Reset()
				var want []string
				for _, member := range []string{"m0", "m1", "m2", "m3"} {
					for _, refers := range rows[member] {
						if refers {
							want = append(want, member)
							break
						}
					}
				}
				if got := members(t, s, "countries"); !slices.Equal(got, want) {
					t.Fatalf("after unit %d the members are %q, want %q", unit, got, want)
				}
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Deferred commands become bytes at their place in the unit, and those of one unit see each other's
// effect: within one transaction, a row can leave a member while another begins to refer to it.
func TestDeferredCommandsOfOneUnit(t *testing.T) {
	s := sinktest.NewMemory("shop")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply := func(texts ...string) string {
		t.Helper()
		u := sink.Unit{Progress: sink.Progress{Phase: sink.Streaming}}
		for _, text := range texts {
			if text[0] == '+' || text[0] == '-' {
				deferReference(&u.Commands, text)
			} else {
				u.Commands.Append(split(text)...)
			}
		}
		if err := s.Apply(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
		var lines []string
		units := s.Units(0)
		for b := []byte(units[len(units)-1].Commands); len(b) > 0; {
			args, n, err := resp.ParseCommand(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			words := make([]string, len(args))
			for i := range args {
				words[i] = strings.TrimPrefix(string(args[i]), sink.HiddenPrefix)
			}
			lines, b = append(lines, strings.Join(words, " ")), b[n:]
		}
		if u.Commands.Count != len(lines) {
			t.Errorf("%q are counted as %d commands", lines, u.Commands.Count)
		}
		return strings.Join(lines, ", ")
	}
	for _, c := range []struct {
		what, want string
		texts      []string
	}{
		{
			"two rows begin", "SET a 1, SADD shop:shared:\tcountriesfr 1, SADD countries fr, " +
				"SADD shop:shared:\tcountriesfr 2, SET b 2",
			[]string{"SET a 1", "+1 fr", "+2 fr", "+1 fr", "SET b 2"},
		},
		{"one row ends", "SREM shop:shared:\tcountriesfr 1", []string{"-1 fr", "-1 fr", "-9 fr"}},
		{
			"the last row ends and another begins",
			"SREM shop:shared:\tcountriesfr 2, SREM countries fr, " +
				"SADD shop:shared:\tcountriesfr 3, SADD countries fr",
			[]string{"-2 fr", "+3 fr"},
		},
		{
			"another begins and the last row ends",
			"SADD shop:shared:\tcountriesfr 4, SREM shop:shared:\tcountriesfr 3",
			[]string{"+4 fr", "-3 fr"},
		},
		{"nothing to end", "", []string{"-1 de"}},
	} {
		if got := apply(c.texts...); got != c.want {
			t.Errorf("%s: commands\n%s, want\n%s", c.what, got, c.want)
		}
	}
}

// A deferred command that cannot be resolved fails the unit, of which nothing is applied.
func TestDeferredCommandFails(t *testing.T) {
	s := sinktest.NewMemory("shop")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := sink.Unit{Progress: sink.Progress{Phase: sink.Streaming}}
	u.Commands.Append([]byte("SET"), []byte("a"), []byte("1"))
	u.Commands.Defer(&transform.Deferred{Kind: 200, Key: []byte("countries")})
	err := s.Apply(t.Context(), &u)
	if err == nil || !strings.Contains(err.Error(), "kind 200 is unknown") {
		t.Errorf("an unknown kind: %v", err)
	}
	errRead := errors.New("read failed")
	u.Reset()
	u.Commands.Append([]byte("SET"), []byte("a"), []byte("1"))
	deferReference(&u.Commands, "+1 fr")
	err = sink.NewEncoder("shop").Resolve(t.Context(), failingReader{errRead}, &u)
	if !errors.Is(err, errRead) {
		t.Errorf("a read that failed: %v", err)
	}
	if len(s.Units(0)) > 0 || !u.Commands.HasDeferred() {
		t.Error("the unit is applied, or its deferred command is gone")
	}
	defer func() {
		if recover() == nil {
			t.Error("a unit with a deferred command is encoded")
		}
	}()
	sink.NewEncoder("shop").Encode(nil, &u)
}

type failingReader struct{ err error }

func (f failingReader) Read(context.Context, ...[]byte) (resp.Reply, error) {
	return resp.Reply{}, f.err
}
