package keyspace

import (
	"maps"
	"slices"
	"strings"
)

// Command describes one command of the keyspace in the terms of Redis's COMMAND INFO.
type Command struct {
	Name  string // in lower case
	Group string // as COMMAND DOCS names it
	Arity int    // number of arguments with the name; negative: at least that many
	Write bool
	// The first and the last argument that is a key, and the distance between two;
	// a negative Last counts from the end. All are 0 where no argument is a key.
	First, Last, Step int
	// MovableKeys says that which arguments are keys depends on the arguments.
	MovableKeys bool
}

// groups are the commands by kind of value.
var groups = []struct {
	name    string
	readers map[string]*reader
	writers map[string]*writer
}{
	{"generic", keyReaders, keyWriters},
	{"string", stringReaders, stringWriters},
	{"hash", hashReaders, hashWriters},
	{"set", setReaders, setWriters},
	{"sorted-set", sortedSetReaders, sortedSetWriters},
	{"list", listReaders, listWriters},
	{"stream", streamReaders, streamWriters},
}

// keyArguments are the positions of keys where the first argument is not the only one:
// first, last and step.
var keyArguments = map[string][3]int{
	"SCAN": {}, "KEYS": {}, "DBSIZE": {}, "RANDOMKEY": {}, "FLUSHALL": {}, "FLUSHDB": {}, "XREAD": {}, "MSETEX": {},
	"EXISTS": {1, -1, 1}, "TOUCH": {1, -1, 1}, "MGET": {1, -1, 1}, "DEL": {1, -1, 1}, "UNLINK": {1, -1, 1},
	"SUNIONSTORE": {1, -1, 1}, "SINTERSTORE": {1, -1, 1}, "SDIFFSTORE": {1, -1, 1},
	"OBJECT": {2, 2, 1}, "XINFO": {2, 2, 1},
	"RENAME": {1, 2, 1}, "RENAMENX": {1, 2, 1}, "COPY": {1, 2, 1}, "LMOVE": {1, 2, 1}, "RPOPLPUSH": {1, 2, 1},
	"SMOVE": {1, 2, 1}, "ZRANGESTORE": {1, 2, 1},
	"MSET": {1, -1, 2}, "MSETNX": {1, -1, 2}, "BITOP": {2, -1, 1},
}

// movableKeys are the commands whose number of keys is an argument, or that name keys
// behind a word.
const movableKeys = "XREAD MSETEX ZUNIONSTORE ZINTERSTORE ZDIFFSTORE"

// Commands returns the commands that Execute answers and those that a unit may hold,
// by name. Clients that send one of the latter to a node are answered READONLY.
func Commands() []Command {
	var all []Command
	add := func(name, group string, arity int, write bool) {
		at, ok := keyArguments[name]
		if !ok {
			at = [3]int{1, 1, 1}
		}
		all = append(all, Command{
			Name: strings.ToLower(name), Group: group, Arity: arity, Write: write,
			First: at[0], Last: at[1], Step: at[2], MovableKeys: slices.Contains(strings.Fields(movableKeys), name),
		})
	}
	for _, g := range groups {
		for name, r := range maps.All(g.readers) {
			add(name, g.name, r.arity, false)
		}
		for name, w := range maps.All(g.writers) {
			if writeNames[name] {
				add(name, g.name, w.arity, true)
			}
		}
	}
	slices.SortFunc(all, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	return all
}
