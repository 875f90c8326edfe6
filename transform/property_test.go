package transform_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/transform"
)

// model is a naive Redis: a key's kind and its content.
type model map[string]*entry

type entry struct {
	kind    string
	content map[string]string
}

// run applies a command as Redis would, WRONGTYPE included.
func (m model) run(command []string) error {
	verb, key, args := command[0], command[1], command[2:]
	kinds := map[string]string{
		"HSET": "hash", "HDEL": "hash", "SADD": "set", "SREM": "set", "ZADD": "zset",
		"ZREM": "zset",
	}
	e := m[key]
	if want, ok := kinds[verb]; ok && e != nil && e.kind != want {
		return fmt.Errorf("WRONGTYPE: %q on a %s", command, e.kind)
	}
	switch verb {
	case "DEL":
		delete(m, key)
		return nil
	case "SET":
		m[key] = &entry{"string", map[string]string{"": args[0]}}
		return nil
	case "HDEL", "SREM", "ZREM":
		if e == nil {
			return nil
		}
		for _, a := range args {
			delete(e.content, a)
		}
		if len(e.content) == 0 {
			delete(m, key)
		}
		return nil
	}
	if e == nil {
		e = &entry{kinds[verb], map[string]string{}}
		m[key] = e
	}
	switch verb {
	case "HSET":
		for i := 0; i < len(args); i += 2 {
			e.content[args[i]] = args[i+1]
		}
	case "SADD":
		e.content[args[0]] = ""
	case "ZADD":
		e.content[args[1]] = args[0]
	default:
		return fmt.Errorf("unknown command %q", command)
	}
	return nil
}

// references returns the key at which the model holds the rows that yield a member.
func references(key, member []byte) string {
	return fmt.Sprintf("references to %q in %q", member, key)
}

func (m model) add(key, member string) {
	if m[key] == nil {
		m[key] = &entry{"set", map[string]string{}}
	}
	m[key].content[member] = ""
}

// resolve resolves a deferred command as a sink does. The rows of a member change at once, because
// no other command concerns them.
func (m model) resolve(d *transform.Deferred, out *transform.Commands) error {
	rows := references(d.Key, d.Member)
	if d.Begins {
		m.add(rows, string(d.Row))
		out.Append([]byte("SADD"), d.Key, d.Member)
		return nil
	}
	if e := m[rows]; e != nil {
		if delete(e.content, string(d.Row)); len(e.content) > 0 {
			return nil
		}
		delete(m, rows)
	}
	out.Append([]byte("SREM"), d.Key, d.Member)
	return nil
}

func (m model) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%q %s", k, m[k].kind)
		for _, f := range slices.Sorted(maps.Keys(m[k].content)) {
			fmt.Fprintf(&b, " %q=%q", f, m[k].content[f])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// expected builds a model from what a plan expects of rows.
func expected(t *testing.T, p *transform.Plan, rows map[string][][]byte) model {
	m := model{}
	for _, cells := range rows {
		err := p.Expect(textRow(p.Table(), cells), func(e transform.Expectation) error {
			var command []string
			switch e.Kind {
			case transform.Hash:
				command = []string{"HSET", string(e.Key)}
				for _, b := range e.Pairs {
					command = append(command, string(b))
				}
			case transform.Set:
				if e.Row != nil {
					m.add(references(e.Key, e.Member), string(e.Row))
				}
				command = []string{"SADD", string(e.Key), string(e.Member)}
			case transform.SortedSet:
				command = []string{"ZADD", string(e.Key), string(e.Score), string(e.Member)}
			default:
				command = []string{"SET", string(e.Key), string(e.Value)}
			}
			return m.run(command)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

var propertyMappings = []string{
	`"*.*": {}`,
	`shop.t: {columns: {include: [note, x]}}`,
	`shop.t:
  where: (x ?? 0) > 1
  columns:
    exclude: [word]
    add: {sum: "a + (x ?? 0)", maybe: "note == nil ? nil : len(note ?? '')"}
  write:
    - hash: h:{a}:{b}
    - json: j:{b}:{a}
    - string: s:{a}:{b}
      value: "{note}"
    - string: v:{a}:{b}
      value: "<{note}>"
    - set: t:{note}
      member: "{a}:{b}"
      when_null: skip
    - hash: fields:{x}
      field: "{a}:{b}"
      value: "{note}"
      when_null: skip
    - sorted_set: z
      member: "{b}:{a}"
      score: x
      when_null: skip`,
	`shop.t:
  where: (x ?? 0) > 1
  write:
    - set: words
      member: "{word}"
      shared: true
    - set: words
      member: "{note}"
      shared: true
      when_null: skip
    - set: by:{x}
      member: "{note}{word}"
      shared: true
      when_null: skip
    - set: keys
      member: "{a}"
      shared: true
    - set: all:{a}:{b}
      member: "{b}"
      shared: true`,
}

// script is a random history of one table that obeys its primary key.
type script struct {
	rng  *rand.Rand
	rows map[string][][]byte
}

func (s *script) word() []byte {
	words := []string{"", "a", "b", ":", "%", "a:b", "%3A", strings.Repeat("x", 120)}
	return []byte(words[s.rng.IntN(len(words))])
}

func (s *script) cells() [][]byte {
	c := [][]byte{[]byte(strconv.Itoa(s.rng.IntN(4) - 1)), s.word(), nil, nil, s.word()}
	if s.rng.IntN(3) > 0 {
		c[2] = []byte(strconv.Itoa(s.rng.IntN(4)))
	}
	if s.rng.IntN(3) > 0 {
		c[3] = s.word()
	}
	return c
}

func keyOf(c [][]byte) string { return string(c[0]) + "\x00" + string(c[1]) }

// step changes one row and returns its images.
func (s *script) step() (before, after [][]byte) {
	keys := slices.Sorted(maps.Keys(s.rows))
	next := s.cells()
	if len(keys) > 0 && s.rng.IntN(3) > 0 {
		before = s.rows[keys[s.rng.IntN(len(keys))]]
		if s.rng.IntN(3) > 0 { // keep the key
			next[0], next[1] = before[0], before[1]
		}
	}
	_, taken := s.rows[keyOf(next)]
	switch {
	case before != nil && s.rng.IntN(4) == 0,
		before != nil && taken && keyOf(before) != keyOf(next):
	case before == nil && taken:
		return nil, nil
	default:
		after = next
	}
	if before != nil {
		delete(s.rows, keyOf(before))
	}
	if after != nil {
		s.rows[keyOf(after)] = after
	}
	return before, after
}

// TestHistory applies the commands of a random history, in both modes, and compares the result with
// what Expect returns for the final rows. In mode FullRow it then applies the end of the history a
// second time, as a pipeline does after a rewind.
func TestHistory(t *testing.T) {
	table := parseTable(t,
		"shop.t: a int pk; b varchar(200) pk; x int null; note varchar(200) null; word text")
	layout := binlog.NewTextLayout(table)
	for i, mapping := range propertyMappings {
		for seed := range uint64(60) {
			p, err := transform.Compile(parseMapping(t, mapping), table)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{rng: rand.New(rand.NewPCG(seed, uint64(i))), rows: map[string][][]byte{}}
			full, delta, replaced := model{}, model{}, model{}
			var history []*binlog.Change
			for range 80 {
				before, after := s.step()
				c := &binlog.Change{Table: table}
				if before != nil {
					c.Before = new(binlog.Row)
					c.Before.SetText(layout, before)
				}
				if after != nil {
					c.After = new(binlog.Row)
					c.After.SetText(layout, after)
				}
				if before == nil && after == nil {
					continue
				}
				history = append(history, c)
				play(t, p, full, c, transform.FullRow)
				play(t, p, delta, c, transform.Delta)
				play(t, p, replaced, c, transform.Replace)
			}
			want := expected(t, p, s.rows).String()
			if got := full.String(); got != want {
				t.Fatalf("mapping %d seed %d, full row:\n%s\nwant:\n%s", i, seed, got, want)
			}
			if got := delta.String(); got != want {
				t.Fatalf("mapping %d seed %d, delta:\n%s\nwant:\n%s", i, seed, got, want)
			}
			if got := replaced.String(); got != want {
				t.Fatalf("mapping %d seed %d, replace:\n%s\nwant:\n%s", i, seed, got, want)
			}
			playOverStale(t, p, mapping, s.rows, want)
			for _, c := range history[s.rng.IntN(len(history)):] {
				play(t, p, full, c, transform.FullRow)
			}
			if got := full.String(); got != want {
				t.Fatalf("mapping %d seed %d, replayed:\n%s\nwant:\n%s", i, seed, got, want)
			}
		}
	}
}

// playOverStale replaces rows over the data of another plan: one without `where`, whose hashes have
// a field more.
func playOverStale(
	t *testing.T, p *transform.Plan, mapping string, rows map[string][][]byte, want string,
) {
	t.Helper()
	other := strings.Replace(mapping, "  where: (x ?? 0) > 1\n", "", 1)
	old, err := transform.Compile(parseMapping(t, other), p.Table())
	if err != nil {
		t.Fatal(err)
	}
	m := expected(t, old, rows)
	for key, e := range m {
		if e.kind == "hash" && !strings.HasPrefix(key, "fields:") {
			e.content["gone"] = "1"
		}
	}
	for _, cells := range rows {
		row := textRow(p.Table(), cells)
		c := &binlog.Change{Table: p.Table(), Op: binlog.Update, Before: row, After: row}
		play(t, p, m, c, transform.Replace)
	}
	if got := m.String(); got != want {
		t.Fatalf("mapping %q over stale data:\n%s\nwant:\n%s", mapping, got, want)
	}
}

func play(t *testing.T, p *transform.Plan, m model, c *binlog.Change, mode transform.Mode) {
	t.Helper()
	var u transform.Commands
	if err := p.Append(&u, c, mode, transform.Origin{}); err != nil {
		t.Fatal(err)
	}
	if err := u.Resolve(m.resolve); err != nil {
		t.Fatal(err)
	}
	for _, command := range commands(t, u.Bytes) {
		if err := m.run(command); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRowKey checks that two rows have the same row key exactly if their keys are equal.
func TestRowKey(t *testing.T) {
	p := compile(t, `"*.*": {}`, "shop.t: a varchar(9) pk; b varchar(9) pk; c int")
	seen := map[string]string{}
	words := []string{"", "a", "ab", "b", "\x00", "\x01\x00\x00\x00\x01", ":"}
	for _, a := range words {
		for _, b := range words {
			row := textRow(p.Table(), [][]byte{[]byte(a), []byte(b), []byte("1")})
			key, err := p.AppendRowKey(nil, row)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[string(key)]; ok {
				t.Errorf("%q/%q and %s have the same key", a, b, other)
			}
			seen[string(key)] = fmt.Sprintf("%q/%q", a, b)
		}
	}
}
