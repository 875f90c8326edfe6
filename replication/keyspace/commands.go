package keyspace

import (
	"iter"
	"slices"
	"strings"
)

// Command describes one command of the keyspace in the terms of Redis's COMMAND INFO.
type Command struct {
	Name  string // in lower case
	Group string // as in COMMAND DOCS
	Arity int    // number of arguments including the name; negative: at least that many
	Write bool
	// First and Last are the first and last argument that is a key, and Step the distance between
	// two keys. A negative Last counts from the end. All are 0 if no argument is a key.
	First, Last, Step int
	// MovableKeys is set if the arguments decide which of them are keys.
	MovableKeys bool
}

// groups lists the commands by kind of value.
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

// commandFlags are properties of a command that its row declares.
type commandFlags uint8

const (
	// keyless: no argument at a fixed position is a key.
	keyless commandFlags = 1 << iota
	// movableKeys: which arguments are keys depends on other arguments.
	movableKeys
	// readsOthers: a read command that reads keys that are not among its arguments. A View
	// must then hold all keys.
	readsOthers
	// noWrite: a command that units may contain, but that writes no key.
	noWrite
	// rejected: a write command that a unit must not contain.
	rejected
	// relative: a rejected command whose time to live is relative to its execution. Servers before
	// Redis 7.0 replicate such commands as clients send them.
	relative
)

func (f commandFlags) has(flag commandFlags) bool { return f&flag != 0 }

// keyRange is the first and the last argument that is a key, and the distance between two
// keys. A negative last counts from the end. The zero value means argument 1 only.
type keyRange struct{ first, last, step int }

var everyArg = keyRange{1, -1, 1}

// keyPositions returns the key range that COMMAND INFO shows.
func keyPositions(keys keyRange, flags commandFlags) keyRange {
	switch {
	case flags.has(keyless):
		return keyRange{}
	case keys == keyRange{}:
		return keyRange{1, 1, 1}
	}
	return keys
}

// Commands returns the commands that Execute answers and the write commands that a unit may
// contain, sorted by name.
func Commands() []Command {
	var all []Command
	add := func(name, group string, arity int, keys keyRange, flags commandFlags, write bool) {
		at := keyPositions(keys, flags)
		all = append(all, Command{
			Name: strings.ToLower(name), Group: group, Arity: arity, Write: write,
			First: at.first, Last: at.last, Step: at.step, MovableKeys: flags.has(movableKeys),
		})
	}
	for _, g := range groups {
		for name, r := range g.readers {
			add(name, g.name, r.arity, r.keys, r.flags, false)
		}
		for name, w := range g.writers {
			if !w.flags.has(noWrite) {
				add(name, g.name, w.arity, w.keys, w.flags, true)
			}
		}
	}
	slices.SortFunc(all, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Row is the table row of one command.
type Row struct {
	read  *reader
	write *writer
}

// All yields the names, in upper case, and the rows of all read commands, and of all commands with
// which Redis writes keys. Some of the latter are rejected in units.
func All() iter.Seq2[string, Row] {
	return func(yield func(string, Row) bool) {
		for name, r := range readers {
			if !yield(name, Row{read: r}) {
				return
			}
		}
		for name, w := range writers {
			if !w.flags.has(noWrite) && !yield(name, Row{write: w}) {
				return
			}
		}
	}
}

// IsRead reports whether the row is that of a read command.
func (r Row) IsRead() bool { return r.read != nil }

// Arity is Command.Arity. That of write commands that are rejected in units is unknown: -1.
func (r Row) Arity() int {
	switch {
	case r.read != nil:
		return r.read.arity
	case r.write.flags.has(rejected):
		return -1
	}
	return r.write.arity
}
