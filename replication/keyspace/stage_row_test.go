package keyspace

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/value"
	"rowfall/replication/resp"
)

// twoPaths applies the same units to two keyspaces. fast stages each HSET and DEL that it can by
// stageRows. general gets the names of these commands in lower case, which stageRows leaves to the
// general path.
type twoPaths struct {
	fast, general *Keyspace
}

// newTwoPaths returns two empty keyspaces with at most chunks chunks of records; 0: no limit.
func newTwoPaths(chunks int) twoPaths {
	o := arena.Options{MaxChunks: chunks}
	if chunks > 0 {
		o.ChunkSize = 64 << 10
	}
	return twoPaths{NewWith(Options{}, o), NewWith(Options{}, o)}
}

// lowered returns a unit with the names of HSET and DEL in lower case, and whether all of the unit
// is valid RESP. From the first invalid command on, the unit is unchanged.
func lowered(unit []byte) (_ []byte, valid bool) {
	unit = bytes.Clone(unit)
	for rest := unit; len(rest) > 0; {
		args, n, err := resp.ParseCommand(rest, nil)
		if err != nil {
			return unit, false
		}
		switch string(args[0]) {
		case "HSET", "DEL":
			copy(args[0], bytes.ToLower(args[0]))
		}
		rest = rest[n:]
	}
	return unit, true
}

// apply stages a unit in both keyspaces, and publishes or discards it. Errors must be the
// same.
func (p twoPaths) apply(t *testing.T, unit []byte, discard bool) {
	t.Helper()
	general, valid := lowered(unit)
	fastErr, generalErr := p.fast.Stage(unit), p.general.Stage(general)
	got, want := strings.ToLower(fmt.Sprint(fastErr)), strings.ToLower(fmt.Sprint(generalErr))
	if got != want || !valid && fastErr == nil {
		t.Fatalf("unit %.200q: %s\nwant %s", unit, got, want)
	}
	for _, k := range []*Keyspace{p.fast, p.general} {
		if discard {
			k.Discard()
		}
		k.Publish()
	}
}

// compare compares the records of both keyspaces.
func (p twoPaths) compare(t *testing.T) {
	t.Helper()
	if got, want := records(p.fast), records(p.general); !slices.Equal(got, want) {
		t.Fatalf("records\n%.600q\nwant\n%.600q", got, want)
	}
}

// records returns the records of all keys, with the fields of large hashes.
func records(k *Keyspace) (all []string) {
	s := k.snapshot()
	defer s.Close()
	_ = s.records(func(rec record, big *value.Big) error {
		text := strings.Clone(string(rec))
		if big != nil {
			k.valueOf(rec, big).Fields(func(f, v []byte) bool {
				text += fmt.Sprintf(" %q=%q", f, v)
				return true
			})
		}
		all = append(all, text)
		return nil
	})
	keys, expires, hidden := k.Counts()
	return append(all, fmt.Sprint(keys, expires, hidden))
}

// rowTraffic makes random commands for rows of a few tables. Two of the tables have as many columns
// as each other, and some commands change the shape of a row or its type.
type rowTraffic struct{ r *rand.Rand }

var rowColumns = [][]string{
	{"id", "k", "c", "pad"},
	{"id", "name", "city", ""},
	{
		"id", "customer", "total", "tax", "created", "updated", "status", "email", "city", "note",
		"details", "priority", "warehouse",
	},
	{"only"},
}

func (c rowTraffic) key() (table int, key string) {
	table = c.r.IntN(len(rowColumns))
	if table == 3 {
		return table, fmt.Sprint("3:", c.r.IntN(2*maxShardKeys))
	}
	return table, fmt.Sprintf("%d:%s%d", table, strings.Repeat("k", 150*c.r.IntN(2)), c.r.IntN(3))
}

func (c rowTraffic) value() string {
	sizes := []int{0, 1, 5, 9, 10, 99, 100, 127, 128, 300, 999}
	if c.r.IntN(1000) == 0 {
		sizes = []int{17_000, 64 << 10, 70_000}
	}
	return strings.Repeat(string(rune('a'+c.r.IntN(26))), sizes[c.r.IntN(len(sizes))])
}

// set returns an HSET of the given columns.
func (c rowTraffic) set(key string, columns []string) []string {
	args := []string{"HSET", key}
	for _, name := range columns {
		args = append(args, name, c.value())
	}
	return args
}

func (c rowTraffic) command() []string {
	table, key := c.key()
	columns := slices.Clone(rowColumns[table])
	shuffled := slices.Clone(columns)
	c.r.Shuffle(len(shuffled), func(i, j int) {
		shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
	})
	some := shuffled[:1+c.r.IntN(len(shuffled))]
	switch c.r.IntN(40) {
	case 0:
		return c.set(key, shuffled)
	case 1:
		return c.set(key, some)
	case 2:
		return c.set(key, append(some, some[0])) // a field that occurs twice
	case 3:
		return c.set(key, append(some, "extra"))
	case 4:
		return append([]string{"HDEL", key}, some...)
	case 5:
		return []string{"SET", key, "text"}
	case 6:
		return []string{"PEXPIREAT", key, fmt.Sprint(1 + c.r.IntN(2)*4_000_000_000_000)}
	case 7:
		return []string{"RENAME", key, key + "x"}
	case 8:
		return c.set(key, append(columns, columns[0]))
	case 9:
		if c.r.IntN(60) == 0 {
			return []string{"FLUSHALL"}
		}
		if c.r.IntN(10) == 0 {
			for i := range 300 {
				some = append(some, fmt.Sprint("wide", i))
			}
		}
		return c.set(key, some)
	case 10:
		return append(c.set(key, some), "odd")
	case 11, 12, 13:
		if c.r.IntN(4) == 0 {
			_, other := c.key()
			return []string{"DEL", key, other}
		}
		return []string{"DEL", key}
	case 14:
		return []string{"PERSIST", key}
	}
	if c.r.IntN(2) == 0 {
		return c.set(key, columns)
	}
	var inOrder []string
	for _, name := range columns {
		if slices.Contains(some, name) {
			inOrder = append(inOrder, name)
		}
	}
	return c.set(key, inOrder)
}

// unit makes a random unit, which is seldom truncated or damaged.
func (c rowTraffic) unit() []byte {
	var unit []byte
	multi := c.r.IntN(2) == 0
	if multi {
		unit = resp.AppendCommand(unit, "MULTI")
	}
	for range 1 + c.r.IntN(12) {
		unit = resp.AppendCommand(unit, c.command()...)
	}
	if multi {
		unit = resp.AppendCommand(unit, "EXEC")
	}
	switch c.r.IntN(30) {
	case 0:
		return unit[:c.r.IntN(len(unit))]
	case 1:
		unit[c.r.IntN(min(len(unit), 300))] = "\r\n$*0a19"[c.r.IntN(8)]
	}
	return unit
}

// An HSET and a DEL have the same result on the fast path and on the general path, also while
// shards are split and snapshots hold them.
func TestRowPathsAgree(t *testing.T) {
	for _, chunks := range []int{0, 4} {
		t.Run(fmt.Sprint("chunks=", chunks), func(t *testing.T) {
			c := rowTraffic{rand.New(rand.NewPCG(uint64(chunks), 7))}
			p := newTwoPaths(chunks)
			for i := 0; chunks == 0 && i < maxShardKeys; i++ {
				p.apply(t, resp.AppendCommand(nil, c.set(fmt.Sprint("3:", i), rowColumns[3])...),
					false)
			}
			var held []*Snapshot
			for i := range 1500 {
				switch c.r.IntN(20) {
				case 0:
					held = append(held, p.fast.Snapshot(), p.general.Snapshot())
				case 1:
					for _, s := range held {
						s.Close()
					}
					held = nil
				}
				p.apply(t, c.unit(), c.r.IntN(10) == 0)
				if i%64 == 0 {
					p.compare(t)
				}
			}
			p.compare(t)
			if p.fast.rows.staged < 500 || p.general.rows.staged != 0 {
				t.Errorf("%d and %d commands took the fast path", p.fast.rows.staged,
					p.general.rows.staged)
			}
		})
	}
}

// For arbitrary bytes, both paths have the same result.
func FuzzRowPaths(f *testing.F) {
	c := rowTraffic{rand.New(rand.NewPCG(3, 4))}
	for range 20 {
		f.Add(c.unit(), c.unit())
	}
	row := resp.AppendCommand(nil, "HSET", "a", "f", "1", "g", "2")
	f.Add(slices.Concat(row, row, row), resp.AppendCommand(nil, "HSET", "a", "g", "3"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		p := newTwoPaths(0)
		p.apply(t, first, false)
		p.apply(t, second, true)
		p.compare(t)
		p.apply(t, second, false)
		p.apply(t, first, false)
		p.compare(t)
	})
}
