package transform_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rowfall/transform"
)

// testKind is a kind of deferred command that only tests have.
const testKind = transform.DeferredKind(200)

// modelCommands is Commands as a list of texts: a command, or a deferred command with its fields.
type modelCommands struct {
	commands transform.Commands
	texts    []string
	marks    []transform.Mark // before each text, and at the end
}

func newModelCommands() *modelCommands {
	return &modelCommands{marks: make([]transform.Mark, 1)}
}

// add appends a command, deferred in half of the cases.
func (m *modelCommands) add(r *rand.Rand, n int) {
	word := strings.Repeat(fmt.Sprint(n), 1+r.IntN(3))
	if r.IntN(2) == 0 {
		m.commands.Append([]byte("PING"), []byte(word))
		m.texts = append(m.texts, "PING "+word)
	} else {
		d := transform.Deferred{
			Kind: testKind, Begins: r.IntN(2) == 0, Key: []byte("k" + word), Row: []byte(word),
		}
		switch r.IntN(3) {
		case 0:
			d.Member = []byte{}
		case 1:
			d.Member = []byte("m" + word)
		}
		m.commands.Defer(&d)
		m.texts = append(m.texts, deferredText(&d))
	}
	m.marks = append(m.marks, m.commands.Mark())
}

func deferredText(d *transform.Deferred) string {
	return fmt.Sprintf("DEFERRED %d %t %q %q %t %q",
		d.Kind, d.Begins, d.Key, d.Member, d.Member == nil, d.Row)
}

// takeRange appends the commands of src between texts from and to.
func (m *modelCommands) takeRange(r *rand.Rand, src *modelCommands) {
	from := r.IntN(len(src.texts) + 1)
	to := from + r.IntN(len(src.texts)-from+1)
	take := m.commands.AppendRange
	if r.IntN(2) == 0 {
		take = m.commands.MoveRange
	}
	end := m.commands.Mark()
	take(&src.commands, src.marks[from], src.marks[to])
	m.texts = append(m.texts, src.texts[from:to]...)
	for _, mark := range src.marks[from+1 : to+1] {
		m.marks = append(m.marks, end.Add(mark.Sub(src.marks[from])))
	}
}

// remove removes the commands between texts from and to.
func (m *modelCommands) remove(from, to int) {
	removed := m.marks[to].Sub(m.marks[from])
	if to == len(m.texts) {
		m.commands.Truncate(m.marks[from])
	} else {
		m.commands.Remove(m.marks[from], m.marks[to])
	}
	m.texts = slices.Delete(m.texts, from, to)
	m.marks = slices.Delete(m.marks, from+1, to+1)
	for i := from + 1; i < len(m.marks); i++ {
		m.marks[i] = m.marks[i].Sub(removed)
	}
}

// Deferred commands keep their place among the other commands and their fields, however commands
// are cut and moved.
func TestDeferredKeepPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	for round := range 2000 {
		m := newModelCommands()
		for step := range 1 + r.IntN(12) {
			switch n := len(m.texts); r.IntN(8) {
			case 0:
				from := r.IntN(n + 1)
				m.remove(from, from+r.IntN(n-from+1))
			case 1:
				src := newModelCommands()
				for i := range r.IntN(6) {
					src.add(r, i)
				}
				m.takeRange(r, src)
			default:
				m.add(r, step)
			}
		}
		if want := m.marks[len(m.marks)-1]; m.commands.Mark() != want {
			t.Fatalf("round %d: the end is %+v, want %+v", round, m.commands.Mark(), want)
		}
		var got []string
		err := m.commands.Resolve(func(d *transform.Deferred, out *transform.Commands) error {
			// Some become several commands, and some become none.
			got = append(got, deferredText(d))
			for range len(d.Row) - 1 {
				out.Append([]byte("ECHO"), []byte(deferredText(d)))
			}
			return nil
		})
		if err != nil || m.commands.HasDeferred() {
			t.Fatal(err, m.commands.HasDeferred())
		}
		var wantDeferred, want []string
		for _, text := range m.texts {
			if !strings.HasPrefix(text, "DEFERRED") {
				want = append(want, text)
				continue
			}
			wantDeferred = append(wantDeferred, text)
			row := text[strings.LastIndex(text, " ")+2 : len(text)-1]
			for range len(row) - 1 {
				want = append(want, "ECHO "+text)
			}
		}
		if !slices.Equal(got, wantDeferred) {
			t.Fatalf("round %d: resolved\n%q, want\n%q", round, got, wantDeferred)
		}
		var all []string
		for _, c := range commands(t, m.commands.Bytes) {
			all = append(all, strings.Join(c, " "))
		}
		if !slices.Equal(all, want) || m.commands.Count != len(want) {
			t.Fatalf("round %d: %d commands\n%q, want\n%q", round, m.commands.Count, all, want)
		}
	}
}

// An error while deferred commands are resolved leaves all commands as they were.
func TestDeferredError(t *testing.T) {
	m := newModelCommands()
	r := rand.New(rand.NewPCG(11, 2))
	for i := range 20 {
		m.add(r, i)
	}
	before, size := m.commands.Mark(), m.commands.Size()
	n, errRead := 0, errors.New("read failed")
	err := m.commands.Resolve(func(_ *transform.Deferred, out *transform.Commands) error {
		out.Append([]byte("PING"))
		if n++; n == 3 {
			return errRead
		}
		return nil
	})
	if !errors.Is(err, errRead) || m.commands.Mark() != before || m.commands.Size() != size {
		t.Errorf("%v: %+v, %d bytes, want %+v, %d",
			err, m.commands.Mark(), m.commands.Size(), before, size)
	}
	err = m.commands.Resolve(func(d *transform.Deferred, out *transform.Commands) error {
		out.Defer(d)
		return nil
	})
	if err == nil || m.commands.Mark() != before {
		t.Errorf("a deferred command became a deferred command: %v", err)
	}
}

// Deferred commands count in the size of a unit. Reset removes them, and their memory is reused.
func TestDeferredMemory(t *testing.T) {
	var u transform.Commands
	d := transform.Deferred{Kind: testKind, Key: []byte("k"), Member: []byte("m"), Row: []byte("7")}
	run := func() {
		u.Reset()
		for range 10 {
			u.Defer(&d)
		}
	}
	run()
	if u.Count != 10 || u.Size() != 30 {
		t.Errorf("%d commands of %d bytes", u.Count, u.Size())
	}
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if u.Reset(); u.Size() != 0 || u.HasDeferred() {
		t.Errorf("after Reset there are %d bytes", u.Size())
	}
}
