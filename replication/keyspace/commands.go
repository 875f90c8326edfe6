package keyspace

import (
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
	// MovableKeys is set if the arguments decide which of them are keys.
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
	// refused: a write command that a unit must not contain.
	refused
	// relative: a refused command whose time to live is relative to its execution. Servers
	// before Redis 7.0 replicate such commands as clients send them.
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

// CommandKind is the kind of a command's name.
type CommandKind uint8

// The kinds of names.
const (
	UnknownCommand CommandKind = iota // the keyspace has no such command
	ReadCommand                       // Execute answers it
	WriteCommand                      // Redis writes keys for it, whether or not a unit may contain it
)

// LookUp returns the kind of the command with a name in upper case, and its arity as Command has
// it. The arity of a write command that units must not contain is unknown; LookUp returns -1.
func LookUp(name string) (kind CommandKind, arity int) {
	if r := readers[name]; r != nil {
		return ReadCommand, r.arity
	}
	w := writers[name]
	switch {
	case w == nil, w.flags.has(noWrite):
		return UnknownCommand, 0
	case w.flags.has(refused):
		return WriteCommand, -1
	}
	return WriteCommand, w.arity
}
